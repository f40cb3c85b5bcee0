/** Writing a composefs image: superblock, inodes with their attributes and short data, shared attributes, blocks. */
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '@cambium/tree';
import {
  BLOCK_BYTES,
  COMPACT_INODE_BYTES,
  chunksOf,
  DIRENT_BYTES,
  EXTENDED_INODE_BYTES,
  encodeXattr,
  filterBit,
  LAYOUT_CHUNKED,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  roundUp,
  SLOT_BYTES,
  SUPERBLOCK_AT,
  SUPERBLOCK_BYTES,
  XATTR_IBODY_BYTES,
} from './erofs-format.ts';
import { dataSize, type ImageLayout, isContent, isSymlink, layOut, type PlacedInode } from './erofs-layout.ts';
import type { ImageEntry, ImageNode } from './image-tree.ts';

const COMPOSEFS_MAGIC = 0xd078629a;
const COMPOSEFS_FORMAT = 1;
const HAS_ACL = 1;
const EROFS_MAGIC = 0xe0f5e1e2;
/** Times in inodes, and filters of attribute names. */
const COMPAT_FEATURES = 0x2 | 0x4;
const BLOCK_BITS = 12;

/** Puts together small writes; the pieces it gives away are theirs who get them. */
class Pieces {
  written = 0;
  readonly #take: (piece: Uint8Array) => void;
  #buffer = Buffer.alloc(PIECE_BYTES);
  #used = 0;

  constructor(take: (piece: Uint8Array) => void) {
    this.#take = take;
  }

  add(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; ) {
      const count = Math.min(PIECE_BYTES - this.#used, bytes.byteLength - at);
      this.#buffer.set(bytes.subarray(at, at + count), this.#used);
      this.#advance(count);
      at += count;
    }
  }

