/**
 * Writing to a repository: everything is gathered aside, and appears in an order in which a crash at any instant
 * leaves a valid repository. Source: order of events of libostree 2022.7; `docs/formats/ostree-repo.md`, "Transactions".
 */
import { existsSync, linkSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Checksum, errnoOf, isChecksum, systemError } from '@cambium/base';
import { renameNoReplace } from '@cambium/system';
import { ostreeError } from '../errors.ts';
import { encodeCommit, encodeMetadata, parseCommit } from '../format/commit-format.ts';
import { encodeDirMeta, encodeDirTree, parseDirMeta, parseDirTree } from '../format/object-format.ts';
import { loosePath, parseLoosePath, type StoredType } from '../format/object-path.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { Commit, DirMeta, DirTree, Metadata, MetadataType, RepoMode } from '../format/types.ts';
import { clearPartial, clearTombstone } from '../repo/commit-markers.ts';
import { syncDirectory, syncFileSystem, writeFileDurably } from '../repo/durable-file.ts';
import { FreeBlocks, measureFreeBlocks } from '../repo/free-blocks.ts';
import { parseRefspec } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import type { RepoLock } from '../repo/repo-lock.ts';
import { autoUpdateSummary } from '../summary/summary-write.ts';
import { BatchingWriter } from './batching-writer.ts';
import type { WriterSetup } from './content-tasks.ts';
import { ContentWorkers } from './content-workers.ts';
import type { ContentWriter } from './content-writer.ts';
import { DEFAULT_ZLIB_LEVEL, LIBOSTREE_ZLIB_LEVEL } from './deflate.ts';
import type { ObjectCounts } from './directory-shard.ts';
import { ObjectWriter } from './object-writer.ts';
import { canShareBlocks } from './payload-links.ts';
import { cleanTmp, openStaging, readBootId, type Staging } from './staging.ts';
import { verifyStaged } from './takeover.ts';

export interface TransactionOptions {
  signal?: AbortSignal | undefined;
  /** Content threads; as many as processors when left out, none with 0. */
  workers?: number | undefined;
  /** False: nothing is flushed to disk, a crash may lose or tear what was written. The repository's setting when left out. */
  fsync?: boolean | undefined;
  /** Flush each object by itself instead of all at the end. The repository's setting when left out. */
  perObjectFsync?: boolean | undefined;
  /**
   * Archived sizes are going to be recorded in a commit: compress as libostree does, zlib at level 6 unless the config
   * says otherwise, so that commits of both get the same identity. Content over 1 MiB may still differ in size.
   */
  recordsSizes?: boolean | undefined;
  /** What a parent repository has counts as being here and is not written: so are pulls, and so are libostree's commits not. */
  reliesOnParent?: boolean | undefined;
  /** Names the run of the machine in the staging directory, instead of the kernel's `boot_id`. */
  bootId?: string | undefined;
}

/** What a transaction did; objects that were there already count in the totals only. */
export interface TransactionStats {
  metadataTotal: number;
  metadataWritten: number;
  contentTotal: number;
  contentWritten: number;
  /** Uncompressed. */
  contentBytesWritten: number;
  /** As stored: compressed in archive repositories. */
  storedBytesWritten: number;
  devInoCacheHits: number;
}

/** Threads beyond this only wait for the file system. */
const MAX_WORKERS = 8;

export class Transaction {
  readonly repo: Repo;
  readonly stats: TransactionStats = {
    metadataTotal: 0,
    metadataWritten: 0,
    contentTotal: 0,
    contentWritten: 0,
    contentBytesWritten: 0,
    storedBytesWritten: 0,
    devInoCacheHits: 0,
  };
  /** For operations of this package that hand whole shares to threads. */
  readonly workers: ContentWorkers;
  readonly signal: AbortSignal | undefined;
  /** Room on the volume for content, where a reserve is to be kept; {@link content} takes from it by itself. */
  readonly space: FreeBlocks | undefined;
  readonly #lock: RepoLock;
  readonly #staging: Staging;
  readonly #fsync: boolean;
  readonly #bootId: string;
  /** Where finished objects go: staged, or to `objects/` at once. */
  readonly #destination: string;
  readonly #writer: ObjectWriter;
  readonly #refs = new Map<string, Checksum | undefined>();
  readonly #collectionRefs: { collection: string; ref: string; checksum: Checksum | undefined }[] = [];
  readonly #written = new ObjectSet();
  readonly #dirMetas = new Map<string, Checksum>();
  readonly #completed = new Set<Checksum>();
  #content: BatchingWriter | undefined;
  #open = true;

