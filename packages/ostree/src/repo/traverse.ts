/** Reachability: which objects a set of commits needs. */
import type { Checksum } from '@cambium/base';
import { isKnownError } from '@cambium/base';
import { ObjectSet } from '../format/object-set.ts';
import type { Commit, MetadataType, TreeRoot } from '../format/types.ts';
import type { Repo } from './repo.ts';

export interface TraverseOptions {
  /** How many parents to follow: -1 all (the default), 0 none. A parent that is not here ends the chain. */
  depth?: number;
  /** Only commit objects. */
  commitOnly?: boolean;
  /** Set to add to; what it holds already is not walked again. */
  into?: ObjectSet;
  /**
   * Called for a metadata object that is missing or corrupt, which is left out of the set's expansion but counts as reachable.
   * Without it the walk throws, except that a commit marked partial may lack objects.
   */
  onBad?: (type: MetadataType, checksum: Checksum, error: unknown) => void;
}

/** Returns everything that `commits` need. @throws OSTREE_OBJECT_MISSING, OSTREE_OBJECT_CORRUPT */
export function traverse(repo: Repo, commits: Iterable<Checksum>, options: TraverseOptions = {}): ObjectSet {
  const reached = options.into ?? new ObjectSet();
  const walked = new Set<Checksum>();
  for (const start of commits) {
    let depth = options.depth ?? -1;
    let next: Checksum | undefined = start;
    let isTip = true;
    while (next !== undefined) {
      const checksum: Checksum = next;
      const commit = loadCommit(repo, checksum, isTip, options);
      if (commit === undefined) break;
      const isNew = reached.add('commit', checksum);
      // A commit seen before has its objects in the set; its parents may not be, if it was then at the end of its depth.
      if (isNew && options.commitOnly !== true) traverseTree(repo, commit.root, reached, badHandler(repo, checksum, options));
      if (depth === 0) break;
      if (depth > 0) depth--;
      // Refs that share a long history walk it once.
      else if (walked.size === walked.add(checksum).size) break;
      next = commit.parent;
      isTip = false;
    }
  }
  return reached;
}

function loadCommit(repo: Repo, checksum: Checksum, isTip: boolean, options: TraverseOptions): Commit | undefined {
  try {
    return repo.readCommit(checksum);
  } catch (error) {
    if (!isTip && isKnownError(error, 'OSTREE_OBJECT_MISSING')) return undefined;
    if (options.onBad === undefined) throw error;
    options.onBad('commit', checksum, error);
    return undefined;
  }
}

function badHandler(repo: Repo, commit: Checksum, options: TraverseOptions): TraverseOptions['onBad'] {
  if (options.onBad !== undefined) return options.onBad;
  if (!repo.isPartial(commit)) return undefined;
  return (_type, _checksum, error) => {
    if (!isKnownError(error, 'OSTREE_OBJECT_MISSING')) throw error;
  };
}

/** Adds a directory and everything below it to `reached`. No recursion: a tree may be as deep as its maker likes. */
export function traverseTree(repo: Repo, root: TreeRoot, reached: ObjectSet, onBad?: TraverseOptions['onBad']): void {
  reached.add('dirmeta', root.meta);
  if (!reached.add('dirtree', root.tree)) return;
  const stack: Checksum[] = [root.tree];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    let tree: ReturnType<Repo['readDirTree']>;
    try {
      tree = repo.readDirTree(at);
    } catch (error) {
      if (onBad === undefined) throw error;
      onBad('dirtree', at, error);
      continue;
    }
    for (const file of tree.files) reached.add('file', file.checksum);
    for (const dir of tree.dirs) {
      reached.add('dirmeta', dir.meta);
      if (reached.add('dirtree', dir.tree)) stack.push(dir.tree);
    }
  }
}
