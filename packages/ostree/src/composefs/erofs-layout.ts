/**
 * Where everything goes in a composefs image. The rules are composefs's, down to each byte of padding: the digest of the
 * image stands in signed commits, so two writers must agree. Source: images written by composefs 1.0 and libostree 2026.4.
 */
import { S_IFLNK, S_IFMT, S_IFREG } from '@cambium/tree';
import {
  BLOCK_BYTES,
  CHUNK_ADDRESS_BYTES,
  COMPACT_INODE_BYTES,
  chunksOf,
  DIRENT_BYTES,
  EXTENDED_INODE_BYTES,
  isAcl,
  roundUp,
  SLOT_BYTES,
  SUPERBLOCK_AT,
  SUPERBLOCK_BYTES,
  XATTR_IBODY_BYTES,
  xattrSize,
} from './erofs-format.ts';
import { type ImageNode, type ImageXattr, isDirectory } from './image-tree.ts';

/** What an attribute costs, and where it is when several inodes have it. */
export interface PlacedXattr {
  xattr: ImageXattr;
  sizeBytes: number;
  /** From the start of the shared ones; undefined when each inode that has it holds it. */
  sharedAt: number | undefined;
}

export interface PlacedInode {
  node: ImageNode;
  /** In the order of inodes, the root first. */
  number: number;
  links: number;
  compact: boolean;
  /** Zeros before it. */
  padding: number;
  /** Its number on disk: its place in slots. */
  nid: number;
  shared: PlacedXattr[];
  own: PlacedXattr[];
  xattrBytes: number;
  /** Blocks of its own after all inodes. */
  blocks: number;
  /** Bytes of its data that follow it at once. */
  tail: number;
}

export interface ImageLayout {
  inodes: PlacedInode[];
  placeOf: ReadonlyMap<ImageNode, PlacedInode>;
  shared: PlacedXattr[];
  inodesEnd: number;
  dataAt: number;
  blocks: number;
  hasAcl: boolean;
}

/** More attributes than this are not shared, whatever they are: their count stands in a byte. */
const MAX_SHARED = 0x80;
const MAX_SHORT = 0xffff;
const MAX_COMPACT_SIZE = 0xffff_ffff;

export function layOut(root: ImageNode): ImageLayout {
  const inodes = breadthFirst(root);
  const { placed, shared, sharedBytes } = shareXattrs(inodes);
  let at = SUPERBLOCK_AT + SUPERBLOCK_BYTES;
  let blocks = 0;
  let hasAcl = false;
  for (const inode of inodes) {
    assignXattrs(inode, placed);
    hasAcl ||= inode.node.inode.xattrs.some(isAcl);
    at = place(inode, at);
    blocks += inode.blocks;
  }
  const inodesEnd = roundUp(at, SLOT_BYTES);
  const placeOf = new Map(inodes.map((inode) => [inode.node, inode]));
  const dataAt = roundUp(inodesEnd + sharedBytes, BLOCK_BYTES);
  return { inodes, placeOf, shared, inodesEnd, dataAt, blocks, hasAcl };
}

function breadthFirst(root: ImageNode): PlacedInode[] {
  const inodes: PlacedInode[] = [];
  const add = (node: ImageNode): void => {
    const fresh = { compact: true, padding: 0, nid: 0, shared: [], own: [], xattrBytes: 0, blocks: 0, tail: 0 };
    inodes.push({ node, number: inodes.length, links: 1, ...fresh });
  };
  add(root);
  // The list grows while it is walked.
  for (const inode of inodes) {
    const { entries } = inode.node;
    if (entries === undefined) continue;
    inode.links = 2;
    for (const { name, node } of entries) {
      if (name === '.' || name === '..') continue;
      if (isDirectory(node.inode)) inode.links++;
      add(node);
    }
  }
  return inodes;
}

function shareXattrs(inodes: readonly PlacedInode[]): { placed: Map<ImageXattr, PlacedXattr>; shared: PlacedXattr[]; sharedBytes: number } {
  const counts = new Map<ImageXattr, number>();
  for (const { node } of inodes) for (const xattr of node.inode.xattrs) counts.set(xattr, (counts.get(xattr) ?? 0) + 1);
  const placed = new Map<ImageXattr, PlacedXattr>();
  for (const xattr of counts.keys()) placed.set(xattr, { xattr, sizeBytes: xattrSize(xattr), sharedAt: undefined });
  const several = [...counts].filter(([, count]) => count > 1).map(([xattr]) => xattr);
  let sharedBytes = 0;
  const shared = several.sort(sharedOrder).map((xattr) => {
    const place = placed.get(xattr) as PlacedXattr;
    place.sharedAt = sharedBytes;
    sharedBytes += place.sizeBytes;
    return place;
  });
  return { placed, shared, sharedBytes };
}

