/**
 * Extended headers of tar archives: records of "length key=value\n".
 * Source: POSIX.1-2018 pax, "pax Extended Header"; GNU tar manual, "Storing Sparse Files"; star(5) for `SCHILY.*`.
 */
import { archiveError } from './errors.ts';
import type { TarFail } from './tar-entry.ts';
import { parseDecimal } from './tar-numbers.ts';

export interface PaxLimits {
  maxXattrs: number;
  maxXattrValueBytes: number;
  maxSparseExtents: number;
}

/** What the extended headers in front of an entry say about it; undefined where they say nothing. */
export class PaxValues {
  path: Uint8Array | undefined;
  linkPath: Uint8Array | undefined;
  size: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  mtime: number | undefined;
  userName: string | undefined;
  groupName: string | undefined;
  deviceMajor: number | undefined;
  deviceMinor: number | undefined;
  /** By name as Latin-1 text, which keeps the order of bytes. */
  schily: Map<string, Uint8Array> | undefined;
  libarchive: Map<string, Uint8Array> | undefined;
  sparseMajor: number | undefined;
  sparseMinor: number | undefined;
  sparseName: Uint8Array | undefined;
  sparseSize: number | undefined;
  sparseCount: number | undefined;
  /** Offset, length, offset, length… */
  sparseMap: number[] | undefined;
  records: Map<string, Uint8Array> | undefined;
}

/** Calls `each` for every record of `block`. The value is a view. */
export function forEachPaxRecord(block: Uint8Array, fail: TarFail, each: (key: string, value: Uint8Array) => void): void {
  const text = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  let at = 0;
  while (at < block.length) {
    let space = at;
    while (space < block.length && space - at < 8 && block[space] !== 0x20) space++;
    const length = block[space] === 0x20 ? parseDecimal(block, at, space) : Number.NaN;
    const end = at + length;
    // NaN fails the comparison.
    if (!(end <= block.length && end > space + 2)) fail('ARCHIVE_TAR_PAX_INVALID', 'a record has an impossible length');
    if (block[end - 1] !== 0x0a) fail('ARCHIVE_TAR_PAX_INVALID', 'a record does not end in a newline');
    const equals = block.indexOf(0x3d, space + 1);
    if (equals <= space + 1 || equals >= end) fail('ARCHIVE_TAR_PAX_INVALID', 'a record has no key');
    each(text.toString('latin1', space + 1, equals), block.subarray(equals + 1, end - 1));
    at = end;
  }
}

/**
 * Applies one record to `values`. An empty value takes back what an earlier header said. Values are copied.
 *
 * @throws through `fail`
 */
export function applyPaxRecord(values: PaxValues, key: string, value: Uint8Array, limits: PaxLimits, fail: TarFail): void {
  const unset = value.length === 0;
  switch (key) {
    case 'path':
      values.path = unset ? undefined : name(key, value, fail);
      return;
    case 'linkpath':
      values.linkPath = unset ? undefined : name(key, value, fail);
      return;
    case 'size':
      values.size = unset ? undefined : decimal(key, value, fail);
      return;
    case 'uid':
      values.uid = unset ? undefined : decimal(key, value, fail);
      return;
    case 'gid':
      values.gid = unset ? undefined : decimal(key, value, fail);
      return;
    case 'mtime':
      values.mtime = unset ? undefined : time(value, fail);
      return;
    case 'uname':
      values.userName = unset ? undefined : utf8(name(key, value, fail));
      return;
    case 'gname':
      values.groupName = unset ? undefined : utf8(name(key, value, fail));
      return;
    case 'SCHILY.devmajor':
      values.deviceMajor = unset ? undefined : decimal(key, value, fail);
      return;
    case 'SCHILY.devminor':
      values.deviceMinor = unset ? undefined : decimal(key, value, fail);
      return;
    case 'hdrcharset':
      // Names are bytes here, so both charsets of the standard mean the same; a third would need conversion.
      if (!unset && latin1(value) !== 'BINARY' && latin1(value) !== 'ISO-IR 10646 2000 UTF-8') fail('ARCHIVE_TAR_PAX_INVALID', 'unknown hdrcharset');
      return;
    case 'GNU.sparse.major':
      values.sparseMajor = decimal(key, value, fail);
      return;
    case 'GNU.sparse.minor':
      values.sparseMinor = decimal(key, value, fail);
      return;
    case 'GNU.sparse.name':
      values.sparseName = unset ? undefined : name(key, value, fail);
      return;
    case 'GNU.sparse.size':
    case 'GNU.sparse.realsize':
      values.sparseSize = decimal(key, value, fail);
      return;
    case 'GNU.sparse.numblocks':
      values.sparseCount = decimal(key, value, fail);
      return;
    case 'GNU.sparse.offset':
      sparseNumber(values, decimal(key, value, fail), 0, limits, fail);
      return;
    case 'GNU.sparse.numbytes':
      sparseNumber(values, decimal(key, value, fail), 1, limits, fail);
      return;
    case 'GNU.sparse.map':
      values.sparseMap = sparseList(value, limits, fail);
      return;
    default:
      if (key.startsWith('SCHILY.xattr.')) {
        values.schily ??= new Map();
        setXattr(values.schily, decodeKey(key.slice(13), /%(25|3D)/gi), new Uint8Array(value), limits, fail);
      } else if (key.startsWith('LIBARCHIVE.xattr.')) {
        values.libarchive ??= new Map();
        setXattr(values.libarchive, decodeKey(key.slice(17), /%([0-9a-f]{2})/gi), base64(value, fail), limits, fail);
      }
  }
}

