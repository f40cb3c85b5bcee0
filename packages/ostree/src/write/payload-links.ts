/**
 * Payload links: `objects/PP/REST.payload-link`, named by the checksum of a content alone, leads to a content object that
 * has it. On file systems whose files can share blocks, another object with that content (another owner, another mode)
 * then takes no room of its own.
 *
 * Source: libostree 2022.7 (`core.payload-link-threshold`), whose links these are; it looks for them in the same places.
 */
import { closeSync, constants, copyFileSync, fstatSync, mkdirSync, openSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Checksum, errnoOf } from '@cambium/base';
import { shareBlocks } from '@cambium/system';
import { loosePath } from '../format/object-path.ts';
import type { RepoMode } from '../format/types.ts';

const TARGET = /^\.\.\/([0-9a-f]{2}\/[0-9a-f]{62}\.file)$/;

/** Returns whether files in a directory can share blocks. */
export function canShareBlocks(directory: string): boolean {
  const original = join(directory, `reflink-${process.pid}`);
  const copy = `${original}-copy`;
  try {
    writeFileSync(original, 'a');
    copyFileSync(original, copy, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch (error) {
    if (['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'ENOTTY', 'EINVAL', 'EXDEV'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  } finally {
    for (const path of [original, copy]) rmSync(path, { force: true });
  }
}

/**
 * Makes a new object's file share its blocks with an object of the same content, if a link leads to one. What is there is
 * not trusted: the kernel compares.
 *
 * @param fd of the new object's file, all of it written
 * @param places directories that objects lie in
 */
export function sharePayload(fd: number, payload: Checksum, places: readonly string[]): void {
  for (const place of places) {
    const link = `${place}/${loosePath('payload-link', payload, 'bare')}`;
    const path = TARGET.exec(targetOf(link) ?? '')?.[1];
    if (path === undefined) continue;
    let from: number;
    try {
      from = openSync(`${place}/${path}`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      // A link whose object is gone leads nowhere; one that cannot be read is of no use.
      if (errnoOf(error) === 'ENOENT') rmSync(link, { force: true });
      continue;
    }
    try {
      const [theirs, ours] = [fstatSync(from), fstatSync(fd)];
      if (theirs.isFile() && theirs.size === ours.size && shareBlocks(from, fd, ours.size)) return;
    } finally {
      closeSync(from);
    }
  }
}

/** Leaves a link to an object from its content's checksum; one that is there stays. */
export function linkPayload(place: string, payload: Checksum, object: Checksum, mode: RepoMode): void {
  const link = `${place}/${loosePath('payload-link', payload, mode)}`;
  mkdirSync(dirname(link), { recursive: true });
  try {
    symlinkSync(`../${loosePath('file', object, mode)}`, link);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

function targetOf(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}
