/** Finds the real programs that tests compare with. A missing one is a skip that says how to get it. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';

export interface Peer {
  path: string;
  /** First line of what the program says about its version; '' when it says nothing. Asked for when first read. */
  readonly version: string;
}

/** Debian keeps daemons and mount tools here, and the PATH of an ordinary user does not. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** How each program tells its version, where it is not `--version`. */
const VERSION_ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  busybox: [],
  'dpkg-deb': ['--version'],
  newuidmap: [],
  htpasswd: [],
  setfattr: ['--version'],
  setcap: ['-h'],
  unshare: ['--version'],
};

const known = new Map<string, Peer | undefined>();

/** Returns where a program is and what version it has, or undefined when it is not installed. */
export function peer(name: string): Peer | undefined {
  if (!known.has(name)) known.set(name, find(name));
  return known.get(name);
}

/**
 * Returns the `skip` option of a test: false when all programs are there, otherwise the reason.
 *
 * @example
 * test('ostree reads our commit', { skip: needsPeer('ostree') }, async () => { … });
 */
export function needsPeer(...names: readonly string[]): string | false {
  const missing = names.filter((name) => peer(name) === undefined);
  return missing.length === 0 ? false : `not installed: ${missing.join(', ')} (scripts/peers.sh installs the programs that tests compare with)`;
}

/** Returns a reason to skip unless the test runs as root. */
export function needsRoot(): string | false {
  return process.getuid?.() === 0 ? false : 'needs root';
}

/** Returns the first reason to skip, if any. */
export function firstReason(...reasons: readonly (string | false)[]): string | false {
  return reasons.find((reason) => reason !== false) ?? false;
}

function find(name: string): Peer | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), ...SYSTEM_FOLDERS];
  const path = folders.map((folder) => join(folder, name)).find(isProgram);
  if (path === undefined) return undefined;
  let version: string | undefined;
  return {
    path,
    // Asking a Python program costs half a second: only who prints it pays for it.
    get version() {
      version ??= askVersion(path, VERSION_ARGUMENTS[name] ?? ['--version']);
      return version;
    },
  };
}

function askVersion(path: string, args: readonly string[]): string {
  const said = spawnSync(path, args, { encoding: 'utf8', timeout: 10_000, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = `${said.stdout ?? ''}\n${said.stderr ?? ''}`.split('\n').map((text) => text.trim());
  // A line with a number: ostree begins with its bare name.
  return lines.find((text) => /\d/.test(text)) ?? lines.find((text) => text !== '') ?? '';
}

function isProgram(path: string): boolean {
  if (!path.startsWith('/') || !existsSync(path) || !statSync(path).isFile()) return false;
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