  zeros(count: number): void {
    for (let left = count; left > 0; ) {
      const step = Math.min(PIECE_BYTES - this.#used, left);
      this.#advance(step);
      left -= step;
    }
  }

  align(unit: number): void {
    this.zeros(roundUp(this.written, unit) - this.written);
  }

  end(): void {
    if (this.#used > 0) this.#take(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }

  #advance(count: number): void {
    this.#used += count;
    this.written += count;
    if (this.#used < PIECE_BYTES) return;
    this.#take(this.#buffer);
    this.#buffer = Buffer.alloc(PIECE_BYTES);
    this.#used = 0;
  }
}

const PIECE_BYTES = 256 * 1024;

/** Gives the image of a tree to `take`, from its first byte to its last. All times are 0, as in every checkout of a commit. */
export function encodeImage(root: ImageNode, take: (piece: Uint8Array) => void): void {
  const layout = layOut(root);
  const out = new Pieces(take);
  writeHead(out, layout);
  let block = layout.dataAt / BLOCK_BYTES;
  for (const inode of layout.inodes) {
    out.zeros(inode.padding);
    writeInode(out, layout, inode, block);
    block += inode.blocks;
  }
  out.align(SLOT_BYTES);
  for (const { xattr } of layout.shared) out.add(encodeXattr(xattr));
  out.align(BLOCK_BYTES);
  for (const inode of layout.inodes) if (inode.blocks > 0) writeBlocks(out, layout, inode);
  out.end();
}

function writeHead(out: Pieces, { inodes, inodesEnd, dataAt, blocks, hasAcl }: ImageLayout): void {
  const head = Buffer.alloc(SUPERBLOCK_AT + SUPERBLOCK_BYTES);
  head.writeUInt32LE(COMPOSEFS_MAGIC, 0);
  head.writeUInt32LE(COMPOSEFS_FORMAT, 4);
  head.writeUInt32LE(hasAcl ? HAS_ACL : 0, 8);
  const at = SUPERBLOCK_AT;
  head.writeUInt32LE(EROFS_MAGIC, at);
  head.writeUInt32LE(COMPAT_FEATURES, at + 8);
  head[at + 12] = BLOCK_BITS;
  head.writeUInt16LE((inodes[0] as PlacedInode).nid, at + 14);
  head.writeBigUInt64LE(BigInt(inodes.length), at + 16);
  head.writeUInt32LE(dataAt / BLOCK_BYTES + blocks, at + 36);
  // Inodes begin in the block of the superblock.
  head.writeUInt32LE(0, at + 40);
  head.writeUInt32LE(Math.floor(inodesEnd / BLOCK_BYTES), at + 44);
  out.add(head);
}

function writeInode(out: Pieces, layout: ImageLayout, inode: PlacedInode, block: number): void {
  const { node, compact, links } = inode;
  const { mode, uid, gid } = node.inode;
  const chunks = isContent(node) ? chunksOf(node.inode.sizeBytes) : undefined;
  const kind = chunks !== undefined ? LAYOUT_CHUNKED : inode.tail > 0 ? LAYOUT_INLINE : LAYOUT_PLAIN;
  const where = chunks !== undefined ? chunks.bits : inode.blocks > 0 ? block : 0;
  const words = inode.xattrBytes === 0 ? 0 : (inode.xattrBytes - XATTR_IBODY_BYTES) / 4 + 1;
  const head = Buffer.alloc(compact ? COMPACT_INODE_BYTES : EXTENDED_INODE_BYTES);
  head.writeUInt16LE((kind << 1) | (compact ? 0 : 1), 0);
  head.writeUInt16LE(words, 2);
  head.writeUInt16LE(mode, 4);
  head.writeUInt32LE(where, 16);
  head.writeUInt32LE(inode.number, 20);
  if (compact) {
    head.writeUInt16LE(links, 6);
    head.writeUInt32LE(dataSize(inode), 8);
    head.writeUInt16LE(uid, 24);
    head.writeUInt16LE(gid, 26);
  } else {
    head.writeBigUInt64LE(BigInt(dataSize(inode)), 8);
    head.writeUInt32LE(uid, 24);
    head.writeUInt32LE(gid, 28);
    head.writeUInt32LE(links, 44);
  }
  out.add(head);
  if (inode.xattrBytes > 0) writeXattrs(out, layout, inode);
  if (inode.tail === 0) return;
  if (node.entries !== undefined) out.add(direntBytes(layout, inode, direntRuns(node).at(-1) ?? []));
  // Where nothing is mapped: content lies elsewhere.
  else if (chunks !== undefined) out.add(Buffer.alloc(inode.tail, 0xff));
  else out.add(Buffer.from(node.inode.target));
}

function writeXattrs(out: Pieces, { inodesEnd }: ImageLayout, { shared, own }: PlacedInode): void {
  const head = Buffer.alloc(XATTR_IBODY_BYTES + 4 * shared.length);
  let filter = 0xffff_ffff;
  for (const { xattr } of [...shared, ...own]) filter &= ~filterBit(xattr.name);
  head.writeUInt32LE(filter >>> 0, 0);
  head[4] = shared.length;
  // Shared ones are named by their place in words, counted from the block in which the first of them lies.
  for (const [i, { sharedAt = 0 }] of shared.entries()) head.writeUInt32LE(((inodesEnd % BLOCK_BYTES) + sharedAt) / 4, XATTR_IBODY_BYTES + 4 * i);
  out.add(head);
  for (const { xattr } of own) out.add(encodeXattr(xattr));
}

function writeBlocks(out: Pieces, layout: ImageLayout, inode: PlacedInode): void {
  if (isSymlink(inode)) out.add(Buffer.from(inode.node.inode.target));
  // The addresses of a file of terabytes, where they did not fit behind their inode.
  if (isContent(inode.node)) out.add(Buffer.alloc(BLOCK_BYTES, 0xff));
  for (const run of direntRuns(inode.node).slice(0, inode.blocks)) {
    out.add(direntBytes(layout, inode, run));
    out.align(BLOCK_BYTES);
  }
  out.align(BLOCK_BYTES);
}

/** Returns the entries of a directory, block by block. */
function direntRuns(node: ImageNode): ImageEntry[][] {
  const runs: ImageEntry[][] = [];
  let room = 0;
  for (const entry of node.entries ?? []) {
    const bytes = DIRENT_BYTES + Buffer.byteLength(entry.name);
    if (bytes > room) {
      runs.push([]);
      room = BLOCK_BYTES;
    }
    room -= bytes;
    runs.at(-1)?.push(entry);
  }
  return runs;
}

/** Returns a block of entries: all their heads, then all their names. */
function direntBytes({ placeOf }: ImageLayout, inode: PlacedInode, run: readonly ImageEntry[]): Buffer {
  const names = run.map(({ name }) => Buffer.from(name));
  const bytes = Buffer.alloc(names.reduce((sum, name) => sum + DIRENT_BYTES + name.byteLength, 0));
  let nameAt = DIRENT_BYTES * run.length;
  for (const [i, { node }] of run.entries()) {
    const at = DIRENT_BYTES * i;
    const name = names[i] as Buffer;
    bytes.writeUInt32LE((placeOf.get(node) ?? inode).nid, at);
    bytes.writeUInt16LE(nameAt, at + 8);
    bytes[at + 10] = fileType(node.inode.mode);
    bytes.set(name, nameAt);
    nameAt += name.byteLength;
  }
  return bytes;
}

/** Of the kinds that stand in an image: what is neither is a whiteout. */
function fileType(mode: number): number {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 1;
    case S_IFDIR:
      return 2;
    case S_IFLNK:
      return 7;
    default:
      return 3;
  }
}
