/**
 * Bytes of file headers, directory metadata and directory trees. Commits: `commit-format.ts`.
 *
 * Integers inside are big-endian, framing is little-endian. Source: libostree `ostree-core.h`
 * (OSTREE_FILE_HEADER…, OSTREE_DIRMETA_GVARIANT_FORMAT, OSTREE_TREE_GVARIANT_FORMAT); `docs/formats/ostree-objects.md`.
 */
import { createHash, hash as hashOnce } from 'node:crypto';
import { type Checksum, compareUtf8, decodeUtf8 } from '@cambium/base';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { arrayEnds, asBuffer, corrupt, offsetSize, offsetSizeOf, readXattrList, writeXattrList, xattrListSize, xattrsAreSorted } from './framing.ts';
import type { DirMeta, DirTree, DirTreeDirectory, DirTreeFile, FileHeader, TreeRoot } from './types.ts';

/** The largest metadata object: libostree's own limit (OSTREE_MAX_METADATA_SIZE). */
export const MAX_METADATA_BYTES: number = 128 * 1024 * 1024;
/** The largest file header: all xattrs a kernel can store (64 KiB names, 64 KiB each value) stay far below. */
export const MAX_HEADER_BYTES: number = 16 * 1024 * 1024;

/** Returns the sha256 of `bytes` as a checksum: the name of a metadata object. */
export function checksumOf(bytes: Uint8Array): Checksum {
  return hashOnce('sha256', bytes, 'hex') as Checksum;
}

/** Returns the prefix of a content stream: length of the header as u32be, four zero bytes, the header `(uuuusa(ayay))`. */
export function encodeFileHeader(header: FileHeader): Buffer {
  return encodeHeader(header, undefined);
}

/** Returns the prefix of a `.filez`: as {@link encodeFileHeader}, with the size in front of the header's fields. */
export function encodeFilezHeader(header: FileHeader, sizeBytes: number): Buffer {
  return encodeHeader(header, sizeBytes);
}

function encodeHeader(header: FileHeader, sizeBytes: number | undefined): Buffer {
  const fixed = sizeBytes === undefined ? 16 : 24;
  const targetBytes = Buffer.byteLength(header.target);
  const body = fixed + targetBytes + 1 + xattrListSize(header.xattrs);
  const size = offsetSize(body, 1);
  const bytes = Buffer.alloc(8 + body + size);
  let at = bytes.writeUInt32BE(body + size, 0) + 4;
  if (sizeBytes !== undefined) at = bytes.writeBigUInt64BE(BigInt(sizeBytes), at);
  at = bytes.writeUInt32BE(header.uid, at);
  at = bytes.writeUInt32BE(header.gid, at);
  at = bytes.writeUInt32BE(header.mode, at) + 4;
  at += bytes.write(header.target, at, 'utf8') + 1;
  const stringEnd = at - 8;
  at = writeXattrList(bytes, at, header.xattrs);
  bytes.writeUIntLE(stringEnd, at, size);
  return bytes;
}

/** Returns the header in the prefix of a content stream, and where the content starts. @throws OSTREE_OBJECT_CORRUPT */
export function parseFileHeader(bytes: Uint8Array, what = 'file header'): { header: FileHeader; contentAt: number } {
  const { header, contentAt } = parseHeader(bytes, 16, what);
  return { header, contentAt };
}

/** Returns the header of a `.filez`, its (claimed) size, and where the deflate stream starts. @throws OSTREE_OBJECT_CORRUPT */
export function parseFilezHeader(bytes: Uint8Array, what = 'archived file'): { header: FileHeader; sizeBytes: number; contentAt: number } {
  return parseHeader(bytes, 24, what);
}

/**
 * Returns the length that a `.filez` which starts with `bytes` can have at most, or undefined while that cannot be said:
 * what is longer need not be waited for. @throws OSTREE_OBJECT_CORRUPT
 */
