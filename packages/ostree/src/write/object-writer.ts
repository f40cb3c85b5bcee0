/**
 * Writes objects into a staging directory, synchronously; one per thread.
 *
 * Every object is written under a temporary name in the staging directory itself and renamed into `XX/`, so nothing
 * half-written has an object's name. Temporary names are not two characters long: libostree, when it reuses the
 * directory after a crash, looks at two-character ones only. They share one directory because file systems keep the
 * inodes of a directory together: on ext4 names in `XX/` or in a directory per thread cost about twice the time.
 */
import { createHash, type Hash, hash as hashOnce } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  futimesSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { baseError, type Checksum, errnoOf, systemError } from '@cambium/base';
import { setXattr, startWriteOut } from '@cambium/system';
import { S_IFMT } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { encodeFileHeader, encodeFilezHeader, encodeUserMeta, isSymlink } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import type { FileHeader, MetadataType, RepoMode } from '../format/types.ts';
import type { FreeBlocks } from '../repo/free-blocks.ts';
import { readStoredFile } from '../repo/object-reader.ts';
import { deflateContent, releaseDeflated, SEGMENT_BYTES, SegmentedDeflate } from './deflate.ts';
import { linkPayload, sharePayload } from './payload-links.ts';

/** Where and how to write; plain data, so that it travels to workers. */
export interface WriteTarget {
  mode: RepoMode;
  disableXattrs: boolean;
  /** Temporary files. */
  staging: string;
  /** Finished objects: the staging directory, or `objects/` itself when nothing is synced as a whole. */
  destination: string;
  /** Whether the destination was empty when the transaction began. */
  isFresh?: boolean | undefined;
  /** Further `objects/` directories where an object may be already, with the mode of their repository. */
  present: ReadonlyArray<{ objects: string; mode: RepoMode }>;
  /** Those and the ones of parent repositories, whose objects may be read, and be written again nevertheless. */
  readable?: ReadonlyArray<{ objects: string; mode: RepoMode }> | undefined;
  zlibLevel: number;
  /** See {@link deflateContent}. */
  likeZlib?: boolean | undefined;
  /** Flush each object by itself. */
  syncEach: boolean;
  /** All is flushed at the end: large objects begin to go out when they are written, so that less is left for then. */
  syncAtEnd?: boolean | undefined;
  /** Contents from this size on get payload links; undefined where blocks cannot be shared. */
  payloadLinksFrom?: number | undefined;
  /** The process's umask: workers cannot ask for it cheaply. */
  umask: number;
}

export interface WrittenObject {
  checksum: Checksum;
  /** False when it was there already. */
  written: boolean;
  /** Bytes on disk of what was written. */
  storedBytes: number;
}

const CREATE: number = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
const NOTHING: Uint8Array = new Uint8Array(0);
/** Up to this size a stream is kept until its checksum is known, so that nothing is compressed or written in vain. */
const KEEP_BYTES: number = 4 * SEGMENT_BYTES;
/** About 6 MB of memory for each thread. */
const MAX_KNOWN = 65_536;
/** Smaller files go out together, in one sweep: from 16 KiB on, it costs a fifth more time than it saves. */
const WRITE_OUT_BYTES: number = 64 * 1024;
const WRITABLE = 0o200;

export class ObjectWriter {
  readonly #target: WriteTarget;
  /**
   * Where half-written files of this writer lie. A directory for each: two threads that make files in one wait for each
   * other, which costs up to half of the time.
   */
  readonly #temporaries: string;
  readonly #space: FreeBlocks | undefined;
  readonly #directories = new Set<string>();
  /** Contents that are there, as looked up last: the same file comes in every layer of a distribution. */
  readonly #known = new Set<Checksum>();
  #count = 0;

  /** @param lane tells the writers of one staging directory apart */
  constructor(target: WriteTarget, lane: number | string, space: FreeBlocks | undefined) {
    this.#target = target;
    this.#temporaries = `${target.staging}/writer-${lane}`;
    this.#space = space;
  }

  get target(): WriteTarget {
    return this.#target;
  }

  /** Whether there may be objects that this transaction has not written. */
  get mayHave(): boolean {
    return this.#target.isFresh !== true || this.#target.present.length > 0;
  }

