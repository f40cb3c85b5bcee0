/**
 * Comparing trees: commits with each other and with directories. Semantics and order: `ostree diff`, libostree 2022.7.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, lstatSync, opendirSync, openSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { type Checksum, errnoOf, isKnownError } from '@cambium/base';
import { readXattrs } from '@cambium/system';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '@cambium/tree';
import { checkDepth } from '../commit/mutable-tree.ts';
import { ostreeError } from '../errors.ts';
import { canonicalXattrs } from '../format/framing.ts';
import { checksumOf, encodeDirMeta, encodeFileHeader, fileChecksum } from '../format/object-format.ts';
import type { DirTree, DirTreeDirectory, DirTreeFile, TreeRoot } from '../format/types.ts';
import { requirePath } from '../repo/lookup.ts';
import type { Repo } from '../repo/repo.ts';
import { traverse } from '../repo/traverse.ts';
import { formatSize } from './rev-text.ts';

/** One side of a comparison: the tree of a commit, or a directory on disk. */
export type DiffSide = { kind: 'commit'; root: TreeRoot } | { kind: 'directory'; path: string };

export interface DiffOptions {
  /** Take the files of directories as having no extended attributes; always so in repositories that keep none. */
  noXattrs?: boolean;
  /** Take the files of the second side, when it is a directory, as owned by these. */
  ownerUid?: number;
  ownerGid?: number;
}

export interface DiffResult {
  /** On both sides, and different in kind, content or metadata. A changed kind is one entry; nothing below it is listed. */
  modified: string[];
  /** Only on the first side; of a directory nothing below it is listed. */
  removed: string[];
  /** Only on the second side, with everything below. */
  added: string[];
}

/** Returns how `b` differs from `a`. Paths have no leading slash. */
export function diff(repo: Repo, a: DiffSide, b: DiffSide, options: DiffOptions = {}): DiffResult {
  const result: DiffResult = { modified: [], removed: [], added: [] };
  const noXattrs = options.noXattrs === true || repo.mode === 'bare-user-only' || repo.settings.disableXattrs;
  compare(openSide(repo, a, { noXattrs }), openSide(repo, b, { ...options, noXattrs }), '', result);
  return result;
}

/** Returns the lines of `ostree diff`: paths inside commits with a leading slash, those of directories without. */
export function formatDiff(result: DiffResult, a: DiffSide, b: DiffSide): string {
  const [before, after] = [a, b].map((side) => (side.kind === 'commit' ? '/' : ''));
  return [
    ...result.modified.map((path) => `M    ${before}${path}\n`),
    ...result.removed.map((path) => `D    ${before}${path}\n`),
    ...result.added.map((path) => `A    ${after}${path}\n`),
  ].join('');
}

export interface DiffStats {
  objectsA: number;
  objectsB: number;
  common: number;
  /** As stored. */
  commonBytes: number;
}

/** Counts the objects of two commits, their parents not among them. */
export function diffStats(repo: Repo, a: Checksum, b: Checksum): DiffStats {
  const [ofA, ofB] = [a, b].map((commit) => traverse(repo, [commit], { depth: 0 })) as [ReturnType<typeof traverse>, ReturnType<typeof traverse>];
  const stats: DiffStats = { objectsA: ofA.size, objectsB: ofB.size, common: 0, commonBytes: 0 };
  for (const { type, checksum } of ofA) {
    if (!ofB.has(type, checksum)) continue;
    stats.common++;
    const path = repo.findObject(type, checksum);
    if (path !== undefined) stats.commonBytes += lstatSync(path).size;
  }
  return stats;
}

/** Returns the lines of `ostree diff --stats`. */
export function formatDiffStats(stats: DiffStats): string {
  return `[A] Object Count: ${stats.objectsA}\n[B] Object Count: ${stats.objectsB}\nCommon Object Count: ${stats.common}\nCommon Object Size: ${formatSize(stats.commonBytes)}\n`;
}

/** A directory of either kind. Checksums of files are content checksums, those of directories dirmeta checksums. */
interface Side {
  /** In libostree's order. */
  names(): string[];
  find(name: string): { directory: boolean; checksum(): string; enter(): Side } | undefined;
  /** Two trees with the same one are equal. */
  tree?: Checksum;
}

function compare(a: Side, b: Side, path: string, result: DiffResult, depth = 0): void {
  checkDepth(depth, 'compare');
  if (a.tree !== undefined && a.tree === b.tree) return;
  const names = a.names();
  for (const name of names) {
    const at = `${path}${name}`;
    const before = a.find(name);
    const after = b.find(name);
    if (before === undefined) continue;
    if (after === undefined) {
      result.removed.push(at);
      continue;
    }
    if (before.directory !== after.directory) {
      result.modified.push(at);
      continue;
    }
    if (before.checksum() !== after.checksum()) result.modified.push(at);
    if (before.directory) compare(before.enter(), after.enter(), `${at}/`, result, depth + 1);
  }
  for (const name of b.names()) {
    if (a.find(name) !== undefined) continue;
    const found = b.find(name);
    result.added.push(`${path}${name}`);
    if (found?.directory === true) addAll(found.enter(), `${path}${name}/`, result, depth + 1);
  }
}

