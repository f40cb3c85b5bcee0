/** Removing what nothing needs. Semantics: `ostree prune`, libostree 2022.7. */
import { existsSync, lstatSync, readdirSync, readlinkSync, rmSync, unlink } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, errnoOf, isChecksum, isKnownError, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { listDeltaIndexes, listDeltas } from '../format/delta-path.ts';
import { loosePath } from '../format/object-path.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { ObjectType } from '../format/types.ts';
import { clearPartial, enableTombstones, writeTombstone } from '../repo/commit-markers.ts';
import type { Repo } from '../repo/repo.ts';
import { traverse } from '../repo/traverse.ts';

export interface PruneOptions {
  /** Only refs keep commits alive; without it every commit object does. The branch and date options imply it. */
  refsOnly?: boolean;
  /** How many parents of a ref's commit to keep: -1 all, which is the default. */
  depth?: number;
  /** Count only, delete nothing. */
  dryRun?: boolean;
  /** Delete this commit first, and write tombstones from now on. @throws OSTREE_COMMIT_IN_USE when a ref points at it */
  deleteCommit?: Checksum;
  /** Of the chain of each ref keep commits from this time on (seconds since 1970), the ref's own in any case. */
  keepYoungerThan?: bigint;
  /**
   * Depths for single refs, instead of `depth`, `keepYoungerThan` and `onlyBranches`. As in libostree 0 sets aside
   * `onlyBranches` alone: such a ref is kept as the other two say.
   */
  retainBranchDepth?: ReadonlyMap<string, number>;
  /** Only these refs lose history; others keep all of theirs. */
  onlyBranches?: readonly string[];
  /** Of `deleteCommit` remove the static deltas only. */
  staticDeltasOnly?: boolean;
  /** Look at and delete commit objects only: quick, and leaves what they pointed at for a later prune. */
  commitOnly?: boolean;
}

export interface PruneResult {
  totalObjects: number;
  /** Deleted, or in a dry run: would be. */
  prunedObjects: number;
  freedBytes: number;
  /** Static deltas removed because their target commit is gone. */
  prunedDeltas: number;
}

/** Deletion goes from the top: at any instant a commit that is there has all it had. */
const ORDER: readonly ObjectType[] = ['commit', 'dirtree', 'dirmeta', 'file'];
/** As many threads as Node has for files. */
const UNLINKS_AT_ONCE = 4;

/**
 * Plans, then deletes. Holds the repository's exclusive lock, so no transaction is under way meanwhile.
 *
 * @throws OSTREE_COMMIT_IN_USE OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_REF_NOT_FOUND OSTREE_LOCK_TIMEOUT OSTREE_REPO_READ_ONLY
 */
