/** Small files that are replaced whole: refs, config, detached metadata, markers. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, fdatasyncSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { syncFs } from '@cambium/system';

export interface WriteFileOptions {
  /** Flush the bytes before the name appears. */
  sync: boolean;
  /** Permission bits; the umask applies when left out (0644 then). */
  mode?: number | undefined;
}

/** Puts `content` under `path` in one step: readers see the old file or the new one, also after a crash. */
export function writeFileDurably(path: string, content: Uint8Array | string, options: WriteFileOptions): void {
  const temporary = join(dirname(path), `.tmp-${randomBytes(8).toString('hex')}`);
  const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
  try {
    try {
      writeFileSync(fd, content);
      if (options.mode !== undefined) fchmodSync(fd, options.mode);
      if (options.sync) fdatasyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
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