function addAll(side: Side, path: string, result: DiffResult, depth: number): void {
  checkDepth(depth, 'compare');
  for (const name of side.names()) {
    result.added.push(`${path}${name}`);
    const found = side.find(name);
    if (found?.directory === true) addAll(found.enter(), `${path}${name}/`, result, depth + 1);
  }
}

function openSide(repo: Repo, side: DiffSide, options: DiffOptions): Side {
  if (side.kind === 'commit') return committedSide(repo, side.root.tree);
  if (lstatSync(`${side.path}/.`, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw ostreeError('OSTREE_PATH_NOT_FOUND', `Error when getting information for file “${side.path}”: No such file or directory`);
  }
  return localSide(side.path, options);
}

function committedSide(repo: Repo, tree: Checksum): Side {
  const { files, dirs }: DirTree = repo.readDirTree(tree);
  // The entries as they are: a directory may have a million, and closures for each would need ten times the memory.
  const byName = new Map<string, DirTreeFile | DirTreeDirectory>([...files, ...dirs].map((entry) => [entry.name, entry]));
  return {
    tree,
    names: () => [...byName.keys()],
    find: (name) => {
      const entry = byName.get(name);
      if (entry === undefined) return undefined;
      if (!('tree' in entry)) return { directory: false, checksum: () => entry.checksum, enter: () => committedSide(repo, tree) };
      return { directory: true, checksum: () => entry.meta, enter: () => committedSide(repo, entry.tree) };
    },
  };
}

function localSide(path: string, options: DiffOptions): Side {
  let names: string[] | undefined;
  return {
    names: () => {
      names ??= listByInode(path);
      return names;
    },
    find: (name) => {
      const at = `${path}/${name}`;
      const stat = lstatSync(at, { throwIfNoEntry: false });
      if (stat === undefined) return undefined;
      return { directory: stat.isDirectory(), checksum: () => comparableChecksum(at, stat, options), enter: () => localSide(at, options) };
    },
  };
}

/** GLib reads a directory in pieces of 1000 entries and sorts each by inode number: its order is ours. */
const CHUNK_ENTRIES = 1000;

function listByInode(path: string): string[] {
  const sorted: string[] = [];
  let chunk: { name: string; inode: number }[] = [];
  const flush = (): void => {
    sorted.push(...chunk.sort((a, b) => a.inode - b.inode).map(({ name }) => name));
    chunk = [];
  };
  const directory = opendirSync(path);
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      chunk.push({ name: entry.name, inode: lstatSync(`${path}/${entry.name}`, { throwIfNoEntry: false })?.ino ?? 0 });
      if (chunk.length === CHUNK_ENTRIES) flush();
    }
  } finally {
    directory.closeSync();
  }
  flush();
  return sorted;
}

const READ_BYTES = 256 * 1024;

/** Devices, sockets and pipes are in no commit, and neither is what has gone: different from everything. */
function comparableChecksum(path: string, stat: Stats, options: DiffOptions): string {
  try {
    return localChecksum(path, options, stat);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    if (isKnownError(error, 'OSTREE_FILE_UNSUPPORTED')) return `${path}:${stat.ino}`;
    throw error;
  }
}

/**
 * Returns the checksum that a commit gives a file on disk; of a directory, that of its metadata. Reads it in one go, synchronously.
 * @throws OSTREE_FILE_UNSUPPORTED for devices, sockets and pipes, and what the system says of a file that cannot be read
 */
export function localChecksum(path: string, options: DiffOptions = {}, stat: Stats = lstatSync(path)): Checksum {
  const uid = options.ownerUid ?? stat.uid;
  const gid = options.ownerGid ?? stat.gid;
  const { mode } = stat;
  const kind = mode & S_IFMT;
  if (kind !== S_IFDIR && kind !== S_IFLNK && kind !== S_IFREG) throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Not a regular file or symlink: ${path}`);
  const xattrs = options.noXattrs === true ? [] : canonicalXattrs(readXattrs(path));
  if (kind === S_IFDIR) return checksumOf(encodeDirMeta({ uid, gid, mode, xattrs }));
  if (kind === S_IFLNK) return fileChecksum({ uid, gid, mode, target: readlinkSync(path), xattrs }, new Uint8Array(0));
  return contentChecksum(path, encodeFileHeader({ uid, gid, mode, target: '', xattrs }));
}

function contentChecksum(path: string, header: Uint8Array): Checksum {
  const hash = createHash('sha256').update(header);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (let read = 1; read > 0; ) {
      read = readSync(fd, buffer, 0, READ_BYTES, null);
      hash.update(buffer.subarray(0, read));
    }
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex') as Checksum;
}

/** Returns the tree of a commit, or of a directory inside it, as a side. */
export function commitSide(repo: Repo, commit: Checksum, path = '/'): DiffSide {
  const node = requirePath(repo, repo.readCommit(commit).root, path);
  if (node.kind === 'file') throw ostreeError('OSTREE_PATH_NOT_DIRECTORY', `Cannot compare "${path}": not a directory`);
  return { kind: 'commit', root: { tree: node.tree, meta: node.meta } };
}
