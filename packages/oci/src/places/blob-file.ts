/** Blobs as files: written beside their place, and there when they are whole. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Bytes, type Digest, errnoOf, systemError } from '@cambium/base';
import { acquireOfdLock, syncFs } from '@cambium/system';
import type { BlobInput, KnownBlob } from '../image/sink.ts';

export interface BlobFile {
  blob: Pick<BlobInput, 'known' | 'open'>;
  /** On the volume of the final place. */
  temporaryPath: string;
  fileOf(blob: KnownBlob): string;
  signal?: AbortSignal | undefined;
}

/**
 * Writes a blob's bytes and gives the file its name; another process that writes the same blob at once does no harm.
 *
 * @throws what the source throws, SYSTEM_NO_SPACE, SYSTEM_DENIED, SYSTEM_READ_ONLY
 */
export async function writeBlobFile({ blob, temporaryPath, fileOf, signal }: BlobFile): Promise<KnownBlob> {
  try {
    const written = await spool(blob.open(), temporaryPath, blob.known, signal);
    const path = fileOf(written);
    await mkdir(dirname(path), { recursive: true });
    renameSync(temporaryPath, path);
    return written;
  } catch (error) {
    rmSync(temporaryPath, { force: true });
    throw systemError(error, `Cannot write "${temporaryPath}"`) ?? error;
  }
}

/** Writes bytes into a new file and returns what they are; who gives bytes that are `known` checks them. */
async function spool(bytes: Bytes, path: string, known: KnownBlob | undefined, signal: AbortSignal | undefined): Promise<KnownBlob> {
  const hash = known === undefined ? createHash('sha256') : undefined;
  // What a killed process of the same number left is of no use.
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o644);
  let size = 0;
  try {
    for await (const chunk of bytes) {
      signal?.throwIfAborted();
      hash?.update(chunk);
      // Synchronous: into the page cache, faster than handing it to another thread.
      for (let at = 0; at < chunk.byteLength; ) at += writeSync(fd, chunk, at);
      size += chunk.byteLength;
    }
  } finally {
    closeSync(fd);
  }
  return known ?? { digest: `sha256:${(hash as ReturnType<typeof createHash>).digest('hex')}` as Digest, size };
}

/** Returns whether there is a regular file of this size. */
export async function hasFile(path: string, size: number): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.isFile() && found.size === size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw systemError(error, `Cannot read "${path}"`) ?? error;
  }
}

/** Waits until the volume of a directory has on its disk what was written: one call for all blobs costs less than one for each. */
export function syncVolume(directory: string): void {
  const fd = openSync(directory, constants.O_RDONLY);
  try {
    syncFs(fd);
  } finally {
    closeSync(fd);
  }
}

/** Gives a file new content at once: others see the old or the new, never a part. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}`;
  try {
    await writeFile(temporary, content, { flush: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw systemError(error, `Cannot write "${path}"`) ?? error;
  }
}

/** Runs `change` while no other process of ours does it under the same lock file. */
export async function withFileLock<T>(path: string, change: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const file = await open(path, 'a', 0o644).catch((error: unknown) => {
    throw systemError(error, `Cannot write "${path}"`) ?? error;
  });
  try {
    await acquireOfdLock(file.fd, 'exclusive', { signal, what: `"${path}"` });
    return await change();
  } finally {
    await file.close();
  }
}
