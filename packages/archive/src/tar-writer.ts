/**
 * Writing tar archives: ustar headers, with PAX records for what they cannot hold. Equal entries give equal bytes.
 * Source: POSIX.1-2018 pax, "ustar Interchange Format" and "pax Extended Header"; star(5) for `SCHILY.xattr`.
 */
import { type Bytes, decodeUtf8, type Opener } from '@cambium/base';
import { archiveError } from './errors.ts';
import { BLOCK, type TarType, type TarXattr } from './tar-entry.ts';

/** An entry to write. What is left out is zero or empty; `mode` is 0644, 0755 for directories, 0777 for symlinks. */
export interface TarWriteEntry {
  /** A directory gets a trailing slash if it has none. */
  path: string | Uint8Array;
  type: TarType;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Bytes of content; for files only. */
  size?: number;
  /** Seconds since 1970, fractions and negative values allowed. */
  mtime?: number;
  linkPath?: string | Uint8Array;
  deviceMajor?: number;
  deviceMinor?: number;
  /** Written sorted by name. */
  xattrs?: readonly TarXattr[];
  userName?: string;
  groupName?: string;
  /** More PAX records, keys as Latin-1 text of their bytes. Those that other fields express are left out: the fields count. */
  paxHeaders?: ReadonlyMap<string, Uint8Array | string>;
}

export interface TarWriteItem {
  entry: TarWriteEntry;
  /** Content of a file with a `size` above 0. */
  open?: Opener;
}

const FLAGS: Record<TarType, number> = { file: 0x30, hardlink: 0x31, symlink: 0x32, char: 0x33, block: 0x34, directory: 0x35, fifo: 0x36 };
const FIELD_KEYS = /^(?:path|linkpath|size|uid|gid|mtime|uname|gname|hdrcharset|(?:SCHILY|LIBARCHIVE)\.xattr\..*|SCHILY\.dev(?:major|minor)|GNU\.sparse\..*)$/s;
const MAX_7_DIGITS = 0o7777777;
const MAX_11_DIGITS = 0o77777777777;
/** Small pieces are joined to chunks of this size: a consumer pays for each chunk. */
const CHUNK_BYTES = 128 * 1024;

/**
 * Returns all header blocks of an entry: 512 bytes, or more when it needs PAX records.
 *
 * @throws ARCHIVE_TAR_ENTRY_INVALID
 */
