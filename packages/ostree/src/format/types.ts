/**
 * The values an OSTree repository is made of. Source of the formats: libostree `ostree-core.h`;
 * `docs/formats/ostree-objects.md`.
 */
import type { Checksum } from '@cambium/base';
import type { Variant } from '@cambium/gvariant';
import type { Xattr } from '@cambium/tree';

export type RepoMode = 'archive' | 'bare' | 'bare-user' | 'bare-user-only' | 'bare-split-xattrs';

/** Metadata kinds are byte-identical in all modes. */
export type MetadataType = 'dirtree' | 'dirmeta' | 'commit';
export type ObjectType = 'file' | MetadataType;

/** What a directory has apart from its entries. `mode` is a full st_mode with S_IFDIR. */
export interface DirMeta {
  uid: number;
  gid: number;
  mode: number;
  xattrs: readonly Xattr[];
}

/** What a content object has apart from its bytes. `mode` is a full st_mode: S_IFREG or S_IFLNK. */
export interface FileHeader {
  uid: number;
  gid: number;
  mode: number;
  /** Target of a symlink, '' for regular files. */
  target: string;
  xattrs: readonly Xattr[];
}

export interface DirTreeFile {
  name: string;
  checksum: Checksum;
}

export interface DirTreeDirectory {
  name: string;
  tree: Checksum;
  meta: Checksum;
}

/** Both lists are sorted by the bytes of the name; a name stands in one of them only. */
export interface DirTree {
  files: DirTreeFile[];
  dirs: DirTreeDirectory[];
}

/** A directory by its two objects: what a commit's root, a subtree and a squashed image are. */
export interface TreeRoot {
  tree: Checksum;
  meta: Checksum;
}

/** An `a{sv}` in its stored order: never re-sorted, because its bytes are hashed and signed. */
export type Metadata = ReadonlyArray<readonly [key: string, value: Variant]>;

export interface Commit {
  metadata: Metadata;
  parent: Checksum | undefined;
  /** Always written empty; kept when read. */
  related: ReadonlyArray<readonly [name: string, checksum: Checksum]>;
  subject: string;
  body: string;
  /** Seconds since 1970, UTC. */
  timestamp: bigint;
  root: TreeRoot;
}