export function longestFilez(bytes: Uint8Array, what = 'archived file'): number | undefined {
  if (bytes.byteLength < 16) return undefined;
  const contentAt = headerLength(bytes, what);
  if (contentAt < 16) throw corrupt(what, 'header too short');
  const claimed = asBuffer(bytes).readBigUInt64BE(8);
  if (claimed > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(what, 'impossible size');
  // Deflate makes nothing longer than 5 bytes for each stored block beyond its content; and room for poor encoders.
  const sizeBytes = Number(claimed);
  return contentAt + sizeBytes + Math.ceil(sizeBytes / 1000) + 64 * 1024;
}

/** Returns the whole length of the prefix that starts with `bytes` (8 or more of them). @throws OSTREE_OBJECT_CORRUPT */
export function headerLength(bytes: Uint8Array, what = 'file header'): number {
  const buffer = asBuffer(bytes);
  if (buffer.byteLength < 8) throw corrupt(what, 'shorter than its header');
  const length = buffer.readUInt32BE(0);
  if (length === 0 || length > MAX_HEADER_BYTES || buffer.readUInt32BE(4) !== 0) throw corrupt(what, 'bad header length');
  return 8 + length;
}

function parseHeader(bytes: Uint8Array, fixed: 16 | 24, what: string): { header: FileHeader; sizeBytes: number; contentAt: number } {
  const buffer = asBuffer(bytes);
  const contentAt = headerLength(buffer, what);
  if (contentAt > buffer.byteLength) throw corrupt(what, 'shorter than its header');
  const length = contentAt - 8;
  const size = offsetSizeOf(length);
  if (length < fixed + 1 + size) throw corrupt(what, 'header too short');
  let at = 8;
  let sizeBytes = 0;
  if (fixed === 24) {
    const claimed = buffer.readBigUInt64BE(at);
    if (claimed > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(what, 'impossible size');
    sizeBytes = Number(claimed);
    at += 8;
  }
  const uid = buffer.readUInt32BE(at);
  const gid = buffer.readUInt32BE(at + 4);
  const mode = buffer.readUInt32BE(at + 8);
  if (buffer.readUInt32BE(at + 12) !== 0) throw corrupt(what, 'a device number');
  at += 16;
  const stringEnd = 8 + buffer.readUIntLE(contentAt - size, size);
  if (stringEnd <= at || stringEnd > contentAt - size || buffer[stringEnd - 1] !== 0) throw corrupt(what, 'bad symlink target');
  const target = decodeUtf8(buffer.subarray(at, stringEnd - 1));
  if (target === undefined || target.includes('\0')) throw corrupt(what, 'bad symlink target');
  const header: FileHeader = { uid, gid, mode, target, xattrs: readXattrList(buffer, stringEnd, contentAt - size, what) };
  checkHeader(header, what);
  if (fixed === 24 && isSymlink(header) && sizeBytes !== 0) throw corrupt(what, 'a symlink with a size');
  if (!encodeHeader(header, fixed === 24 ? sizeBytes : undefined).equals(buffer.subarray(0, contentAt))) throw corrupt(what, 'header not in normal form');
  return { header, sizeBytes, contentAt };
}

/** @throws OSTREE_OBJECT_CORRUPT unless it is a regular file or a symlink with sane mode bits */
function checkHeader(header: FileHeader, what: string): void {
  const kind = header.mode & S_IFMT;
  if (header.mode > 0xffff || (kind !== S_IFREG && kind !== S_IFLNK))
    throw corrupt(what, `mode ${header.mode.toString(8)} is neither a regular file nor a symlink`);
  if (kind === S_IFREG && header.target !== '') throw corrupt(what, 'a regular file with a symlink target');
}

export function isSymlink(header: FileHeader): boolean {
  return (header.mode & S_IFMT) === S_IFLNK;
}

/** Returns the checksum of a content object: the same in all repository modes. */
export function fileChecksum(header: FileHeader, content: Uint8Array): Checksum {
  return createHash('sha256').update(encodeFileHeader(header)).update(content).digest('hex') as Checksum;
}

/** Returns the bytes of a dirmeta `(uuua(ayay))`; xattrs must be sorted. */
export function encodeDirMeta(meta: DirMeta): Buffer {
  const bytes = Buffer.alloc(12 + xattrListSize(meta.xattrs));
  bytes.writeUInt32BE(meta.uid, 0);
  bytes.writeUInt32BE(meta.gid, 4);
  bytes.writeUInt32BE(meta.mode, 8);
  writeXattrList(bytes, 12, meta.xattrs);
  return bytes;
}

/** @throws OSTREE_OBJECT_CORRUPT */
export function parseDirMeta(bytes: Uint8Array, what = 'directory metadata'): DirMeta {
  const meta = parseOwnership(bytes, what);
  if ((meta.mode & S_IFMT) !== S_IFDIR || (meta.mode & ~(S_IFMT | 0o7777)) !== 0) throw corrupt(what, `mode ${meta.mode.toString(8)} is not a directory's`);
  if (!xattrsAreSorted(meta.xattrs)) throw corrupt(what, 'extended attributes not sorted');
  return meta;
}

/** Returns the value of `user.ostreemeta` of bare-user repositories: the shape of a dirmeta with a file's mode. */
export function encodeUserMeta(header: FileHeader): Buffer {
  return encodeDirMeta(header);
}

/** Returns the ownership and xattrs (sorted: old repositories hold unsorted ones) of a bare-user object. @throws OSTREE_OBJECT_CORRUPT */
export function parseUserMeta(bytes: Uint8Array, what = 'user.ostreemeta'): Omit<FileHeader, 'target'> {
  const meta = parseOwnership(bytes, what);
  checkHeader({ ...meta, target: '' }, what);
  return { ...meta, xattrs: [...meta.xattrs].sort(([a], [b]) => Buffer.compare(a, b)) };
}

function parseOwnership(bytes: Uint8Array, what: string): DirMeta {
  const buffer = asBuffer(bytes);
  if (buffer.byteLength < 12) throw corrupt(what, 'too short');
  const meta: DirMeta = {
    uid: buffer.readUInt32BE(0),
    gid: buffer.readUInt32BE(4),
    mode: buffer.readUInt32BE(8),
    xattrs: readXattrList(buffer, 12, buffer.byteLength, what),
  };
  if (!encodeDirMeta(meta).equals(buffer)) throw corrupt(what, 'not in normal form');
  return meta;
}

/** Returns whether a name may stand in a dirtree: not empty, `.` or `..`, no `/` or NUL, representable in UTF-8. */
export function isEntryName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name) && name.isWellFormed();
}