export function tarHeader(entry: TarWriteEntry): Uint8Array {
  const path = pathOf(entry);
  const linkPath = entry.type === 'hardlink' || entry.type === 'symlink' ? bytesOfText(entry.linkPath ?? '') : new Uint8Array(0);
  const size = entry.type === 'file' ? (entry.size ?? 0) : 0;
  const mtime = entry.mtime ?? 0;
  const { uid = 0, gid = 0, deviceMajor = 0, deviceMinor = 0, userName = '', groupName = '' } = entry;
  const refuse = (why: string): never => {
    throw archiveError('ARCHIVE_TAR_ENTRY_INVALID', `Cannot write tar entry ${JSON.stringify(Buffer.from(path).toString('utf8').slice(0, 200))}: ${why}`);
  };
  if (path.length === 0 || path.includes(0)) refuse('its path is empty or holds a NUL');
  // GNU tar would make it a directory.
  if (entry.type === 'file' && path[path.length - 1] === 0x2f) refuse('the name of a file ends in a slash');
  if (linkPath.includes(0) || (linkPath.length === 0 && (entry.type === 'hardlink' || entry.type === 'symlink'))) refuse('its target is empty or holds a NUL');
  for (const [what, value] of Object.entries({ size, uid, gid, deviceMajor, deviceMinor })) {
    if (!Number.isSafeInteger(value) || value < 0) refuse(`${what} is not a number from 0 to 2^53`);
  }
  if (!(Math.abs(mtime) < 1e15)) refuse('its time is not a number');

  const pax = new Map<string, Uint8Array>();
  for (const [key, value] of entry.paxHeaders ?? []) {
    if (!/^[\x01-\x3c\x3e-\xff]+$/.test(key)) refuse(`"${key}" cannot be the key of a PAX record`);
    if (FIELD_KEYS.test(key)) continue;
    pax.set(key, bytesOfText(value));
  }
  const block = Buffer.alloc(BLOCK);
  const split = splitPath(path);
  if (split === undefined || !isAscii(path)) setName(pax, 'path', path);
  if (split === undefined) block.set(path.subarray(0, 100), 0);
  else {
    block.set(path.subarray(split.nameAt), 0);
    block.set(path.subarray(0, split.prefixLength), 345);
  }
  if (linkPath.length > 100 || !isAscii(linkPath)) setName(pax, 'linkpath', linkPath);
  block.set(linkPath.subarray(0, 100), 157);

  const number = (key: string, value: number, at: number, length: number, max: number): void => {
    if (value > max) pax.set(key, Buffer.from(String(value)));
    octal(block, at, length, value > max ? 0 : value);
  };
  octal(block, 100, 8, (entry.mode ?? defaultMode(entry.type)) & 0o7777);
  number('uid', uid, 108, 8, MAX_7_DIGITS);
  number('gid', gid, 116, 8, MAX_7_DIGITS);
  number('size', size, 124, 12, MAX_11_DIGITS);
  const whole = Math.floor(mtime);
  if (mtime !== whole || whole < 0 || whole > MAX_11_DIGITS) pax.set('mtime', Buffer.from(timeText(mtime)));
  octal(block, 136, 12, Math.min(Math.max(whole, 0), MAX_11_DIGITS));
  block[156] = FLAGS[entry.type];
  block.write('ustar\x0000', 257, 'latin1');
  owner(pax, 'uname', userName, block, 265);
  owner(pax, 'gname', groupName, block, 297);
  const device = entry.type === 'char' || entry.type === 'block';
  number('SCHILY.devmajor', device ? deviceMajor : 0, 329, 8, MAX_7_DIGITS);
  number('SCHILY.devminor', device ? deviceMinor : 0, 337, 8, MAX_7_DIGITS);
  for (const [name, value] of entry.xattrs ?? []) {
    if (name.length === 0 || name.includes(0)) refuse('an extended attribute has an impossible name');
    pax.set(`SCHILY.xattr.${xattrKey(name)}`, value);
  }
  seal(block);
  return pax.size === 0 ? block : Buffer.concat([paxBlocks(pax, path, refuse), block]);
}

/**
 * Returns the archive of `entries`, in their order, with padding and two zero blocks at the end.
 *
 * @throws ARCHIVE_TAR_ENTRY_INVALID, ARCHIVE_TAR_BODY_SIZE when a content is not as long as its entry says
 */
export async function* writeTar(entries: AsyncIterable<TarWriteItem> | Iterable<TarWriteItem>, signal?: AbortSignal): Bytes {
  let buffer = new Uint8Array(CHUNK_BYTES);
  let filled = 0;
  const take = (): Uint8Array => {
    const full = buffer.subarray(0, filled);
    buffer = new Uint8Array(CHUNK_BYTES);
    filled = 0;
    return full;
  };
  function* put(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
    if (filled + bytes.length > CHUNK_BYTES && filled > 0) yield take();
    if (bytes.length >= CHUNK_BYTES) {
      yield bytes;
      return;
    }
    buffer.set(bytes, filled);
    filled += bytes.length;
  }
  for await (const { entry, open } of entries) {
    signal?.throwIfAborted();
    yield* put(tarHeader(entry));
    const size = entry.type === 'file' ? (entry.size ?? 0) : 0;
    if (size === 0) continue;
    let seen = 0;
    if (open !== undefined) {
      for await (const chunk of open(signal)) {
        seen += chunk.byteLength;
        if (seen > size) break;
        yield* put(chunk);
      }
    }
    if (seen !== size) {
      const name = Buffer.from(bytesOfText(entry.path)).toString('utf8').slice(0, 200);
      throw archiveError('ARCHIVE_TAR_BODY_SIZE', `Cannot write tar entry ${JSON.stringify(name)}: its content is not ${size} bytes long`, {
        data: { expectedBytes: size, seenBytes: seen },
      });
    }
    const rest = size % BLOCK;
    if (rest !== 0) yield* put(new Uint8Array(BLOCK - rest));
  }
  yield* put(new Uint8Array(2 * BLOCK));
  yield take();
}

