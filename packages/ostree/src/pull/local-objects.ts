/**
 * Copying single objects from another repository on this machine: hard links where both store them in the same way on the same
 * file system and under the same owner, rewritten otherwise. What is rewritten is always verified, and refused when it is damaged unless
 * the caller accepts it; linked content is verified only when it is not trusted, metadata in any case. Semantics: libostree 2022.7, `import_one_object`.
 */
import { lstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, isKnownError } from '@cambium/base';
import { S_IFMT, S_IFREG } from '@cambium/tree';
import type { MetadataType, ObjectType } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { type ContentSource, type CopyOptions, checkUserOnly } from '../write/content-copy.ts';
import type { Transaction } from '../write/transaction.ts';

export interface LocalObjectsOptions {
  /** Verify content before linking it. */
  untrusted?: boolean;
  /** Copy content that does not match its checksum as it is, where it is rewritten: the transaction's content names it. */
  acceptCorrupt?: boolean;
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
  readonly #linkMetadata: boolean;
  readonly #linkContent: boolean;
  /** Files of bare-user repositories can be those of bare-user-only ones. */
  readonly #linkPlainFiles: boolean;
  readonly #stores: ContentSource;
  readonly #copyOptions: CopyOptions;

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
    this.#stores = storesOf(source);
    this.#copyOptions = { bareUserOnlyFiles: options.bareUserOnlyFiles === true, acceptCorrupt: options.acceptCorrupt };
  }

  /**
   * Copies a metadata object unless it is there; it is verified in any case.
   * @param read its bytes, where the caller has read them from the source
   * @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT
   */
  metadata(type: MetadataType, checksum: Checksum, read?: Uint8Array): void {
    if (this.#isPresent(type, checksum)) return;
    // Read in any case: what is linked has been verified too.
    const bytes = read ?? this.#source.readMetadata(type, checksum);
    if (!this.#linkMetadata || !this.#tryLink(type, checksum, true)) this.#transaction.writeMetadata(type, bytes);
  }

  /**
   * Copies a content object unless it is there; resolves when there is room for more. What fails in a thread shows in a later call, and when the transaction's content is flushed.
   * @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_FILE_UNSUPPORTED
   */
  file(checksum: Checksum): Promise<void> | undefined {
    // What is rewritten for certain is looked at in the threads only.
    if (!this.#linkContent && !this.#linkPlainFiles) return this.#rewrite(checksum);
    if (this.#isPresent('file', checksum)) return undefined;
    if (this.#options.bareUserOnlyFiles === true) checkUserOnly(checksum, this.#source.readFileHeader(checksum).header);
    if (this.#linkContent || this.#isPlain(checksum)) {
      if (this.#options.untrusted === true) return this.#verify(checksum).then(() => this.#linkFile(checksum));
      if (this.#tryLink('file', checksum, false)) return undefined;
    }
    return this.#rewrite(checksum);
  }

  #isPresent(type: ObjectType, checksum: Checksum): boolean {
    return this.#transaction.mayHave && this.#repo.hasObject(type, checksum);
  }

  /** Returns whether a bare-user object's file is, as it lies there, the bare-user-only object too. */
  #isPlain(checksum: Checksum): boolean {
    const { header } = this.#source.readFileHeader(checksum);
    const stat = lstatSync(this.#source.objectPath('file', checksum), { throwIfNoEntry: false });
    return (header.mode & S_IFMT) === S_IFREG && stat?.mode === header.mode;
  }

  async #linkFile(checksum: Checksum): Promise<void> {
    if (!this.#tryLink('file', checksum, true)) await this.#rewrite(checksum);
  }

  #tryLink(type: ObjectType, checksum: Checksum, verified: boolean): boolean {
    try {
      if (!this.#transaction.linkObject(type, checksum, this.#source.objectPath(type, checksum), verified)) return false;
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
    writer.copy(this.#stores, checksum, this.#copyOptions);
    return writer.ready();
  }
}

/** Returns where the content of a repository is read from. */
function storesOf(source: Repo): ContentSource {
  const stores: ContentSource[number][] = [];
  for (let repo: Repo | undefined = source; repo !== undefined; repo = repo.parent) {
    stores.push({ objects: join(repo.path, 'objects'), mode: repo.mode, disableXattrs: repo.settings.disableXattrs });
  }
  return stores;
}
