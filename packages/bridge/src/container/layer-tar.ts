/**
 * Tar headers as ostree-ext writes them: the GNU form, every time zero, no names of owners, and long names in entries of their
 * own. The bytes are part of the format, because layers are known by their digest.
 */
const BLOCK = 512;
const NAME_BYTES = 100;
/** Octal digits have no room for more. */
const MAX_OCTAL_ID = 0o7777777;
const MAX_OCTAL_SIZE = 0o77777777777;
const LONG_LINK = '././@LongLink';

export type LayerEntryType = 'file' | 'hardlink' | 'symlink' | 'directory';

export interface LayerEntry {
  /** Without a leading slash; a leading `./` stays in long names only. */
  path: string;
  type: LayerEntryType;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of content, for files. */
  size?: number;
  /** Target of a link, written as it is. */
  linkPath?: string;
}

const FLAGS: Record<LayerEntryType, string> = { file: '0', hardlink: '1', symlink: '2', directory: '5' };

/** Returns the header blocks of an entry. */
export function layerHeader(entry: LayerEntry): Buffer {
  const blocks: Buffer[] = [];
  const name = Buffer.from(entry.path === './' ? './' : withoutDot(entry.path));
  if (name.byteLength > NAME_BYTES) blocks.push(longName('L', Buffer.from(entry.path)));
  const target = Buffer.from(entry.linkPath ?? '');
  if (target.byteLength > NAME_BYTES) blocks.push(longName('K', target));
  // What the long entry says counts; the field holds as many whole characters as fit.
  const shown = name.byteLength > NAME_BYTES ? Buffer.from(withoutDot(cut(Buffer.from(entry.path)))) : name;
  const block = gnuBlock(FLAGS[entry.type], shown, entry.mode, entry.uid, entry.gid, entry.size ?? 0);
  cutBytes(target).copy(block, 157);
  seal(block);
  blocks.push(block);
  return blocks.length === 1 ? block : Buffer.concat(blocks);
}

/** Returns a PAX entry with records, in their order: keys as text, values as bytes. */
export function paxEntry(records: readonly (readonly [key: string, value: Uint8Array])[]): Buffer {
  const data = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
  const block = Buffer.alloc(BLOCK);
  octal(block, 124, 12, data.byteLength);
  octal(block, 136, 12, 0);
  block.write('x', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  seal(block);
  return Buffer.concat([block, data, padding(data.byteLength)]);
}

/** Returns the zeros after a content. */
export function padding(size: number): Buffer {
  const over = size % BLOCK;
  return over === 0 ? NOTHING : ZEROS.subarray(0, BLOCK - over);
}

/** The end of an archive. */
export const LAYER_END: Buffer = Buffer.alloc(2 * BLOCK);

const ZEROS = Buffer.alloc(BLOCK);
const NOTHING = Buffer.alloc(0);

function withoutDot(path: string): string {
  return path.startsWith('./') ? path.slice(2) : path;
}

function cut(bytes: Buffer): string {
  return cutBytes(bytes).toString('utf8');
}

/** Returns as many whole UTF-8 characters as fit into the field. */
function cutBytes(bytes: Buffer): Buffer {
  if (bytes.byteLength <= NAME_BYTES) return bytes;
  let end = NAME_BYTES;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

function longName(flag: 'L' | 'K', name: Buffer): Buffer {
  const block = gnuBlock(flag, Buffer.from(LONG_LINK), 0o644, 0, 0, name.byteLength + 1);
  seal(block);
  const data = Buffer.concat([name, Buffer.alloc(1)]);
  return Buffer.concat([block, data, padding(data.byteLength)]);
}

function gnuBlock(flag: string, name: Buffer, mode: number, uid: number, gid: number, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  name.copy(block, 0);
  octal(block, 100, 8, mode & 0o7777);
  number(block, 108, 8, uid, MAX_OCTAL_ID);
  number(block, 116, 8, gid, MAX_OCTAL_ID);
  number(block, 124, 12, size, MAX_OCTAL_SIZE);
  octal(block, 136, 12, 0);
  block.write(flag, 156, 'latin1');
  block.write('ustar  \0', 257, 'latin1');
  return block;
}

/** Base 256, big-endian, with the highest bit set, where octal has no room. */
function number(block: Buffer, at: number, length: number, value: number, maxOctal: number): void {
  if (value <= maxOctal) {
    octal(block, at, length, value);
    return;
  }
  let rest = BigInt(value);
  for (let i = at + length - 1; i > at; i--) {
    block[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[at] = 0x80;
}

function octal(block: Buffer, at: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
}

/** Seven digits and a NUL: not the six digits, NUL and space of other writers. */
function seal(block: Buffer): void {
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.fill(0, 148, 156);
  octal(block, 148, 8, sum);
}

function paxRecord(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.byteLength(key) + value.byteLength + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}
