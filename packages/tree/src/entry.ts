/**
 * The unit that travels between rooms: one entry of a file tree, and a tree as an ordered walk of entries.
 */
import type { Opener } from '@cambium/base';

export type EntryKind = 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

/** An extended attribute: name without a NUL, and value; both are bytes. */
export type Xattr = readonly [name: Uint8Array, value: Uint8Array];

/** Ownership, permissions and attributes: what a file has apart from its content. */
export interface EntryMeta {
  uid: number;
  gid: number;
  /** Permission bits, 0…0o7777; the kind is apart. */
  mode: number;
  /** Sorted by name as bytes, no duplicates. */
  xattrs: readonly Xattr[];
}

export interface TreeEntry extends EntryMeta {
  /** Path relative to the root of the tree: components joined by `/`, no leading slash; the root itself is ''. */
  path: string;
  kind: EntryKind;
  /** Bytes of content; 0 unless `kind` is `file`. */
  size: number;
  /** Target of a symlink. */
  target?: string;
  /** Content of a file, as often as wanted. */
  open?: Opener;
}

export const S_IFMT = 0o170000;
export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const S_IFLNK = 0o120000;