/** Returns the checksum that identifies equal trees across commits: `ContentChecksum` of `ostree show`. */
export function contentChecksum(root: TreeRoot): Checksum {
  return checksumOf(Buffer.from(root.tree + root.meta, 'hex'));
}

/**
 * Returns the bytes of a dirtree `(a(say)a(sayay))`. Both lists must be sorted by {@link compareUtf8}.
 * @throws OSTREE_FILE_UNSUPPORTED for a name outside the format, twice, or out of order
 */
export function encodeDirTree(tree: DirTree): Buffer {
  checkNames(tree, (why) => ostreeError('OSTREE_FILE_UNSUPPORTED', `Cannot encode directory tree: ${why}`));
  return layOutDirTree(tree);
}

function layOutDirTree(tree: DirTree): Buffer {
  const { files, dirs } = tree;
  let filesBody = 0;
  for (const file of files) filesBody += fileEntrySize(file);
  const filesOffset = offsetSize(filesBody, files.length);
  const filesSize = files.length === 0 ? 0 : filesBody + files.length * filesOffset;
  let dirsBody = 0;
  for (const dir of dirs) dirsBody += dirEntrySize(dir);
  const dirsOffset = offsetSize(dirsBody, dirs.length);
  const dirsSize = dirs.length === 0 ? 0 : dirsBody + dirs.length * dirsOffset;
  const size = offsetSize(filesSize + dirsSize, 1);
  const bytes = Buffer.allocUnsafe(filesSize + dirsSize + size);
  let at = 0;
  const fileTable = filesBody;
  for (const [i, file] of files.entries()) {
    const start = at;
    at += bytes.write(file.name, at, 'utf8');
    bytes[at++] = 0;
    const nameEnd = at - start;
    at += bytes.write(file.checksum, at, 32, 'hex');
    at = bytes.writeUIntLE(nameEnd, at, offsetSize(at - start, 1));
    bytes.writeUIntLE(at, fileTable + i * filesOffset, filesOffset);
  }
  at = filesSize;
  const dirTable = filesSize + dirsBody;
  for (const [i, dir] of dirs.entries()) {
    const start = at;
    at += bytes.write(dir.name, at, 'utf8');
    bytes[at++] = 0;
    const nameEnd = at - start;
    at += bytes.write(dir.tree, at, 32, 'hex');
    at += bytes.write(dir.meta, at, 32, 'hex');
    const entryOffset = offsetSize(at - start, 2);
    at = bytes.writeUIntLE(nameEnd + 32, at, entryOffset);
    at = bytes.writeUIntLE(nameEnd, at, entryOffset);
    bytes.writeUIntLE(at - filesSize, dirTable + i * dirsOffset, dirsOffset);
  }
  bytes.writeUIntLE(filesSize, filesSize + dirsSize, size);
  return bytes;
}

function fileEntrySize(file: DirTreeFile): number {
  const body = Buffer.byteLength(file.name) + 33;
  return body + offsetSize(body, 1);
}

function dirEntrySize(dir: DirTreeDirectory): number {
  const body = Buffer.byteLength(dir.name) + 65;
  return body + 2 * offsetSize(body, 2);
}

