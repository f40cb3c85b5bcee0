/**
 * A directory as a source of content objects: an unpacked copy, a checkout, a backup. A file of a directory is an object
 * only together with owner, mode and extended attributes, which copies often lose; several are tried with each content:
 * those of the file itself, those in the damaged object, those of the directory that holds it, root's, and canonical ones.
 */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { type Bytes, type Checksum, decodeUtf8, errnoOf } from '@cambium/base';
import { readXattrs } from '@cambium/system';
import { S_IFLNK, S_IFMT, S_IFREG, type Xattr } from '@cambium/tree';
import { canonicalXattrs } from '../format/framing.ts';
import { encodeFileHeader, isSymlink } from '../format/object-format.ts';
import type { FileHeader } from '../format/types.ts';
import type { RepairSource, WantedFile } from './repair-source.ts';

interface Found {
  path: string;
  header: FileHeader;
  sizeBytes: number;
}

const READ_BYTES = 256 * 1024;
/** Headers tried with one content; each costs a pass of SHA-256 over it. */
const MAX_HEADERS = 64;

export function directorySource(root: string): RepairSource {
  let found = new Map<Checksum, Found>();
  return {
    name: root,
    // Commits and trees are made of more than a directory holds.
    metadata: () => Promise.resolve(undefined),
    prepare: async (wanted, signal) => {
      found = await search(root, wanted, signal);
    },
    file: async ({ checksum }, sink, signal) => {
      const at = found.get(checksum);
      if (at === undefined) return false;
      await sink(at.header, at.sizeBytes, isSymlink(at.header) ? nothing() : chunks(at.path, signal));
      return true;
    },
  };
}

/** First where the files should stand, then everywhere: one pass over the directory for all that are left. */
async function search(root: string, wanted: readonly WantedFile[], signal: AbortSignal | undefined): Promise<Map<Checksum, Found>> {
  const left = new Map(wanted.map((file) => [file.checksum, file]));
  const found = new Map<Checksum, Found>();
  const look = async (path: string, hints: readonly WantedFile[]): Promise<void> => {
    signal?.throwIfAborted();
    for (const [checksum, file] of await matches(path, hints, left, signal)) {
      found.set(checksum, file);
      left.delete(checksum);
    }
  };
  for (const file of wanted) for (const path of file.paths) if (left.has(file.checksum)) await look(join(root, path), [file]);
  const stack = [root];
  for (let at = stack.pop(); at !== undefined && left.size > 0; at = stack.pop()) {
    for (const entry of entries(at)) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) stack.push(path);
      else if ((entry.isFile() || entry.isSymbolicLink()) && left.size > 0) await look(path, [...left.values()]);
    }
  }
  return found;
}

function entries(directory: string): import('node:fs').Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ENAMETOOLONG'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

/** Returns which of the wanted objects the file at a path is. */
async function matches(
  path: string,
  hints: readonly WantedFile[],
  wanted: ReadonlyMap<Checksum, WantedFile>,
  signal: AbortSignal | undefined,
): Promise<[Checksum, Found][]> {
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined || !(stat.isFile() || stat.isSymbolicLink())) return [];
    const headers = candidateHeaders(path, stat, hints);
    const hashes = headers.map((header): Hash => createHash('sha256').update(encodeFileHeader(header)));
    let sizeBytes = 0;
    if (stat.isFile()) {
      for await (const chunk of chunks(path, signal)) {
        sizeBytes += chunk.byteLength;
        for (const hash of hashes) hash.update(chunk);
      }
    }
    return hashes.flatMap((hash, i): [Checksum, Found][] => {
      const checksum = hash.digest('hex') as Checksum;
      return wanted.has(checksum) ? [[checksum, { path, header: headers[i] as FileHeader, sizeBytes }]] : [];
    });
  } catch (error) {
    // What cannot be read does not help; the search goes on.
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ELOOP', 'EIO', 'ENXIO', 'ENAMETOOLONG'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

function candidateHeaders(path: string, stat: Stats, hints: readonly WantedFile[]): FileHeader[] {
  const kind = stat.mode & S_IFMT;
  const target = kind === S_IFLNK ? decodeUtf8(readlinkSync(path, 'buffer')) : '';
  if (target === undefined) return [];
  const known = hints.flatMap(({ header }) => (header !== undefined && (header.mode & S_IFMT) === kind ? [header] : []));
  const owners = unique([
    { uid: stat.uid, gid: stat.gid },
    { uid: 0, gid: 0 },
    ...known.map(({ uid, gid }) => ({ uid, gid })),
    ...hints.flatMap((hint) => [...hint.owners]),
  ]);
  const modes = unique(
    kind === S_IFLNK ? [stat.mode] : [stat.mode, ...known.map(({ mode }) => mode), S_IFREG | (stat.mode & 0o755), S_IFREG | 0o644, S_IFREG | 0o755],
  );
  const own: readonly Xattr[] = canonicalXattrs(readXattrs(path));
  const attributes = unique([own, [], ...known.map(({ xattrs }) => xattrs)]);
  // The damaged object's own header goes first: it is the most likely.
  const all = known.map((header): FileHeader => ({ ...header, target }));
  for (const xattrs of attributes) for (const mode of modes) for (const owner of owners) all.push({ ...owner, mode, target, xattrs });
  return unique(all, (header) => encodeFileHeader(header).toString('latin1')).slice(0, MAX_HEADERS);
}

function unique<T>(items: readonly T[], key: (item: T) => string = (item) => JSON.stringify(item, plainBytes)): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}

function plainBytes(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

async function* nothing(): Bytes {}

async function* chunks(path: string, signal: AbortSignal | undefined): Bytes {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (;;) {
      signal?.throwIfAborted();
      const read = readSync(fd, buffer, 0, READ_BYTES, null);
      if (read === 0) return;
      yield buffer.subarray(0, read);
    }
  } finally {
    closeSync(fd);
  }
}
