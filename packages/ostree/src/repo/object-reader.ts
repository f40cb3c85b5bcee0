/**
 * Content objects as each repository mode stores them: header, size and content of one file under `objects/`.
 * Synchronous, and without a {@link Repo}, so that workers can use it.
 */
import { createHash, hash as hashOnce } from 'node:crypto';
import { closeSync, constants, createReadStream, fstatSync, lstatSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { createInflateRaw, inflateRawSync } from 'node:zlib';
import { type Bytes, type Checksum, decodeUtf8, errnoOf } from '@cambium/base';
import { readXattrs } from '@cambium/system';
import { S_IFLNK, S_IFMT, S_IFREG, type Xattr } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { canonicalXattrs, corrupt, parseXattrList } from '../format/framing.ts';
import { checksumOf, encodeFileHeader, fileChecksum, headerLength, isSymlink, parseFilezHeader } from '../format/object-format.ts';
import type { FileHeader, RepoMode } from '../format/types.ts';
import { threadInflater } from './inflate.ts';
import { readUserMeta, type UserMeta } from './user-meta.ts';

/** How a repository stores its content. */
export interface ContentStore {
  mode: RepoMode;
  disableXattrs: boolean;
}

export interface StoredFile {
  header: FileHeader;
  /** As claimed by an archive object; exact elsewhere. 0 for symlinks. */
  sizeBytes: number;
  /** Where the content (archive: the deflate stream) starts in the file on disk. */
  contentAt: number;
}

const FIRST_READ_BYTES = 4096;
/** Of symlinks in bare-user repositories; no kernel takes as much. */
const MAX_TARGET_BYTES = 0xffff;
/** Contents up to this size are read in one piece. */
const WHOLE_BYTES = 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
/** O_NONBLOCK: a FIFO in the place of an object must not stop the thread; it reads as empty. */
const NOFOLLOW_READ: number = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Returns the header of a content object without reading its content. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
export function readStoredFile(store: ContentStore, path: string, checksum: Checksum): StoredFile {
  return missingIsKnown(checksum, () => (store.mode === 'archive' ? readFilez(path, checksum) : readLoose(store, path, checksum)));
}

/**
 * Returns header and whole content, verified.
 * @param scratch memory to read into: header and content may lie there, until it is used again
 * @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_OBJECT_TOO_LARGE
 */
export function readWholeFile(
  store: ContentStore,
  path: string,
  checksum: Checksum,
  limitBytes: number,
  scratch?: Buffer,
): { header: FileHeader; content: Uint8Array } {
  return missingIsKnown(checksum, () => {
    if (store.mode === 'bare-user') return readWholeUserFile(path, checksum, limitBytes, scratch);
    const whole = store.mode === 'archive' ? readSmallFilez(path, checksum, scratch) : undefined;
    const stored = whole?.stored ?? readStoredFile(store, path, checksum);
    if (stored.sizeBytes > limitBytes) throw tooLarge(checksum, stored.sizeBytes, limitBytes);
    if (whole !== undefined && scratch !== undefined) {
      const content = inflateInto(scratch, whole.inScratch, whole.bytes, stored, checksum);
      if (content !== undefined) return { header: stored.header, content };
    }
    const content = contentOf(store, path, checksum, stored, whole?.bytes ?? readBare(store, path, stored, scratch));
    return { header: stored.header, content: verified(stored.header, content, checksum) };
  });
}

/**
 * Returns header and content of an archived object that is at hand, verified.
 * @param scratch as for {@link readWholeFile}
 * @throws OSTREE_OBJECT_CORRUPT
 */
export function unpackFilez(bytes: Buffer, checksum: Checksum, scratch?: Buffer): { header: FileHeader; content: Uint8Array } {
  const stored = parseFilezHeader(bytes, `file object ${checksum}`);
  const inflated = scratch === undefined ? undefined : inflateInto(scratch, 0, bytes, stored, checksum);
  if (inflated !== undefined) return { header: stored.header, content: inflated };
  const content = contentOf({ mode: 'archive', disableXattrs: false }, '', checksum, stored, bytes);
  return { header: stored.header, content: verified(stored.header, content, checksum) };
}

function verified(header: FileHeader, content: Uint8Array, checksum: Checksum): Uint8Array {
  const actual = fileChecksum(header, content);
  if (actual !== checksum) throw mismatch(checksum, actual);
  return content;
}

/** Unpacks an archived object into `scratch` from `at` on, header and content side by side, so that one call hashes them. Returns undefined where it does not fit. */
function inflateInto(scratch: Buffer, at: number, bytes: Buffer, stored: StoredFile, checksum: Checksum): Uint8Array | undefined {
  const { header, sizeBytes, contentAt } = stored;
  // One byte of room more than claimed, so that a longer stream is noticed and not only cut.
  const room = sizeBytes + 1;
  if (isSymlink(header) || at + room > scratch.byteLength) return undefined;
  const prefix = encodeFileHeader(header);
  const start = at + prefix.byteLength;
  const inflater = start + room > scratch.byteLength ? undefined : threadInflater();
  if (inflater === undefined) return undefined;
  scratch.set(prefix, at);
  const length = zlibIsKnown(checksum, () => inflater.whole(bytes.subarray(contentAt), scratch.subarray(start, start + room)));
  if (length !== sizeBytes) throw mismatch(checksum);
  const actual = hashOnce('sha256', scratch.subarray(at, start + length), 'hex');
  if (actual !== checksum) throw mismatch(checksum, actual);
  return scratch.subarray(start, start + length);
}

/** Reads an archived object in one go when it is small enough on disk: nearly all are, and each call on a file costs more than its bytes. */
function readSmallFilez(path: string, checksum: Checksum, scratch: Buffer | undefined): { stored: StoredFile; bytes: Buffer; inScratch: number } | undefined {
  const fd = openSync(path, NOFOLLOW_READ);
  try {
    const { size } = fstatSync(fd);
    if (size > WHOLE_BYTES) return undefined;
    const bytes = scratch !== undefined && size <= scratch.byteLength ? scratch : Buffer.allocUnsafe(size);
    let at = 0;
    for (let read = 1; read > 0 && at < size; at += read) read = readSync(fd, bytes, at, size - at, at);
    const inScratch = bytes === scratch ? at : 0;
    return { stored: parseFilezHeader(bytes.subarray(0, at), `file object ${checksum}`), bytes: bytes.subarray(0, at), inScratch };
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads an object of a bare-user repository: attribute and content by one descriptor, hashed in one piece behind the header,
 * and no question to the file system that the checksum answers.
 */
function readWholeUserFile(path: string, checksum: Checksum, limitBytes: number, scratch: Buffer | undefined): { header: FileHeader; content: Uint8Array } {
  const fd = openSync(path, NOFOLLOW_READ);
  try {
    const meta = requireUserMeta(fd, checksum);
    const start = meta.prefix.byteLength;
    const roomOfItsOwn = (): Buffer => {
      const { size } = fstatSync(fd);
      if (size > limitBytes) throw tooLarge(checksum, size, limitBytes);
      return Buffer.allocUnsafeSlow(start + size + 1);
    };
    let memory = scratch !== undefined && scratch.byteLength > start ? scratch : roomOfItsOwn();
    for (let end = start; ; ) {
      const read = readSync(fd, memory, end, memory.byteLength - end, end - start);
      end += read;
      if (end === memory.byteLength || end - start > limitBytes) {
        memory = roomOfItsOwn();
        end = start;
        continue;
      }
      const { header, content, actual } = hashUserFile(meta, memory, end, `file object ${checksum}`);
      if (actual === checksum) return { header, content };
      // Some file systems give less than was asked for: the end is where nothing follows.
      if (read === 0) throw mismatch(checksum, actual);
    }
  } finally {
    closeSync(fd);
  }
}

/** @param memory content from the length of the header on */
function hashUserFile({ header, prefix }: UserMeta, memory: Buffer, end: number, what: string): { header: FileHeader; content: Uint8Array; actual: string } {
  const content = memory.subarray(prefix.byteLength, end);
  if (isSymlink(header)) {
    const link = { ...header, target: targetIn(content, what) };
    return { header: link, content: new Uint8Array(0), actual: checksumOf(encodeFileHeader(link)) };
  }
  memory.set(prefix);
  return { header, content, actual: checksumOf(memory.subarray(0, end)) };
}

function requireUserMeta(target: string | number, checksum: Checksum): UserMeta {
  const meta = readUserMeta(target, checksum);
  if (meta === undefined) throw corrupt(`file object ${checksum}`, 'no user.ostreemeta attribute');
  return meta;
}

/** The target of a symlink that is stored as a file: up to a NUL, if there is one. */
function targetIn(content: Buffer, what: string): string {
  if (content.byteLength > MAX_TARGET_BYTES) throw corrupt(what, 'symlink target too long');
  const end = content.indexOf(0);
  return textOf(end < 0 ? content : content.subarray(0, end), what);
}

/** Reads the file of a bare object into `scratch` where it fits: fresh memory for each costs as much as the reading. */
function readBare(store: ContentStore, path: string, { header, sizeBytes }: StoredFile, scratch: Buffer | undefined): Buffer | undefined {
  if (store.mode === 'archive' || isSymlink(header) || scratch === undefined || sizeBytes >= scratch.byteLength) return undefined;
  const fd = openSync(path, NOFOLLOW_READ);
  try {
    let at = 0;
    for (let read = 1; read > 0 && at < scratch.byteLength; at += read) read = readSync(fd, scratch, at, scratch.byteLength - at, at);
    // One that has grown meanwhile is read anew, at its size.
    return at < scratch.byteLength ? scratch.subarray(0, at) : undefined;
  } finally {
    closeSync(fd);
  }
}

/**
 * Gives the content of an object to `take` in pieces of `scratch`, in this turn; the verdict comes at the end, as an exception.
 * Returns false, and does nothing, where that cannot be done. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT
 */
export function readPieces(store: ContentStore, path: string, checksum: Checksum, scratch: Buffer, take: (piece: Uint8Array) => void): boolean {
  const inflater = store.mode === 'archive' ? threadInflater() : undefined;
  if (store.mode === 'archive' && inflater === undefined) return false;
  const { header, sizeBytes, contentAt } = readStoredFile(store, path, checksum);
  if (isSymlink(header)) return false;
  const hash = createHash('sha256').update(encodeFileHeader(header));
  let seen = 0;
  const pass = (piece: Uint8Array): void => {
    seen += piece.byteLength;
    // The claimed size bounds what a hostile stream can make us write.
    if (seen > sizeBytes) throw mismatch(checksum);
    hash.update(piece);
    take(piece);
  };
  const fd = missingIsKnown(checksum, () => openSync(path, NOFOLLOW_READ));
  try {
    if (inflater === undefined) readToEnd(fd, contentAt, scratch, pass);
    else {
      const input = scratch.subarray(0, scratch.byteLength >> 2);
      const output = scratch.subarray(input.byteLength);
      inflater.begin();
      readToEnd(fd, contentAt, input, (compressed, isLast) => {
        let left = compressed;
        do {
          zlibIsKnown(checksum, () => inflater.step(left, output, isLast));
          left = left.subarray(inflater.consumed);
          if (inflater.produced > 0) pass(output.subarray(0, inflater.produced));
        } while (inflater.produced === output.byteLength);
      });
    }
  } finally {
    closeSync(fd);
  }
  const actual = hash.digest('hex');
  if (actual !== checksum) throw mismatch(checksum, actual);
  return true;
}

/** Gives a file to `take` in pieces of `buffer`, an empty one last. */
function readToEnd(fd: number, from: number, buffer: Buffer, take: (piece: Uint8Array, isLast: boolean) => void): void {
  for (let at = from; ; ) {
    const read = readSync(fd, buffer, 0, buffer.byteLength, at);
    take(buffer.subarray(0, read), read === 0);
    if (read === 0) return;
    at += read;
  }
}

/** Streams the content; the verdict comes at the end. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
export async function* streamFile(store: ContentStore, path: string, checksum: Checksum, signal?: AbortSignal): Bytes {
  const stored = readStoredFile(store, path, checksum);
  if (stored.sizeBytes <= WHOLE_BYTES) {
    const { content } = readWholeFile(store, path, checksum, WHOLE_BYTES);
    if (content.byteLength > 0) yield content;
    return;
  }
  const hash = createHash('sha256').update(encodeFileHeader(stored.header));
  const file = createReadStream(path, { start: stored.contentAt, highWaterMark: CHUNK_BYTES, signal });
  const inflate = store.mode === 'archive' ? createInflateRaw({ chunkSize: CHUNK_BYTES }) : undefined;
  if (inflate !== undefined) {
    file.on('error', (error) => inflate.destroy(error));
    file.pipe(inflate);
  }
  let seen = 0;
  try {
    for await (const chunk of (inflate ?? file) as AsyncIterable<Buffer>) {
      seen += chunk.byteLength;
      // The claimed size bounds what a hostile stream can make us write.
      if (seen > stored.sizeBytes) break;
      hash.update(chunk);
      yield chunk;
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (isZlibError(cause)) throw corruptDeflate(checksum, cause);
    throw cause;
  } finally {
    file.destroy();
    inflate?.destroy();
  }
  if (seen !== stored.sizeBytes) throw mismatch(checksum);
  const actual = hash.digest('hex');
  if (actual !== checksum) throw mismatch(checksum, actual);
}

function contentOf(store: ContentStore, path: string, checksum: Checksum, stored: StoredFile, read?: Buffer): Uint8Array {
  if (isSymlink(stored.header)) return new Uint8Array(0);
  const bytes = read ?? readFileSync(path);
  if (store.mode !== 'archive') return bytes;
  // One byte of room more than claimed, as above.
  // All in one buffer: zlib's own choice is pieces of 16 KiB, which it joins in the end. The caller has bounded what is claimed.
  const room = stored.sizeBytes + 1;
  const content = zlibIsKnown(checksum, () => inflateRawSync(bytes.subarray(stored.contentAt), { maxOutputLength: room, chunkSize: Math.max(room, 64) }));
  if (content.byteLength !== stored.sizeBytes) throw mismatch(checksum);
  return content;
}

function zlibIsKnown<T>(checksum: Checksum, inflate: () => T): T {
  try {
    return inflate();
  } catch (cause) {
    if (isZlibError(cause)) throw corruptDeflate(checksum, cause);
    throw cause;
  }
}

function readFilez(path: string, checksum: Checksum): StoredFile {
  const what = `file object ${checksum}`;
  const fd = openSync(path, NOFOLLOW_READ);
  try {
    let bytes: Buffer = Buffer.allocUnsafe(FIRST_READ_BYTES);
    bytes = bytes.subarray(0, readSync(fd, bytes, 0, FIRST_READ_BYTES, 0));
    const length = headerLength(bytes, what);
    if (length > bytes.byteLength) {
      if (length > fstatSync(fd).size) throw corrupt(what, 'shorter than its header');
      bytes = Buffer.alloc(length);
      readSync(fd, bytes, 0, length, 0);
    }
    return parseFilezHeader(bytes, what);
  } finally {
    closeSync(fd);
  }
}

function readLoose(store: ContentStore, path: string, checksum: Checksum): StoredFile {
  const what = `file object ${checksum}`;
  const stat = lstatSync(path);
  const { uid, gid, mode } = stat;
  const kind = mode & S_IFMT;
  if (kind !== S_IFREG && kind !== S_IFLNK) throw corrupt(what, 'neither a regular file nor a symlink');
  const sizeBytes = kind === S_IFREG ? stat.size : 0;
  const target = kind === S_IFLNK ? textOf(readlinkSync(path, 'buffer'), what) : '';
  switch (store.mode) {
    case 'bare-user': {
      if (kind !== S_IFREG) throw corrupt(what, 'a symlink in a bare-user repository');
      const { header } = requireUserMeta(path, checksum);
      if (!isSymlink(header)) return { header, sizeBytes, contentAt: 0 };
      if (sizeBytes > MAX_TARGET_BYTES) throw corrupt(what, 'symlink target too long');
      return { header: { ...header, target: targetIn(readFileSync(path), what) }, sizeBytes: 0, contentAt: 0 };
    }
    case 'bare-user-only':
      return { header: { uid: 0, gid: 0, mode, target, xattrs: [] }, sizeBytes, contentAt: 0 };
    case 'bare-split-xattrs': {
      const list = readFileSync(`${path}-xattrs-link`);
      return { header: { uid, gid, mode, target, xattrs: parseXattrList(list, what) }, sizeBytes, contentAt: 0 };
    }
    default: {
      const xattrs: readonly Xattr[] = store.disableXattrs ? [] : canonicalXattrs(readXattrs(path));
      return { header: { uid, gid, mode, target, xattrs }, sizeBytes, contentAt: 0 };
    }
  }
}

function textOf(bytes: Uint8Array, what: string): string {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw corrupt(what, 'a symlink target that is not UTF-8');
  return text;
}

function missingIsKnown<T>(checksum: Checksum, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') throw ostreeError('OSTREE_OBJECT_MISSING', `No such object ${checksum}.file`, { cause, data: { checksum, type: 'file' } });
    if (errnoOf(cause) === 'ELOOP') throw corrupt(`file object ${checksum}`, 'a symlink where a file should be');
    if (errnoOf(cause) === 'EISDIR') throw corrupt(`file object ${checksum}`, 'a directory where a file should be');
    throw cause;
  }
}

function tooLarge(checksum: Checksum, sizeBytes: number, limitBytes: number): Error {
  return ostreeError('OSTREE_OBJECT_TOO_LARGE', `Cannot read file object ${checksum}: ${sizeBytes} bytes, over the limit of ${limitBytes}`);
}

/** @param actual the checksum it has, where all of it was read */
function mismatch(checksum: Checksum, actual?: string): Error {
  return ostreeError('OSTREE_OBJECT_CORRUPT', `File object ${checksum} does not match its checksum`, {
    data: { checksum, type: 'file', ...(actual === undefined ? {} : { actual }) },
  });
}

function corruptDeflate(checksum: Checksum, cause: unknown): Error {
  return ostreeError('OSTREE_OBJECT_CORRUPT', `File object ${checksum} has a bad deflate stream`, { cause, data: { checksum, type: 'file' } });
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && (/^Z_/.test(error.code) || error.code === 'ERR_BUFFER_TOO_LARGE');
}