  /** Returns whether an object is staged or at another place where it need not be written again. */
  has(type: MetadataType | 'file', checksum: Checksum): boolean {
    if (this.#known.has(checksum)) return true;
    const { destination, present, mode } = this.#target;
    const found = exists(destination, type, checksum, mode) || present.some(({ objects, mode: theirs }) => exists(objects, type, checksum, theirs));
    if (found && type === 'file') {
      if (this.#known.size === MAX_KNOWN) this.#known.clear();
      this.#known.add(checksum);
    }
    return found;
  }

  /** Returns the header of a content object that the repository or a parent has. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  readHeader(checksum: Checksum): { header: FileHeader } {
    const { present, readable = present, mode, disableXattrs } = this.#target;
    const found = readable.find(({ objects, mode: theirs }) => exists(objects, 'file', checksum, theirs)) ?? {
      objects: this.#target.destination,
      mode,
    };
    return readStoredFile({ mode: found.mode, disableXattrs }, `${found.objects}/${loosePath('file', checksum, found.mode)}`, checksum);
  }

  /** Writes a metadata object unless it is there. */
  writeMetadata(type: MetadataType, bytes: Uint8Array): WrittenObject {
    const checksum = hashOnce('sha256', bytes, 'hex') as Checksum;
    if (this.has(type, checksum)) return { checksum, written: false, storedBytes: 0 };
    this.#regular(type, checksum, 0o644, (fd) => {
      writeAll(fd, [bytes]);
      this.#plainMode(fd);
    });
    return { checksum, written: true, storedBytes: bytes.byteLength };
  }

  /** Writes a content object unless it is there. @throws OSTREE_FILE_UNSUPPORTED OSTREE_SPACE_RESERVED */
  writeFile(header: FileHeader, content: Uint8Array): WrittenObject {
    const prefix = encodeFileHeader(header);
    return this.writeHashed(header, content, createHash('sha256').update(prefix).update(content).digest('hex') as Checksum);
  }

  /** As {@link writeFile} for content whose checksum the caller has computed. */
  writeHashed(header: FileHeader, content: Uint8Array, checksum: Checksum): WrittenObject {
    if (!this.has('file', checksum)) return this.writeNew(header, content, checksum);
    this.check(header);
    return { checksum, written: false, storedBytes: 0 };
  }

