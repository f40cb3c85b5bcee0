/**
 * Drops the layers and images of a repository that no packed app needs any more, and what only they held.
 *
 * Commits of others that no ref names stay. Everything happens under the repository's exclusive lock: a pack holds the
 * shared one from before it relies on a layer until its own refs are written, so the two never see each other half done.
 */
import { lstatSync, rmSync } from 'node:fs';
import { type Checksum, systemError } from '@cambium/base';
import { type Commit, ostreeError, prune, type Repo, traverse, writeTombstone } from '@cambium/ostree';
import { IMAGE_REF_PREFIX } from './image-commit.ts';
import { LAYER_REF_PREFIX } from './layer-commit.ts';
import { findUnusedRefs } from './unused-refs.ts';

export interface RepoCleanPlan {
  /** Refs that go. */
  refs: readonly string[];
  /** Layer and image commits that go: those of the refs, and those an interrupted clean left without one. */
  commits: readonly Checksum[];
  /** Objects that only these commits hold, themselves included, and those that no commit holds. */
  objects: number;
  /** Size of these objects as stored. */
  freedBytes: number;
}

/** Returns what {@link cleanRepo} would delete now. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT when kept commits are damaged */
export function planRepoClean(repo: Repo): RepoCleanPlan {
  const unused = findUnusedRefs(repo);
  const going = new Set(unused.map(({ ref }) => ref));
  const named = new Set<Checksum>([...repo.refs.list()].flatMap(([ref, commit]) => (going.has(ref) ? [] : [commit])));
  for (const { checksum } of repo.refs.collectionRefs()) named.add(checksum);

  const all = [...repo.listObjects()];
  const doomed = new Set<Checksum>();
  const parents = new Set<Checksum>();
  for (const { type, checksum } of all) {
    if (type !== 'commit' || named.has(checksum)) continue;
    const commit = repo.readCommit(checksum);
    if (isCache(commit)) doomed.add(checksum);
    else if (commit.parent !== undefined) parents.add(commit.parent);
  }
  // Nobody builds on a cache, but if someone did it would be history of theirs.
  for (const parent of parents) doomed.delete(parent);

  const kept = all.flatMap(({ type, checksum }) => (type === 'commit' && !doomed.has(checksum) ? [checksum] : []));
  const reached = traverse(repo, kept, { depth: 0 });
  let objects = 0;
  let freedBytes = 0;
  for (const { type, checksum } of all) {
    if ((type !== 'commit' && type !== 'dirtree' && type !== 'dirmeta' && type !== 'file') || reached.has(type, checksum)) continue;
    objects++;
    freedBytes += lstatSync(repo.objectPath(type, checksum), { throwIfNoEntry: false })?.size ?? 0;
  }
  return { refs: [...going], commits: [...doomed], objects, freedBytes };
}

/**
 * Plans, tells, deletes. A run that is interrupted leaves a valid repository, and the next one finishes it.
 *
 * @param tell gets the plan before anything is deleted; nobody else can change it any more then
 * @throws OSTREE_REPO_READ_ONLY OSTREE_LOCK_TIMEOUT OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT, the signal's reason
 */
export async function cleanRepo(repo: Repo, signal?: AbortSignal, tell?: (plan: RepoCleanPlan) => void): Promise<RepoCleanPlan> {
  if (!repo.writable) throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot clean repository "${repo.path}": permission denied or read-only file system`);
  const lock = await repo.lock('exclusive', signal);
  try {
    const plan = planRepoClean(repo);
    tell?.(plan);
    signal?.throwIfAborted();
    // Refs, then commits, then the rest: at any instant a ref has its commit and a commit has its objects.
    for (const ref of plan.refs) repo.refs.write(ref, undefined);
    for (const commit of plan.commits) removeCommit(repo, commit);
    if (plan.objects > 0) await prune(repo, {}, signal);
    return plan;
  } catch (error) {
    throw systemError(error, `Cannot clean repository "${repo.path}"`) ?? error;
  } finally {
    lock.release();
  }
}

/** Returns whether a commit is one of ours, by its binding as well as by its metadata: a clean may have lost its ref, never those. */
function isCache(commit: Commit): boolean {
  const values = new Map(commit.metadata);
  const refs = values.get('ostree.ref-binding')?.value;
  const bound = Array.isArray(refs) && refs.length === 1 ? String(refs[0]) : '';
  return (
    (bound.startsWith(LAYER_REF_PREFIX) && values.has('cambium.layer.diffid')) ||
    (bound.startsWith(IMAGE_REF_PREFIX) && values.has('cambium.image.manifest-digest'))
  );
}

/** What lies beside it (detached metadata, markers, deltas) goes with the prune. */
function removeCommit(repo: Repo, checksum: Checksum): void {
  if (repo.settings.tombstoneCommits) writeTombstone(repo, checksum);
  rmSync(repo.objectPath('commit', checksum), { force: true });
}