/** @throws OSTREE_OBJECT_CORRUPT */
export function parseDirTree(bytes: Uint8Array, what = 'directory tree'): DirTree {
  const buffer = asBuffer(bytes);
  const tree: DirTree = { files: [], dirs: [] };
  scanDirTree(
    buffer,
    what,
    (start, end) => tree.files.push({ name: nameIn(buffer, start, end, what), checksum: buffer.toString('hex', end, end + 32) as Checksum }),
    (start, end) =>
      tree.dirs.push({
        name: nameIn(buffer, start, end, what),
        tree: buffer.toString('hex', end, end + 32) as Checksum,
        meta: buffer.toString('hex', end + 32, end + 64) as Checksum,
      }),
  );
  checkNames(tree, (why) => corrupt(what, why));
  return tree;
}

/** Told where an entry's name begins and ends, its NUL included; the checksum follows, of a directory that of its tree and then of its meta. */
type OnEntry = (start: number, end: number) => void;

/**
 * Goes through a dirtree without making anything of it: for who wants the checksums of thousands. Names are found, and not looked at.
 * @throws OSTREE_OBJECT_CORRUPT, when it is not in normal form only after all entries
 */
export function scanDirTree(buffer: Buffer, what: string, onFile: OnEntry, onDirectory: OnEntry): void {
  const total = buffer.byteLength;
  if (total === 0) throw corrupt(what, 'empty');
  const size = offsetSizeOf(total);
  if (total < size) throw corrupt(what, 'too short');
  const filesSize = buffer.readUIntLE(total - size, size);
  if (filesSize > total - size) throw corrupt(what, 'bad framing');
  // What is not as we would write it is refused where it is met: to write it again and compare takes as long as to read it.
  let normal = offsetSize(total - size, 1) === size;
  let start = 0;
  const fileEnds = arrayEnds(buffer, 0, filesSize, what);
  normal &&= isNormalArray(fileEnds, filesSize);
  for (const end of fileEnds) {
    const width = offsetSizeOf(end - start);
    const nameEnd = end - width - 32;
    if (nameEnd < start + 2 || buffer[nameEnd - 1] !== 0) throw corrupt(what, 'bad entry');
    onFile(start, nameEnd);
    normal &&= offsetSize(end - width - start, 1) === width && buffer.readUIntLE(end - width, width) === nameEnd - start;
    start = end;
  }
  start = filesSize;
  const dirEnds = arrayEnds(buffer, filesSize, total - size, what);
  normal &&= isNormalArray(dirEnds, total - size - filesSize);
  for (const relative of dirEnds) {
    const end = filesSize + relative;
    const width = offsetSizeOf(end - start);
    const nameEnd = end - 2 * width - 64;
    if (nameEnd < start + 2 || buffer[nameEnd - 1] !== 0) throw corrupt(what, 'bad entry');
    onDirectory(start, nameEnd);
    // Offsets stand in reverse order.
    normal &&= offsetSize(end - 2 * width - start, 2) === width;
    normal &&= buffer.readUIntLE(end - 2 * width, width) === nameEnd + 32 - start && buffer.readUIntLE(end - width, width) === nameEnd - start;
    start = end;
  }
  if (!normal) throw corrupt(what, 'not in normal form');
}

/** Whether the offsets at the end of an array of `total` bytes are as narrow as can be. */
function isNormalArray(ends: Uint32Array, total: number): boolean {
  return ends.length === 0 || offsetSize(ends.at(-1) as number, ends.length) === offsetSizeOf(total);
}

function nameIn(buffer: Buffer, start: number, end: number, what: string): string {
  const name = decodeUtf8(buffer, start, end - 1);
  if (name === undefined) throw corrupt(what, 'a name that is not UTF-8');
  return name;
}

function checkNames(tree: DirTree, fail: (why: string) => Error): void {
  for (const list of [tree.files, tree.dirs]) {
    let previous: string | undefined;
    for (const { name } of list) {
      if (!isEntryName(name)) throw fail(`invalid name "${name.slice(0, 300)}"`);
      if (previous !== undefined && compareUtf8(previous, name) >= 0) throw fail(`names not sorted at "${name}"`);
      previous = name;
    }
  }
  if (tree.files.length === 0 || tree.dirs.length === 0) return;
  // Directories are the fewer.
  const names = new Set(tree.dirs.map((dir) => dir.name));
  for (const { name } of tree.files) if (names.has(name)) throw fail(`"${name}" is both a file and a directory`);
}
