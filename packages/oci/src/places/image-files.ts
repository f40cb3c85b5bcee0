/** The files an image layout is made of, in a directory or in a tar: what both need and only they know. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Bytes, errnoOf, isKnownError, systemError, verified } from '@cambium/base';
import { ociError } from '../errors.ts';
import type { Descriptor } from '../image/types.ts';

export interface ImageFiles {
  /** For messages: the path of the directory or archive. */
  readonly path: string;
  /** Returns the size of a file in bytes, or undefined when there is none. Names have `/` between their parts and no `.` or `..`. */
  size(name: string): Promise<number | undefined>;
  /** Reads a file from its beginning. */
  open(name: string, signal?: AbortSignal): Bytes;
  close(): Promise<void>;
}

/** Large enough for hashing and decompression to run at full speed. */
const CHUNK_BYTES = 128 * 1024;

/** Returns the files below a directory. Links are followed: layouts share blobs that way, and every blob is verified. */
export function directoryFiles(directory: string): ImageFiles {
  return {
    path: directory,
    async size(name) {
      try {
        const info = await stat(join(directory, name));
        // A pipe in the place of a blob would block for ever.
        if (!info.isFile()) throw ociError('OCI_LAYOUT_INVALID', `Cannot read "${join(directory, name)}": not a regular file`);
        return info.size;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
        throw systemError(error, `Cannot read "${join(directory, name)}"`) ?? error;
      }
    },
    open: (name, signal) => readFrom(join(directory, name), signal),
    close: async () => undefined,
  };
}

async function* readFrom(path: string, signal?: AbortSignal): Bytes {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    throw systemError(error, `Cannot read "${path}"`) ?? error;
  }
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(CHUNK_BYTES), 0, CHUNK_BYTES);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** Passes a blob through and checks it against its descriptor. Bytes come out before the verdict. @throws OCI_BLOB_MISMATCH */
export async function* verifiedBlob(source: Bytes, { digest, size }: Descriptor, what: string): Bytes {
  try {
    yield* verified(source, { digest, size });
  } catch (error) {
    if (!isKnownError(error, 'BYTES_MISMATCH')) throw error;
    throw ociError('OCI_BLOB_MISMATCH', `Cannot trust blob ${digest} of ${what}: its size or bytes are not those of its descriptor`, { data: error.data });
  }
}
