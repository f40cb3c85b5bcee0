/**
 * Takes a share of a directory tree into a repository: lists, stats, hashes, compresses and writes, all synchronously,
 * in a worker or in the caller's own thread. A share ends after some files or bytes; what is left comes back.
 */
import { createHash, hash as hashOnce } from 'node:crypto';
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync, rmSync, type Stats } from 'node:fs';
import { type Checksum, decodeUtf8 } from '@cambium/base';
import { readXattrs, withReach } from '@cambium/system';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type Xattr } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { canonicalXattrs } from '../format/framing.ts';
import { encodeDirMeta, encodeFileHeader, isSymlink } from '../format/object-format.ts';
import type { FileHeader } from '../format/types.ts';
import { type CommitModifiers, ignoresXattrs, isSkipped, type MatchedPaths } from './commit-modifiers.ts';
import { lookupDevIno } from './devino-cache.ts';
import { modifyEntry } from './modify-entry.ts';
import type { ObjectWriter, WrittenObject } from './object-writer.ts';

/** Part of one directory. */
export interface DirectoryPart {
  /** On disk. */
  disk: string;
  /** In the tree: '' for the root, else with a leading slash. */
  path: string;
  /** Names still to do; undefined when the directory has not been opened. */
  rest?: string[] | undefined;
}

export interface DirectoryResult {
  /** Bytes of the dirmeta, from the part that opened the directory. Undefined then means that the directory is left out. */
  meta?: Uint8Array | undefined;
  files: string[];
  /** Of the files, 32 bytes each. */
  checksums: Uint8Array;
  objects: ObjectCounts;
  dirs: string[];
  /** What did not fit into this share. */
  rest?: string[] | undefined;
}

/** Columns over the objects of a share: what statistics need. */
export interface ObjectCounts {
  written: Uint8Array;
  contentBytes: Float64Array;
  storedBytes: Float64Array;
  cacheHits: number;
}

export interface ShardResult {
  /** One for each part that was begun, in order; later parts were not. */
  done: DirectoryResult[];
  matched: string[];
}

/** Sized so that a share takes some ten milliseconds: the message that carries it costs a thousandth of that. */
const SHARE_FILES = 512;
const SHARE_BYTES: number = 16 * 1024 * 1024;
const SCRATCH_BYTES: number = 1024 * 1024;
const READ: number = constants.O_RDONLY | constants.O_NOFOLLOW;

export class DirectoryScanner {
  readonly #writer: ObjectWriter;
  readonly #modifiers: CommitModifiers;
  /** Header and content side by side, hashed in one call. */
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

  constructor(writer: ObjectWriter, modifiers: CommitModifiers) {
    this.#writer = writer;
    this.#modifiers = modifiers;
  }

