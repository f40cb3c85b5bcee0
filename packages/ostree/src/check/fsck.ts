/**
 * Checking a repository. Semantics: `ostree fsck`, libostree 2022.7, with these differences: a missing or corrupt
 * directory tree or commit is reported like any other object and does not end the check, every report names paths, and
 * `addTombstones` writes the tombstone of the missing parent (libostree 2022.7 writes one of the child, and removes it).
 */
import { lstatSync, rmSync } from 'node:fs';
import { type Checksum, isKnownError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { Commit, ObjectType } from '../format/types.ts';
import { verifyBackRefs, verifyBindings } from '../repo/bindings.ts';
import { enableTombstones, markPartial, partialReason, writeTombstone } from '../repo/commit-markers.ts';
import type { Repo } from '../repo/repo.ts';
import { traverseTree } from '../repo/traverse.ts';
import { type Blame, blame } from './blame.ts';
import { actualChecksum } from './fsck-content.ts';
import { verifyFiles } from './fsck-files.ts';
import { openFsckRecord } from './fsck-record.ts';

export interface FsckOptions {
  /** Go on after a corrupt object. Missing ones never end the check. */
  all?: boolean;
  /** Remove corrupt objects: the next pull fetches them anew. */
  delete?: boolean;
  /** Write a tombstone for each parent that is not here; if there is one, the repository writes them from now on (config). */
  addTombstones?: boolean;
  /** Each ref must stand in the bindings of its commit. */
  verifyBindings?: boolean;
  /** Every binding of every commit must be a ref that points at it: in a repository with history none passes. */
  verifyBackRefs?: boolean;
  /**
   * Keep a record of the contents found sound, and skip those that an interrupted check with this option found sound and whose files have
   * not been touched since. A check that reaches its end removes the record.
   */
  resume?: boolean;
  /** Worker threads; as many as processors when left out, 0 checks all in this thread. */
  workers?: number;
}

/** An object that is missing or corrupt. */
export interface BadObject extends Blame {
  type: ObjectType;
  checksum: Checksum;
  missing: boolean;
  message: string;
  /** The checksum that a corrupt object has, where it could be read. */
  actual?: string | undefined;
}

export type FsckEvent =
  | { type: 'phase'; phase: 'refs' | 'collection-refs' | 'commits' }
  | { type: 'verifying'; commits: number }
  | { type: 'progress'; done: number; total: number }
  | { type: 'bad'; object: BadObject; deleted: boolean }
  | { type: 'partial'; commit: Checksum }
  | { type: 'tombstone'; commit: Checksum };

export interface FsckResult {
  commits: number;
  objects: number;
  /** Contents that an interrupted check had verified: with `resume`. */
  resumed: number;
  /** Commits marked partial, whose objects were not verified. */
  partialCommits: number;
  /** Those of them that an earlier check marked. */
  damagedCommits: number;
  bad: BadObject[];
}

type Found = Omit<BadObject, keyof Blame>;

/**
 * Verifies every object that a complete commit reaches. A commit that lacks an object, or loses one to `delete`, is marked partial.
 *
 * @throws OSTREE_OBJECT_MISSING for a ref whose commit is not here, OSTREE_OBJECT_CORRUPT for a corrupt object unless `all` or `delete`,
 *   OSTREE_BINDING_MISMATCH, OSTREE_LOCK_TIMEOUT
 */
export async function fsck(repo: Repo, options: FsckOptions = {}, signal?: AbortSignal, on?: (event: FsckEvent) => void): Promise<FsckResult> {
  const lock = await repo.lock(options.delete === true ? 'exclusive' : 'shared', signal);
  try {
    return await new Check(repo, options, signal, on).run();
  } finally {
    lock.release();
  }
}

class Check {
  readonly #repo: Repo;
  readonly #options: FsckOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #on: (event: FsckEvent) => void;
  readonly #reached = new ObjectSet();
  readonly #commits: Checksum[] = [];
  readonly #bad: Found[] = [];
  readonly #result: FsckResult = { commits: 0, objects: 0, resumed: 0, partialCommits: 0, damagedCommits: 0, bad: [] };

  constructor(repo: Repo, options: FsckOptions, signal: AbortSignal | undefined, on: ((event: FsckEvent) => void) | undefined) {
    this.#repo = repo;
    this.#options = options;
    this.#signal = signal;
    this.#on = on ?? ((): void => undefined);
  }

  async run(): Promise<FsckResult> {
    this.#checkRefs();
    this.#on({ type: 'phase', phase: 'commits' });
    const parents = this.#enumerate();
    this.#result.commits = this.#commits.length;
    this.#on({ type: 'verifying', commits: this.#commits.length });
    this.#walk();
    const metadata = this.#reached.size;
    for (const { checksum } of this.#metas()) this.#try('dirmeta', checksum, () => this.#repo.readDirMeta(checksum));
    this.#stopAtCorrupt();
    this.#result.objects = metadata;
    await this.#verifyFiles();
    this.#report();
    if (this.#options.addTombstones === true) this.#addTombstones(parents);
    return this.#result;
  }

  #checkRefs(): void {
    this.#on({ type: 'phase', phase: 'refs' });
    for (const [refspec, checksum] of this.#repo.refs.list()) {
      const commit = this.#refCommit(refspec, checksum);
      const ref = refspec.slice(refspec.indexOf(':') + 1);
      if (this.#options.verifyBindings === true && commit !== undefined) verifyBindings(checksum, commit, { ref });
    }
    this.#on({ type: 'phase', phase: 'collection-refs' });
    for (const { collection, ref, checksum } of this.#repo.refs.collectionRefs()) {
      const commit = this.#refCommit(`(${collection}, ${ref})`, checksum);
      if (this.#options.verifyBindings === true && commit !== undefined) verifyBindings(checksum, commit, { ref, collection });
    }
  }

  /** Returns the commit of a ref, or undefined when it is corrupt and the check goes on: the walk reports it. */
  #refCommit(ref: string, checksum: Checksum): Commit | undefined {
    try {
      return this.#repo.readCommit(checksum);
    } catch (cause) {
      if (!isKnownError(cause)) throw cause;
      const data = { ...cause.data, ref, checksum, type: 'commit' };
      const { message } = cause;
      if (cause.code !== 'OSTREE_OBJECT_MISSING') {
        if (this.#options.all !== true && this.#options.delete !== true)
          throw ostreeError('OSTREE_OBJECT_CORRUPT', `fsck ${checksum}.commit: ${message}`, { cause, data });
        if (this.#options.delete !== true) return undefined;
        rmSync(this.#repo.objectPath('commit', checksum), { force: true });
        const found: Found = { type: 'commit', checksum, missing: false, message, actual: actualChecksum(cause) };
        this.#on({ type: 'bad', object: { ...found, commits: [], paths: [], morePaths: false }, deleted: true });
      }
      throw ostreeError('OSTREE_OBJECT_MISSING', `Loading commit for ref ${ref}: No such metadata object ${checksum}.commit`, { cause, data });
    }
  }

  /** Finds the complete commits; returns the parents of all that could be read. */
  #enumerate(): Set<Checksum> {
    const parents = new Set<Checksum>();
    // Those of parent repositories are checked too, and count: what is here needs what is there.
    const owners = new Map<Checksum, Repo>();
    for (let owner: Repo | undefined = this.#repo; owner !== undefined; owner = owner.parent) {
      for (const { type, checksum } of owner.listObjects()) if (type === 'commit' && !owners.has(checksum)) owners.set(checksum, owner);
    }
    // Reports do not depend on the order in which a directory lists its files.
    for (const checksum of [...owners.keys()].sort()) {
      // A mark belongs to the repository that has the commit object.
      const reason = partialReason(owners.get(checksum) as Repo, checksum);
      if (reason === undefined) this.#commits.push(checksum);
      else {
        this.#result.partialCommits++;
        if (reason === 'fsck') this.#result.damagedCommits++;
      }
      if (this.#options.addTombstones !== true && this.#options.verifyBackRefs !== true) continue;
      const commit = this.#try('commit', checksum, () => this.#repo.readCommit(checksum), false);
      if (commit !== undefined && this.#options.verifyBackRefs === true) verifyBackRefs(this.#repo, checksum, commit);
      if (commit?.parent !== undefined) parents.add(commit.parent);
    }
    return parents;
  }

  #walk(): void {
    for (const checksum of this.#commits) {
      this.#signal?.throwIfAborted();
      this.#reached.add('commit', checksum);
      const commit = this.#try('commit', checksum, () => this.#repo.readCommit(checksum));
      if (commit !== undefined) traverseTree(this.#repo, commit.root, this.#reached, (type, at, error) => this.#note(type, at, error));
      this.#stopAtCorrupt();
    }
  }

  *#metas(): Iterable<{ checksum: Checksum }> {
    for (const object of this.#reached) if (object.type === 'dirmeta') yield object;
  }

  /** Runs a read; what is wrong with the object is noted. */
  #try<T>(type: ObjectType, checksum: Checksum, read: () => T, note = true): T | undefined {
    try {
      return read();
    } catch (error) {
      if (note) this.#note(type, checksum, error);
      else if (!isKnownError(error)) throw error;
      return undefined;
    }
  }

  #note(type: ObjectType, checksum: Checksum, error: unknown): void {
    if (!isKnownError(error)) throw error;
    this.#bad.push({ type, checksum, missing: error.code === 'OSTREE_OBJECT_MISSING', message: error.message, actual: actualChecksum(error) });
  }

  /** Ends the check at the first corrupt object unless told to go on. */
  #stopAtCorrupt(): void {
    if (this.#options.all === true || this.#options.delete === true) return;
    const corrupt = this.#bad.find((object) => !object.missing);
    if (corrupt === undefined) return;
    const { type, checksum, message, actual } = corrupt;
    const { commits, paths } = blame(this.#repo, this.#commits, [corrupt])[0] as Blame;
    throw ostreeError(
      'OSTREE_OBJECT_CORRUPT',
      `In commits ${commits.join(', ')}: fsck ${type === 'file' ? `content object ${checksum}` : `${checksum}.${type}`}: ${message}`,
      {
        data: { type, checksum, commits, paths, ...(actual === undefined ? {} : { actual }) },
        hint: 'Check the rest with --all, or remove corrupt objects with --delete and pull them again',
      },
    );
  }

  async #verifyFiles(): Promise<void> {
    const total = this.#reached.size;
    const record = this.#options.resume === true ? openFsckRecord(this.#repo) : undefined;
    let done = this.#countMetadata();
    const skip = record?.verified;
    if (skip !== undefined) {
      for (const { type, checksum } of this.#reached) if (type === 'file' && skip.has('file', checksum)) this.#result.resumed++;
      done += this.#result.resumed;
    }
    this.#on({ type: 'progress', done, total });
    const left = function* (reached: ObjectSet): Generator<Checksum> {
      for (const { type, checksum } of reached) if (type === 'file' && skip?.has('file', checksum) !== true) yield checksum;
    };
    try {
      await verifyFiles(this.#repo, left(this.#reached), {
        workers: this.#options.workers,
        expected: total,
        identify: record !== undefined,
        signal: this.#signal,
        onBatch: ({ bad, identities }, count) => {
          for (const object of bad) this.#bad.push({ type: 'file', ...object });
          if (identities !== undefined) record?.add(identities);
          done += count;
          this.#on({ type: 'progress', done, total });
          this.#stopAtCorrupt();
        },
      });
      // What was found bad is looked at anew by the next check, and so is everything else.
      record?.finish();
    } finally {
      record?.close();
    }
  }

  #countMetadata(): number {
    let count = 0;
    for (const { type } of this.#reached) if (type !== 'file') count++;
    return count;
  }

  /** Says whom the bad objects hurt, removes them when asked, and marks those commits. */
  #report(): void {
    if (this.#bad.length === 0) return;
    this.#bad.sort((a, b) => (a.checksum < b.checksum ? -1 : a.checksum > b.checksum ? 1 : 0));
    const marked = new Set<Checksum>();
    for (const [i, { commits, paths, morePaths }] of blame(this.#repo, this.#commits, this.#bad).entries()) {
      const object: BadObject = { ...(this.#bad[i] as Found), commits, paths, morePaths };
      // One that only a parent repository has is not ours to remove.
      const deleted = this.#options.delete === true && !object.missing && isHere(this.#repo, object);
      if (deleted) rmSync(this.#repo.objectPath(object.type, object.checksum), { force: true });
      this.#result.bad.push(object);
      this.#on({ type: 'bad', object, deleted });
      if (!object.missing && !deleted) continue;
      for (const commit of commits) {
        if (marked.has(commit) || !this.#repo.writable) continue;
        marked.add(commit);
        markPartial(this.#repo, commit, 'fsck');
        this.#on({ type: 'partial', commit });
      }
    }
  }

  #addTombstones(parents: ReadonlySet<Checksum>): void {
    for (const parent of parents) {
      if (this.#repo.hasObject('commit', parent)) continue;
      enableTombstones(this.#repo);
      writeTombstone(this.#repo, parent);
      this.#on({ type: 'tombstone', commit: parent });
    }
  }
}

function isHere(repo: Repo, { type, checksum }: Found): boolean {
  return lstatSync(repo.objectPath(type, checksum), { throwIfNoEntry: false }) !== undefined;
}
