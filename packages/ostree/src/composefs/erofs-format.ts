/** Numbers of the EROFS on-disk format, and the few formulas about them. Source: Linux `Documentation/filesystems/erofs.rst`, `fs/erofs/erofs_fs.h`. */
import type { ImageXattr } from './image-tree.ts';

export const BLOCK_BYTES = 4096;
const BLOCK_BITS = 12;
/** Inodes start at multiples of this; their number is in these units. */
export const SLOT_BYTES = 32;

export const SUPERBLOCK_AT = 1024;
export const SUPERBLOCK_BYTES = 128;
export const COMPACT_INODE_BYTES = 32;
export const EXTENDED_INODE_BYTES = 64;
export const XATTR_IBODY_BYTES = 12;
export const DIRENT_BYTES = 12;
export const CHUNK_ADDRESS_BYTES = 4;

export const LAYOUT_PLAIN = 0;
export const LAYOUT_INLINE = 2;
export const LAYOUT_CHUNKED = 4;

export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

const MAX_CHUNK_BITS = 31;

/** Returns the size of the chunks a file is described by, as the format holds it (log2 of blocks), and their number: as few as can be. */
export function chunksOf(sizeBytes: number): { bits: number; count: number } {
  let bits = 0;
  while (bits < MAX_CHUNK_BITS && 2 ** (bits + BLOCK_BITS) < sizeBytes) bits++;
  return { bits, count: Math.ceil(sizeBytes / 2 ** (bits + BLOCK_BITS)) };
}

/** Prefixes that stand in an entry as a number. */
const PREFIXES: readonly (readonly [text: string, index: number])[] = [
  ['user.', 1],
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
  ['trusted.', 4],
  ['security.', 6],
];

const ACL_NAMES = new Set(['system.posix_acl_access', 'system.posix_acl_default']);

export function isAcl({ name }: ImageXattr): boolean {
  return ACL_NAMES.has(name.toString('latin1'));
}

/** Returns the number of an attribute's prefix, and the rest of its name. */
function splitXattrName(name: Buffer): { index: number; suffix: Buffer } {
  const text = name.toString('latin1');
  const found = PREFIXES.find(([prefix]) => text.startsWith(prefix));
  return found === undefined ? { index: 0, suffix: name } : { index: found[1], suffix: name.subarray(found[0].length) };
}

const XATTR_ENTRY_BYTES = 4;

/** Returns the size of an attribute in an image, padded. */
export function xattrSize({ name, value }: ImageXattr): number {
  return roundUp(XATTR_ENTRY_BYTES + splitXattrName(name).suffix.byteLength + value.byteLength, XATTR_ENTRY_BYTES);
}

/** Returns an attribute as it stands in an image, padded. */
export function encodeXattr(xattr: ImageXattr): Buffer {
  const { name, value } = xattr;
  const { index, suffix } = splitXattrName(name);
  const bytes = Buffer.alloc(xattrSize(xattr));
  bytes[0] = suffix.byteLength;
  bytes[1] = index;
  bytes.writeUInt16LE(value.byteLength, 2);
  bytes.set(suffix, XATTR_ENTRY_BYTES);
  bytes.set(value, XATTR_ENTRY_BYTES + suffix.byteLength);
  return bytes;
}

const FILTER_SEED = 0x25bbe08f;

/** Returns the bit that an attribute's name has in an inode's filter. */
export function filterBit(name: Buffer): number {
  const { index, suffix } = splitXattrName(name);
  return (1 << (xxh32(suffix, FILTER_SEED + index) & 31)) >>> 0;
}

const PRIME_1 = 2654435761;
const PRIME_2 = 2246822519;
const PRIME_3 = 3266489917;
const PRIME_4 = 668265263;
const PRIME_5 = 374761393;

/** XXH32. Source: xxHash fast digest algorithm, specification 0.1.1. */
export function xxh32(bytes: Buffer, seed: number): number {
  const { byteLength } = bytes;
  let at = 0;
  let sum: number;
  if (byteLength >= 16) {
    const lanes: [number, number, number, number] = [seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1];
    for (; at + 16 <= byteLength; at += 16) {
      for (let lane = 0; lane < 4; lane++) {
        lanes[lane] = Math.imul(rotated(lanes[lane as 0] + Math.imul(bytes.readUInt32LE(at + 4 * lane), PRIME_2), 13), PRIME_1);
      }
    }
    sum = rotated(lanes[0], 1) + rotated(lanes[1], 7) + rotated(lanes[2], 12) + rotated(lanes[3], 18);
  } else {
    sum = seed + PRIME_5;
  }
  sum = (sum + byteLength) | 0;
  for (; at + 4 <= byteLength; at += 4) sum = Math.imul(rotated(sum + Math.imul(bytes.readUInt32LE(at), PRIME_3), 17), PRIME_4);
  for (; at < byteLength; at++) sum = Math.imul(rotated(sum + Math.imul(bytes[at] as number, PRIME_5), 11), PRIME_1);
  sum = Math.imul(sum ^ (sum >>> 15), PRIME_2);
  sum = Math.imul(sum ^ (sum >>> 13), PRIME_3);
  return (sum ^ (sum >>> 16)) >>> 0;
}

function rotated(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
