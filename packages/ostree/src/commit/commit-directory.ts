/** `--tree=dir=PATH`: a directory on disk into a tree. */
import { lstatSync, realpathSync, rmdirSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Checksum, errnoOf, KnownError, systemError } from '@cambium/base';
import { withReach } from '@cambium/system';
import { ostreeError } from '../errors.ts';
import { type CommitModifiers, checkAllMatched, type MatchedPaths, remainingModifiers } from '../write/commit-modifiers.ts';
import type { ContentTask } from '../write/content-tasks.ts';
import type { DirectoryPart, DirectoryResult } from '../write/directory-shard.ts';
import type { Transaction } from '../write/transaction.ts';
import type { MutableTree } from './mutable-tree.ts';

/** A share carries at most this many directories, so that small ones do not cost a message each. */
const PARTS_PER_SHARE = 32;
/** About as many files as a thread takes in one share: what more it is sent it sends back, and a directory may have a million. */
const NAMES_PER_PART = 512;
/** Two per thread: one in work, one waiting. */
const SHARES_PER_LANE = 2;

interface Pending extends DirectoryPart {
  parent: MutableTree;
  name: string;
  /** Set once the directory has been opened and is not left out. */
  tree?: MutableTree;
}

let contexts = 0;

/**
 * Takes everything below `path` into `tree`, over what is there; symlinks are not followed, other devices are entered.
 * Files appear in the repository with the transaction.
 *
 * @param matched collects the override and skip paths that fitted, when several trees share the lists; checked here otherwise
 * @throws OSTREE_FILE_UNSUPPORTED OSTREE_TREE_CONFLICT OSTREE_PATH_UNMATCHED OSTREE_SPACE_RESERVED, errno of what cannot be read
 */
export async function commitDirectory(
  transaction: Transaction,
  tree: MutableTree,
  path: string,
  modifiers: CommitModifiers = {},
  matched?: MatchedPaths,
): Promise<void> {
  const applied = modifiersFor(transaction, modifiers);
  const found: MatchedPaths = matched ?? new Set();
  const run = new DirectoryRun(transaction, remainingModifiers(applied, found), found);
  try {
    // A link with a slash behind it is what it leads to.
    await run.all(tree, path.endsWith('/') ? realpathSync(path) : resolve(path));
    if (modifiers.consume === true) run.removeDirectories(path === '.');
  } catch (error) {
    throw error instanceof KnownError ? error : (systemError(error, `Cannot commit "${path}"`) ?? error);
  }
  if (matched === undefined) checkAllMatched(applied, found);
}

/** Returns the modifiers with what the repository's mode demands. */
export function modifiersFor(transaction: Transaction, modifiers: CommitModifiers): CommitModifiers {
  const canonical = modifiers.canonicalPermissions === true || transaction.repo.mode === 'bare-user-only';
  if (modifiers.canonicalPermissions === true && ((modifiers.ownerUid ?? 0) !== 0 || (modifiers.ownerGid ?? 0) !== 0)) {
    throw ostreeError('OSTREE_OPTION_INVALID', 'Cannot commit: canonical permissions conflict with an owner other than 0');
  }
  if (modifiers.selinux !== undefined && transaction.repo.mode === 'bare-user-only') {
    // libostree writes objects there that fail its own fsck.
    throw ostreeError('OSTREE_OPTION_INVALID', 'Cannot commit: bare-user-only repositories have no place for SELinux labels');
  }
  const noXattrs = modifiers.noXattrs === true || transaction.repo.settings.disableXattrs;
  return { ...modifiers, canonicalPermissions: canonical, noXattrs };
}

class DirectoryRun {
  readonly #transaction: Transaction;
  readonly #modifiers: CommitModifiers;
  readonly #matched: MatchedPaths;
  readonly #context = contexts++;
  readonly #queue: Pending[] = [];
  /** Parents before children: emptied ones are removed from the end. */
  readonly #entered: string[] = [];

  constructor(transaction: Transaction, modifiers: CommitModifiers, matched: MatchedPaths) {
    this.#transaction = transaction;
    this.#modifiers = modifiers;
    this.#matched = matched;
  }

