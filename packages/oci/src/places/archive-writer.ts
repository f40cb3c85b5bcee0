/** Writes a tar file whose members may be of unknown size and name until they are written: the header goes in last. */
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { tarHeader } from '@cambium/archive';
import { type Digest, systemError } from '@cambium/base';
import { ociError } from '../errors.ts';
import type { BlobInput, KnownBlob } from '../image/sink.ts';

const BLOCK = 512;
/** Where a size is not known before: any that an archive of images may have fits into one ustar block. */
const UNKNOWN_HEADER_BYTES = BLOCK;

/** One archive on its way, under a name of its own until it is whole. Members are written one after another. */
export class ArchiveWriter {
  readonly #path: string;
  readonly #temporary: string;
  #fd: number | undefined;
  #end = 0;
  /** The member at hand, and those that wait. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @throws OCI_ARCHIVE_INVALID when something stands there that is no file */
  constructor(path: string) {
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === false)
      throw ociError('OCI_ARCHIVE_INVALID', `Cannot write to "${path}": it is not a regular file`);
    this.#path = path;
    this.#temporary = `${path}.partial-${randomUUID()}`;
  }

  /** Adds a blob under the name that follows from its digest. */
  async addBlob(blob: Pick<BlobInput, 'known' | 'open'>, nameOf: (blob: KnownBlob) => string, signal?: AbortSignal): Promise<KnownBlob> {
    const turn = this.#turn.then(
      () => this.#add(blob, nameOf, signal),
      () => this.#add(blob, nameOf, signal),
    );
    this.#turn = turn.catch(() => undefined);
    return await turn;
  }

  /** Adds a small file. */
  addFile(name: string, content: Uint8Array): void {
    this.#guarded(() => {
      this.#write(tarHeader({ path: name, type: 'file', size: content.byteLength }), this.#end);
      this.#write(content, this.#end);
      this.#pad();
    });
  }

  /** Ends the archive and gives it its name, in place of what had it. */
  finish(): void {
    this.#guarded(() => {
      this.#write(new Uint8Array(2 * BLOCK), this.#end);
      const fd = this.#open();
      fsyncSync(fd);
      renameSync(this.#temporary, this.#path);
      closeSync(fd);
      this.#fd = undefined;
    });
  }

  /** Removes what has no name yet. */
  discard(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
    rmSync(this.#temporary, { force: true });
  }

  async #add({ known, open }: Pick<BlobInput, 'known' | 'open'>, nameOf: (blob: KnownBlob) => string, signal: AbortSignal | undefined): Promise<KnownBlob> {
    const start = this.#end;
    const header = known === undefined ? undefined : tarHeader({ path: nameOf(known), type: 'file', size: known.size });
    const hash = known === undefined ? createHash('sha256') : undefined;
    let size = 0;
    try {
      this.#end += header?.byteLength ?? UNKNOWN_HEADER_BYTES;
      for await (const chunk of open()) {
        signal?.throwIfAborted();
        hash?.update(chunk);
        this.#guarded(() => this.#write(chunk, this.#end));
        size += chunk.byteLength;
      }
    } catch (error) {
      // What was written of it is written over by the next.
      this.#end = start;
      throw error;
    }
    const blob = known ?? { digest: `sha256:${(hash as ReturnType<typeof createHash>).digest('hex')}` as Digest, size };
    this.#guarded(() => {
      this.#pad();
      const end = this.#end;
      this.#write(header ?? tarHeader({ path: nameOf(blob), type: 'file', size }), start);
      this.#end = end;
    });
    return blob;
  }

  #pad(): void {
    const over = this.#end % BLOCK;
    if (over > 0) this.#write(new Uint8Array(BLOCK - over), this.#end);
  }

  #write(bytes: Uint8Array, position: number): void {
    const fd = this.#open();
    for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at, bytes.byteLength - at, position + at);
    this.#end = position + bytes.byteLength;
  }

  #open(): number {
    this.#fd ??= openSync(this.#temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
    return this.#fd;
  }

  #guarded(write: () => void): void {
    try {
      write();
    } catch (error) {
      throw systemError(error, `Cannot write "${this.#path}"`) ?? error;
    }
  }
}