  /** Use {@link Transaction.begin}. */
  constructor(repo: Repo, lock: RepoLock, staging: Staging, options: TransactionOptions & { bootId: string }) {
    this.repo = repo;
    this.#fsync = options.fsync ?? repo.settings.fsync;
    this.#bootId = options.bootId;
    this.signal = options.signal;
    this.#lock = lock;
    this.#staging = staging;
    const sync = { fsync: this.#fsync, perObject: options.perObjectFsync ?? repo.settings.perObjectFsync };
    const setup = writerSetup(repo, staging, sync, options);
    this.#destination = setup.target.destination;
    this.#writer = new ObjectWriter(setup.target, 'main', undefined);
    this.space = setup.space === undefined ? undefined : new FreeBlocks(setup.space);
    this.workers = new ContentWorkers(setup, options.workers ?? Math.min(MAX_WORKERS, availableParallelism()));
    repo.staging = staging.path;
    repo.refs.pending = this.#refs;
  }

  /**
   * Starts a transaction: the only way to write objects. One at a time per Repo; several processes may each have one.
   * @throws OSTREE_TRANSACTION_OPEN OSTREE_REPO_READ_ONLY OSTREE_REPO_UNSUPPORTED OSTREE_LOCK_TIMEOUT OSTREE_OPTION_INVALID
   */
  static async begin(repo: Repo, options: TransactionOptions = {}): Promise<Transaction> {
    if (!repo.writable) throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot write to repository "${repo.path}": permission denied or read-only file system`);
    if (repo.mode === 'bare-split-xattrs')
      throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot write to repository "${repo.path}": mode bare-split-xattrs is for reading`);
    const bootId = options.bootId ?? readBootId();
    if (!/^[\w-]{1,100}$/.test(bootId)) throw ostreeError('OSTREE_OPTION_INVALID', `Invalid boot ID "${bootId.slice(0, 100)}"`);
    const lock = await repo.lock('shared', options.signal);
    try {
      if (repo.staging !== undefined) throw ostreeError('OSTREE_TRANSACTION_OPEN', `Repository "${repo.path}" has an open transaction already`);
      const staging = openStaging(join(repo.path, 'tmp'), bootId);
      try {
        if (!staging.isFresh) await verifyStaged(repo, staging.path, options.signal);
        return new Transaction(repo, lock, staging, { ...options, bootId });
      } catch (error) {
        staging.release();
        throw error;
      }
    } catch (error) {
      lock.release();
      throw systemError(error, `Cannot write to repository "${repo.path}"`) ?? error;
    }
  }

  /** Writes a metadata object after checking its structure; returns its checksum. @throws OSTREE_OBJECT_CORRUPT */
  writeMetadata(type: MetadataType, bytes: Uint8Array): Checksum {
    if (type === 'commit') parseCommit(bytes);
    else if (type === 'dirtree') parseDirTree(bytes);
    else parseDirMeta(bytes);
    return this.#put(type, bytes);
  }

  /** @throws OSTREE_FILE_UNSUPPORTED for names outside the format */
  writeDirTree(tree: DirTree): Checksum {
    return this.#put('dirtree', encodeDirTree(tree));
  }

  writeDirMeta(meta: DirMeta): Checksum {
    return this.writeDirMetaBytes(encodeDirMeta(meta));
  }