export async function prune(repo: Repo, options: PruneOptions = {}, signal?: AbortSignal): Promise<PruneResult> {
  const { dryRun = false } = options;
  if (!dryRun && !repo.writable)
    throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot prune repository "${repo.path}": permission denied or read-only file system`);
  const lock = await repo.lock('exclusive', signal);
  try {
    const deltas = options.deleteCommit === undefined ? 0 : deleteCommit(repo, options.deleteCommit, options);
    if (options.staticDeltasOnly === true) return count(repo, options, deltas);
    const reached = reachable(repo, options, signal);
    signal?.throwIfAborted();
    const plan = planDeletion(repo, reached, options);
    if (dryRun) return plan.result;
    for (const type of ORDER) {
      const doomed = plan.doomed[Symbol.iterator]().filter((object) => object.type === type);
      if (type === 'commit') for (const { checksum } of doomed) removeCommit(repo, checksum);
      else await unlinkAll(doomed.map(({ checksum }) => repo.objectPath(type, checksum)));
    }
    for (const path of plan.links) rmSync(path, { force: true });
    plan.result.prunedDeltas = cleanUp(repo, plan.detached);
    return plan.result;
  } catch (error) {
    throw systemError(error, `Cannot prune repository "${repo.path}"`) ?? error;
  } finally {
    lock.release();
  }
}

/**
 * Removes files that may be gone already, in Node's own threads: most of the time a removal waits for the journal of the file system.
 * After a failure it ends with those under way.
 */
function unlinkAll(paths: Iterator<string>): Promise<void> {
  return new Promise((resolve, reject) => {
    let running = 0;
    let failure: Error | undefined;
    const more = (): void => {
      for (; running < UNLINKS_AT_ONCE && failure === undefined; running++) {
        const path = paths.next();
        if (path.done === true) break;
        unlink(path.value, (error) => {
          running--;
          if (error !== null && errnoOf(error) !== 'ENOENT') failure ??= error;
          more();
        });
      }
      if (running > 0) return;
      if (failure === undefined) resolve();
      else reject(failure);
    };
    more();
  });
}

/** Returns how many static deltas went. */
function deleteCommit(repo: Repo, checksum: Checksum, options: PruneOptions): number {
  if (options.dryRun === true) throw new TypeError('deleteCommit and dryRun exclude each other');
  if (options.staticDeltasOnly === true) {
    const deltas = [...listDeltas(repo.path)].filter((delta) => delta.to === checksum);
    for (const delta of deltas) rmSync(delta.path, { recursive: true, force: true });
    return deltas.length;
  }
  for (const [ref, target] of repo.refs.list()) {
    if (target !== checksum) continue;
    throw ostreeError('OSTREE_COMMIT_IN_USE', `Commit '${checksum}' is referenced by '${ref}'`, { data: { checksum, ref }, hint: 'Delete the ref first' });
  }
  for (const { collection, ref, checksum: target } of repo.refs.collectionRefs()) {
    if (target === checksum)
      throw ostreeError('OSTREE_COMMIT_IN_USE', `Commit '${checksum}' is referenced by (${collection}, ${ref})`, { data: { checksum, collection, ref } });
  }
  // As libostree, before it looks for the commit: whoever deletes single commits wants it known that they are gone on purpose.
  enableTombstones(repo);
  if (!existsSync(repo.objectPath('commit', checksum))) {
    const place = loosePath('commit', checksum, repo.mode);
    throw ostreeError('OSTREE_OBJECT_MISSING', `Deleting object ${checksum}.commit: unlinkat(${place}): No such file or directory`, {
      data: { checksum, type: 'commit' },
    });
  }
  removeCommit(repo, checksum);
  return 0;
}

/** A commit goes with its detached metadata and its marker; where the repository wants it, a tombstone stays. */
function removeCommit(repo: Repo, checksum: Checksum): void {
  if (repo.settings.tombstoneCommits) writeTombstone(repo, checksum);
  rmSync(repo.objectPath('commit', checksum), { force: true });
  rmSync(repo.objectPath('commitmeta', checksum), { force: true });
  clearPartial(repo, checksum);
}

function reachable(repo: Repo, options: PruneOptions, signal: AbortSignal | undefined): ObjectSet {
  const reached = new ObjectSet();
  const { depth = -1, commitOnly = false, keepYoungerThan, retainBranchDepth, onlyBranches } = options;
  const walk = (checksum: Checksum, deep: number): void => {
    signal?.throwIfAborted();
    // A ref whose commit is not here keeps nothing.
    if (repo.hasObject('commit', checksum)) traverse(repo, [checksum], { depth: deep, commitOnly, into: reached });
  };
  const chosen = keepYoungerThan !== undefined || retainBranchDepth !== undefined || onlyBranches !== undefined;
  if (options.refsOnly !== true && !chosen) {
    for (const { type, checksum } of repo.listObjects()) if (type === 'commit') walk(checksum, 0);
    return reached;
  }
  const only = onlyBranches === undefined ? undefined : new Set(onlyBranches);
  for (const branch of only ?? []) repo.refs.resolve(branch);
  for (const [ref, checksum] of repo.refs.list()) {
    const retain = retainBranchDepth?.get(ref);
    if (retain !== undefined && retain !== 0) walk(checksum, retain);
    else if (retain === undefined && only !== undefined && !only.has(ref)) walk(checksum, -1);
    else if (keepYoungerThan !== undefined) walk(checksum, youngerDepth(repo, checksum, keepYoungerThan));
    else walk(checksum, depth);
  }
  for (const { checksum } of repo.refs.collectionRefs()) {
    // Those of this repository's own collection were walked as refs already.
    if (!reached.has('commit', checksum)) walk(checksum, chosen ? -1 : depth);
  }
  return reached;
}

/** Returns how many parents of a commit are not older than a time. */
function youngerDepth(repo: Repo, tip: Checksum, oldest: bigint): number {
  let depth = 0;
  for (let next = parentOf(repo, tip); next !== undefined; next = parentOf(repo, next)) {
    if (!repo.hasObject('commit', next) || repo.readCommit(next).timestamp < oldest) break;
    depth++;
  }
  return depth;
}

function parentOf(repo: Repo, checksum: Checksum): Checksum | undefined {
  try {
    return repo.readCommit(checksum).parent;
  } catch (error) {
    if (isKnownError(error, 'OSTREE_OBJECT_MISSING')) return undefined;
    throw error;
  }
}

function isObjectType(type: string): type is ObjectType {
  return type === 'file' || type === 'dirtree' || type === 'dirmeta' || type === 'commit';
}

function count(repo: Repo, options: PruneOptions, prunedDeltas: number): PruneResult {
  let totalObjects = 0;
  for (const { type } of repo.listObjects()) if (options.commitOnly === true ? type === 'commit' : isObjectType(type)) totalObjects++;
  return { totalObjects, prunedObjects: 0, freedBytes: 0, prunedDeltas };
}

interface Plan {
  result: PruneResult;
  doomed: ObjectSet;
  /** Paths of payload links that go. */
  links: string[];
  /** Commits that have detached metadata. */
  detached: Checksum[];
}

function planDeletion(repo: Repo, reached: ObjectSet, options: PruneOptions): Plan {
  const result: PruneResult = { totalObjects: 0, prunedObjects: 0, freedBytes: 0, prunedDeltas: 0 };
  const doomed = new ObjectSet();
  const links: string[] = [];
  const detached: Checksum[] = [];
  for (const { type, checksum } of repo.listObjects()) {
    if (type === 'commitmeta') detached.push(checksum);
    if (type === 'payload-link' && options.commitOnly !== true) {
      const path = repo.objectPath(type, checksum);
      result.totalObjects++;
      if (payloadIsReachable(path, reached)) continue;
      links.push(path);
      result.prunedObjects++;
      result.freedBytes += lstatSync(path).size;
      continue;
    }
    if (!isObjectType(type) || (options.commitOnly === true && type !== 'commit')) continue;
    result.totalObjects++;
    if (reached.has(type, checksum)) continue;
    doomed.add(type, checksum);
    result.prunedObjects++;
    result.freedBytes += lstatSync(repo.objectPath(type, checksum), { throwIfNoEntry: false })?.size ?? 0;
  }
  return { result, doomed, links, detached };
}

/** The target is `../XX/REST.file`. */
function payloadIsReachable(path: string, reached: ObjectSet): boolean {
  const [, directory, rest] = /^\.\.\/([0-9a-f]{2})\/([0-9a-f]{62})\.file$/.exec(readlinkSync(path)) ?? [];
  const checksum = `${directory ?? ''}${rest ?? ''}`;
  return isChecksum(checksum) && reached.has('file', checksum);
}

/** Removes what commits leave behind: static deltas, detached metadata, markers, and cached summaries of remotes that are no more. Returns how many deltas went. */
function cleanUp(repo: Repo, detached: readonly Checksum[]): number {
  let deltas = 0;
  for (const delta of listDeltas(repo.path)) {
    if (repo.hasObject('commit', delta.to)) continue;
    rmSync(delta.path, { recursive: true, force: true });
    deltas++;
  }
  for (const index of listDeltaIndexes(repo.path)) if (!repo.hasObject('commit', index.to)) rmSync(index.path, { force: true });
  for (const checksum of detached) if (!repo.hasObject('commit', checksum)) rmSync(repo.objectPath('commitmeta', checksum), { force: true });
  for (const name of namesIn(join(repo.path, 'state'))) {
    const checksum = name.replace(/\.commitpartial$/, '');
    if (checksum !== name && isChecksum(checksum) && !repo.hasObject('commit', checksum)) clearPartial(repo, checksum);
  }
  const summaries = join(repo.path, 'tmp', 'cache', 'summaries');
  for (const name of namesIn(summaries)) {
    if (!repo.config.has(`remote "${name.replace(/\.sig$/, '')}"`)) rmSync(join(summaries, name), { force: true });
  }
  return deltas;
}

function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}
