/** Making directories and deleting checkouts. */
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, systemError } from '@cambium/base';

/**
 * Makes a directory and those above it; nothing happens when it is there. Node's own recursive call says ENOENT on a read-only
 * file system.
 *
 * @throws errno
 */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && dirname(path) !== path) {
      makeDirectory(dirname(path));
      makeDirectory(path);
    } else if (errnoOf(error) !== 'EEXIST' || !statSync(path).isDirectory()) throw error;
  }
}

/** Deletes a tree, also where directories of images may not be entered; nothing happens when there is none. @throws SYSTEM_DENIED */
export function removeTree(path: string): void {
  try {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch (error) {
      if (errnoOf(error) !== 'EACCES' && errnoOf(error) !== 'EPERM') throw error;
      unlock(path);
      rmSync(path, { recursive: true, force: true });
    }
  } catch (error) {
    throw systemError(error, `Cannot delete "${path}"`) ?? error;
  }
}

/** Opens directories from the top; an explicit stack, since an image may nest them deeply. */
function unlock(path: string): void {
  const stack = [Buffer.from(path)];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (lstatSync(at, { throwIfNoEntry: false })?.isDirectory() !== true) continue;
    chmodSync(at, 0o700);
    for (const name of readdirSync(at, 'buffer')) stack.push(Buffer.concat([at, Buffer.from('/'), name]));
  }
}