  /** As {@link writeDirMeta} for bytes that {@link encodeDirMeta} made. */
  writeDirMetaBytes(bytes: Uint8Array): Checksum {
    // A tree of thousands of directories has a handful of different ones.
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    const known = this.#dirMetas.get(key);
    if (known !== undefined) {
      this.stats.metadataTotal++;
      return known;
    }
    const checksum = this.#put('dirmeta', bytes);
    this.#dirMetas.set(key, checksum);
    return checksum;
  }

  /** Writes a commit; a tombstone of it goes. */
  writeCommit(commit: Commit): Checksum {
    return this.#put('commit', encodeCommit(commit));
  }

  /** Whether there may be objects that this transaction has not written: in a new repository nothing need be looked up. */
  get mayHave(): boolean {
    return this.#writer.mayHave;
  }

  /** Where half-made files may lie beside the objects: they go with the transaction, those of a killed one when it is taken over. */
  get staging(): string {
    return this.#staging.path;
  }

  /**
   * Hard-links an object file of another repository into place instead of copying it; both must store it in the same way, and the caller
   * answers for its content. Returns false where the file system does not link.
   * @param verified whether the caller has verified it
   */
  linkObject(type: StoredType, checksum: Checksum, path: string, verified: boolean): boolean {
    this.#mustBeOpen();
    if (!verified) this.#beforeUnverified();
    const target = join(verified ? this.#destination : this.#staging.unverified, loosePath(type, checksum, this.repo.mode));
    const stat = lstatSync(path);
    const content = type === 'file';
    // A link to a link is not what the caller has read; content may be one, in bare repositories.
    if (!content && !stat.isFile()) return false;
    const written = linkInto(path, target);
    if (written === undefined) return false;
    if (content) this.stats.contentTotal++;
    else this.stats.metadataTotal++;
    if (!written) return true;
    if (content) this.stats.contentWritten++;
    else this.stats.metadataWritten++;
    this.stats.storedBytesWritten += stat.size;
    if (type === 'commit') clearTombstone(this.repo, checksum);
    return true;
  }

  /** Returns the writer of content objects: one per transaction. */
  content(): ContentWriter {
    this.#content ??= new BatchingWriter(
      this.workers,
      (checksum, objects, index, isMetadata) => (isMetadata ? this.#countMetadata(objects, index) : this.countContent(checksum, objects, index)),
      (header) => this.#writer.check(header),
      () => this.#beforeUnverified(),
    );
    return this.#content;
  }

  /** Says that about so many bytes of content will come, so that threads are ready for them. */
  expectContent(bytes: number): void {
    this.workers.expect(bytes);
  }

  /** Begins to write out what is staged while the caller goes on: less is left for {@link commit}. */
  flushEarly(): void {
    if (this.#fsync) this.workers.flushEarly();
  }

  /** Adds one object that a thread has handled to the statistics. */
  countContent(checksum: Checksum, objects: ObjectCounts, index: number): void {
    this.stats.contentTotal++;
    // Two threads may have written the same object at the same moment: it is one.
    if (objects.written[index] !== 1 || !this.#written.add('file', checksum)) return;
    this.stats.contentWritten++;
    this.stats.contentBytesWritten += objects.contentBytes[index] as number;
    this.stats.storedBytesWritten += objects.storedBytes[index] as number;
  }

  /** What nobody verifies lies aside until the commit, also where finished objects go to their places at once. */
  #beforeUnverified(): void {
    this.repo.unverified = this.#staging.unverified;
  }

  #countMetadata(objects: ObjectCounts, index: number): void {
    this.stats.metadataTotal++;
    if (objects.written[index] !== 1) return;
    this.stats.metadataWritten++;
    this.stats.storedBytesWritten += objects.storedBytes[index] as number;
  }

  /** Sets a commit's detached metadata; it appears with the objects and replaces what was there. */
  setDetachedMetadata(checksum: Checksum, metadata: Metadata): void {
    this.#mustBeOpen();
    const path = join(this.#staging.path, loosePath('commitmeta', checksum, this.repo.mode));
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileDurably(path, encodeMetadata(metadata), { sync: false });
  }

  /** Points a ref at a commit when the transaction commits; undefined deletes. @throws OSTREE_REF_INVALID */
  setRef(refspec: string, checksum: Checksum | undefined): void {
    const { ref } = parseRefspec(refspec);
    if (checksum !== undefined && isChecksum(ref)) throw ostreeError('OSTREE_REF_INVALID', `Rev name '${ref}' looks like a checksum`);
    this.#refs.set(refspec, checksum);
  }

  setCollectionRef(collection: string, ref: string, checksum: Checksum | undefined): void {
    this.#collectionRefs.push({ collection, ref, checksum });
  }

  /** Says that all objects of a commit are there: its partial marker goes once they are in place. */
  markComplete(checksum: Checksum): void {
    this.#completed.add(checksum);
  }

  /** Puts everything in place, durably, refs last. The transaction is over, also when this fails. */
  async commit(): Promise<TransactionStats> {
    if (!this.#open) throw new TypeError('The transaction has ended');
    try {
      this.signal?.throwIfAborted();
      await this.#content?.flush();
      this.signal?.throwIfAborted();
      await this.workers.close();
      this.#publish();
      for (const checksum of this.#completed) clearPartial(this.repo, checksum);
      this.#staging.remove();
      const { path, settings } = this.repo;
      cleanTmp(join(path, 'tmp'), this.#bootId, settings.tmpExpirySecs);
      rmSync(join(path, 'transaction'), { force: true });
      this.repo.refs.pending = undefined;
      for (const [refspec, checksum] of this.#refs) this.repo.refs.write(refspec, checksum, this.#fsync);
      for (const { collection, ref, checksum } of this.#collectionRefs) this.repo.refs.writeCollectionRef(collection, ref, checksum, this.#fsync);
      if (this.#refs.size + this.#collectionRefs.length > 0) await autoUpdateSummary(this.repo, this.signal);
      return this.stats;
    } catch (error) {
      throw systemError(error, `Cannot commit to repository "${this.repo.path}"`) ?? error;
    } finally {
      await this.#end();
    }
  }

  /** Ends without a trace that readers see; what is staged and verified, but for commits, is kept for the next transaction. */
  async abort(): Promise<void> {
    if (this.#open) await this.#end();
  }

  /** Aborts unless committed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort();
  }

  async #end(): Promise<void> {
    this.#open = false;
    await this.workers.close();
    this.repo.refs.pending = undefined;
    this.repo.staging = undefined;
    this.repo.unverified = undefined;
    try {
      this.#staging.release();
    } finally {
      this.#lock.release();
    }
  }

  #put(type: MetadataType, bytes: Uint8Array): Checksum {
    this.#mustBeOpen();
    const { checksum, written, storedBytes } = this.#writer.writeMetadata(type, bytes);
    this.stats.metadataTotal++;
    if (written) {
      this.stats.metadataWritten++;
      this.stats.storedBytesWritten += storedBytes;
    }
    if (type === 'commit') clearTombstone(this.repo, checksum);
    return checksum;
  }

  /**
   * Moves everything into `objects/`, commits last: whoever sees a commit, also after a kill between two renames, finds
   * all that it reaches.
   */
  #publish(): void {
    const objects = join(this.repo.path, 'objects');
    if (this.#fsync) syncFileSystem(objects);
    for (const isLast of [false, true]) {
      const changed = this.#move(objects, isLast);
      if (!this.#fsync || changed.length === 0) continue;
      for (const directory of changed) syncDirectory(directory);
      syncDirectory(objects);
    }
  }

  /** Moves either all objects but the commits, or the commits; returns the directories that changed. */
  #move(objects: string, commits: boolean): string[] {
    const { path, unverified } = this.#staging;
    // An object that is in both has been verified in the first.
    return [path, unverified].flatMap((staged) => (existsSync(staged) ? this.#moveFrom(staged, objects, commits) : []));
  }

  #moveFrom(staged: string, objects: string, commits: boolean): string[] {
    const changed: string[] = [];
    for (const directory of readdirSync(staged)) {
      if (!/^[0-9a-f]{2}$/.test(directory)) continue;
      const from = join(staged, directory);
      const to = join(objects, directory);
      const names = readdirSync(from);
      const wanted = names.filter((name) => parseLoosePath(directory, name, this.repo.mode) !== undefined && name.endsWith('.commit') === commits);
      if (wanted.length === 0) continue;
      // A whole directory at once where there is none yet: a first commit is 256 renames.
      if (wanted.length < names.length || existsSync(to) || !renameDirectory(from, to)) {
        mkdirSync(to, { recursive: true });
        for (const name of wanted) placeObject(join(from, name), join(to, name));
      }
      changed.push(to);
    }
    return changed;
  }

  #mustBeOpen(): void {
    if (!this.#open) throw new TypeError('The transaction has ended');
    this.signal?.throwIfAborted();
  }
}

/** Returns whether the link was made, or undefined where it cannot be. */
function linkInto(path: string, target: string): boolean | undefined {
  for (let attempt = 0; ; attempt++) {
    try {
      linkSync(path, target);
      return true;
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'EEXIST') return false;
      if (code === 'EXDEV' || code === 'EMLINK' || code === 'EPERM') return undefined;
      if (code !== 'ENOENT' || attempt > 0) throw error;
      mkdirSync(join(target, '..'), { recursive: true });
    }
  }
}

function writerSetup(repo: Repo, staging: Staging, sync: { fsync: boolean; perObject: boolean }, options: TransactionOptions): WriterSetup {
  const { settings } = repo;
  const { recordsSizes = false, reliesOnParent = false } = options;
  const objects = join(repo.path, 'objects');
  const direct = !sync.fsync || sync.perObject;
  // Nothing is looked up in a new repository. What another process brings meanwhile is found when objects are put in place.
  const isNew = !readdirSync(objects).some((name) => /^[0-9a-f]{2}$/.test(name));
  const own = isNew ? [] : [{ objects, mode: repo.mode }];
  const parents: { objects: string; mode: RepoMode }[] = [];
  for (let parent = repo.parent; parent !== undefined; parent = parent.parent) parents.push({ objects: join(parent.path, 'objects'), mode: parent.mode });
  return {
    space: measureFreeBlocks(repo.path, settings.minFreeSpace),
    unverified: staging.unverified,
    target: {
      mode: repo.mode,
      disableXattrs: settings.disableXattrs,
      staging: staging.path,
      destination: direct ? objects : staging.path,
      isFresh: staging.isFresh && !direct,
      present: reliesOnParent ? [...own, ...parents] : own,
      readable: [...own, ...parents],
      zlibLevel: settings.zlibLevel ?? (recordsSizes ? LIBOSTREE_ZLIB_LEVEL : DEFAULT_ZLIB_LEVEL),
      likeZlib: recordsSizes,
      syncEach: sync.fsync && sync.perObject,
      payloadLinksFrom: payloadLinksFrom(repo),
      syncAtEnd: !direct,
      umask: process.umask(),
    },
  };
}

/** Asked of the file system only where the repository is told to have such links. */
function payloadLinksFrom({ mode, settings, path }: Repo): number | undefined {
  if (settings.payloadLinksFrom === undefined || mode === 'archive') return undefined;
  return canShareBlocks(join(path, 'tmp')) ? settings.payloadLinksFrom : undefined;
}

/** Returns false when another process made the target meanwhile. */
function renameDirectory(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOTEMPTY' || errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Objects are immutable, so one that is there stays; detached metadata is not, and is replaced. */
function placeObject(from: string, to: string): void {
  if (from.endsWith('.commitmeta')) renameSync(from, to);
  else if (!renameNoReplace(from, to)) rmSync(from);
}
