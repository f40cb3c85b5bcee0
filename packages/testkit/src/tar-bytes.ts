/**
 * Writes tar entries exactly as a test describes them, the malformed ones included.
 *
 * Deliberately apart from the `archive` package: what reads our layers in tests must not be checked by its own twin.
 * Format: POSIX pax interchange (ustar header, `x` records), and GNU `L`/`K` long names.
 */
import { testkitError } from './errors.ts';

export type TarKind = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo' | 'contiguous';

export interface TarEntrySpec {
  /** As written into the header, unchecked: `../x`, `/x`, `.wh.x` and bytes that are not UTF-8 are all possible. */
  path: string | Uint8Array;
  /** `file` when absent; a path that ends in `/` is a directory. */
  kind?: TarKind;
  /** A raw type flag instead of `kind`. */
  typeFlag?: string;
  content?: string | Uint8Array;
  /** Permission bits; 0o644, and 0o755 for directories, when absent. */
  mode?: number;
  uid?: number;
  gid?: number;
  uname?: string;
  gname?: string;
  /** Seconds since 1970. */
  mtime?: number;
  /** Target of a symlink or hard link. */
  target?: string | Uint8Array;
  device?: readonly [major: number, minor: number];
  /** Written as `SCHILY.xattr.NAME` records. */
  xattrs?: Readonly<Record<string, string | Uint8Array>>;
  /** Further pax records, as they are. */
  pax?: Readonly<Record<string, string | Uint8Array>>;
  /** How names over 100 bytes are written; `pax` when absent. */
  longNames?: 'pax' | 'gnu' | 'prefix';
  /** A size in the header that is not that of the content: a lie for fault tests. */
  claimedSize?: number;
  /** Damages the header checksum. */
  badChecksum?: boolean;
}

const BLOCK = 512;
const TYPE_FLAGS: Readonly<Record<TarKind, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
  contiguous: '7',
};

/** Returns a whole tar, with the two zero blocks that end it unless `end` is false. */
export function tarBytes(entries: readonly TarEntrySpec[], end = true): Uint8Array<ArrayBuffer> {
  const parts = entries.flatMap(entryParts);
  if (end) parts.push(new Uint8Array(2 * BLOCK));
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}

function entryParts(entry: TarEntrySpec): Uint8Array[] {
  const path = toBytes(entry.path);
  const kind = entry.kind ?? (path.at(-1) === 0x2f ? 'directory' : 'file');
  const content = toBytes(entry.content ?? '');
  const target = toBytes(entry.target ?? '');
  const parts: Uint8Array[] = [];
  const records: [string, Uint8Array][] = [];
  for (const [name, value] of Object.entries(entry.xattrs ?? {})) records.push([`SCHILY.xattr.${name}`, toBytes(value)]);
  for (const [name, value] of Object.entries(entry.pax ?? {})) records.push([name, toBytes(value)]);

  let name = path;
  let prefix = new Uint8Array(0);
  if (path.byteLength > 100) {
    if (entry.longNames === 'gnu') parts.push(...longName('L', path));
    else if (entry.longNames === 'prefix') ({ prefix, name } = splitPrefix(path));
    else records.push(['path', path]);
  }
  if (target.byteLength > 100) {
    if (entry.longNames === 'gnu') parts.push(...longName('K', target));
    else records.push(['linkpath', target]);
  }
  if (records.length > 0) parts.push(...paxRecords(records));

  const fields: HeaderFields = {
    name: name.subarray(0, 100),
    prefix,
    mode: entry.mode ?? (kind === 'directory' ? 0o755 : kind === 'symlink' ? 0o777 : 0o644),
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    size: entry.claimedSize ?? content.byteLength,
    mtime: entry.mtime ?? 0,
    typeFlag: entry.typeFlag ?? TYPE_FLAGS[kind],
    target: target.subarray(0, 100),
    uname: entry.uname ?? '',
    gname: entry.gname ?? '',
    device: entry.device ?? [0, 0],
  };
  parts.push(header(fields, entry.badChecksum ?? false), ...padded(content));
  return parts;
}

interface HeaderFields {
  name: Uint8Array;
  prefix: Uint8Array;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  typeFlag: string;
  target: Uint8Array;
  uname: string;
  gname: string;
  device: readonly [number, number];
}

function header(fields: HeaderFields, badChecksum: boolean): Uint8Array {
  const block = Buffer.alloc(BLOCK);
  block.set(fields.name, 0);
  writeNumber(block, 100, 8, fields.mode);
  writeNumber(block, 108, 8, fields.uid);
  writeNumber(block, 116, 8, fields.gid);
  writeNumber(block, 124, 12, fields.size);
  writeNumber(block, 136, 12, fields.mtime);
  block.write(fields.typeFlag, 156, 1, 'latin1');
  block.set(fields.target, 157);
  block.write('ustar\x0000', 257, 8, 'latin1');
  block.write(fields.uname, 265, 32);
  block.write(fields.gname, 297, 32);
  writeNumber(block, 329, 8, fields.device[0]);
  writeNumber(block, 337, 8, fields.device[1]);
  block.set(fields.prefix, 345);
  block.fill(' ', 148, 156);
  let sum = badChecksum ? 1 : 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return block;
}

/** Octal with a NUL, or GNU base-256 where octal has no room. */
function writeNumber(block: Buffer, offset: number, width: number, value: number): void {
  const octal = value.toString(8);
  if (value >= 0 && octal.length < width) {
    block.write(`${octal.padStart(width - 1, '0')}\0`, offset, width, 'latin1');
    return;
  }
  let rest = BigInt(value);
  for (let i = width - 1; i >= 0; i--) {
    block[offset + i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[offset] = (block[offset] as number) | 0x80;
}

function longName(typeFlag: 'L' | 'K', name: Uint8Array): Uint8Array[] {
  const content = Buffer.concat([name, Buffer.alloc(1)]);
  return [header({ ...AUXILIARY, name: Buffer.from('././@LongLink'), size: content.byteLength, typeFlag }, false), ...padded(content)];
}

function paxRecords(records: readonly [string, Uint8Array][]): Uint8Array[] {
  const content = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
  return [header({ ...AUXILIARY, name: Buffer.from('PaxHeaders/entry'), size: content.byteLength, typeFlag: 'x' }, false), ...padded(content)];
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits. */
function paxRecord(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.byteLength + 1;
  while (String(length).length + rest.byteLength !== length) length = String(length).length + rest.byteLength;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

const AUXILIARY: HeaderFields = {
  name: new Uint8Array(0),
  prefix: new Uint8Array(0),
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  typeFlag: '0',
  target: new Uint8Array(0),
  uname: '',
  gname: '',
  device: [0, 0],
};

function splitPrefix(path: Uint8Array): { prefix: Uint8Array<ArrayBuffer>; name: Uint8Array<ArrayBuffer> } {
  for (let i = Math.min(155, path.byteLength - 1); i > 0; i--) {
    if (path[i] === 0x2f && path.byteLength - i - 1 <= 100) return { prefix: path.slice(0, i), name: path.slice(i + 1) };
  }
  throw testkitError('TESTKIT_SPEC_INVALID', `Cannot split "${Buffer.from(path).toString()}" into a ustar prefix and name`);
}

function padded(content: Uint8Array): Uint8Array[] {
  const rest = content.byteLength % BLOCK;
  return rest === 0 ? [content] : [content, new Uint8Array(BLOCK - rest)];
}

function toBytes(value: string | Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(typeof value === 'string' ? Buffer.from(value) : value);
}
