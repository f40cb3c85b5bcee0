/**
 * A push parser of tar archives: v7, ustar, GNU and PAX, sparse files expanded.
 *
 * Synchronous and without buffering of content, because layers hold hundreds of thousands of small entries.
 * Where formats are ambiguous it reads as Go's archive/tar does, because that is what container engines see.
 * Source: POSIX.1-2018 pax; GNU tar manual, "Tar Internals"; libarchive tar(5).
 */
import { archiveError } from './errors.ts';
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
  type TarFail,
  type TarLimits,
  type TarXattr,
} from './tar-entry.ts';
import { ExtendedHeaders, isExtended } from './tar-extended.ts';
import { HeaderNames, typeOf } from './tar-header.ts';
import { checksumMatches, parseNumber, sumBytes } from './tar-numbers.ts';
import { paxXattrs } from './tar-pax.ts';
import { HEADER_SLOTS, paxSparseMap, SparseMap, saysSparse } from './tar-sparse.ts';

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
const TEXT_SPARSE = 5;
const DONE = 6;
type State = typeof HEADER | typeof DATA | typeof SKIP | typeof META | typeof GNU_SPARSE | typeof TEXT_SPARSE | typeof DONE;

export const ZEROS: Uint8Array = new Uint8Array(64 * 1024);
const NO_XATTRS: readonly TarXattr[] = [];

/** A sparse file whose map is being read: it is handed out when the map is there. */
interface SparseFile {
  map: SparseMap;
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

  readonly #extended: ExtendedHeaders;
  readonly #names = new HeaderNames();
  #sparse: SparseFile | undefined;

  #entries = 0;
  #totalBytes = 0;
  #holeBytes = 0;

