/**
 * A push parser of tar archives: v7, ustar, GNU and PAX, sparse files expanded.
 *
 * Synchronous and without buffering of content, because layers hold hundreds of thousands of small entries.
 * Where formats are ambiguous it reads as Go's archive/tar does, because that is what container engines see.
 * Source: POSIX.1-2018 pax; GNU tar manual, "Tar Internals"; libarchive tar(5).
 */
import type { KnownError } from '@cambium/base';
import { type ArchiveErrorCode, archiveError } from './errors.ts';
import {
  BLOCK,
  EMPTY,
  MAX_ENTRIES,
  MAX_HOLE_BYTES,
  MAX_PATH_BYTES,
  MAX_PAX_BYTES,
  MAX_SPARSE_EXTENTS,
  MAX_TOTAL_BYTES,
  MAX_XATTR_VALUE_BYTES,
  MAX_XATTRS,
  type TarEntry,
  type TarLimits,
  type TarType,
  type TarXattr,
} from './tar-entry.ts';
import { checksumMatches, parseNumber, sumBytes } from './tar-numbers.ts';
import { applyPaxRecord, forEachPaxRecord, type PaxFail, PaxGlobals, PaxValues, paxXattrs } from './tar-pax.ts';

/** What a {@link TarParser} calls, in the order `entry`, any number of `data`, `entryEnd`, for every entry. */
export interface TarHandler {
  /** The entry's buffers belong to the handler. */
  entry(entry: TarEntry): void;
  /** A piece of a file's content: a view that is valid during the call and must not be changed. */
  data(chunk: Uint8Array): void;
  /**
   * `length` zero bytes of a sparse file. Without this method `data` gets them, all during one `write`:
   * a handler that queues data should have it, because a hole costs the sender nothing.
   */
  hole?(length: number): void;
  entryEnd(): void;
}

const HEADER = 0;
const DATA = 1;
const SKIP = 2;
const META = 3;
const GNU_SPARSE = 4;
const PAX_SPARSE = 5;
const DONE = 6;
type State = typeof HEADER | typeof DATA | typeof SKIP | typeof META | typeof GNU_SPARSE | typeof PAX_SPARSE | typeof DONE;

export const ZEROS: Uint8Array = new Uint8Array(64 * 1024);
const SLAB_BYTES = 32 * 1024;
const NO_XATTRS: readonly TarXattr[] = [];

/** What is known of an entry before it is handed out. */
interface Draft {
  entry: TarEntry;
  /** Bytes in the archive, without padding. */
  stored: number;
}

export class TarParser {
  readonly #handler: TarHandler;
  readonly #limits: Required<TarLimits>;
  #state: State = HEADER;
  #failure: { error: unknown } | undefined;

  /** Bytes taken before the chunk at hand, and the offset of the last header. */
  #base = 0;
  #headerOffset = 0;
  #entryName: Uint8Array | undefined;

  /** A block that came in pieces. */
  readonly #block: Uint8Array = new Uint8Array(BLOCK);
  #held = 0;
  #zeroBlocks = 0;

  /** Bytes left in the current piece of content, header data, or gap. */
  #remaining = 0;
  #padding = 0;

  #metaType = 0;
  #meta: Uint8Array = EMPTY;
  #metaFilled = 0;

  #pax = new PaxValues();
  /** Whether #pax holds anything: a local extended header was seen. */
  #paxSeen = false;
  /** Of the records kept for the entry to come. */
  #recordBytes = 0;
  readonly #globals = new PaxGlobals();
  #longPath: Uint8Array | undefined;
  #longLink: Uint8Array | undefined;

  #draft: Draft | undefined;
  /** Offset, length, …: the extents of the sparse file at hand. */
  #map: number[] | undefined;
  #mapAt = 0;
  #logical = 0;
  #size = 0;
  /** Text of a PAX 1.0 map: numbers expected in all (-1 until the count is read), digits of the one at hand. */
  #mapWanted = -1;
  #mapNumber = -1;

  #entries = 0;
  #totalBytes = 0;
  #holeBytes = 0;

  #slab: Uint8Array = EMPTY;
  #slabAt = 0;
  #userField: Uint8Array = EMPTY;
  #userName = '';
  #groupField: Uint8Array = EMPTY;
  #groupName = '';