  /** As {@link writeHashed} for an object that is not there; to write it twice costs time only. */
  writeNew(header: FileHeader, content: Uint8Array, checksum: Checksum): WrittenObject {
    this.check(header);
    this.#space?.take(content.byteLength);
    return { checksum, written: true, storedBytes: this.#store(header, content, checksum) };
  }

  /**
   * Writes an object of an archive repository as it was stored in another one; the caller has verified it, and that it is not there.
   * @throws OSTREE_SPACE_RESERVED
   */
  writeNewFilez(bytes: Uint8Array, checksum: Checksum): WrittenObject {
    this.#space?.take(bytes.byteLength);
    this.#regular('file', checksum, 0o644, (fd) => {
      writeAll(fd, [bytes]);
      this.#plainMode(fd);
      this.#writeOut(fd, bytes.byteLength);
    });
    return { checksum, written: true, storedBytes: bytes.byteLength };
  }

  /**
   * Starts a content object that comes in pieces. With `isNew` the caller has found out that it is not there yet; with
   * `checksum` it verifies what it writes itself, and aborts what does not match.
   * @throws OSTREE_FILE_UNSUPPORTED OSTREE_SPACE_RESERVED
   */
  begin(header: FileHeader, sizeBytes: number, { isNew = false, checksum }: { isNew?: boolean; checksum?: Checksum } = {}): ObjectStream {
    this.check(header);
    const hash = checksum === undefined ? createHash('sha256').update(encodeFileHeader(header)) : checksum;
    if (sizeBytes <= KEEP_BYTES && !isNew && typeof hash !== 'string')
      return new KeptStream(sizeBytes, hash, (content, checksum) => this.writeHashed(header, content, checksum));
    return new SpilledStream(sizeBytes, hash, this.#spill(header, sizeBytes));
  }

  #spill(header: FileHeader, sizeBytes: number): Spill {
    const { mode, zlibLevel, likeZlib } = this.#target;
    this.#space?.take(sizeBytes);
    const temporary = this.#temporary();
    const createMode = this.#createMode(header);
    const fd = guarded(() => openSync(temporary, CREATE, createMode));
    let storedBytes = 0;
    const put = (bytes: Uint8Array): void => {
      writeAll(fd, [bytes]);
      storedBytes += bytes.byteLength;
    };
    const drop = (): void => {
      closeSync(fd);
      rmSync(temporary, { force: true });
    };
    const payloadHash = this.#wantsPayloadLink(header, sizeBytes) ? createHash('sha256') : undefined;
    const deflate = mode === 'archive' ? new SegmentedDeflate(zlibLevel, put, likeZlib) : undefined;
    if (deflate !== undefined) {
      try {
        guarded(() => put(encodeFilezHeader(header, sizeBytes)));
      } catch (error) {
        drop();
        throw error;
      }
    }
    return {
      write: (chunk) => {
        payloadHash?.update(chunk);
        guarded(() => (deflate === undefined ? put(chunk) : deflate.write(chunk)));
      },
      finish: (checksum) =>
        guarded(() => {
          if (this.has('file', checksum)) return { checksum, written: false, storedBytes: 0 };
          deflate?.end();
          const payload = payloadHash?.digest('hex') as Checksum | undefined;
          this.#sharePayload(fd, payload);
          this.#finishContent(fd, header, createMode);
          if (this.#target.syncEach) fsyncSync(fd);
          this.#writeOut(fd, storedBytes);
          this.#place(temporary, 'file', checksum);
          this.#linkPayload(payload, checksum);
          return { checksum, written: true, storedBytes };
        }),
      drop,
    };
  }

  /**
   * Moves a file into place as an object instead of copying it; its content, owner, mode and attributes must be the
   * object's already, or only its mode differ. Returns undefined when it cannot be moved (another file system, another owner).
   */
  adopt(path: string, header: FileHeader, checksum: Checksum, sizeBytes: number): WrittenObject | undefined {
    this.check(header);
    if (this.has('file', checksum)) {
      rmSync(path);
      return { checksum, written: false, storedBytes: 0 };
    }
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      if (this.#target.mode === 'bare-user-only') fchmodSync(fd, header.mode & 0o7777);
      futimesSync(fd, 0, 0);
      if (this.#target.syncEach) fsyncSync(fd);
      this.#place(path, 'file', checksum);
    } catch (error) {
      if (errnoOf(error) === 'EXDEV' || errnoOf(error) === 'EPERM') return undefined;
      throw error;
    } finally {
      closeSync(fd);
    }
    return { checksum, written: true, storedBytes: sizeBytes };
  }

  /** @throws OSTREE_FILE_UNSUPPORTED for what the repository's mode cannot hold */
  check(header: FileHeader): void {
    if (this.#target.mode !== 'bare-user-only' || isSymlink(header)) return;
    const excess = header.mode & ~S_IFMT & ~0o775;
    if (excess !== 0) {
      throw ostreeError('OSTREE_FILE_UNSUPPORTED', `invalid mode 0${header.mode.toString(8)} with bits 0${excess.toString(8)} in bare-user-only repository`);
    }
  }

  #store(header: FileHeader, content: Uint8Array, checksum: Checksum): number {
    const { mode, zlibLevel, likeZlib } = this.#target;
    if (isSymlink(header) && mode !== 'archive' && mode !== 'bare-user') {
      this.#symlink(header, checksum);
      return header.target.length;
    }
    const parts: Uint8Array[] =
      mode !== 'archive'
        ? [isSymlink(header) ? Buffer.from(`${header.target}\0`) : content]
        : [encodeFilezHeader(header, content.byteLength), ...(isSymlink(header) ? [] : deflateContent(content, zlibLevel, likeZlib))];
    const storedBytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
    const createMode = this.#createMode(header);
    const payload = this.#wantsPayloadLink(header, content.byteLength) ? (hashOnce('sha256', content, 'hex') as Checksum) : undefined;
    this.#regular('file', checksum, createMode, (fd) => {
      writeAll(fd, parts);
      this.#sharePayload(fd, payload);
      this.#finishContent(fd, header, createMode);
      this.#writeOut(fd, storedBytes);
    });
    this.#linkPayload(payload, checksum);
    if (mode === 'archive') for (const part of parts.slice(1)) releaseDeflated(part);
    return storedBytes;
  }

  #wantsPayloadLink(header: FileHeader, sizeBytes: number): boolean {
    const { payloadLinksFrom } = this.#target;
    return payloadLinksFrom !== undefined && sizeBytes >= payloadLinksFrom && !isSymlink(header);
  }

  #sharePayload(fd: number, payload: Checksum | undefined): void {
    const { destination, present, readable = present } = this.#target;
    if (payload !== undefined) sharePayload(fd, payload, [destination, ...readable.map(({ objects }) => objects)]);
  }

  #linkPayload(payload: Checksum | undefined, object: Checksum): void {
    if (payload !== undefined) linkPayload(this.#target.destination, payload, object, this.#target.mode);
  }

  /** Gives a content object's file the metadata its mode stores outside the bytes. */
  #finishContent(fd: number, header: FileHeader, createMode: number): void {
    const mode = this.#storedMode(header);
    switch (this.#target.mode) {
      case 'archive':
        this.#plainMode(fd);
        return;
      case 'bare-user':
        setXattr(fd, 'user.ostreemeta', encodeUserMeta(header));
        if (mode !== createMode) fchmodSync(fd, mode);
        break;
      case 'bare-user-only':
        if (mode !== createMode) fchmodSync(fd, mode);
        break;
      default:
        fchownSync(fd, header.uid, header.gid);
        // After chown, which clears setuid.
        fchmodSync(fd, mode);
        if (!this.#target.disableXattrs) for (const [name, value] of header.xattrs) setXattr(fd, name, value);
    }
    // Hard-linked checkouts show it: programs that compare times to find stale caches must see one time for all.
    futimesSync(fd, 0, 0);
  }

  #symlink(header: FileHeader, checksum: Checksum): void {
    const temporary = this.#temporary();
    guarded(() => {
      symlinkSync(header.target, temporary);
      try {
        if (this.#target.mode === 'bare') {
          lchownSync(temporary, header.uid, header.gid);
          if (!this.#target.disableXattrs) for (const [name, value] of header.xattrs) setXattr(temporary, name, value);
        }
        this.#place(temporary, 'file', checksum);
      } catch (error) {
        rmSync(temporary, { force: true });
        throw error;
      }
    });
  }

  #regular(type: MetadataType | 'file', checksum: Checksum, createMode: number, fill: (fd: number) => void): void {
    const temporary = this.#temporary();
    guarded(() => {
      const fd = openSync(temporary, CREATE, createMode);
      try {
        try {
          fill(fd);
          if (this.#target.syncEach) fsyncSync(fd);
        } finally {
          closeSync(fd);
        }
        this.#place(temporary, type, checksum);
      } catch (error) {
        rmSync(temporary, { force: true });
        throw error;
      }
    });
  }

  /** Returns the mode of a content object's file. */
  #storedMode(header: FileHeader): number {
    switch (this.#target.mode) {
      case 'archive':
        return 0o644;
      case 'bare-user':
        return isSymlink(header) ? 0o644 : (header.mode & 0o775) | 0o400;
      default:
        return header.mode & 0o7777;
    }
  }

  /**
   * Returns the mode to make a content object's file with: its own, which spares a call, where that cannot hurt. A file that gets an owner
   * is nobody else's until then, one that the umask or a missing write permission is in the way of takes its mode later.
   */
  #createMode(header: FileHeader): number {
    const mode = this.#storedMode(header);
    if (this.#target.mode === 'archive') return mode;
    const isPlain = this.#target.mode !== 'bare' && mode <= 0o777 && (mode & WRITABLE) !== 0 && (this.#target.umask & mode) === 0;
    return isPlain ? mode : 0o600;
  }

  #writeOut(fd: number, sizeBytes: number): void {
    if (this.#target.syncAtEnd === true && sizeBytes >= WRITE_OUT_BYTES) startWriteOut(fd);
  }

  #temporary(): string {
    if (this.#count === 0) guarded(() => mkdirSync(this.#temporaries, { recursive: true }));
    return `${this.#temporaries}/${this.#count++}`;
  }

  /** Mode 0644 whatever the umask; a system call is spared under the usual one. */
  #plainMode(fd: number): void {
    if ((this.#target.umask & 0o644) !== 0) fchmodSync(fd, 0o644);
  }

  #place(temporary: string, type: MetadataType | 'file', checksum: Checksum): void {
    const directory = checksum.slice(0, 2);
    if (!this.#directories.has(directory)) {
      mkdirSync(`${this.#target.destination}/${directory}`, { recursive: true });
      this.#directories.add(directory);
    }
    renameSync(temporary, `${this.#target.destination}/${loosePath(type, checksum, this.#target.mode)}`);
  }
}

