/** One entry of a tar archive, and the limits within which archives are read. */

import type { ArchiveErrorCode } from './errors.ts';

export type TarType = 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

/** An extended attribute, both parts as bytes. */
export type TarXattr = readonly [name: Uint8Array, value: Uint8Array];

export interface TarEntry {
  /** Raw bytes as stored, long names applied: may be absolute, hold `..`, end in `/`, or not be UTF-8. Never empty. */
  readonly path: Uint8Array;
  readonly type: TarType;
  /** Permission bits, 0…0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content as delivered (sparse files expanded); 0 unless `type` is `file`. */
  readonly size: number;
  /** Seconds since 1970, with a fraction when the archive has one; may be negative. */
  readonly mtime: number;
  /** Target of a link as raw bytes, empty otherwise. */
  readonly linkPath: Uint8Array;
  /** 0 unless `type` is `char` or `block`. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Sorted by name as bytes, no duplicates. */
  readonly xattrs: readonly TarXattr[];
  /** Owner by name, '' when the archive gives none; decoded leniently, for display. */
  readonly userName: string;
  readonly groupName: string;
  /** PAX records that apply to this entry (global ones included), when {@link TarLimits.keepPaxHeaders} asks for them. */
  readonly paxHeaders?: ReadonlyMap<string, Uint8Array>;
}

export interface TarLimits {
  /** Entries in one archive. Default {@link MAX_ENTRIES}. */
  maxEntries?: number;
  /** Sum of all expanded sizes. Default {@link MAX_TOTAL_BYTES}. */
  maxTotalBytes?: number;
  /** Sum of all holes of sparse files. Default {@link MAX_HOLE_BYTES}. */
  maxHoleBytes?: number;
  /** Length of a path or link target. Default {@link MAX_PATH_BYTES}. */
  maxPathBytes?: number;
  /** Size of one extended header, and of all global records together. Default {@link MAX_PAX_BYTES}. */
  maxPaxBytes?: number;
  /** Extended attributes of one entry. Default {@link MAX_XATTRS}. */
  maxXattrs?: number;
  /** Size of one attribute's value. Default {@link MAX_XATTR_VALUE_BYTES}. */
  maxXattrValueBytes?: number;
  /** Extents of one sparse file. Default {@link MAX_SPARSE_EXTENTS}. */
  maxSparseExtents?: number;
  /** Fill {@link TarEntry.paxHeaders}. Costs time on archives with extended headers. */
  keepPaxHeaders?: boolean;
}

/** The largest images known have about a million files; each costs an archive 512 bytes, which compress to two or three. */
export const MAX_ENTRIES = 10_000_000;
/** Far above any layer; a header costs nothing and may claim 2^63 bytes. */
export const MAX_TOTAL_BYTES: number = 2 ** 40;
/** Holes are the one thing a tar archive itself inflates: 1 KiB of it may claim any size. 16 GiB holds a sparse disk image. */
export const MAX_HOLE_BYTES: number = 16 * 2 ** 30;
/** PATH_MAX of Linux. */
export const MAX_PATH_BYTES = 4096;
/** What Go's archive/tar allows, and so what any container engine can have read. */
export const MAX_PAX_BYTES: number = 1 << 20;
/** File systems hold 64 KiB to a few hundred attributes per file. */
export const MAX_XATTRS = 1024;
/** XATTR_SIZE_MAX of Linux. */
export const MAX_XATTR_VALUE_BYTES: number = 1 << 16;
/** A fragmented disk image has thousands. */
export const MAX_SPARSE_EXTENTS: number = 1 << 18;

/** Ends the parsing, with where and in what the fault stands. */
export type TarFail = (code: ArchiveErrorCode, why: string) => never;

export const BLOCK = 512;
export const EMPTY: Uint8Array = new Uint8Array(0);