  readonly #paxFail: PaxFail = (code, why) => {
    throw this.#error(code, why);
  };

  constructor(handler: TarHandler, limits: TarLimits = {}) {
    this.#handler = handler;
    this.#limits = {
      maxEntries: limits.maxEntries ?? MAX_ENTRIES,
      maxTotalBytes: limits.maxTotalBytes ?? MAX_TOTAL_BYTES,
      maxHoleBytes: limits.maxHoleBytes ?? MAX_HOLE_BYTES,
      maxPathBytes: limits.maxPathBytes ?? MAX_PATH_BYTES,
      maxPaxBytes: limits.maxPaxBytes ?? MAX_PAX_BYTES,
      maxXattrs: limits.maxXattrs ?? MAX_XATTRS,
      maxXattrValueBytes: limits.maxXattrValueBytes ?? MAX_XATTR_VALUE_BYTES,
      maxSparseExtents: limits.maxSparseExtents ?? MAX_SPARSE_EXTENTS,
      keepPaxHeaders: limits.keepPaxHeaders ?? false,
    };
  }

  /** Whether the end mark was seen: what follows is ignored, and need not be written. */
  get done(): boolean {
    return this.#state === DONE;
  }

  /** Offset of the content of the entry at hand, while `handler.entry` runs; undefined when it is sparse, and so not in one piece. */
  get contentOffset(): number | undefined {
    return this.#map === undefined ? this.#headerOffset + BLOCK : undefined;
  }

  /**
   * Passes over content and padding without their bytes, for archives that can be read at any offset.
   * Returns how many bytes of the archive, at most `available`, need not be written; no `data` is called for them.
   */
  skip(available: number): number {
    if (this.#failure !== undefined) throw this.#failure.error;
    let skipped = 0;
    while ((this.#state === DATA || this.#state === SKIP) && skipped < available) {
      const take = Math.min(this.#remaining, available - skipped);
      skipped += take;
      this.#remaining -= take;
      if (this.#remaining > 0) break;
      if (this.#state === DATA) this.#pieceEnd();
      else this.#state = HEADER;
    }
    this.#base += skipped;
    return skipped;
  }

  /**
   * Takes the next bytes of the archive and calls the handler for all they complete.
   * After a failure, also one of the handler's, every call throws it again.
   *
   * @throws ARCHIVE_TAR_*
   */
  write(chunk: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    try {
      this.#consume(chunk);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
    this.#base += chunk.length;
  }

  /**
   * Says that no more bytes come. An archive without end mark is complete at a block boundary, as for GNU tar.
   *
   * @throws ARCHIVE_TAR_TRUNCATED
   */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#state === DONE) return;
    if (this.#state !== HEADER || this.#held > 0 || this.#paxSeen || this.#longPath !== undefined || this.#longLink !== undefined) {
      const error = this.#error('ARCHIVE_TAR_TRUNCATED', `the archive ends after ${this.#base} bytes`);
      this.#failure = { error };
      throw error;
    }
    this.#state = DONE;
  }

  #consume(chunk: Uint8Array): void {
    const length = chunk.length;
    let at = 0;
    while (at < length) {
      const state = this.#state;
      if (state === DATA) {
        const take = Math.min(this.#remaining, length - at);
        this.#handler.data(take === length ? chunk : chunk.subarray(at, at + take));
        at += take;
        this.#remaining -= take;
        if (this.#remaining === 0) this.#pieceEnd();
      } else if (state === SKIP) {
        const take = Math.min(this.#remaining, length - at);
        at += take;
        this.#remaining -= take;
        if (this.#remaining === 0) this.#state = HEADER;
      } else if (state === META) {
        at = this.#consumeMeta(chunk, at);
      } else if (state === DONE) {
        return;
      } else if (this.#held === 0 && length - at >= BLOCK) {
        if (state === HEADER) this.#headerOffset = this.#base + at;
        this.#consumeBlock(chunk, at);
        at += BLOCK;
      } else {
        const take = Math.min(BLOCK - this.#held, length - at);
        this.#block.set(chunk.subarray(at, at + take), this.#held);
        this.#held += take;
        at += take;
        if (this.#held === BLOCK) {
          this.#held = 0;
          if (state === HEADER) this.#headerOffset = this.#base + at - BLOCK;
          this.#consumeBlock(this.#block, 0);
        }
      }
    }
  }

  #consumeBlock(block: Uint8Array, at: number): void {
    if (this.#state === HEADER) this.#header(block, at);
    else if (this.#state === GNU_SPARSE) this.#gnuSparseBlock(block, at);
    else this.#paxSparseBlock(block, at);
  }

  #header(block: Uint8Array, at: number): void {
    this.#entryName = undefined;
    const sum = sumBytes(block, at);
    if (sum === 0) {
      if (++this.#zeroBlocks < 2) return;
      if (this.#paxSeen || this.#longPath !== undefined || this.#longLink !== undefined) {
        throw this.#error('ARCHIVE_TAR_TRUNCATED', 'the archive ends after an extended header');
      }
      this.#state = DONE;
      return;
    }
    // Go refuses this; GNU tar stops here, libarchive goes on. What readers disagree on is a place to hide files.
    if (this.#zeroBlocks > 0) throw this.#error('ARCHIVE_TAR_HEADER_INVALID', 'a lone zero block stands in the middle of the archive');
    if (!checksumMatches(block, at, sum)) {
      throw this.#error('ARCHIVE_TAR_CHECKSUM', this.#headerOffset === 0 ? 'this is not a tar archive' : 'wrong checksum of a header');
    }
    const flag = block[at + 156] as number;
    const size = parseNumber(block, at + 124, 12);
    if (!(size >= 0)) throw this.#error('ARCHIVE_TAR_NUMBER_INVALID', 'the size is not a number from 0 to 2^53');
    switch (flag) {
      case 0x78: // 'x', and 'X' as Solaris spelt it before the standard
      case 0x58:
      case 0x67: // 'g'
      case 0x4c: // 'L'
      case 0x4b: // 'K'
        this.#beginMeta(flag, size);
        return;
      case 0x56: // 'V': volume label
      case 0x41: // 'A': Solaris ACL of the next entry, in a form of its own
        this.#skip(padded(size));
        return;
      case 0x4d: // 'M'
        throw this.#error('ARCHIVE_TAR_UNSUPPORTED', 'the archive begins with the rest of a file of another volume');
      case 0x4e: // 'N'
        throw this.#error('ARCHIVE_TAR_UNSUPPORTED', 'long names in the form of GNU tar before 1989');
    }
    this.#entry(block, at, flag, size);
  }

  #entry(block: Uint8Array, at: number, flag: number, headerSize: number): void {
    const pax = this.#takePax();
    // "ustar\0" is POSIX, "ustar  \0" is GNU; v7 has neither.
    const magic = block[at + 257] === 0x75 && block[at + 258] === 0x73 && block[at + 259] === 0x74 && block[at + 260] === 0x61 && block[at + 261] === 0x72;
    const posix = magic && block[at + 262] === 0;

    let path = this.#longPath ?? pax?.path;
    if (path === undefined) {
      const prefixed = block[at + 345] !== 0 && (posix || (magic && hasGoPrefix(block, at)));
      path = this.#headerPath(block, at, prefixed);
    }
    this.#entryName = path;
    let linkPath = EMPTY;
    if (flag === 0x31 || flag === 0x32) {
      linkPath = this.#longLink ?? pax?.linkPath ?? this.#field(block, at + 157, 100);
      if (linkPath.length === 0) throw this.#error('ARCHIVE_TAR_HEADER_INVALID', 'a link has no target');
    }
    this.#longPath = undefined;
    this.#longLink = undefined;

    let stored = pax?.size ?? headerSize;
    let type = typeOf(flag);
    if (flag === 0 && path[path.length - 1] === 0x2f) type = 'directory';
    // GNU's dump directories list their names as content: not ours to read.
    const dumped = flag === 0x44 ? stored : 0;
    // The standard leaves the size field of links, directories and devices open: no data follows, whatever it says.
    if (type !== 'file') stored = 0;

    let size = stored;
    if (type === 'file') {
      if (flag === 0x53) {
        size = parseNumber(block, at + 483, 12);
        this.#map = this.#gnuSparseMap(block, at + 386, 4);
      } else if (pax !== undefined && (pax.sparseMajor !== undefined || pax.sparseMap !== undefined || pax.sparseSize !== undefined)) {
        size = this.#beginPaxSparse(pax);
        if (pax.sparseName !== undefined) {
          path = pax.sparseName;
          this.#entryName = path;
        }
      }
      if (!(size >= 0)) throw this.#error('ARCHIVE_TAR_NUMBER_INVALID', 'the size is not a number from 0 to 2^53');
    }
    if (path.length === 0) throw this.#error('ARCHIVE_TAR_HEADER_INVALID', 'an entry has no name');
    if (path.length > this.#limits.maxPathBytes || linkPath.length > this.#limits.maxPathBytes) {
      throw this.#error('ARCHIVE_TAR_NAME_TOO_LONG', `a name is over ${this.#limits.maxPathBytes} bytes`);
    }
    if (++this.#entries > this.#limits.maxEntries) throw this.#error('ARCHIVE_TAR_TOO_LARGE', `over ${this.#limits.maxEntries} entries`);
    this.#totalBytes += Math.max(size, stored);
    if (this.#totalBytes > this.#limits.maxTotalBytes) {
      throw this.#error('ARCHIVE_TAR_TOO_LARGE', `the content is over ${this.#limits.maxTotalBytes} bytes`);
    }

    let deviceMajor = 0;
    let deviceMinor = 0;
    if (type === 'char' || type === 'block') {
      deviceMajor = pax?.deviceMajor ?? this.#natural(parseNumber(block, at + 329, 8), 'device number');
      deviceMinor = pax?.deviceMinor ?? this.#natural(parseNumber(block, at + 337, 8), 'device number');
    }
    const mtime = pax?.mtime ?? parseNumber(block, at + 136, 12);
    if (Number.isNaN(mtime)) throw this.#error('ARCHIVE_TAR_NUMBER_INVALID', 'the time is not a number');
    const fields: TarEntry = {
      path,
      type,
      mode: this.#natural(parseNumber(block, at + 100, 8), 'mode') & 0o7777,
      uid: pax?.uid ?? this.#natural(parseNumber(block, at + 108, 8), 'uid'),
      gid: pax?.gid ?? this.#natural(parseNumber(block, at + 116, 8), 'gid'),
      size,
      mtime,
      linkPath,
      deviceMajor,
      deviceMinor,
      xattrs: pax === undefined || (pax.schily === undefined && pax.libarchive === undefined) ? NO_XATTRS : paxXattrs(pax),
      userName: pax?.userName ?? (magic ? this.#user(block, at + 265) : ''),
      groupName: pax?.groupName ?? (magic ? this.#group(block, at + 297) : ''),
    };
    const entry = pax?.records === undefined ? fields : { ...fields, paxHeaders: pax.records };

    if (this.#map !== undefined) {
      this.#draft = { entry, stored };
      if (flag === 0x53) {
        if (block[at + 482] === 0) this.#beginSparse();
        else this.#state = GNU_SPARSE;
      } else if (pax?.sparseMajor === 1) {
        this.#mapWanted = -1;
        this.#mapNumber = -1;
        this.#state = PAX_SPARSE;
      } else {
        this.#beginSparse();
      }
      return;
    }
    this.#handler.entry(entry);
    if (stored === 0) {
      this.#handler.entryEnd();
      if (dumped > 0) this.#skip(padded(dumped));
      return;
    }
    this.#remaining = stored;
    this.#padding = padded(stored) - stored;
    this.#state = DATA;
  }

  // Names and names of owners

  #headerPath(block: Uint8Array, at: number, prefixed: boolean): Uint8Array {
    const nameEnd = fieldEnd(block, at, 100);
    if (!prefixed) return this.#copy(block, at, nameEnd);
    const prefixAt = at + 345;
    const prefixEnd = fieldEnd(block, prefixAt, 155);
    const prefixLength = prefixEnd - prefixAt;
    const path = this.#allocate(prefixLength + 1 + nameEnd - at);
    for (let i = 0; i < prefixLength; i++) path[i] = block[prefixAt + i] as number;
    path[prefixLength] = 0x2f;
    for (let i = at, to = prefixLength + 1; i < nameEnd; i++, to++) path[to] = block[i] as number;
    return path;
  }

  #field(block: Uint8Array, at: number, length: number): Uint8Array {
    return this.#copy(block, at, fieldEnd(block, at, length));
  }

  #copy(block: Uint8Array, at: number, end: number): Uint8Array {
    if (end === at) return EMPTY;
    const copy = this.#allocate(end - at);
    for (let from = at, to = 0; from < end; from++, to++) copy[to] = block[from] as number;
    return copy;
  }

  /** One buffer for many names: an ArrayBuffer of its own costs a name ten times as much. */
  #allocate(length: number): Uint8Array {
    if (this.#slabAt + length > this.#slab.length) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#slabAt = 0;
    }
    const at = this.#slabAt;
    this.#slabAt = at + length;
    return new Uint8Array(this.#slab.buffer, at, length);
  }

  /** Owners repeat from entry to entry, so the last one is kept. */
  #user(block: Uint8Array, at: number): string {
    if (!sameField(block, at, this.#userField)) {
      this.#userField = new Uint8Array(block.subarray(at, fieldEnd(block, at, 32)));
      this.#userName = Buffer.from(this.#userField).toString('utf8');
    }
    return this.#userName;
  }

  #group(block: Uint8Array, at: number): string {
    if (!sameField(block, at, this.#groupField)) {
      this.#groupField = new Uint8Array(block.subarray(at, fieldEnd(block, at, 32)));
      this.#groupName = Buffer.from(this.#groupField).toString('utf8');
    }
    return this.#groupName;
  }

  #natural(value: number, what: string): number {
    if (value >= 0) return value;
    throw this.#error('ARCHIVE_TAR_NUMBER_INVALID', `the ${what} is not a number from 0 to 2^53`);
  }

  // Extended headers

  #beginMeta(flag: number, size: number): void {
    if (size > this.#limits.maxPaxBytes) throw this.#error('ARCHIVE_TAR_TOO_LARGE', `an extended header is over ${this.#limits.maxPaxBytes} bytes`);
    this.#metaType = flag;
    this.#metaFilled = 0;
    this.#remaining = size;
    this.#padding = padded(size) - size;
    if (size === 0) this.#metaEnd(EMPTY);
    else this.#state = META;
  }

  #consumeMeta(chunk: Uint8Array, at: number): number {
    const take = Math.min(this.#remaining, chunk.length - at);
    this.#remaining -= take;
    if (this.#metaFilled === 0 && this.#remaining === 0) {
      this.#metaEnd(chunk.subarray(at, at + take));
      return at + take;
    }
    const filled = this.#metaFilled + take;
    if (filled > this.#meta.length) {
      // Grows with what has come, not with what was announced.
      const grown = new Uint8Array(Math.max(4096, filled * 2));
      grown.set(this.#meta.subarray(0, this.#metaFilled));
      this.#meta = grown;
    }
    this.#meta.set(chunk.subarray(at, at + take), this.#metaFilled);
    this.#metaFilled = filled;
    if (this.#remaining === 0) this.#metaEnd(this.#meta.subarray(0, filled));
    return at + take;
  }

  #metaEnd(bytes: Uint8Array): void {
    switch (this.#metaType) {
      case 0x4c:
        this.#longPath = this.#longName(bytes);
        break;
      case 0x4b:
        this.#longLink = this.#longName(bytes);
        break;
      case 0x67:
        forEachPaxRecord(bytes, this.#paxFail, (key, value) => this.#globals.set(key, value, this.#limits.maxPaxBytes));
        break;
      default:
        if (!this.#paxSeen) this.#beginPax();
        forEachPaxRecord(bytes, this.#paxFail, (key, value) => this.#applyPax(key, value));
    }
    this.#skip(this.#padding);
  }

  #longName(bytes: Uint8Array): Uint8Array {
    const nul = bytes.indexOf(0);
    const length = nul === -1 ? bytes.length : nul;
    if (length > this.#limits.maxPathBytes) throw this.#error('ARCHIVE_TAR_NAME_TOO_LONG', `a name is over ${this.#limits.maxPathBytes} bytes`);
    // Not slice(): for a Buffer that is a view of the caller's chunk.
    return new Uint8Array(bytes.subarray(0, length));
  }

  #beginPax(): void {
    this.#paxSeen = true;
    if (this.#globals.empty) return;
    for (const [key, value] of this.#globals) this.#applyPax(key, value);
  }

  #applyPax(key: string, value: Uint8Array): void {
    applyPaxRecord(this.#pax, key, value, this.#limits, this.#paxFail);
    if (this.#limits.keepPaxHeaders) {
      // An entry may have any number of extended headers, each within its limit: together they are held to that of one local and the global ones.
      this.#recordBytes += key.length + value.length;
      if (this.#recordBytes > 2 * this.#limits.maxPaxBytes) {
        throw this.#error('ARCHIVE_TAR_TOO_LARGE', `the records of an entry are over ${2 * this.#limits.maxPaxBytes} bytes`);
      }
      this.#pax.records ??= new Map();
      this.#pax.records.set(key, new Uint8Array(value));
    }
  }

  #takePax(): PaxValues | undefined {
    if (!this.#paxSeen) {
      if (this.#globals.empty) return undefined;
      this.#beginPax();
    }
    const pax = this.#pax;
    this.#pax = new PaxValues();
    this.#paxSeen = false;
    this.#recordBytes = 0;
    return pax;
  }

  // Sparse files

  /** Returns the extents of `count` slots of 24 bytes; an empty slot ends the list. */
  #gnuSparseMap(block: Uint8Array, at: number, count: number, map: number[] = []): number[] {
    for (let i = 0; i < count; i++) {
      const slot = at + i * 24;
      if (block[slot] === 0) break;
      map.push(this.#natural(parseNumber(block, slot, 12), 'sparse offset'), this.#natural(parseNumber(block, slot + 12, 12), 'sparse length'));
    }
    if (map.length > this.#limits.maxSparseExtents * 2) throw this.#error('ARCHIVE_TAR_TOO_LARGE', `over ${this.#limits.maxSparseExtents} extents`);
    return map;
  }

  #gnuSparseBlock(block: Uint8Array, at: number): void {
    this.#gnuSparseMap(block, at, 21, this.#map);
    if (block[at + 504] === 0) this.#beginSparse();
  }

  /** Returns the expanded size. Formats 0.0 and 0.1 have their map in records, 1.0 in front of the data. */
  #beginPaxSparse(pax: PaxValues): number {
    const { sparseMajor: major = 0, sparseMinor: minor = 0 } = pax;
    if (pax.sparseSize === undefined) throw this.#error('ARCHIVE_TAR_SPARSE_INVALID', 'a sparse file without its size');
    if (major === 1 && minor === 0) {
      this.#map = [];
    } else if (major === 0 && minor <= 1) {
      this.#map = pax.sparseMap ?? [];
      if (this.#map.length % 2 !== 0 || (pax.sparseCount !== undefined && pax.sparseCount * 2 !== this.#map.length)) {
        throw this.#error('ARCHIVE_TAR_SPARSE_INVALID', 'the sparse map is not as long as announced');
      }
    } else {
      throw this.#error('ARCHIVE_TAR_UNSUPPORTED', `sparse format ${major}.${minor}`);
    }
    return pax.sparseSize;
  }

  /** Takes a block of the decimal numbers, one per line, that precede the data in sparse format 1.0. */
  #paxSparseBlock(block: Uint8Array, at: number): void {
    const draft = this.#draft as Draft;
    const map = this.#map as number[];
    draft.stored -= BLOCK;
    if (draft.stored < 0) throw this.#error('ARCHIVE_TAR_SPARSE_INVALID', 'the sparse map is longer than the stored data');
    for (let i = at; i < at + BLOCK; i++) {
      const byte = block[i] as number;
      if (byte >= 0x30 && byte <= 0x39) {
        this.#mapNumber = Math.max(this.#mapNumber, 0) * 10 + byte - 0x30;
        if (this.#mapNumber > Number.MAX_SAFE_INTEGER) throw this.#error('ARCHIVE_TAR_SPARSE_INVALID', 'a number over 2^53 in the sparse map');
        continue;
      }
      if (byte !== 0x0a || this.#mapNumber < 0) throw this.#error('ARCHIVE_TAR_SPARSE_INVALID', 'the sparse map is not a list of numbers');
      if (this.#mapWanted === -1) {
        if (this.#mapNumber > this.#limits.maxSparseExtents) {
          throw this.#error('ARCHIVE_TAR_TOO_LARGE', `over ${this.#limits.maxSparseExtents} extents`);
        }
        this.#mapWanted = this.#mapNumber * 2;
      } else {
        map.push(this.#mapNumber);
      }
      this.#mapNumber = -1;
      if (map.length === this.#mapWanted) {
        this.#beginSparse();
        return;
      }
    }
  }

  /** Checks the map at hand, hands out the entry, and begins its content. */
  #beginSparse(): void {
    const { entry, stored } = this.#draft as Draft;
    const map = this.#map as number[];
    let end = 0;
    let sum = 0;
    for (let i = 0; i < map.length; i += 2) {
      const offset = map[i] as number;
      const length = map[i + 1] as number;
      if (offset < end) throw this.#error('ARCHIVE_TAR_SPARSE_INVALID', 'extents overlap or are out of order');
      if (length > entry.size - offset) throw this.#error('ARCHIVE_TAR_SPARSE_INVALID', 'an extent exceeds the file');
      end = offset + length;
      sum += length;
    }
    if (sum !== stored) throw this.#error('ARCHIVE_TAR_SPARSE_INVALID', `extents have ${sum} bytes, the archive has ${stored}`);
    this.#holeBytes += entry.size - sum;
    if (this.#holeBytes > this.#limits.maxHoleBytes) throw this.#error('ARCHIVE_TAR_TOO_LARGE', `holes are over ${this.#limits.maxHoleBytes} bytes`);
    this.#draft = undefined;
    this.#mapAt = 0;
    this.#logical = 0;
    this.#size = entry.size;
    this.#padding = padded(stored) - stored;
    this.#handler.entry(entry);
    this.#pieceEnd();
  }

  /** Goes on to the next extent of a sparse file, or ends the content. */
  #pieceEnd(): void {
    const map = this.#map;
    if (map !== undefined) {
      while (this.#mapAt < map.length) {
        const offset = map[this.#mapAt] as number;
        const length = map[this.#mapAt + 1] as number;
        this.#mapAt += 2;
        this.#hole(offset - this.#logical);
        this.#logical = offset + length;
        if (length === 0) continue;
        this.#remaining = length;
        this.#state = DATA;
        return;
      }
      this.#hole(this.#size - this.#logical);
      this.#map = undefined;
    }
    this.#handler.entryEnd();
    this.#skip(this.#padding);
  }

  #hole(length: number): void {
    if (length === 0) return;
    if (this.#handler.hole !== undefined) {
      this.#handler.hole(length);
      return;
    }
    let left = length;
    for (; left >= ZEROS.length; left -= ZEROS.length) this.#handler.data(ZEROS);
    if (left > 0) this.#handler.data(ZEROS.subarray(0, left));
  }

  #skip(length: number): void {
    this.#remaining = length;
    this.#state = length === 0 ? HEADER : SKIP;
  }

  #error(code: ArchiveErrorCode, why: string): KnownError {
    const entry = this.#entryName === undefined ? undefined : Buffer.from(this.#entryName.subarray(0, 200)).toString('utf8');
    const where = entry === undefined ? `at offset ${this.#headerOffset}` : `entry ${JSON.stringify(entry)} at offset ${this.#headerOffset}`;
    return archiveError(code, `Cannot read tar, ${where}: ${why}`, { data: { offset: this.#headerOffset, ...(entry === undefined ? {} : { entry }) } });
  }
}

function padded(size: number): number {
  const rest = size % BLOCK;
  return rest === 0 ? size : size + BLOCK - rest;
}

function fieldEnd(block: Uint8Array, at: number, length: number): number {
  let end = at;
  while (end < at + length && block[end] !== 0) end++;
  return end;
}

function sameField(block: Uint8Array, at: number, field: Uint8Array): boolean {
  const { length } = field;
  for (let i = 0; i < length; i++) if (block[at + i] !== field[i]) return false;
  return length === 32 || block[at + length] === 0;
}

/**
 * Go before 1.8 wrote POSIX prefixes under the GNU magic (golang issue 12594), where GNU has times:
 * what is not a number there is a prefix.
 */
function hasGoPrefix(block: Uint8Array, at: number): boolean {
  return Number.isNaN(parseNumber(block, at + 345, 12)) || Number.isNaN(parseNumber(block, at + 357, 12));
}

/** Unknown kinds are files, as the standard says. */
function typeOf(flag: number): TarType {
  switch (flag) {
    case 0x31:
      return 'hardlink';
    case 0x32:
      return 'symlink';
    case 0x33:
      return 'char';
    case 0x34:
      return 'block';
    case 0x35:
    case 0x44:
      return 'directory';
    case 0x36:
      return 'fifo';
    default:
      return 'file';
  }
}