  readonly #fail: TarFail = (code, why) => {
    const offset = this.#headerOffset;
    const entry = this.#entryName === undefined ? undefined : Buffer.from(this.#entryName.subarray(0, 200)).toString('utf8');
    const where = entry === undefined ? `at offset ${offset}` : `entry ${JSON.stringify(entry)} at offset ${offset}`;
    throw archiveError(code, `Cannot read tar, ${where}: ${why}`, { data: { offset, ...(entry === undefined ? {} : { entry }) } });
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
    this.#extended = new ExtendedHeaders(this.#limits, this.#fail);
  }

  /** Whether the end mark was seen: what follows is ignored, and need not be written. */
  get done(): boolean {
    return this.#state === DONE;
  }

  /** Offset of the content of the entry at hand, while `handler.entry` runs; undefined when it is sparse, and so not in one piece. */
  get contentOffset(): number | undefined {
    return this.#sparse === undefined ? this.#headerOffset + BLOCK : undefined;
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
    if (this.#state !== HEADER || this.#held > 0 || this.#extended.pending) {
      try {
        this.#fail('ARCHIVE_TAR_TRUNCATED', `the archive ends after ${this.#base} bytes`);
      } catch (error) {
        this.#failure = { error };
        throw error;
      }
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
        const take = Math.min(this.#remaining, length - at);
        this.#remaining -= take;
        this.#extended.add(chunk.subarray(at, at + take), this.#remaining === 0);
        at += take;
        if (this.#remaining === 0) this.#skip(this.#padding);
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
    else this.#sparseBlock(block, at);
  }

  #header(block: Uint8Array, at: number): void {
    this.#entryName = undefined;
    const sum = sumBytes(block, at);
    if (sum === 0) {
      if (++this.#zeroBlocks < 2) return;
      if (this.#extended.pending) this.#fail('ARCHIVE_TAR_TRUNCATED', 'the archive ends after an extended header');
      this.#state = DONE;
      return;
    }
    // Go refuses this; GNU tar stops here, libarchive goes on. What readers disagree on is a place to hide files.
    if (this.#zeroBlocks > 0) this.#fail('ARCHIVE_TAR_HEADER_INVALID', 'a lone zero block stands in the middle of the archive');
    if (!checksumMatches(block, at, sum)) {
      this.#fail('ARCHIVE_TAR_CHECKSUM', this.#headerOffset === 0 ? 'this is not a tar archive' : 'wrong checksum of a header');
    }
    const flag = block[at + 156] as number;
    const size = this.#natural(parseNumber(block, at + 124, 12), 'size');
    if (isExtended(flag)) {
      this.#extended.begin(flag, size);
      this.#padding = padded(size) - size;
      this.#remaining = size;
      this.#state = META;
      if (size === 0) {
        this.#extended.add(EMPTY, true);
        this.#state = HEADER;
      }
      return;
    }
    switch (flag) {
      case 0x56: // 'V': volume label
      case 0x41: // 'A': Solaris ACL of the next entry, in a form of its own
        this.#skip(padded(size));
        return;
      case 0x4d: // 'M'
        this.#fail('ARCHIVE_TAR_UNSUPPORTED', 'the archive begins with the rest of a file of another volume');
        break;
      case 0x4e: // 'N'
        this.#fail('ARCHIVE_TAR_UNSUPPORTED', 'long names in the form of GNU tar before 1989');
        break;
      default:
        this.#entry(block, at, flag, size);
    }
  }

  #entry(block: Uint8Array, at: number, flag: number, headerSize: number): void {
    const extended = this.#extended;
    const names = this.#names;
    const pax = extended.take();
    let path = extended.longPath ?? pax?.path ?? names.path(block, at);
    this.#entryName = path;
    let linkPath = EMPTY;
    if (flag === 0x31 || flag === 0x32) {
      linkPath = extended.longLink ?? pax?.linkPath ?? names.linkPath(block, at);
      if (linkPath.length === 0) this.#fail('ARCHIVE_TAR_HEADER_INVALID', 'a link has no target');
    }
    extended.longPath = undefined;
    extended.longLink = undefined;

    let stored = pax?.size ?? headerSize;
    let type = typeOf(flag);
    if (flag === 0 && path[path.length - 1] === 0x2f) type = 'directory';
    // GNU's dump directories list their names as content: not ours to read.
    const dumped = flag === 0x44 ? stored : 0;
    // The standard leaves the size field of links, directories and devices open: no data follows, whatever it says.
    if (type !== 'file') stored = 0;

    let size = stored;
    let map: SparseMap | undefined;
    /** The state in which the rest of the map comes; HEADER when it is complete. */
    let mapState: State = HEADER;
    if (flag === 0x53) {
      size = this.#natural(parseNumber(block, at + 483, 12), 'size');
      map = new SparseMap([], this.#limits.maxSparseExtents, this.#fail);
      map.addSlots(block, at + 386, HEADER_SLOTS);
      if (block[at + 482] !== 0) mapState = GNU_SPARSE;
    } else if (type === 'file' && pax !== undefined && saysSparse(pax)) {
      const sparse = paxSparseMap(pax, this.#limits.maxSparseExtents, this.#fail);
      ({ map, size } = sparse);
      if (sparse.isText) mapState = TEXT_SPARSE;
      path = pax.sparseName ?? path;
      this.#entryName = path;
    }
    this.#checkLimits(path, linkPath, Math.max(size, stored));

    let deviceMajor = 0;
    let deviceMinor = 0;
    if (type === 'char' || type === 'block') {
      deviceMajor = pax?.deviceMajor ?? this.#natural(parseNumber(block, at + 329, 8), 'device number');
      deviceMinor = pax?.deviceMinor ?? this.#natural(parseNumber(block, at + 337, 8), 'device number');
    }
    const mtime = pax?.mtime ?? parseNumber(block, at + 136, 12);
    if (Number.isNaN(mtime)) this.#fail('ARCHIVE_TAR_NUMBER_INVALID', 'the time is not a number');
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
      userName: pax?.userName ?? names.userName(block, at),
      groupName: pax?.groupName ?? names.groupName(block, at),
    };
    const entry = pax?.records === undefined ? fields : { ...fields, paxHeaders: pax.records };

    if (map !== undefined) {
      this.#sparse = { map, entry, stored };
      if (mapState === HEADER) this.#beginSparse();
      else this.#state = mapState;
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

  #checkLimits(path: Uint8Array, linkPath: Uint8Array, sizeBytes: number): void {
    const { maxPathBytes, maxEntries, maxTotalBytes } = this.#limits;
    if (path.length === 0) this.#fail('ARCHIVE_TAR_HEADER_INVALID', 'an entry has no name');
    if (path.length > maxPathBytes || linkPath.length > maxPathBytes) this.#fail('ARCHIVE_TAR_NAME_TOO_LONG', `a name is over ${maxPathBytes} bytes`);
    if (++this.#entries > maxEntries) this.#fail('ARCHIVE_TAR_TOO_LARGE', `over ${maxEntries} entries`);
    this.#totalBytes += sizeBytes;
    if (this.#totalBytes > maxTotalBytes) this.#fail('ARCHIVE_TAR_TOO_LARGE', `the content is over ${maxTotalBytes} bytes`);
  }

  #natural(value: number, what: string): number {
    if (value >= 0) return value;
    return this.#fail('ARCHIVE_TAR_NUMBER_INVALID', `the ${what} is not a number from 0 to 2^53`);
  }

  #sparseBlock(block: Uint8Array, at: number): void {
    const sparse = this.#sparse as SparseFile;
    if (this.#state === GNU_SPARSE) {
      if (sparse.map.addSlotBlock(block, at)) this.#beginSparse();
      return;
    }
    // The map counts as stored data of the file.
    sparse.stored -= BLOCK;
    if (sparse.stored < 0) this.#fail('ARCHIVE_TAR_SPARSE_INVALID', 'the sparse map is longer than the stored data');
    if (sparse.map.addTextBlock(block, at)) this.#beginSparse();
  }

  /** Checks the map, which is complete, hands out the entry, and begins its content. */
  #beginSparse(): void {
    const { map, entry, stored } = this.#sparse as SparseFile;
    this.#holeBytes += map.check(entry.size, stored);
    if (this.#holeBytes > this.#limits.maxHoleBytes) this.#fail('ARCHIVE_TAR_TOO_LARGE', `holes are over ${this.#limits.maxHoleBytes} bytes`);
    this.#padding = padded(stored) - stored;
    this.#handler.entry(entry);
    this.#pieceEnd();
  }

  /** Goes on to the next extent of a sparse file, or ends the content. */
  #pieceEnd(): void {
    if (this.#sparse !== undefined) {
      const { map, entry } = this.#sparse;
      while (map.next(entry.size)) {
        this.#hole(map.hole);
        if (map.length === 0) continue;
        this.#remaining = map.length;
        this.#state = DATA;
        return;
      }
      this.#hole(map.hole);
      this.#sparse = undefined;
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
}

function padded(size: number): number {
  const rest = size % BLOCK;
  return rest === 0 ? size : size + BLOCK - rest;
}
