/** Mounts that tests make, and leave behind when they are killed. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.ts';
import { type CleanUp, defer, scratch } from './scratch.ts';

/**
 * Mounts a tmpfs of `sizeMiB` for the length of a test, to be filled up, and returns its path. Needs root.
 *
 * @param options further mount options, as in `nr_inodes=100`
 */
export async function tmpfs(t: CleanUp, sizeMiB: number, options: readonly string[] = []): Promise<string> {
  const directory = join(scratch(t), 'small');
  mkdirSync(directory);
  await run('mount', ['-t', 'tmpfs', '-o', [`size=${sizeMiB}m`, 'mode=755', ...options].join(','), 'tmpfs', directory]);
  defer(t, () => unmountAll([directory]));
  return directory;
}

/** Makes a directory read-only by a bind mount, for the length of a test; also root cannot write to it. Needs root. */
export async function readOnly(t: CleanUp, directory: string): Promise<void> {
  await run('mount', ['--bind', directory, directory]);
  defer(t, () => unmountAll([directory]));
  await run('mount', ['-o', 'remount,bind,ro', directory]);
}

/** Returns the mount points at or under a directory, deepest first. */
export function mountsUnder(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_match, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))))
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .sort((a, b) => b.length - a.length);
}

/** Unmounts lazily: what still uses a mount keeps it until it ends. */
export async function unmountAll(paths: readonly string[]): Promise<void> {
  for (const path of paths) await run('umount', ['--lazy', path], { accept: 'any' });
}
