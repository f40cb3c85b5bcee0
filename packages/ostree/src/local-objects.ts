/**
 * Copying single objects from another repository on this machine: hard links where both store them in the same way on the same
 * file system and under the same owner, rewritten otherwise. What is rewritten is always verified; linked content only when it is
 * not trusted, metadata in any case. Semantics: libostree 2022.7, `import_one_object`.
 */
import { lstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, isKnownError } from '@cambium/base';
import { S_IFLNK, S_IFMT, S_IFREG } from '@cambium/tree';
import { ostreeError } from './errors.ts';
import type { Repo } from './repo.ts';
import type { Transaction } from './transaction.ts';
import type { FileHeader, MetadataType } from './types.ts';

export interface LocalObjectsOptions {
  /** Verify content before linking it. */
  untrusted?: boolean;
  /** Refuse files that a bare-user-only repository cannot hold as they are. */
  bareUserOnlyFiles?: boolean;
}

/** Contents up to this size are read in one piece. */
const WHOLE_BYTES = 1024 * 1024;

export class LocalObjects {
  linked = 0;
  readonly #source: Repo;
  readonly #repo: Repo;
  readonly #transaction: Transaction;
  readonly #options: LocalObjectsOptions;
  readonly #signal: AbortSignal | undefined;
  #failure: { error: unknown } | undefined;
  readonly #linkMetadata: boolean;
  readonly #linkContent: boolean;
  /** Files of bare-user repositories can be those of bare-user-only ones. */
  readonly #linkPlainFiles: boolean;

  constructor(source: Repo, transaction: Transaction, options: LocalObjectsOptions, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#repo = transaction.repo;
    this.#transaction = transaction;
    this.#options = options;
    this.#signal = signal;
    const [mine, theirs] = [this.#repo, source].map((repo) => statSync(join(repo.path, 'objects')));
    // Files of another owner could be changed by that owner later.
    this.#linkMetadata = mine?.dev === theirs?.dev && mine?.uid === theirs?.uid;
    this.#linkContent = this.#linkMetadata && this.#repo.mode === source.mode && this.#repo.settings.disableXattrs === source.settings.disableXattrs;
    this.#linkPlainFiles = this.#linkMetadata && this.#repo.mode === 'bare-user-only' && source.mode === 'bare-user';
  }

  /** @throws the first failure of a file that was on its way to a thread */
  throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Copies a metadata object unless it is there; it is verified in any case. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  metadata(type: MetadataType, checksum: Checksum): void {
    if (this.#repo.hasObject(type, checksum)) return;
    // Read in any case: what is linked has been verified too.
    const bytes = this.#source.readMetadata(type, checksum);
    const path = this.#linkMetadata ? this.#source.findObject(type, checksum) : undefined;
    if (path !== undefined && this.#transaction.linkObject(type, checksum, path)) this.linked++;
    else this.#transaction.writeMetadata(type, bytes);
  }

  /**
   * Copies a content object unless it is there; resolves when there is room for more. What fails later shows in {@link throwFailure}.
   * @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_FILE_UNSUPPORTED
   */
  file(checksum: Checksum): Promise<void> | undefined {
    if (this.#repo.hasObject('file', checksum)) return undefined;
    if (this.#options.bareUserOnlyFiles === true) checkUserOnly(this.#source.readFileHeader(checksum).header, checksum);
    if (this.#linkContent || (this.#linkPlainFiles && this.#isPlain(checksum))) {
      if (this.#options.untrusted === true) return this.#verify(checksum).then(() => this.#linkFile(checksum));
      const path = this.#source.objectPath('file', checksum);
      if (this.#tryLink(checksum, path)) return undefined;
    }
    return this.#rewrite(checksum);
  }

  /** Returns whether a bare-user object's file is, as it lies there, the bare-user-only object too. */
  #isPlain(checksum: Checksum): boolean {
    const { header } = this.#source.readFileHeader(checksum);
    const stat = lstatSync(this.#source.objectPath('file', checksum), { throwIfNoEntry: false });
    return (header.mode & S_IFMT) === S_IFREG && stat?.mode === header.mode;
  }

  async #linkFile(checksum: Checksum): Promise<void> {
    if (!this.#tryLink(checksum, this.#source.objectPath('file', checksum))) await this.#rewrite(checksum);
  }

  #tryLink(checksum: Checksum, path: string): boolean {
    try {
      if (!this.#transaction.linkObject('file', checksum, path)) return false;
    } catch (error) {
      // Not in the source itself but in its parent repository, whose mode may differ.
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
      throw error;
    }
    this.linked++;
    return true;
  }

  async #verify(checksum: Checksum): Promise<void> {
    try {
      this.#source.loadFile(checksum, WHOLE_BYTES);
    } catch (error) {
      if (!isKnownError(error, 'OSTREE_OBJECT_TOO_LARGE')) throw error;
      for await (const _chunk of this.#source.openFile(checksum, this.#signal)) {
        // Reading is verifying.
      }
    }
  }

  #rewrite(checksum: Checksum): Promise<void> | undefined {
    const writer = this.#transaction.content();
    let loaded: ReturnType<Repo['loadFile']>;
    try {
      loaded = this.#source.loadFile(checksum, WHOLE_BYTES);
    } catch (error) {
      if (isKnownError(error, 'OSTREE_OBJECT_TOO_LARGE')) return this.#rewriteLarge(checksum);
      throw error;
    }
    writer.add(loaded.header, loaded.content).catch((error: unknown) => {
      this.#failure ??= { error };
    });
    return writer.ready();
  }

  async #rewriteLarge(checksum: Checksum): Promise<void> {
    const { header, sizeBytes } = this.#source.readFileHeader(checksum);
    const writer = this.#transaction.content();
    const stream = writer.begin(header, sizeBytes);
    try {
      for await (const chunk of this.#source.openFile(checksum, this.#signal)) {
        stream.write(chunk);
        const pending = writer.ready();
        if (pending !== undefined) await pending;
      }
    } catch (error) {
      stream.abort();
      throw error;
    }
    await stream.end();
  }
}

/** @throws OSTREE_FILE_UNSUPPORTED for a regular file with mode bits that a bare-user-only repository cannot hold */
export function checkUserOnly(header: FileHeader, checksum: Checksum): void {
  const excess = header.mode & ~S_IFMT & ~0o775;
  if ((header.mode & S_IFMT) !== S_IFLNK && excess !== 0) {
    throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Content object ${checksum}: invalid mode 0${header.mode.toString(8)} with bits 0${excess.toString(8)}`);
  }
}
