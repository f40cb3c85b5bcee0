/** `ostree show`: finding an object of any kind by its name, and the sizes that a commit records. */
import { type Checksum, isChecksum } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { metadataValue } from '../format/commit-format.ts';
import type { Commit, DirMeta, DirTree, FileHeader, ObjectType } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { type CommitTextOptions, formatCommit, formatDirMeta, formatDirTree, formatFileObject, formatSize } from './rev-text.ts';

export type ShownObject =
  | { type: 'commit'; checksum: Checksum; commit: Commit }
  | { type: 'dirtree'; checksum: Checksum; tree: DirTree }
  | { type: 'dirmeta'; checksum: Checksum; meta: DirMeta }
  | { type: 'file'; checksum: Checksum; header: FileHeader; sizeBytes: number };

/**
 * Returns the commit of a revision, or the object of whatever kind that a checksum names.
 * @throws OSTREE_REF_NOT_FOUND OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT
 */
export function showObject(repo: Repo, name: string): ShownObject {
  const checksum = isChecksum(name) ? name : repo.refs.resolve(name);
  if (!isChecksum(name) || repo.hasObject('commit', checksum)) return { type: 'commit', checksum, commit: repo.readCommit(checksum) };
  if (repo.hasObject('dirmeta', checksum)) return { type: 'dirmeta', checksum, meta: repo.readDirMeta(checksum) };
  if (repo.hasObject('dirtree', checksum)) return { type: 'dirtree', checksum, tree: repo.readDirTree(checksum) };
  if (repo.hasObject('file', checksum)) return { type: 'file', checksum, ...repo.readFileHeader(checksum) };
  throw ostreeError('OSTREE_OBJECT_MISSING', `Couldn't find file object '${checksum}'`, { data: { checksum } });
}

/** Returns what `ostree show` prints for an object; signatures of a commit come after it: `formatSignatures`. */
export function formatShownObject(object: ShownObject, options: CommitTextOptions = {}): string {
  switch (object.type) {
    case 'commit':
      return formatCommit(object.checksum, object.commit, options);
    case 'dirtree':
      return formatDirTree(object.checksum, object.tree, options);
    case 'dirmeta':
      return formatDirMeta(object.checksum, object.meta, options);
    case 'file':
      return formatFileObject(object.checksum, object.header, object.sizeBytes);
  }
}

/** One entry of `ostree.sizes`. */
export interface ObjectSize {
  checksum: Checksum;
  type: ObjectType;
  archivedBytes: number;
  unpackedBytes: number;
}

const TYPES: Readonly<Record<number, ObjectType>> = { 1: 'file', 2: 'dirtree', 3: 'dirmeta', 4: 'commit' };

/**
 * Returns the sizes that a commit records, or undefined when it has none.
 * @throws OSTREE_OBJECT_CORRUPT. Source: libostree `ostree-core.c`, "ostree.sizes": checksum, two LEB128 numbers, type (absent in old commits)
 */
export function parseSizes(commit: Commit): ObjectSize[] | undefined {
  return metadataValue<Uint8Array[]>(commit.metadata, 'ostree.sizes', 'aay')?.map((entry) => {
    if (entry.byteLength < 34) throw badSizes('an entry is too short');
    const archived = varint(entry, 32);
    const unpacked = varint(entry, archived.end);
    const code = entry[unpacked.end] ?? 1;
    const type = TYPES[code];
    if (type === undefined || entry.byteLength > unpacked.end + 1) throw badSizes(`type ${code}`);
    const checksum = Buffer.from(entry.buffer, entry.byteOffset, 32).toString('hex') as Checksum;
    return { checksum, type, archivedBytes: archived.value, unpackedBytes: unpacked.value };
  });
}

function varint(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0;
  let scale = 1;
  for (let at = start; at < bytes.byteLength && scale <= Number.MAX_SAFE_INTEGER; at++) {
    const byte = bytes[at] as number;
    value += (byte & 0x7f) * scale;
    if (!Number.isSafeInteger(value)) break;
    if (byte < 0x80) return { value, end: at + 1 };
    scale *= 128;
  }
  throw badSizes('a bad number');
}

function badSizes(why: string): Error {
  return ostreeError('OSTREE_OBJECT_CORRUPT', `Cannot read ostree.sizes: ${why}`);
}

/** Returns the lines of `ostree show --print-sizes`: what is needed is what the repository does not have. @throws OSTREE_COMMIT_INVALID without recorded sizes */
export function formatSizes(repo: Repo, checksum: Checksum, commit: Commit): string {
  const sizes = parseSizes(commit);
  if (sizes === undefined) throw ostreeError('OSTREE_COMMIT_INVALID', 'No metadata key ostree.sizes in commit', { data: { checksum } });
  const needed = sizes.filter((size) => !repo.hasObject(size.type, size.checksum));
  const sum = (of: readonly ObjectSize[], key: 'archivedBytes' | 'unpackedBytes'): string => formatSize(of.reduce((total, size) => total + size[key], 0));
  return [
    `Compressed size (needed/total): ${sum(needed, 'archivedBytes')}/${sum(sizes, 'archivedBytes')}\n`,
    `Unpacked size (needed/total): ${sum(needed, 'unpackedBytes')}/${sum(sizes, 'unpackedBytes')}\n`,
    `Number of objects (needed/total): ${needed.length}/${sizes.length}\n`,
  ].join('');
}
