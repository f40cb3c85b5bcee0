/** Walking the tree of a commit in the order libostree does: the files of a directory, then its subdirectories, each followed by what is below. */
import type { Checksum } from '@cambium/base';
import type { DirTree } from '../format/types.ts';
import type { Repo } from './repo.ts';

export type WalkedNode = { path: string; name: string } & ({ kind: 'directory'; tree: Checksum; meta: Checksum } | { kind: 'file'; checksum: Checksum });

/** Yields everything below a directory, not the directory itself; `path` is the directory's own, without a slash at the end. No recursion. */
export function* walkTree(repo: Repo, root: Checksum, path = ''): Generator<WalkedNode, void, void> {
  const stack: { tree: DirTree; path: string; next: number }[] = [];
  const enter = (checksum: Checksum, at: string): IterableIterator<WalkedNode> => {
    const tree = repo.readDirTree(checksum);
    stack.push({ tree, path: at, next: 0 });
    return tree.files.values().map((file): WalkedNode => ({ kind: 'file', path: `${at}/${file.name}`, name: file.name, checksum: file.checksum }));
  };
  yield* enter(root, path);
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const dir = top.tree.dirs[top.next++];
    if (dir === undefined) {
      stack.pop();
      continue;
    }
    const at = `${top.path}/${dir.name}`;
    yield { kind: 'directory', path: at, name: dir.name, tree: dir.tree, meta: dir.meta };
    yield* enter(dir.tree, at);
  }
}

/** Yields what a directory holds: its files, then its subdirectories. */
export function* listTree(repo: Repo, checksum: Checksum, path = ''): Generator<WalkedNode, void, void> {
  const tree = repo.readDirTree(checksum);
  for (const file of tree.files) yield { kind: 'file', path: `${path}/${file.name}`, name: file.name, checksum: file.checksum };
  for (const dir of tree.dirs) yield { kind: 'directory', path: `${path}/${dir.name}`, name: dir.name, tree: dir.tree, meta: dir.meta };
}