/** A content object in the making. */
export interface ObjectStream {
  write(chunk: Uint8Array): void;
  /** @throws OSTREE_CONTENT_SIZE */
  end(): WrittenObject;
  abort(): void;
}

class KeptStream implements ObjectStream {
  readonly #sizeBytes: number;
  readonly #hash: Hash;
  readonly #store: (content: Uint8Array, checksum: Checksum) => WrittenObject;
  #content: Buffer<ArrayBuffer>;
  #seen = 0;

  constructor(sizeBytes: number, hash: Hash, store: (content: Uint8Array, checksum: Checksum) => WrittenObject) {
    this.#sizeBytes = sizeBytes;
    this.#hash = hash;
    this.#store = store;
    this.#content = Buffer.allocUnsafeSlow(sizeBytes);
  }

  write(chunk: Uint8Array): void {
    if (chunk.byteLength > this.#sizeBytes - this.#seen) throw wrongSize(this.#sizeBytes, this.#seen + chunk.byteLength);
    this.#content.set(chunk, this.#seen);
    this.#seen += chunk.byteLength;
  }

  end(): WrittenObject {
    if (this.#seen !== this.#sizeBytes) throw wrongSize(this.#sizeBytes, this.#seen);
    try {
      return this.#store(this.#content, this.#hash.update(this.#content).digest('hex') as Checksum);
    } finally {
      this.abort();
    }
  }

  /** Gives the memory back at once: left to the garbage collector, that of dozens gathers. */
  abort(): void {
    this.#content.buffer.transfer(0);
    this.#content = Buffer.allocUnsafeSlow(0);
  }
}

interface Spill {
  write(chunk: Uint8Array): void;
  /** Gives the object its name; {@link drop} comes after. */
  finish(checksum: Checksum): WrittenObject;
  /** Closes, and removes what has not been given a name. */
  drop(): void;
}

class SpilledStream implements ObjectStream {
  readonly #sizeBytes: number;
  /** Or the checksum that the content is known to have. */
  readonly #hash: Hash | Checksum;
  readonly #spill: Spill;
  #seen = 0;
  #done = false;

  constructor(sizeBytes: number, hash: Hash | Checksum, spill: Spill) {
    this.#sizeBytes = sizeBytes;
    this.#hash = hash;
    this.#spill = spill;
  }

  write(chunk: Uint8Array): void {
    if (this.#done) throw new TypeError('Content stream has ended');
    this.#seen += chunk.byteLength;
    try {
      if (this.#seen > this.#sizeBytes) throw wrongSize(this.#sizeBytes, this.#seen);
      if (typeof this.#hash !== 'string') this.#hash.update(chunk);
      this.#spill.write(chunk);
    } catch (error) {
      // With a gap in the file the checksum of what came must never become its name.
      this.abort();
      throw error;
    }
  }

  end(): WrittenObject {
    if (this.#done) throw new TypeError('Content stream has ended');
    try {
      if (this.#seen !== this.#sizeBytes) throw wrongSize(this.#sizeBytes, this.#seen);
      return this.#spill.finish(typeof this.#hash === 'string' ? this.#hash : (this.#hash.digest('hex') as Checksum));
    } finally {
      this.abort();
    }
  }

  abort(): void {
    if (this.#done) return;
    this.#done = true;
    this.#spill.drop();
  }
}

function wrongSize(announced: number, seen: number): Error {
  return ostreeError('OSTREE_CONTENT_SIZE', `Content of ${announced} bytes was announced, and ${seen} came`, { data: { announced, seen } });
}

function exists(objects: string, type: MetadataType | 'file', checksum: Checksum, mode: RepoMode): boolean {
  const path = `${objects}/${loosePath(type, checksum, mode)}`;
  // The cheaper question, wherever an object cannot be a link that leads nowhere.
  if (mode === 'archive' || mode === 'bare-user') return existsSync(path);
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function writeAll(fd: number, parts: readonly Uint8Array[]): void {
  if (parts.length > 1) {
    const total = parts.reduce((sum, part) => sum + part.byteLength, 0);
    const done = writevSync(fd, parts);
    if (done === total) return;
    parts = [Buffer.concat(parts).subarray(done)];
  }
  let rest = parts[0] ?? NOTHING;
  while (rest.byteLength > 0) rest = rest.subarray(writeSync(fd, rest));
}

function guarded<T>(write: () => T): T {
  try {
    return write();
  } catch (error) {
    const syscall = error instanceof Error && 'syscall' in error ? error.syscall : undefined;
    if (errnoOf(error) === 'EPERM' && (syscall === 'fchown' || syscall === 'lchown')) {
      throw baseError('SYSTEM_DENIED', 'Cannot write object: a bare repository keeps the owners of files, which needs root', {
        cause: error,
        hint: 'Make the repository with --mode=bare-user',
      });
    }
    throw systemError(error, 'Cannot write object') ?? error;
  }
}
