/** A directory of this machine as tree entries. */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { type Bytes, compareUtf8, decodeUtf8, errnoOf, systemError } from '@cambium/base';
import type { EntryKind, TreeEntry, Xattr } from './entry.ts';
import { treeError } from './errors.ts';
import { quoteBytes } from './safe-path.ts';

/** An entry with what the file system adds to it. */
export interface WalkedEntry extends TreeEntry {
  /** Where it is: the walked directory's path, a slash, and `path`. */
  fullPath: string;
  /** Seconds since 1970, with a fraction. */
  mtime: number;
  /** Device and inode number, exact: what files that are one have in common. Only where several names are known to the file system. */
  fileId?: string;
  /** The name this walk met first, when this is another name of the same file; such an entry has the same content and metadata. */
  linkTo?: string;
  /** Number of a device node, as in `st_rdev`. */
  deviceMajor?: number;
  deviceMinor?: number;
}

export interface WalkOptions {
  /** Reads the attributes of a file, not following links; sorted by name. Without it entries have none. */
  readXattrs?: (fullPath: string) => readonly Xattr[];
  /** Returns false for what is left out, with all below it. */
  select?: (entry: WalkedEntry) => boolean;
  signal?: AbortSignal;
}

/** Larger reads gain nothing; a stream's buffers should stay in the processor's cache. */
const READ_BYTES = 256 * 1024;

/**
 * Walks a directory: the root (path '') first, parents before children, siblings by the bytes of their names.
 * Links are not followed. Who can write to the directory meanwhile can change what is read: the walk is not a snapshot.
 *
 * @throws TREE_DIRECTORY_NOT_FOUND, TREE_PATH_NOT_UTF8, TREE_FILE_CHANGED, SYSTEM_DENIED
 */
export function* walkDirectory(directory: string, options: WalkOptions = {}): Generator<WalkedEntry, void, undefined> {
  const linked = new Map<string, string>();
  const root = readEntry(directory, '', linked, options);
  if (root.kind !== 'directory') throw treeError('TREE_DIRECTORY_NOT_FOUND', `Cannot walk "${directory}": not a directory`);
  if (options.select?.(root) === false) return;
  yield root;
  // An own stack instead of recursion: depth is the input's.
  const stack = [{ fullPath: directory, path: '', names: readNames(directory), at: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const name = top.names[top.at++];
    if (name === undefined) {
      stack.pop();
      continue;
    }
    const fullPath = top.fullPath.endsWith('/') ? top.fullPath + name : `${top.fullPath}/${name}`;
    const path = top.path === '' ? name : `${top.path}/${name}`;
    const entry = readEntry(fullPath, path, linked, options);
    if (options.select?.(entry) === false) continue;
    yield entry;
    if (entry.kind === 'directory') {
      options.signal?.throwIfAborted();
      stack.push({ fullPath, path, names: readNames(fullPath), at: 0 });
    }
  }
}

function readEntry(fullPath: string, path: string, linked: Map<string, string>, options: WalkOptions): WalkedEntry {
  try {
    const stat = lstatSync(fullPath);
    const kind = kindOf(stat);
    const entry: WalkedEntry = {
      path,
      kind,
      size: kind === 'file' ? stat.size : 0,
      uid: stat.uid,
      gid: stat.gid,
      mode: stat.mode & 0o7777,
      xattrs: options.readXattrs?.(fullPath) ?? [],
      fullPath,
      mtime: stat.mtimeMs / 1000,
    };
    if (kind === 'symlink') entry.target = readTarget(fullPath);
    else if (kind === 'file') entry.open = (signal) => readFile(fullPath, entry.size, signal);
    else if (kind === 'char' || kind === 'block') {
      entry.deviceMajor = deviceMajor(stat.rdev);
      entry.deviceMinor = deviceMinor(stat.rdev);
    }
    if (stat.nlink > 1 && kind !== 'directory') noteLink(entry, linked);
    return entry;
  } catch (error) {
    throw explain(error, fullPath, path);
  }
}

function noteLink(entry: WalkedEntry, linked: Map<string, string>): void {
  // Inode numbers of overlayfs use the high bits: a double could make two files one.
  const { dev, ino } = lstatSync(entry.fullPath, { bigint: true });
  entry.fileId = `${dev}:${ino}`;
  const first = linked.get(entry.fileId);
  if (first === undefined) linked.set(entry.fileId, entry.path);
  else entry.linkTo = first;
}

function readNames(fullPath: string): string[] {
  let names: string[];
  try {
    names = readdirSync(fullPath);
    // A replacement character is a name that is not UTF-8, or one that really has this character.
    if (names.some((name) => name.includes('\ufffd'))) names = readdirSync(fullPath, 'buffer').map((raw) => decodeName(raw, fullPath));
  } catch (error) {
    throw explain(error, fullPath, fullPath);
  }
  return names.sort(compareUtf8);
}

function readTarget(fullPath: string): string {
  const target = readlinkSync(fullPath);
  return target.includes('\ufffd') ? decodeName(readlinkSync(fullPath, 'buffer'), fullPath) : target;
}

function decodeName(raw: Uint8Array, where: string): string {
  const name = decodeUtf8(raw);
  if (name === undefined) {
    throw treeError('TREE_PATH_NOT_UTF8', `Cannot use "${quoteBytes(raw)}" in "${where}": not UTF-8`, {
      hint: 'Rename it; neither OSTree nor OCI stores can hold such a name',
      data: { path: quoteBytes(raw) },
    });
  }
  return name;
}

/** Reads `size` bytes of a file that is not a link. @throws TREE_FILE_CHANGED when it has fewer or more */
async function* readFile(fullPath: string, size: number, signal: AbortSignal | undefined): Bytes {
  let file: number;
  try {
    // O_NONBLOCK: a FIFO put in the place of the file must not hang the walk.
    file = openSync(fullPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw explain(error, fullPath, fullPath);
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size !== size) throw changed(fullPath);
    for (let left = size; left > 0; ) {
      signal?.throwIfAborted();
      const buffer = new Uint8Array(Math.min(left, READ_BYTES));
      const count = readSync(file, buffer);
      if (count === 0) throw changed(fullPath);
      left -= count;
      yield count === buffer.length ? buffer : buffer.subarray(0, count);
    }
  } finally {
    closeSync(file);
  }
}

function changed(fullPath: string, cause?: unknown): Error {
  return treeError('TREE_FILE_CHANGED', `Cannot read "${fullPath}": it changed meanwhile`, { retryable: true, cause });
}

function explain(error: unknown, fullPath: string, path: string): unknown {
  const errno = errnoOf(error);
  // ELOOP and ENXIO: a link or a socket stands where a file was.
  if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP' || errno === 'ENXIO') {
    return path === '' ? treeError('TREE_DIRECTORY_NOT_FOUND', `Cannot walk "${fullPath}": no such directory`, { cause: error }) : changed(fullPath, error);
  }
  return systemError(error, `Cannot read "${fullPath}"`) ?? error;
}

function kindOf(stat: Stats): EntryKind {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isCharacterDevice()) return 'char';
  if (stat.isBlockDevice()) return 'block';
  return stat.isFIFO() ? 'fifo' : 'socket';
}

/** Linux `dev_t` as glibc's makedev packs it: 12 bits of major above 8 bits of minor, and the rest of both above. */
function deviceMajor(rdev: number): number {
  return Math.floor(rdev / 2 ** 8) & 0xfff;
}

function deviceMinor(rdev: number): number {
  return (rdev & 0xff) | (Math.floor(rdev / 2 ** 12) & 0xfff00);
}
