/**
 * A push parser of cpio archives: "newc" (also with checksums), "odc", and the old binary form of either byte order.
 *
 * It calls the same handler as a tar's: names of one file become a `file` and `hardlink`s to it.
 * Source: cpio(5) of libarchive; Linux Documentation/driver-api/early-userspace/buffer-format.rst.
 */
import { archiveError } from './errors.ts';
import { EMPTY, MAX_ENTRIES, MAX_PATH_BYTES, MAX_TOTAL_BYTES, type TarEntry, type TarLimits, type TarType } from './tar-entry.ts';
import type { TarHandler } from './tar-parser.ts';

/** How many bytes {@link isCpio} needs. */
export const CPIO_MAGIC_BYTES = 6;

type Format = 'newc' | 'crc' | 'odc' | 'binary-le' | 'binary-be';
type State = 'magic' | 'header' | 'name' | 'target' | 'data' | 'padding' | 'done';

const HEADER_BYTES: Readonly<Record<Format, number>> = { newc: 110, crc: 110, odc: 76, 'binary-le': 26, 'binary-be': 26 };
const ALIGNMENT: Readonly<Record<Format, number>> = { newc: 4, crc: 4, odc: 1, 'binary-le': 2, 'binary-be': 2 };
const TYPES: Readonly<Record<number, TarType>> = { 1: 'fifo', 2: 'char', 4: 'directory', 6: 'block', 8: 'file', 10: 'symlink' };
const END_NAME = 'TRAILER!!!';

interface Header {
  dev: string;
  ino: number;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  mtime: number;
  size: number;
  deviceMajor: number;
  deviceMinor: number;
  nameBytes: number;
  check: number;
}

/** Whether an archive that begins so is cpio. */
export function isCpio(head: Uint8Array): boolean {
  return formatOf(head) !== undefined;
}

export class CpioParser {
  readonly #handler: TarHandler;
  readonly #limits: Required<Pick<TarLimits, 'maxEntries' | 'maxTotalBytes' | 'maxPathBytes'>>;
  #state: State = 'magic';
  #failure: { error: unknown } | undefined;
  /** What is being gathered: a header, a name or a target. */
  #buffer: Uint8Array = new Uint8Array(CPIO_MAGIC_BYTES);
  #filled = 0;
  #remaining = 0;
  #padding = 0;
  #format: Format = 'newc';
  #header: Header | undefined;
  #path: Uint8Array = EMPTY;
  #sum = 0;
  #entries = 0;
  #totalBytes = 0;
  /** By device and inode: the name that has the content. */
  readonly #contents = new Map<string, Uint8Array>();
  /** Names that came without content: of files with several names only the last has it in "newc". */
  readonly #waiting = new Map<string, TarEntry[]>();

