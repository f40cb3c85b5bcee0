/** The raw content of an object that a delta copies from: read at any place, not verified, since what is made of it is. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import type { Checksum } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { isSymlink } from '../format/object-format.ts';
import type { Repo } from '../repo/repo.ts';
import { corruptDelta } from './problems.ts';

/** Archive objects are compressed, so they must be in memory to be read at any place. */
const MAX_ARCHIVED_BYTES = 512 * 1024 * 1024;

export interface ReadSource {
  sizeBytes: number;
  /** Returns exactly these bytes; valid until the next call. @throws OSTREE_DELTA_CORRUPT outside the content */
  read(at: number, length: number): Uint8Array;
  close(): void;
}

/** @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_TOO_LARGE OSTREE_DELTA_CORRUPT */
export function openReadSource(repo: Repo, checksum: Checksum): ReadSource {
  if (!repo.hasObject('file', checksum)) {
    throw ostreeError('OSTREE_OBJECT_MISSING', `Static delta copies from object ${checksum}.file, which is not in the repository`, {
      data: { checksum, type: 'file' },
    });
  }
  const { header } = repo.readFileHeader(checksum);
  if (isSymlink(header)) throw corruptDelta('a symlink to copy from');
  const path = repo.findObject('file', checksum) as string;
  return path.endsWith('.filez') ? inMemory(repo.readFile(checksum, MAX_ARCHIVED_BYTES)) : onDisk(path);
}

function inMemory(content: Uint8Array): ReadSource {
  return {
    sizeBytes: content.byteLength,
    read: (at, length) => {
      checkRange(at, length, content.byteLength);
      return content.subarray(at, at + length);
    },
    close: () => undefined,
  };
}

function onDisk(path: string): ReadSource {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const sizeBytes = fstatSync(fd).size;
  let buffer = Buffer.alloc(0);
  return {
    sizeBytes,
    read: (at, length) => {
      checkRange(at, length, sizeBytes);
      if (buffer.byteLength < length) buffer = Buffer.allocUnsafe(length);
      let filled = 0;
      while (filled < length) {
        const read = readSync(fd, buffer, filled, length - filled, at + filled);
        if (read === 0) throw corruptDelta('the object to copy from became shorter');
        filled += read;
      }
      return buffer.subarray(0, length);
    },
    close: () => closeSync(fd),
  };
}

function checkRange(at: number, length: number, size: number): void {
  if (at > size || length > size - at) throw corruptDelta('a copy from outside the source');
}
