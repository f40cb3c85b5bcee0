/** Mounts that tests make, and leave behind when they are killed. */
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstReason, needsPeer, needsRoot } from './peers.ts';
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

/** Returns a reason to skip unless {@link reflinkFileSystem} can be had. */
export function needsReflinks(): string | false {
  const isKnown = /^\s*btrfs$/m.test(readFileSync('/proc/filesystems', 'latin1')) && existsSync('/dev/loop-control');
  return firstReason(needsRoot(), needsPeer('mkfs.btrfs'), isKnown ? false : 'the kernel has no btrfs, or no loop devices');
}

/** Mounts a btrfs of `sizeMiB` in a file, whose files can share blocks, for the length of a test, and returns its path. Needs root and `mkfs.btrfs`. */
export async function reflinkFileSystem(t: CleanUp, sizeMiB: number): Promise<string> {
  const directory = scratch(t);
  const [image, place] = [join(directory, 'image'), join(directory, 'btrfs')];
  writeFileSync(image, '');
  truncateSync(image, sizeMiB * 1024 * 1024);
  mkdirSync(place);
  await run('mkfs.btrfs', ['--quiet', image]);
  await run('mount', ['-o', 'loop', image, place]);
  defer(t, () => unmountAll([place]));
  return place;
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
