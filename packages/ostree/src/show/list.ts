/** `ostree ls`: the entries of a commit's tree, and their lines as libostree prints them. */
import type { Checksum } from '@cambium/base';
import { printVariant } from '@cambium/gvariant';
import { S_IFLNK, S_IFMT, type Xattr } from '@cambium/tree';
import type { TreeRoot } from '../format/types.ts';
import { requirePath, splitPath } from '../repo/lookup.ts';
import type { Repo } from '../repo/repo.ts';
import { listTree, type WalkedNode, walkTree } from '../repo/tree-walk.ts';

export interface ListEntry {
  /** From the root of the commit, with a leading slash; the root itself is `/`. */
  path: string;
  kind: 'file' | 'symlink' | 'directory';
  /** Full st_mode. */
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  /** Target of a symlink, else ''. */
  target: string;
  xattrs: readonly Xattr[];
  /** Of files and symlinks: the content object. */
  checksum?: Checksum;
  /** Of directories: both objects. */
  tree?: Checksum;
  meta?: Checksum;
}

export interface ListOptions {
  /** Show a directory itself and not what it holds. */
  directoryOnly?: boolean;
  recursive?: boolean;
}

/** Yields the entry at `path` and, for a directory, what it holds. @throws OSTREE_PATH_NOT_FOUND, OSTREE_PATH_NOT_DIRECTORY */
export function* list(repo: Repo, root: TreeRoot, path = '/', options: ListOptions = {}): Generator<ListEntry, void, void> {
  const node = requirePath(repo, root, path);
  const names = splitPath(path);
  const at = names.length === 0 ? '' : `/${names.join('/')}`;
  yield entryOf(repo, { ...node, path: at === '' ? '/' : at, name: names.at(-1) ?? '' });
  if (node.kind === 'file' || options.directoryOnly === true) return;
  const below = options.recursive === true ? walkTree(repo, node.tree, at) : listTree(repo, node.tree, at);
  for (const child of below) yield entryOf(repo, child);
}

function entryOf(repo: Repo, node: WalkedNode): ListEntry {
  if (node.kind === 'directory') {
    const { uid, gid, mode, xattrs } = repo.readDirMeta(node.meta);
    return { path: node.path, kind: 'directory', mode, uid, gid, sizeBytes: 0, target: '', xattrs, tree: node.tree, meta: node.meta };
  }
  const { header, sizeBytes } = repo.readFileHeader(node.checksum);
  const kind = (header.mode & S_IFMT) === S_IFLNK ? 'symlink' : 'file';
  return {
    path: node.path,
    kind,
    mode: header.mode,
    uid: header.uid,
    gid: header.gid,
    sizeBytes,
    target: header.target,
    xattrs: header.xattrs,
    checksum: node.checksum,
  };
}

const LETTER = { file: '-', symlink: 'l', directory: 'd' } as const;

/** Returns the line of an entry without its line end, as `ostree ls [-C] [-X]` prints it. */
export function formatListEntry(entry: ListEntry, options: { checksums?: boolean; xattrs?: boolean } = {}): string {
  const mode = (entry.mode & ~S_IFMT).toString(8).padStart(5, '0');
  let line = `${LETTER[entry.kind]}${mode} ${entry.uid} ${entry.gid} ${String(entry.sizeBytes).padStart(6)} `;
  if (options.checksums === true) line += entry.kind === 'directory' ? `${entry.tree} ${entry.meta} ` : `${entry.checksum} `;
  if (options.xattrs === true) line += `{ ${formatXattrs(entry.xattrs)} } `;
  line += entry.path;
  if (entry.kind === 'symlink') line += ` -> ${entry.target}`;
  return line;
}

/** Returns xattrs in GVariant text: names are byte strings, so they end in a NUL when stored. */
export function formatXattrs(xattrs: readonly Xattr[]): string {
  return printVariant(
    'a(ayay)',
    xattrs.map(([name, value]) => [Buffer.concat([name, Buffer.of(0)]), value]),
    true,
  );
}