/** Names backwards, then long values before short ones, then values backwards. */
function sharedOrder(a: ImageXattr, b: ImageXattr): number {
  return Buffer.compare(b.name, a.name) || b.value.byteLength - a.value.byteLength || Buffer.compare(b.value, a.value);
}

function assignXattrs(inode: PlacedInode, placed: ReadonlyMap<ImageXattr, PlacedXattr>): void {
  let bytes = 0;
  for (const xattr of inode.node.inode.xattrs) {
    const place = placed.get(xattr) as PlacedXattr;
    if (place.sharedAt !== undefined && inode.shared.length < MAX_SHARED) {
      inode.shared.push(place);
      bytes += 4;
    } else {
      inode.own.push(place);
      bytes += place.sizeBytes;
    }
  }
  inode.xattrBytes = bytes === 0 ? 0 : XATTR_IBODY_BYTES + bytes;
}

/** Places an inode at `at` or the next place that suits it; returns where it ends. */
function place(inode: PlacedInode, at: number): number {
  sizeData(inode);
  inode.compact = fitsCompact(inode);
  const head = (inode.compact ? COMPACT_INODE_BYTES : EXTENDED_INODE_BYTES) + inode.xattrBytes;
  const slot = roundUp(at, SLOT_BYTES);
  const start = slot + (isSymlink(inode) ? paddingOfSymlink(inode, slot, head) : paddingOfTail(inode, slot, head));
  inode.padding = start - at;
  inode.nid = start / SLOT_BYTES;
  return start + head + inode.tail;
}

function sizeData(inode: PlacedInode): void {
  const { node } = inode;
  if (node.entries !== undefined) {
    const { full, rest } = direntBlocks(node);
    // A tail of more than half a block gets a block.
    const own = rest > BLOCK_BYTES / 2;
    inode.blocks = full + (own ? 1 : 0);
    inode.tail = own ? 0 : rest;
  } else if (isSymlink(inode)) {
    inode.tail = Buffer.byteLength(node.inode.target);
  } else if (isContent(node)) {
    inode.tail = chunksOf(node.inode.sizeBytes).count * CHUNK_ADDRESS_BYTES;
  }
}

/** Returns how many blocks the entries of a directory fill, and the bytes of the last, begun one. No entry crosses blocks. */
function direntBlocks(node: ImageNode): { full: number; rest: number } {
  let full = 0;
  let rest = 0;
  for (const { name } of node.entries ?? []) {
    const bytes = DIRENT_BYTES + Buffer.byteLength(name);
    if (rest + bytes > BLOCK_BYTES) {
      full++;
      rest = 0;
    }
    rest += bytes;
  }
  return { full, rest };
}

export function isSymlink({ node }: PlacedInode): boolean {
  return (node.inode.mode & S_IFMT) === S_IFLNK;
}

/** Whether overlayfs finds the content elsewhere: a regular file that is not empty. */
export function isContent({ inode }: ImageNode): boolean {
  return (inode.mode & S_IFMT) === S_IFREG && inode.sizeBytes > 0;
}

/** The size that the inode says. */
export function dataSize(inode: PlacedInode): number {
  const { node } = inode;
  if (node.entries !== undefined) return inode.blocks * BLOCK_BYTES + inode.tail;
  return isSymlink(inode) ? Buffer.byteLength(node.inode.target) : node.inode.sizeBytes;
}

function fitsCompact(inode: PlacedInode): boolean {
  const { uid, gid } = inode.node.inode;
  return Math.max(inode.links, uid, gid) <= MAX_SHORT && dataSize(inode) <= MAX_COMPACT_SIZE;
}

/** A symlink stands in one block with its inode, or in a block of its own. */
function paddingOfSymlink(inode: PlacedInode, at: number, head: number): number {
  const total = head + inode.tail;
  if (total >= BLOCK_BYTES) {
    inode.blocks++;
    inode.tail = 0;
  }
  return blockOf(at) === blockOf(at + total - 1) ? 0 : roundUp(at, BLOCK_BYTES) - at;
}

/** A tail lies in one block; where padding before the inode does not help it gets a block of its own. */
function paddingOfTail(inode: PlacedInode, at: number, head: number): number {
  const room = roomAfter(at + head);
  if (room >= inode.tail) return 0;
  const padding = roundUp(room, SLOT_BYTES);
  if (roomAfter(at + head + padding) >= inode.tail) return padding;
  inode.blocks++;
  inode.tail = 0;
  return roundUp(at, BLOCK_BYTES) - at;
}

function blockOf(at: number): number {
  return Math.floor(at / BLOCK_BYTES);
}

function roomAfter(at: number): number {
  return BLOCK_BYTES - (at % BLOCK_BYTES);
}