/** Returns the attributes by name, sorted as bytes; where both spellings name one, `SCHILY.xattr` wins. */
export function paxXattrs(values: PaxValues): [name: Uint8Array, value: Uint8Array][] {
  const { schily, libarchive } = values;
  let all = schily ?? libarchive;
  if (schily !== undefined && libarchive !== undefined) all = new Map([...libarchive, ...schily]);
  if (all === undefined) return [];
  // Latin-1 text sorts as its bytes do.
  const names = all.size === 1 ? [...all.keys()] : [...all.keys()].sort();
  return names.map((key) => [Uint8Array.from(Buffer.from(key, 'latin1')), all.get(key) as Uint8Array]);
}

function setXattr(map: Map<string, Uint8Array>, key: string, value: Uint8Array, limits: PaxLimits, fail: TarFail): void {
  // XATTR_NAME_MAX of Linux.
  if (key.length === 0 || key.length > 255 || key.includes('\0')) fail('ARCHIVE_TAR_XATTR_INVALID', 'an extended attribute has an impossible name');
  if (value.length > limits.maxXattrValueBytes) {
    fail('ARCHIVE_TAR_XATTR_INVALID', `extended attribute "${key}" is over ${limits.maxXattrValueBytes} bytes`);
  }
  map.set(key, value);
  if (map.size > limits.maxXattrs) fail('ARCHIVE_TAR_XATTR_INVALID', `over ${limits.maxXattrs} extended attributes`);
}

/**
 * GNU tar writes `%` and `=` of an attribute's name as `%25` and `%3D`, because a key ends at the first `=`;
 * libarchive percent-encodes all that is not printable.
 */
function decodeKey(key: string, pattern: RegExp): string {
  return key.includes('%') ? key.replace(pattern, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))) : key;
}

function base64(value: Uint8Array, fail: TarFail): Uint8Array {
  const text = latin1(value);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) fail('ARCHIVE_TAR_XATTR_INVALID', 'an extended attribute is not base64');
  return Uint8Array.from(Buffer.from(text, 'base64'));
}

function name(key: string, value: Uint8Array, fail: TarFail): Uint8Array {
  if (value.includes(0)) fail('ARCHIVE_TAR_PAX_INVALID', `"${key}" holds a NUL`);
  return new Uint8Array(value);
}

function decimal(key: string, value: Uint8Array, fail: TarFail): number {
  const number = parseDecimal(value, 0, value.length);
  if (Number.isNaN(number)) fail('ARCHIVE_TAR_PAX_INVALID', `"${key}" is not a number from 0 to 2^53`);
  return number;
}

function time(value: Uint8Array, fail: TarFail): number {
  const text = latin1(value);
  if (!/^-?[0-9]{1,15}(?:\.[0-9]*)?$/.test(text)) fail('ARCHIVE_TAR_PAX_INVALID', '"mtime" is not a time');
  return Number(text);
}

function sparseNumber(values: PaxValues, number: number, parity: 0 | 1, limits: PaxLimits, fail: TarFail): void {
  values.sparseMap ??= [];
  if (values.sparseMap.length % 2 !== parity) fail('ARCHIVE_TAR_SPARSE_INVALID', 'offsets and lengths do not alternate');
  if (values.sparseMap.length >= limits.maxSparseExtents * 2) fail('ARCHIVE_TAR_TOO_LARGE', `over ${limits.maxSparseExtents} extents`);
  values.sparseMap.push(number);
}

function sparseList(value: Uint8Array, limits: PaxLimits, fail: TarFail): number[] {
  const map: number[] = [];
  for (let at = 0; at < value.length; ) {
    const comma = value.indexOf(0x2c, at);
    const end = comma === -1 ? value.length : comma;
    if (map.length >= limits.maxSparseExtents * 2) fail('ARCHIVE_TAR_TOO_LARGE', `over ${limits.maxSparseExtents} extents`);
    map.push(decimal('GNU.sparse.map', value.subarray(at, end), fail));
    at = end + 1;
  }
  return map;
}

function latin1(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
}

function utf8(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8');
}

/** Keeps global records: the latest of each key, within `maxBytes` together. */
export class PaxGlobals {
  readonly #records = new Map<string, Uint8Array>();
  #bytes = 0;

  get empty(): boolean {
    return this.#records.size === 0;
  }

  set(key: string, value: Uint8Array, maxBytes: number): void {
    const before = this.#records.get(key);
    if (before !== undefined) this.#bytes -= key.length + before.length;
    this.#records.delete(key);
    if (value.length === 0) return;
    this.#bytes += key.length + value.length;
    if (this.#bytes > maxBytes) throw archiveError('ARCHIVE_TAR_TOO_LARGE', `Cannot read tar: global headers are over ${maxBytes} bytes`);
    this.#records.set(key, new Uint8Array(value));
  }

  [Symbol.iterator](): IterableIterator<[string, Uint8Array]> {
    return this.#records.entries();
  }
}