  /** @throws OSTREE_FILE_UNSUPPORTED OSTREE_SPACE_RESERVED, errno of what cannot be read */
  scan(parts: readonly DirectoryPart[]): ShardResult {
    const matched: MatchedPaths = new Set();
    const budget = { files: SHARE_FILES, bytes: SHARE_BYTES };
    const done: DirectoryResult[] = [];
    for (const part of parts) {
      if (budget.files <= 0 || budget.bytes <= 0) break;
      done.push(withReach(part.disk, (disk) => this.#scanPart({ ...part, disk }, budget, matched)));
    }
    return { done, matched: [...matched] };
  }

  #scanPart(part: DirectoryPart, budget: { files: number; bytes: number }, matched: MatchedPaths): DirectoryResult {
    const result: DirectoryResult = { files: [], dirs: [], ...columnsOf([]) };
    const rows: Row[] = [];
    let names = part.rest;
    if (names === undefined) {
      budget.files--;
      const meta = this.#directoryMeta(part, matched);
      if (meta === undefined) return result;
      result.meta = meta;
      names = namesIn(part.disk);
    }
    let at = 0;
    for (; at < names.length && budget.files > 0 && budget.bytes > 0; at++) {
      const name = names[at] as string;
      const path = `${part.path}/${name}`;
      const disk = `${part.disk}/${name}`;
      const stat = lstatSync(disk);
      const kind = stat.mode & S_IFMT;
      const known = kind === S_IFREG || (kind === S_IFLNK && this.#modifiers.devInoCanonical === true) ? this.#linkedObject(disk, kind) : undefined;
      // Such a link is taken as it is, and no list of paths is asked.
      const isCanonical = known !== undefined && this.#modifiers.devInoCanonical === true;
      if (!isCanonical && isSkipped(path, this.#modifiers, matched)) {
        if (this.#modifiers.consume === true) rmSync(disk, { recursive: true, force: true });
        continue;
      }
      if (kind === S_IFDIR) {
        result.dirs.push(name);
        continue;
      }
      if (kind !== S_IFREG && kind !== S_IFLNK)
        throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Not a regular file or symlink: ${name}`, { data: { path: disk } });
      const row = isCanonical ? cacheHit(known.checksum) : this.#file(disk, path, stat, matched, known);
      if (row === undefined) continue;
      budget.files--;
      budget.bytes -= row.contentBytes;
      result.files.push(name);
      rows.push(row);
      if (this.#modifiers.consume === true) rmSync(disk, { force: true });
    }
    if (at < names.length) result.rest = names.slice(at);
    return { ...result, ...columnsOf(rows) };
  }

  #directoryMeta(part: DirectoryPart, matched: MatchedPaths): Uint8Array | undefined {
    const { uid, gid, mode } = lstatSync(part.disk);
    const isRoot = part.path === '';
    const meta = modifyEntry(isRoot ? '/' : part.path, { uid, gid, mode, xattrs: this.#xattrs(part.disk) }, this.#modifiers, matched, !isRoot);
    return meta === undefined ? undefined : encodeDirMeta(meta);
  }

  #xattrs(target: string | number): readonly Xattr[] {
    return ignoresXattrs(this.#modifiers) || this.#writer.target.disableXattrs ? [] : canonicalXattrs(readXattrs(target));
  }

  #file(disk: string, path: string, stat: Stats, matched: MatchedPaths, linked: LinkedObject | undefined): Row | undefined {
    const { uid, gid, mode } = stat;
    if ((mode & S_IFMT) === S_IFLNK) {
      const target = decodeUtf8(readlinkSync(disk, 'buffer'));
      if (target === undefined) throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Invalid UTF-8 in target of symlink: ${path}`, { data: { path: disk } });
      const header = modifyEntry(path, { uid, gid, mode, target, xattrs: this.#xattrs(disk) }, this.#modifiers, matched);
      return header === undefined ? undefined : rowOf(this.#writer.writeFile(header, new Uint8Array(0)), 0);
    }
    const fd = openSync(disk, READ);
    try {
      const plain: FileHeader = linked?.header ?? { uid, gid, mode, target: '', xattrs: this.#xattrs(fd) };
      const header = modifyEntry(path, plain, this.#modifiers, matched);
      if (header === undefined) return undefined;
      if (linked !== undefined && header === plain) return cacheHit(linked.checksum);
      // A changed link of an object must not become one: it would change the other.
      const adoptable = this.#modifiers.consume === true && linked === undefined && this.#canAdopt(stat, header, plain);
      return stat.size < SCRATCH_BYTES / 2 ? this.#small(fd, disk, header, adoptable) : this.#large(fd, disk, header, stat.size, adoptable);
    } finally {
      closeSync(fd);
    }
  }

  /** Returns whether a file has, or can be given in its place, all that the object's file must have. libostree adopts in the same modes. */
  #canAdopt(stat: Stats, header: FileHeader, plain: FileHeader): boolean {
    switch (this.#writer.target.mode) {
      case 'bare':
        // What is not to be stored may be on the file: nobody has looked.
        return header === plain && !ignoresXattrs(this.#modifiers) && !this.#writer.target.disableXattrs;
      case 'bare-user-only':
        // Its mode may have to change, and must not under another name.
        return stat.nlink === 1 || (stat.mode & 0o7777) === (header.mode & 0o7777);
      default:
        return false;
    }
  }

  /** Returns the object that a file is a hard link of, with the object's own header. */
  #linkedObject(disk: string, kind: number): LinkedObject | undefined {
    const { devIno } = this.#modifiers;
    if (devIno === undefined || devIno.count === 0) return undefined;
    const { dev, ino } = lstatSync(disk, { bigint: true });
    const checksum = lookupDevIno(devIno, dev, ino);
    if (checksum === undefined) return undefined;
    const { header } = this.#writer.readHeader(checksum);
    // In a bare-user repository the object of a symbolic link is a regular file.
    return isSymlink(header) === (kind === S_IFLNK) ? { checksum, header } : undefined;
  }

  #small(fd: number, disk: string, header: FileHeader, adoptable: boolean): Row {
    const prefix = encodeFileHeader(header);
    let scratch = this.#scratch;
    if (prefix.byteLength > SCRATCH_BYTES / 2) scratch = Buffer.allocUnsafeSlow(prefix.byteLength + SCRATCH_BYTES / 2);
    scratch.set(prefix, 0);
    let end = prefix.byteLength;
    for (;;) {
      const count = readSync(fd, scratch, end, scratch.byteLength - end, null);
      if (count === 0) break;
      end += count;
      if (end === scratch.byteLength) throw changed(disk);
    }
    const checksum = hashOnce('sha256', scratch.subarray(0, end), 'hex') as Checksum;
    const content = scratch.subarray(prefix.byteLength, end);
    const written =
      (adoptable ? this.#writer.adopt(disk, header, checksum, content.byteLength) : undefined) ?? this.#writer.writeHashed(header, content, checksum);
    return rowOf(written, content.byteLength);
  }

  /** Reads twice: hashing is fifteen times as fast as compressing, and most large files are often there already. */
  #large(fd: number, disk: string, header: FileHeader, sizeBytes: number, adoptable: boolean): Row {
    const hash = createHash('sha256').update(encodeFileHeader(header));
    let seen = 0;
    for (let count = readSync(fd, this.#scratch, 0, SCRATCH_BYTES, 0); count > 0; count = readSync(fd, this.#scratch, 0, SCRATCH_BYTES, seen)) {
      hash.update(this.#scratch.subarray(0, count));
      seen += count;
    }
    if (seen !== sizeBytes) throw changed(disk);
    const checksum = hash.digest('hex') as Checksum;
    if (this.#writer.has('file', checksum)) return rowOf({ checksum, written: false, storedBytes: 0 }, sizeBytes);
    const adopted = adoptable ? this.#writer.adopt(disk, header, checksum, sizeBytes) : undefined;
    if (adopted !== undefined) return rowOf(adopted, sizeBytes);
    const stream = this.#writer.begin(header, sizeBytes, { isNew: true });
    try {
      let at = 0;
      for (let count = readSync(fd, this.#scratch, 0, SCRATCH_BYTES, 0); count > 0; count = readSync(fd, this.#scratch, 0, SCRATCH_BYTES, at)) {
        stream.write(this.#scratch.subarray(0, count));
        at += count;
      }
      return rowOf(stream.end(), sizeBytes);
    } catch (error) {
      stream.abort();
      throw error;
    }
  }
}

interface Row extends WrittenObject {
  contentBytes: number;
  cacheHit: boolean;
}

/** An object under another name, with the object's own header. */
interface LinkedObject {
  checksum: Checksum;
  header: FileHeader;
}

function cacheHit(checksum: Checksum): Row {
  return { checksum, written: false, storedBytes: 0, contentBytes: 0, cacheHit: true };
}

function rowOf(written: WrittenObject, contentBytes: number): Row {
  return { ...written, contentBytes, cacheHit: false };
}

function columnsOf(rows: readonly Row[]): { checksums: Uint8Array; objects: ObjectCounts } {
  const checksums = Buffer.alloc(rows.length * 32);
  const objects: ObjectCounts = {
    written: new Uint8Array(rows.length),
    contentBytes: new Float64Array(rows.length),
    storedBytes: new Float64Array(rows.length),
    cacheHits: 0,
  };
  for (const [i, row] of rows.entries()) {
    checksums.write(row.checksum, i * 32, 32, 'hex');
    objects.written[i] = row.written ? 1 : 0;
    objects.contentBytes[i] = row.contentBytes;
    objects.storedBytes[i] = row.storedBytes;
    if (row.cacheHit) objects.cacheHits++;
  }
  return { checksums, objects };
}

function changed(disk: string): Error {
  return ostreeError('OSTREE_CONTENT_SIZE', `Cannot commit "${disk}": it changed while it was read`, { retryable: true });
}

/** Returns the names in a directory. @throws OSTREE_FILE_UNSUPPORTED for one that is not UTF-8 */
function namesIn(disk: string): string[] {
  const names = readdirSync(disk);
  // Node puts U+FFFD where bytes are not UTF-8; the character itself is a valid name.
  if (!names.some((name) => name.includes('\ufffd'))) return names;
  return readdirSync(disk, 'buffer').map((name) => {
    const text = decodeUtf8(name);
    if (text === undefined) {
      const message = `Invalid UTF-8 in filename ${escaped(name)}`;
      throw ostreeError('OSTREE_FILE_UNSUPPORTED', `${message} in "${disk}"`, { data: { path: disk, ostreeMessage: message } });
    }
    return text;
  });
}

/** Returns text with `\xff` for each byte that is part of no character: a message is text. */
function escaped(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.byteLength; ) {
    let length: number;
    let character: string | undefined;
    // The shortest piece that is text is one character.
    for (length = 1; length <= 4 && character === undefined; length++) character = decodeUtf8(bytes.subarray(at, at + length));
    text += character ?? `\\x${(bytes[at] as number).toString(16).padStart(2, '0')}`;
    at += character === undefined ? 1 : length - 1;
  }
  return text;
}
