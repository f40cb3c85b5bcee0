/** A directory tree in memory: loaded from a repository where it is looked at, changed, and written bottom-up. */
import { type Checksum, compareUtf8 } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { isEntryName } from '../format/object-format.ts';
import type { DirTree, TreeRoot } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import type { Transaction } from '../write/transaction.ts';

/** Deeper trees would exhaust the stack; libostree pulls none that are deeper than 256. */
const MAX_DEPTH = 2048;

/** For every recursion over directories. @throws OSTREE_FILE_UNSUPPORTED */
export function checkDepth(depth: number, action: 'commit' | 'compare' = 'commit'): void {
  if (depth > MAX_DEPTH) throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Cannot ${action}: directories nested deeper than ${MAX_DEPTH}`);
}

export class MutableTree {
  /** Checksum of the directory's dirmeta. A tree cannot be written while one is missing. */
  meta: Checksum | undefined;
  /** Where the entries come from until they are needed. */
  #source: { repo: Repo; tree: Checksum } | undefined;
  #files = new Map<string, Checksum>();
  #directories = new Map<string, MutableTree>();

  static empty(): MutableTree {
    return new MutableTree();
  }

  /** Returns the tree of a commit or of a directory in one; nothing is read before it is asked for. */
  static of(repo: Repo, root: TreeRoot): MutableTree {
    const tree = new MutableTree();
    tree.meta = root.meta;
    tree.#source = { repo, tree: root.tree };
    return tree;
  }

  file(name: string): Checksum | undefined {
    this.#load();
    return this.#files.get(name);
  }

  directory(name: string): MutableTree | undefined {
    this.#load();
    return this.#directories.get(name);
  }

  /** Returns the entry at a path of components joined by `/`; '' is this directory. */
  lookup(path: string): Checksum | MutableTree | undefined {
    const names = path.split('/').filter((name) => name !== '');
    const last = names.pop();
    if (last === undefined) return this;
    let at: MutableTree | undefined = this;
    for (const name of names) at = at?.directory(name);
    return at?.directory(last) ?? at?.file(last);
  }

  /** Returns the directory of this name, made when there is none. @throws OSTREE_TREE_CONFLICT OSTREE_FILE_UNSUPPORTED */
  ensureDirectory(name: string): MutableTree {
    this.#load();
    const present = this.#directories.get(name);
    if (present !== undefined) return present;
    if (this.#files.has(name)) throw ostreeError('OSTREE_TREE_CONFLICT', `Can't replace file with directory: ${name}`, { data: { name } });
    return this.setDirectory(name, new MutableTree());
  }

  /** Puts a file here; one of this name is replaced. @throws OSTREE_TREE_CONFLICT OSTREE_FILE_UNSUPPORTED */
  setFile(name: string, checksum: Checksum): void {
    this.#load();
    if (this.#directories.has(name)) throw ostreeError('OSTREE_TREE_CONFLICT', `Can't replace directory with file: ${name}`, { data: { name } });
    checkName(name);
    this.#files.set(name, checksum);
  }

  /** Puts a whole directory here; one of this name is replaced, not merged. @throws OSTREE_TREE_CONFLICT OSTREE_FILE_UNSUPPORTED */
  setDirectory(name: string, tree: MutableTree): MutableTree {
    this.#load();
    if (this.#files.has(name)) throw ostreeError('OSTREE_TREE_CONFLICT', `Can't replace file with directory: ${name}`, { data: { name } });
    checkName(name);
    this.#directories.set(name, tree);
    return tree;
  }

  /** Removes an entry of either kind; returns whether it was there. */
  remove(name: string): boolean {
    this.#load();
    return this.#files.delete(name) || this.#directories.delete(name);
  }

  files(): Iterable<[string, Checksum]> {
    this.#load();
    return this.#files;
  }

  directories(): Iterable<[string, MutableTree]> {
    this.#load();
    return this.#directories;
  }

  isEmpty(): boolean {
    this.#load();
    return this.#files.size === 0 && this.#directories.size === 0;
  }

  /**
   * Lays `other` over this tree: files replace files, directories merge and take the other's metadata.
   * The other must not be used afterwards: its parts become parts of this one. @throws OSTREE_TREE_CONFLICT
   */
  merge(other: MutableTree): void {
    this.#merge(other, 0);
  }

  #merge(other: MutableTree, depth: number): void {
    checkDepth(depth);
    // Nothing of ours to keep: take the other unread.
    if (this.#source === undefined && this.#files.size === 0 && this.#directories.size === 0) {
      this.#source = other.#source;
      this.#files = other.#files;
      this.#directories = other.#directories;
    } else {
      for (const [name, checksum] of other.files()) this.setFile(name, checksum);
      for (const [name, directory] of other.directories()) {
        const present = this.directory(name);
        if (present === undefined) this.setDirectory(name, directory);
        else present.#merge(directory, depth + 1);
      }
    }
    this.meta = other.meta ?? this.meta;
  }

  /** Writes the dirtrees of all that was loaded or made, deepest first. @throws OSTREE_TREE_INCOMPLETE */
  write(transaction: Transaction): TreeRoot {
    return this.#write(transaction, '', 0);
  }

  #write(transaction: Transaction, path: string, depth: number): TreeRoot {
    const { meta } = this;
    if (meta === undefined) {
      throw ostreeError('OSTREE_TREE_INCOMPLETE', path === '' ? "Can't commit an empty tree" : `Directory "${path}" has no metadata`, { data: { path } });
    }
    if (this.#source !== undefined) return { tree: this.#source.tree, meta };
    checkDepth(depth);
    const tree: DirTree = {
      files: sorted(this.#files).map(([name, checksum]) => ({ name, checksum })),
      dirs: sorted(this.#directories).map(([name, directory]) => ({ name, ...directory.#write(transaction, `${path}/${name}`, depth + 1) })),
    };
    return { tree: transaction.writeDirTree(tree), meta };
  }

  #load(): void {
    const source = this.#source;
    if (source === undefined) return;
    const { files, dirs } = source.repo.readDirTree(source.tree);
    this.#source = undefined;
    for (const { name, checksum } of files) this.#files.set(name, checksum);
    for (const { name, tree, meta } of dirs) this.#directories.set(name, MutableTree.of(source.repo, { tree, meta }));
  }
}

function checkName(name: string): void {
  if (!isEntryName(name)) throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Invalid filename "${name.slice(0, 300)}"`);
}

function sorted<T>(entries: Map<string, T>): [string, T][] {
  return [...entries].sort(([a], [b]) => compareUtf8(a, b));
}
