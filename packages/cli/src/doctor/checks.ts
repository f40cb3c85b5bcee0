/** What `cambium doctor` looks at. Each check says what was found and, when something lacks, what to do. */
import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Environment, lookUp } from '../environment.ts';
import { findProgram } from '../programs.ts';
import { firstLine } from './run-program.ts';

export type CheckStatus = 'ok' | 'warn' | 'missing';

export interface CheckResult {
  readonly name: string;
  readonly status: CheckStatus;
  /** What was found. */
  readonly found: string;
  /** What to do about it. */
  readonly advice?: string;
}

type Check = (environment: Environment, signal: AbortSignal) => Promise<CheckResult> | CheckResult;

/** Returns the results in the order they are shown. */
export async function runChecks(environment: Environment, signal: AbortSignal): Promise<CheckResult[]> {
  return Promise.all(CHECKS.map(async (check) => check(environment, signal)));
}

const MINIMUM_NODE = 24;

const checkNode: Check = () => {
  const version = process.versions.node;
  if (Number.parseInt(version, 10) >= MINIMUM_NODE) return { name: 'node', status: 'ok', found: version };
  return { name: 'node', status: 'missing', found: version, advice: `Install Node ${MINIMUM_NODE} or newer` };
};

const checkKoffi: Check = async () => {
  const name = 'native calls';
  try {
    const { getXattr } = await import('@cambium/system');
    // Any call loads the library; that the attribute does not exist is fine.
    getXattr(process.execPath, 'user.cambium.doctor');
    return { name, status: 'ok', found: 'koffi' };
  } catch (error) {
    return { name, status: 'missing', found: error instanceof Error ? error.message : String(error), advice: 'Reinstall with optional dependencies: npm ci' };
  }
};

const checkUserNamespaces: Check = () => {
  const name = 'user namespaces';
  const limit = Number(readText('/proc/sys/user/max_user_namespaces') ?? Number.NaN);
  if (Number.isNaN(limit)) return { name, status: 'warn', found: 'not in this kernel', advice: 'Rootless podman needs a kernel with CONFIG_USER_NS' };
  if (limit === 0) return { name, status: 'warn', found: 'switched off', advice: 'For rootless podman: sysctl user.max_user_namespaces=28633' };
  if (readText('/proc/sys/kernel/unprivileged_userns_clone')?.trim() === '0') {
    return { name, status: 'warn', found: 'for root only', advice: 'For rootless podman: sysctl kernel.unprivileged_userns_clone=1' };
  }
  return { name, status: 'ok', found: `up to ${limit}` };
};

const checkOverlay: Check = () => {
  const name = 'overlay';
  if (/^nodev\toverlay$/m.test(readText('/proc/filesystems') ?? '')) return { name, status: 'ok', found: 'in the kernel' };
  return { name, status: 'warn', found: 'not loaded', advice: 'Image stores are used through overlayfs: modprobe overlay' };
};

/** A check for a program in PATH. */
function program(name: string, command: string, absence: CheckStatus, advice: string, label = name): Check {
  return async (environment, signal) => {
    const path = findProgram(command, environment);
    if (path === undefined) return { name: label, status: absence, found: 'not installed', advice };
    return { name: label, status: 'ok', found: (await firstLine(path, ['--version'], environment, signal)) ?? path };
  };
}

const checkGpgKey: Check = async (environment, signal) => {
  const name = 'gpg keys';
  const path = findProgram('gpg', environment);
  if (path === undefined) return { name, status: 'warn', found: 'gpg is not installed', advice: 'To sign commits: apt install gnupg' };
  const key = await firstLine(path, ['--batch', '--with-colons', '--list-secret-keys'], environment, signal);
  if (key !== undefined) return { name, status: 'ok', found: 'at least one secret key' };
  return { name, status: 'warn', found: 'no secret key', advice: 'To sign commits: gpg --quick-generate-key you@example.com' };
};

const checkSubordinateIds: Check = (environment) => {
  const name = 'subuid, subgid';
  if (environment.uid === 0) return { name, status: 'ok', found: 'not needed by root' };
  const user = lookUp(environment, ['USER', 'LOGNAME']) ?? String(environment.uid);
  const lacking = ['/etc/subuid', '/etc/subgid'].filter((file) => {
    const lines = (readText(file) ?? '').split('\n');
    return !lines.some((line) => line.startsWith(`${user}:`) || line.startsWith(`${environment.uid}:`));
  });
  if (lacking.length === 0) return { name, status: 'ok', found: `a range for ${user}` };
  return {
    name,
    status: 'warn',
    found: `no range in ${lacking.join(', ')}`,
    advice: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user}`,
  };
};

const checkStorageConf: Check = async (environment) => {
  const name = 'storage.conf';
  const { readStorageConf, storageDriver } = await import('@cambium/device');
  const { storageConf } = await import('../commands/device-places.ts');
  const file = storageConf(environment);
  const driver = storageDriver(readStorageConf(file));
  if (driver !== undefined && driver !== 'overlay') {
    return { name, status: 'warn', found: `driver "${driver}" in ${file.path}`, advice: 'Additional image stores need driver = "overlay"' };
  }
  return { name, status: 'ok', found: `${file.path}${driver === undefined ? '' : `, driver ${driver}`}` };
};

const checkTemporary: Check = (environment) => {
  const name = 'temporary directory';
  const path = lookUp(environment, ['TMPDIR']) ?? '/tmp';
  try {
    accessSync(path, constants.W_OK);
    return { name, status: 'ok', found: path };
  } catch {
    return { name, status: 'missing', found: `${path} cannot be written`, advice: 'Set TMPDIR to a directory that can' };
  }
};

const checkRegistryLogin: Check = (environment) => {
  const name = 'registry logins';
  const runtime = lookUp(environment, ['XDG_RUNTIME_DIR']);
  const files = [
    lookUp(environment, ['REGISTRY_AUTH_FILE']),
    runtime === undefined ? undefined : join(runtime, 'containers/auth.json'),
    join(lookUp(environment, ['XDG_CONFIG_HOME']) ?? join(environment.home, '.config'), 'containers/auth.json'),
    join(lookUp(environment, ['DOCKER_CONFIG']) ?? join(environment.home, '.docker'), 'config.json'),
  ].filter((path) => path !== undefined && readText(path) !== undefined);
  return { name, status: 'ok', found: files.length === 0 ? 'none; public images only' : files.join(', ') };
};

const CHECKS: readonly Check[] = [
  checkNode,
  checkKoffi,
  checkTemporary,
  checkUserNamespaces,
  checkOverlay,
  checkSubordinateIds,
  program('podman', 'podman', 'warn', 'To run packed apps: apt install podman'),
  checkStorageConf,
  program('compose tool', 'podman-compose', 'warn', 'To start packed apps: apt install podman-compose', 'podman-compose'),
  program('gpg', 'gpg', 'warn', 'To sign commits: apt install gnupg'),
  checkGpgKey,
  program('ostree', 'ostree', 'warn', 'Not needed; to compare with libostree: apt install ostree'),
  program('skopeo', 'skopeo', 'warn', 'Not needed; to copy images between transports: apt install skopeo'),
  checkRegistryLogin,
];

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
