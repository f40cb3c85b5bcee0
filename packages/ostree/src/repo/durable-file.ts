/** Small files that are replaced whole: refs, config, detached metadata, markers. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, fdatasyncSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf, systemError } from '@cambium/base';
import { syncFs } from '@cambium/system';

export interface WriteFileOptions {
  /** Flush the bytes before the name appears. */
  sync: boolean;
  /** Permission bits; the umask applies when left out (0644 then). */
  mode?: number | undefined;
  /**
   * Directory of the same file system where the bytes are put first: what a killed process leaves in a repository's `tmp/` is
   * removed one day. Beside `path` when left out, or when there is no such directory.
   */
  aside?: string | undefined;
}

/** Puts `content` under `path` in one step: readers see the old file or the new one, also after a crash. @throws SYSTEM_* */
export function writeFileDurably(path: string, content: Uint8Array | string, options: WriteFileOptions): void {
  let temporary: string | undefined;
  try {
    const opened = openTemporary(options.aside, dirname(path));
    const { fd } = opened;
    temporary = opened.temporary;
    try {
      writeFileSync(fd, content);
      if (options.mode !== undefined) fchmodSync(fd, options.mode);
      if (options.sync) fdatasyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    if (temporary !== undefined) rmSync(temporary, { force: true });
    throw systemError(error, `Cannot write "${path}"`) ?? error;
  }
}

function openTemporary(aside: string | undefined, beside: string): { fd: number; temporary: string } {
  const temporary = join(aside ?? beside, `.tmp-${randomBytes(8).toString('hex')}`);
  try {
    return { fd: openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644), temporary };
  } catch (error) {
    if (aside === undefined || errnoOf(error) !== 'ENOENT') throw error;
    return openTemporary(undefined, beside);
  }
}

/** Flushes the file system that holds a directory, in one call instead of one for each file. */
export function syncFileSystem(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    syncFs(fd);
  } finally {
    closeSync(fd);
  }
}

/** Flushes a directory's entries. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
