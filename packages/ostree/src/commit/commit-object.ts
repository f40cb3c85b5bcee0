/** Commit objects: metadata in libostree's order, bindings, sizes. */
import { lstatSync } from 'node:fs';
import { type Checksum, compareUtf8 } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { ostreeError } from '../errors.ts';
import { isSymlink } from '../format/object-format.ts';
import type { Metadata, TreeRoot } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import type { Transaction } from '../write/transaction.ts';
import { throughDict } from './dict-order.ts';

export interface CommitOptions {
  root: TreeRoot;
  parent?: Checksum | undefined;
  subject?: string | undefined;
  body?: string | undefined;
  /** Seconds since 1970. */
  timestamp: bigint;
  /** The caller's own keys, in the order they are stored; they come first, unless `bootable` or `composefs` mix them up as libostree does. */
  metadata?: Metadata | undefined;
  /** Refs that the commit says it may be found under; undefined writes no binding, [] an empty one (an orphan). */
  bindRefs?: readonly string[] | undefined;
  /** Written after the ref binding; usually the repository's own. */
  collectionId?: string | undefined;
  /** Kernel release of a bootable tree: {@link findKernelRelease}. */
  bootable?: string | undefined;
  /** What {@link composefsMetadata} says about the tree. */
  composefs?: Metadata[number] | undefined;
  /** Append `ostree.sizes`; archive repositories only. */
  generateSizes?: boolean | undefined;
}

/** Writes a commit object and returns its checksum. @throws OSTREE_OPTION_INVALID OSTREE_OBJECT_MISSING */
export function writeCommitObject(transaction: Transaction, options: CommitOptions): Checksum {
  const { root, parent, subject = '', body = '', timestamp, bindRefs, collectionId } = options;
  let metadata: Metadata = options.metadata ?? [];
  if (bindRefs !== undefined) metadata = [...metadata, ['ostree.ref-binding', new Variant('as', [...bindRefs].sort(compareUtf8))]];
  if (bindRefs !== undefined && collectionId !== undefined) metadata = [...metadata, ['ostree.collection-binding', new Variant('s', collectionId)]];
  if (options.bootable !== undefined) {
    metadata = throughDict(metadata, [
      ['ostree.bootable', new Variant('b', true)],
      ['ostree.linux', new Variant('s', options.bootable)],
    ]);
  }
  if (options.composefs !== undefined) metadata = throughDict(metadata, [options.composefs]);
  if (options.generateSizes === true) metadata = [...metadata, ['ostree.sizes', new Variant('aay', listSizes(transaction.repo, root))]];
  return transaction.writeCommit({ metadata, parent, related: [], subject, body, timestamp, root });
}

/** Returns the release of the only kernel in `usr/lib/modules/RELEASE/vmlinuz`. @throws OSTREE_OPTION_INVALID when there is none or several */
export function findKernelRelease(repo: Repo, root: TreeRoot): string {
  let tree: TreeRoot | undefined = root;
  for (const name of ['usr', 'lib', 'modules']) {
    tree = tree === undefined ? undefined : repo.readDirTree(tree.tree).dirs.find((dir) => dir.name === name);
  }
  const releases = (tree === undefined ? [] : repo.readDirTree(tree.tree).dirs)
    .filter((dir) => repo.readDirTree(dir.tree).files.some((file) => file.name === 'vmlinuz'))
    .map((dir) => dir.name);
  const [release] = releases;
  if (release === undefined) throw ostreeError('OSTREE_OPTION_INVALID', 'No kernel found in /usr/lib/modules');
  if (releases.length > 1) throw ostreeError('OSTREE_OPTION_INVALID', 'Multiple kernels found in /usr/lib/modules', { data: { releases } });
  return release;
}

/**
 * Returns the entries of `ostree.sizes`: every object of the tree in order of checksum, as checksum, size in `objects/`,
 * size unpacked (both LEB128) and type. The sizes are those of this repository, so they, and the commit's checksum with
 * them, depend on the compression level.
 */
function listSizes(repo: Repo, root: TreeRoot): Uint8Array[] {
  if (repo.mode !== 'archive') throw ostreeError('OSTREE_OPTION_INVALID', 'Cannot generate sizes: the repository is not of mode archive');
  const entries = new Map<Checksum, Uint8Array>();
  const add = (checksum: Checksum, type: 'file' | 'dirtree' | 'dirmeta', unpacked?: number): void => {
    const path = repo.findObject(type, checksum);
    if (path === undefined) throw ostreeError('OSTREE_OBJECT_MISSING', `No such metadata object ${checksum}.${type}`, { data: { checksum, type } });
    const stored = lstatSync(path).size;
    const kind = { file: 1, dirtree: 2, dirmeta: 3 }[type];
    entries.set(checksum, Uint8Array.from([...Buffer.from(checksum, 'hex'), ...varint(stored), ...varint(unpacked ?? stored), kind]));
  };
  // No recursion: a tree may be as deep as its maker likes.
  const stack = [root];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const { tree, meta } = at;
    if (!entries.has(meta)) add(meta, 'dirmeta');
    if (entries.has(tree)) continue;
    add(tree, 'dirtree');
    const { files, dirs } = repo.readDirTree(tree);
    for (const { checksum } of files) {
      if (entries.has(checksum)) continue;
      const { header, sizeBytes } = repo.readFileHeader(checksum);
      add(checksum, 'file', isSymlink(header) ? Buffer.byteLength(header.target) : sizeBytes);
    }
    for (const dir of dirs) stack.push(dir);
  }
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}

/** Unsigned LEB128. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}
