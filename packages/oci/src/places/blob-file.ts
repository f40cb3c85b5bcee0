/** Blobs as files: written beside their place, and there when they are whole. */
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, readdirSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Bytes, type Digest, errnoOf, systemError } from '@cambium/base';
import { acquireOfdLock, type LockKind, syncFs } from '@cambium/system';
import type { BlobInput, KnownBlob } from '../image/sink.ts';

const UNFINISHED = '.blob-';
/** What is older was left by a process that was killed: no transfer stands still for so long. */
const LEFT_MS = 24 * 60 * 60 * 1000;

/** A directory that blobs are written into, by any number of processes at once. */
export class BlobDirectory {
  readonly path: string;
  readonly #create: () => Promise<void>;
  #ready: Promise<void> | undefined;

  /** @param create makes the directory when the first blob comes: who only asks leaves nothing behind */
  constructor(path: string, create: () => Promise<void>) {
    this.path = path;
    this.#create = create;
  }

  /**
   * Writes a blob's bytes and gives the file its name.
   *
   * @throws what the source throws, SYSTEM_NO_SPACE, SYSTEM_DENIED, SYSTEM_READ_ONLY
   */
  async put(blob: Pick<BlobInput, 'known' | 'open'>, pathOf: (blob: KnownBlob) => string, signal?: AbortSignal): Promise<KnownBlob> {
    this.#ready ??= this.#begin();
    await this.#ready;
    const temporary = join(this.path, `${UNFINISHED}${randomUUID()}`);
    try {
      const written = await spool(blob.open(), temporary, blob.known, signal);
      const path = pathOf(written);
      await mkdir(dirname(path), { recursive: true });
      renameSync(temporary, path);
      return written;
    } catch (error) {
      rmSync(temporary, { force: true });
      throw systemError(error, `Cannot write to "${this.path}"`) ?? error;
    }
  }

  /** Waits until all blobs are on the disk, also those that an interrupted process wrote: one call costs less than one for each. */
  sync(): void {
    const fd = openSync(this.path, constants.O_RDONLY);
    try {
      syncFs(fd);
    } finally {
      closeSync(fd);
    }
  }

  async #begin(): Promise<void> {
    await this.#create();
    for (const name of readdirSync(this.path)) {
      if (!name.startsWith(UNFINISHED)) continue;
      const path = join(this.path, name);
      const made = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
      if (Date.now() - made > LEFT_MS) rmSync(path, { force: true });
    }
  }
}

/** Writes bytes into a new file and returns what they are; who gives bytes that are `known` checks them. */
async function spool(bytes: Bytes, path: string, known: KnownBlob | undefined, signal: AbortSignal | undefined): Promise<KnownBlob> {
  const hash = known === undefined ? createHash('sha256') : undefined;
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
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

/** Returns whether there is a regular file of this size. Its bytes are verified whenever they are read. */
export async function hasFile(path: string, size: number): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.isFile() && found.size === size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw systemError(error, `Cannot read "${path}"`) ?? error;
  }
}

/** Gives a file new content at once: others see the old or the new, never a part. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, content, { flush: true, flag: 'wx' });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw systemError(error, `Cannot write "${path}"`) ?? error;
  }
}

/** Takes a lock file's lock among processes of ours; releasing it twice does nothing. */
export async function lockFile(path: string, kind: LockKind, signal: AbortSignal | undefined): Promise<{ release(): Promise<void> }> {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o644).catch((error: unknown) => {
    throw systemError(error, `Cannot write "${path}"`) ?? error;
  });
  let closed: Promise<void> | undefined;
  const release = async (): Promise<void> => {
    closed ??= file.close();
    await closed;
  };
  try {
    await acquireOfdLock(file.fd, kind, { signal, what: `"${path}"` });
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}