  async all(tree: MutableTree, disk: string): Promise<void> {
    if (!lstatSync(disk).isDirectory()) throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Cannot commit "${disk}": not a directory`);
    const { workers, signal } = this.#transaction;
    workers.addContext({ op: 'context', context: this.#context, modifiers: this.#modifiers });
    this.#queue.push({ disk, path: '', parent: tree, name: '', tree });
    const running = new Set<Promise<void>>();
    let failure: { error: unknown } | undefined;
    while (this.#queue.length > 0 || running.size > 0) {
      if (failure !== undefined || signal?.aborted === true) break;
      const next = this.#queue.at(-1);
      if (next === undefined || (running.size > 0 && workers.idlestLane().busy >= SHARES_PER_LANE)) {
        await Promise.race(running);
        continue;
      }
      const parts = this.#share(running.size);
      const task: ContentTask & { op: 'scan' } = { op: 'scan', context: this.#context, parts: parts.map(({ disk, path, rest }) => ({ disk, path, rest })) };
      if (workers.preferInline(0)) {
        const result = workers.runInline(task);
        const files = this.#take(parts, result.done, result.matched);
        workers.preferInline(files);
        continue;
      }
      const work: Promise<void> = workers
        .run(task, workers.idlestLane().lane)
        .then((result) => {
          this.#take(parts, result.done, result.matched);
        })
        .catch((error) => {
          failure ??= { error };
        })
        .finally(() => running.delete(work));
      running.add(work);
    }
    await Promise.all(running);
    if (failure !== undefined) throw failure.error;
    signal?.throwIfAborted();
  }

  /** Removes the directories that were taken in; `keepTop`: all but the one given, which is the caller's own place. */
  removeDirectories(keepTop: boolean): void {
    for (const path of this.#entered.slice(keepTop ? 1 : 0).reverse()) removeIfEmpty(path);
  }

  /** Takes work off the queue: deep directories first, which keeps it short; less at a time when there is little. */
  #share(running: number): Pending[] {
    const lanes = Math.max(1, this.#transaction.workers.lanes);
    const count = Math.max(1, Math.min(PARTS_PER_SHARE, Math.ceil(this.#queue.length / (lanes + running))));
    let from = this.#queue.length - 1;
    let names = this.#queue[from]?.rest?.length ?? 0;
    while (from > 0 && this.#queue.length - from < count) {
      names += this.#queue[from - 1]?.rest?.length ?? 0;
      if (names > NAMES_PER_PART) break;
      from--;
    }
    return this.#queue.splice(from);
  }

  #take(parts: readonly Pending[], done: readonly DirectoryResult[], matched: readonly string[]): number {
    for (const path of matched) this.#matched.add(path);
    let files = 0;
    for (const [i, part] of parts.entries()) {
      const result = done[i];
      if (result === undefined) this.#queue.push(part);
      else {
        files += 1 + result.files.length;
        this.#store(part, result);
      }
    }
    return files;
  }

  #store(part: Pending, result: DirectoryResult): void {
    if (part.rest === undefined) {
      if (result.meta === undefined) return;
      part.tree = part.name === '' ? part.parent : part.parent.ensureDirectory(part.name);
      part.tree.meta = this.#transaction.writeDirMetaBytes(result.meta);
      this.#entered.push(part.disk);
    }
    const tree = part.tree as MutableTree;
    const hex = Buffer.from(result.checksums.buffer, result.checksums.byteOffset, result.checksums.byteLength).toString('hex');
    for (const [i, name] of result.files.entries()) {
      // A copy of its own: a slice would keep the whole share's text alive.
      const checksum = Buffer.from(hex.slice(i * 64, i * 64 + 64), 'latin1').toString('latin1') as Checksum;
      tree.setFile(name, checksum);
      this.#transaction.countContent(checksum, result.objects, i);
    }
    this.#transaction.stats.devInoCacheHits += result.objects.cacheHits;
    for (const name of result.dirs) this.#queue.push({ disk: `${part.disk}/${name}`, path: `${part.path}/${name}`, parent: tree, name });
    const { rest = [] } = result;
    for (let at = 0; at < rest.length; at += NAMES_PER_PART) this.#queue.push({ ...part, rest: rest.slice(at, at + NAMES_PER_PART) });
  }
}

function removeIfEmpty(path: string): void {
  try {
    withReach(dirname(path), (parent) => rmdirSync(join(parent, basename(path))));
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST') throw error;
  }
}