function pathOf(entry: TarWriteEntry): Uint8Array {
  const path = bytesOfText(entry.path);
  if (entry.type !== 'directory' || path.length === 0 || path[path.length - 1] === 0x2f) return path;
  const slashed = new Uint8Array(path.length + 1);
  slashed.set(path);
  slashed[path.length] = 0x2f;
  return slashed;
}

function defaultMode(type: TarType): number {
  if (type === 'directory') return 0o755;
  return type === 'symlink' ? 0o777 : 0o644;
}

/** Returns where a path divides into a prefix of up to 155 bytes, a slash, and a name of up to 100; undefined when it does not. */
function splitPath(path: Uint8Array): { prefixLength: number; nameAt: number } | undefined {
  if (path.length <= 100) return { prefixLength: 0, nameAt: 0 };
  // The name must not be empty, so a directory's trailing slash does not count.
  for (let slash = Math.min(155, path.length - 2); slash > 0 && path.length - slash - 1 <= 100; slash--) {
    if (path[slash] === 0x2f) return { prefixLength: slash, nameAt: slash + 1 };
  }
  return undefined;
}

/** Sets a name as a record; bytes that are not UTF-8 need the standard's word that they are bytes. */
function setName(pax: Map<string, Uint8Array>, key: string, value: Uint8Array): void {
  pax.set(key, value);
  if (decodeUtf8(value) === undefined) pax.set('hdrcharset', Buffer.from('BINARY'));
}

function owner(pax: Map<string, Uint8Array>, key: string, name: string, block: Buffer, at: number): void {
  const bytes = Buffer.from(name);
  if (bytes.length > 31 || !isAscii(bytes)) pax.set(key, bytes);
  else block.set(bytes, at);
}

function octal(block: Buffer, at: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
}

function seal(block: Buffer): void {
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

/** Seconds with up to nine digits behind the point, and no more than the number has. */
function timeText(mtime: number): string {
  const text = String(mtime);
  return text.includes('e') ? mtime.toFixed(9).replace(/\.?0+$/, '') : text;
}

/** GNU tar reads `%3D` as `=`, at which a key would end, and `%25` as `%`; other readers do not, so only what must be is encoded. */
function xattrKey(name: Uint8Array): string {
  return Buffer.from(name)
    .toString('latin1')
    .replace(/=|%(?=25|3D)/gi, (found) => (found === '=' ? '%3D' : '%25'));
}

function paxBlocks(pax: ReadonlyMap<string, Uint8Array>, path: Uint8Array, refuse: (why: string) => never): Uint8Array {
  // hdrcharset comes first, because it says how to read the others.
  const keys = [...pax.keys()].sort((a, b) => (a === 'hdrcharset' ? -1 : b === 'hdrcharset' ? 1 : a < b ? -1 : 1));
  const records: Uint8Array[] = [];
  let size = 0;
  for (const key of keys) {
    const value = pax.get(key) as Uint8Array;
    const name = Buffer.from(key, 'latin1');
    const rest = 3 + name.length + value.length;
    let length = rest + String(rest).length;
    if (length !== rest + String(length).length) length = rest + String(length).length;
    records.push(Buffer.from(`${length} `), name, Buffer.from('='), value, Buffer.from('\n'));
    size += length;
  }
  if (size > MAX_11_DIGITS) refuse('its PAX records are too large');
  const header = Buffer.alloc(BLOCK);
  // The name by convention; only readers that know no PAX see it, as a file.
  const label =
    Buffer.from(path)
      .toString('latin1')
      .split('/')
      .filter((part) => part !== '')
      .at(-1) ?? '';
  header.write(`PaxHeaders.0/${label}`.slice(0, 100), 0, 'latin1');
  octal(header, 100, 8, 0o644);
  octal(header, 108, 8, 0);
  octal(header, 116, 8, 0);
  octal(header, 124, 12, size);
  octal(header, 136, 12, 0);
  header[156] = 0x78;
  header.write('ustar\x0000', 257, 'latin1');
  octal(header, 329, 8, 0);
  octal(header, 337, 8, 0);
  seal(header);
  return Buffer.concat([header, ...records, Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)]);
}

function isAscii(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte >= 0x80) return false;
  return true;
}

function bytesOfText(text: string | Uint8Array): Uint8Array {
  return typeof text === 'string' ? Buffer.from(text) : text;
}