  constructor(handler: TarHandler, limits: TarLimits = {}) {
    this.#handler = handler;
    this.#limits = {
      maxEntries: limits.maxEntries ?? MAX_ENTRIES,
      maxTotalBytes: limits.maxTotalBytes ?? MAX_TOTAL_BYTES,
      maxPathBytes: limits.maxPathBytes ?? MAX_PATH_BYTES,
    };
  }

  /** Takes the next bytes of the archive. After a failure every call throws it again. @throws ARCHIVE_CPIO_* */
  write(chunk: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    try {
      for (let at = 0; at < chunk.length && this.#state !== 'done'; ) at = this.#consume(chunk, at);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** Says that no more bytes come. @throws ARCHIVE_CPIO_TRUNCATED */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#state === 'done') return;
    const error = archiveError('ARCHIVE_CPIO_TRUNCATED', 'Cannot read cpio archive: it ends before its last entry');
    this.#failure = { error };
    throw error;
  }

  #consume(chunk: Uint8Array, at: number): number {
    if (this.#state === 'data' || this.#state === 'padding') {
      const take = Math.min(this.#remaining, chunk.length - at);
      if (this.#state === 'data') this.#content(chunk.subarray(at, at + take));
      this.#remaining -= take;
      if (this.#remaining === 0) this.#pieceEnd();
      return at + take;
    }
    const take = Math.min(this.#buffer.length - this.#filled, chunk.length - at);
    this.#buffer.set(chunk.subarray(at, at + take), this.#filled);
    this.#filled += take;
    if (this.#filled === this.#buffer.length) this.#gathered();
    return at + take;
  }

  #gather(state: State, length: number): void {
    this.#state = state;
    this.#buffer = new Uint8Array(length);
    this.#filled = 0;
  }

  #gathered(): void {
    switch (this.#state) {
      case 'magic': {
        const format = formatOf(this.#buffer);
        if (format === undefined) throw invalid('there is no header where one should be');
        this.#format = format;
        const head = this.#buffer;
        this.#gather('header', HEADER_BYTES[format]);
        this.#buffer.set(head);
        this.#filled = head.length;
        return;
      }
      case 'header': {
        const header = parseHeader(this.#buffer, this.#format);
        this.#header = header;
        if (header.nameBytes < 2 || header.nameBytes - 1 > this.#limits.maxPathBytes) throw invalid(`a name of ${header.nameBytes} bytes`);
        this.#gather('name', header.nameBytes + this.#paddingOf(HEADER_BYTES[this.#format] + header.nameBytes));
        return;
      }
      case 'name':
        this.#named(this.#header as Header);
        return;
      default:
        this.#linked(this.#header as Header);
    }
  }

  #paddingOf(bytes: number): number {
    return -bytes & (ALIGNMENT[this.#format] - 1);
  }

  #named(header: Header): void {
    if (this.#buffer[header.nameBytes - 1] !== 0) throw invalid('a name does not end in NUL');
    this.#path = this.#buffer.slice(0, header.nameBytes - 1);
    if (header.size === 0 && Buffer.from(this.#path).toString('latin1') === END_NAME) {
      this.#finish();
      return;
    }
    if (++this.#entries > this.#limits.maxEntries) throw tooLarge(`over ${this.#limits.maxEntries} entries`);
    this.#totalBytes += header.size;
    if (this.#totalBytes > this.#limits.maxTotalBytes) throw tooLarge(`the content is over ${this.#limits.maxTotalBytes} bytes`);
    this.#padding = this.#paddingOf(header.size);
    const type = typeOf(header);
    if (type === 'symlink') {
      if (header.size === 0 || header.size > this.#limits.maxPathBytes) throw invalid(`a symlink target of ${header.size} bytes`);
      this.#gather('target', header.size);
      return;
    }
    if (type !== 'file' && header.size > 0) throw invalid('a directory or device has content');
    this.#begin(header, type);
  }

  #begin(header: Header, type: TarType): void {
    const entry = this.#entry(header, type);
    const key = type === 'file' && header.nlink > 1 ? `${header.dev}:${header.ino}` : undefined;
    if (header.size > 0) {
      this.#handler.entry(entry);
      this.#remaining = header.size;
      this.#sum = 0;
      this.#state = 'data';
      return;
    }
    const content = key === undefined ? undefined : this.#contents.get(key);
    if (key === undefined) this.#whole(entry);
    else if (content !== undefined) this.#whole({ ...entry, type: 'hardlink', linkPath: content });
    else this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), entry]);
    this.#gather('magic', CPIO_MAGIC_BYTES);
  }

  #linked(header: Header): void {
    this.#whole({ ...this.#entry(header, 'symlink'), linkPath: this.#buffer.slice() });
    this.#pad();
  }

  #content(bytes: Uint8Array): void {
    if (this.#format === 'crc') for (const byte of bytes) this.#sum = (this.#sum + byte) >>> 0;
    this.#handler.data(bytes);
  }

  #pieceEnd(): void {
    if (this.#state === 'data') {
      const header = this.#header as Header;
      if (this.#format === 'crc' && this.#sum !== header.check) throw invalid('the checksum of a file is wrong');
      this.#handler.entryEnd();
      if (header.nlink > 1) this.#contentKnown(`${header.dev}:${header.ino}`, this.#path);
      this.#pad();
    } else this.#gather('magic', CPIO_MAGIC_BYTES);
  }

  #contentKnown(key: string, path: Uint8Array): void {
    this.#contents.set(key, path);
    for (const entry of this.#waiting.get(key) ?? []) this.#whole({ ...entry, type: 'hardlink', linkPath: path });
    this.#waiting.delete(key);
  }

  #pad(): void {
    this.#remaining = this.#padding;
    if (this.#remaining > 0) this.#state = 'padding';
    else this.#gather('magic', CPIO_MAGIC_BYTES);
  }

  /** Names whose content never came are those of empty files. */
  #finish(): void {
    for (const [key, [first]] of this.#waiting) {
      if (first === undefined) continue;
      this.#whole(first);
      this.#waiting.set(key, (this.#waiting.get(key) ?? []).slice(1));
      this.#contentKnown(key, first.path);
    }
    this.#state = 'done';
  }

  #whole(entry: TarEntry): void {
    this.#handler.entry(entry);
    this.#handler.entryEnd();
  }

  #entry(header: Header, type: TarType): TarEntry {
    const { uid, gid, mtime, deviceMajor, deviceMinor } = header;
    const size = type === 'file' ? header.size : 0;
    const isDevice = type === 'char' || type === 'block';
    return {
      path: this.#path,
      type,
      mode: header.mode & 0o7777,
      uid,
      gid,
      size,
      mtime,
      linkPath: EMPTY,
      deviceMajor: isDevice ? deviceMajor : 0,
      deviceMinor: isDevice ? deviceMinor : 0,
      xattrs: [],
      userName: '',
      groupName: '',
    };
  }
}

function formatOf(head: Uint8Array): Format | undefined {
  if (head[0] === 0xc7 && head[1] === 0x71) return 'binary-le';
  if (head[0] === 0x71 && head[1] === 0xc7) return 'binary-be';
  const text = Buffer.from(head.subarray(0, CPIO_MAGIC_BYTES)).toString('latin1');
  return text === '070701' ? 'newc' : text === '070702' ? 'crc' : text === '070707' ? 'odc' : undefined;
}

function parseHeader(bytes: Uint8Array, format: Format): Header {
  const text = Buffer.from(bytes).toString('latin1');
  if (format === 'newc' || format === 'crc') {
    const field = (index: number): number => number(text.slice(6 + index * 8, 14 + index * 8), 16);
    return {
      ino: field(0),
      mode: field(1),
      uid: field(2),
      gid: field(3),
      nlink: field(4),
      mtime: field(5),
      size: field(6),
      dev: `${field(7)}.${field(8)}`,
      deviceMajor: field(9),
      deviceMinor: field(10),
      nameBytes: field(11),
      check: field(12),
    };
  }
  if (format === 'odc') {
    const field = (at: number, length: number): number => number(text.slice(at, at + length), 8);
    return {
      dev: `${field(6, 6)}`,
      ino: field(12, 6),
      mode: field(18, 6),
      uid: field(24, 6),
      gid: field(30, 6),
      nlink: field(36, 6),
      ...device(field(42, 6)),
      mtime: field(48, 11),
      nameBytes: field(59, 6),
      size: field(65, 11),
      check: 0,
    };
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number): number => view.getUint16(index * 2, format === 'binary-le');
  return {
    dev: `${word(1)}`,
    ino: word(2),
    mode: word(3),
    uid: word(4),
    gid: word(5),
    nlink: word(6),
    ...device(word(7)),
    mtime: word(8) * 65_536 + word(9),
    nameBytes: word(10),
    size: word(11) * 65_536 + word(12),
    check: 0,
  };
}

/** 16 bits: major and minor of eight each. */
function device(rdev: number): { deviceMajor: number; deviceMinor: number } {
  return { deviceMajor: rdev >> 8, deviceMinor: rdev & 0xff };
}

function number(digits: string, base: 8 | 16): number {
  if (!(base === 8 ? /^[0-7]+$/ : /^[0-9a-fA-F]+$/).test(digits)) throw invalid('a number of a header has other characters than digits');
  return Number.parseInt(digits, base);
}

function typeOf(header: Header): TarType {
  const type = TYPES[header.mode >>> 12];
  if (type === undefined) throw invalid(`an entry of mode 0${header.mode.toString(8)}`);
  return type;
}

function invalid(why: string): Error {
  return archiveError('ARCHIVE_CPIO_INVALID', `Cannot read cpio archive: ${why}`);
}

function tooLarge(why: string): Error {
  return archiveError('ARCHIVE_CPIO_TOO_LARGE', `Cannot read cpio archive: ${why}`);
}
