/** Finding things in the tree of a commit: by path, and where symlinks are not followed. */
import type { Checksum } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import type { Commit, TreeRoot } from '../format/types.ts';
import type { Repo } from './repo.ts';

/** A directory, by its two objects, or a file or symlink, by its content object. */
export type TreeNode = ({ kind: 'directory' } & TreeRoot) | { kind: 'file'; checksum: Checksum };

/** Returns the commit a revision names. @throws OSTREE_REF_NOT_FOUND, OSTREE_OBJECT_MISSING */
export function readRev(repo: Repo, rev: string): { checksum: Checksum; commit: Commit } {
  const checksum = repo.refs.resolve(rev);
  return { checksum, commit: repo.readCommit(checksum) };
}

/** Splits a path inside a commit into its names; empty ones are dropped, so `/`, `//a` and `a/` are fine. */
export function splitPath(path: string): string[] {
  return path.split('/').filter((name) => name !== '');
}

/**
 * Returns what stands at `path` (with or without a leading slash), or undefined. Names are compared as they are:
 * `.` and `..` exist in no tree, and symlinks are not followed.
 *
 * @throws OSTREE_PATH_NOT_DIRECTORY when something on the way is not a directory
 */
export function findPath(repo: Repo, root: TreeRoot, path: string): TreeNode | undefined {
  let node: TreeNode = { kind: 'directory', ...root };
  let shown = '';
  for (const name of splitPath(path)) {
    if (node.kind === 'file') throw ostreeError('OSTREE_PATH_NOT_DIRECTORY', `Cannot open "${path}": "${shown}" is not a directory`);
    const tree = repo.readDirTree(node.tree);
    const directory = tree.dirs.find((dir) => dir.name === name);
    const file = directory === undefined ? tree.files.find((entry) => entry.name === name) : undefined;
    if (directory !== undefined) node = { kind: 'directory', tree: directory.tree, meta: directory.meta };
    else if (file !== undefined) node = { kind: 'file', checksum: file.checksum };
    else return undefined;
    shown += `/${name}`;
  }
  return node;
}

/** As {@link findPath}. @throws OSTREE_PATH_NOT_FOUND when there is nothing */
export function requirePath(repo: Repo, root: TreeRoot, path: string): TreeNode {
  const node = findPath(repo, root, path);
  if (node === undefined) throw ostreeError('OSTREE_PATH_NOT_FOUND', `Cannot open "${path}": no such file or directory in the commit`);
  return node;
}
