/**
 * The inodes of a composefs image: the tree of a commit as overlayfs needs it to find each file's content in the repository.
 * Source: composefs 1.0 (`docs` and the images that `mkcomposefs` and libostree 2026.4 write), Linux `Documentation/filesystems/overlayfs.rst`.
 */
import { compareUtf8 } from '@cambium/base';
import { S_IFDIR, S_IFMT } from '@cambium/tree';
import { ostreeError } from '../errors.ts';

/** One attribute with its value; nodes with the same one hold the same object, which is how it is known to be shared. */
export interface ImageXattr {
  readonly name: Buffer;
  readonly value: Uint8Array;
}

export interface ImageInode {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a regular file. */
  readonly sizeBytes: number;
  /** Of a symlink; ''  for others. */
  readonly target: string;
  /** In the order of their names. */
  readonly xattrs: readonly ImageXattr[];
}

export interface ImageEntry {
  readonly name: string;
  readonly node: ImageNode;
}

/** A place in the tree. Several may have the same inode data; each gets an inode of its own. */
export interface ImageNode {
  readonly inode: ImageInode;
  /** Of a directory: in the order of the names' bytes, `.` and `..` among them. */
  entries: ImageEntry[] | undefined;
}

export function isDirectory(inode: ImageInode): boolean {
  return (inode.mode & S_IFMT) === S_IFDIR;
}

/** As composefs has it: half of what an EROFS inode can hold, so that there is room for its own. */
const MAX_XATTR_BYTES = 0x7fff;
const XATTR_HEADER_BYTES = 12;
/** Entry header and the worst padding. */
const XATTR_ENTRY_BYTES = 7;
const MAX_XATTR_NAME_BYTES = 255;

/** Linux's own limits: what is longer would not fit into a block. */
const MAX_NAME_BYTES = 255;
const MAX_TARGET_BYTES = 4095;

const OVERLAY = 'trusted.overlay.';
const OPAQUE = `${OVERLAY}opaque`;

/** fs-verity's number for SHA-256. */
const VERITY_SHA256 = 1;

/** Makes inodes; equal attributes are one object. */
export class InodeMaker {
  readonly #xattrs = new Map<string, ImageXattr>();
  readonly #names = new Map<string, Buffer>();

  /** @throws OSTREE_FILE_UNSUPPORTED when it has more attributes than composefs allows */
  directory(from: { mode: number; uid: number; gid: number; xattrs: readonly (readonly [Uint8Array, Uint8Array])[] }, isRoot: boolean): ImageInode {
    const own = this.#ofCommit(from.xattrs);
    const xattrs = isRoot ? [...own, this.#xattr(OPAQUE, Buffer.from('y'))] : own;
    return { mode: from.mode, uid: from.uid, gid: from.gid, sizeBytes: 0, target: '', xattrs: sorted(xattrs) };
  }

  /**
   * @param content of a regular file that is not empty: where it is from the repository's `objects/`, and its fs-verity digest if it is to be checked
   * @throws OSTREE_FILE_UNSUPPORTED
   */
  file(
    from: { mode: number; uid: number; gid: number; target: string; xattrs: readonly (readonly [Uint8Array, Uint8Array])[] },
    sizeBytes: number,
    content: { path: string; digest: Uint8Array | undefined } | undefined,
  ): ImageInode {
    if (Buffer.byteLength(from.target) > MAX_TARGET_BYTES) throw tooLong('target of a symlink', from.target);
    const xattrs = this.#ofCommit(from.xattrs);
    if (content !== undefined) {
      const { digest } = content;
      // struct ovl_metacopy: version, length, flags, algorithm, digest; nothing at all where no digest is wanted.
      const metacopy = digest === undefined ? Buffer.alloc(0) : Buffer.from([0, 4 + digest.byteLength, 0, VERITY_SHA256, ...digest]);
      xattrs.push(this.#xattr(`${OVERLAY}metacopy`, metacopy), this.#xattr(`${OVERLAY}redirect`, Buffer.from(`/${content.path}`)));
    }
    return { mode: from.mode, uid: from.uid, gid: from.gid, sizeBytes, target: from.target, xattrs: sorted(xattrs) };
  }

  /** Returns what hides one of the 256 directories of objects: a device 0:0 with the root's owner and label. */
  whiteout(root: ImageInode): ImageInode {
    const label = root.xattrs.filter(({ name }) => name.equals(SELINUX));
    return { mode: WHITEOUT_MODE, uid: root.uid, gid: root.gid, sizeBytes: 0, target: '', xattrs: label };
  }

  #ofCommit(xattrs: readonly (readonly [Uint8Array, Uint8Array])[]): ImageXattr[] {
    let room = MAX_XATTR_BYTES - XATTR_HEADER_BYTES;
    return xattrs.map(([name, value]) => {
      room -= XATTR_ENTRY_BYTES + name.byteLength + value.byteLength;
      const text = Buffer.from(name).toString('latin1');
      if (room < 0 || name.byteLength > MAX_XATTR_NAME_BYTES) {
        throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Cannot write composefs image: extended attribute "${text}" is too large`, {
          data: { xattr: text, limit: MAX_XATTR_BYTES },
        });
      }
      // What overlayfs would take for its own is escaped, as it does itself with an overlay in an overlay.
      return this.#xattr(text.startsWith(OVERLAY) ? `${OVERLAY}overlay.${text.slice(OVERLAY.length)}` : text, value);
    });
  }

  /** @param name in Latin-1: a name is any bytes */
  #xattr(name: string, value: Uint8Array): ImageXattr {
    const key = `${name}\0${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1')}`;
    let found = this.#xattrs.get(key);
    if (found === undefined) {
      const bytes = this.#names.get(name) ?? Buffer.from(name, 'latin1');
      this.#names.set(name, bytes);
      found = { name: bytes, value };
      this.#xattrs.set(key, found);
    }
    return found;
  }
}

/** Returns an entry of a directory. @throws OSTREE_FILE_UNSUPPORTED when no file system takes the name */
export function entryOf(name: string, node: ImageNode): ImageEntry {
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) throw tooLong('name', name);
  return { name, node };
}

function tooLong(what: string, text: string): Error {
  const shown = `${text.slice(0, 40)}...`;
  return ostreeError('OSTREE_FILE_UNSUPPORTED', `Cannot write composefs image: ${what} "${shown}" has ${Buffer.byteLength(text)} bytes`);
}

const SELINUX = Buffer.from('security.selinux');
const WHITEOUT_MODE = 0o020644;

function sorted(xattrs: ImageXattr[]): ImageXattr[] {
  return xattrs.sort((a, b) => a.name.compare(b.name));
}

/** Directories that a root file system must have to be booted, whatever the commit holds. */
const ROOT_DIRECTORIES = ['usr', 'etc', 'boot', 'var', 'sysroot'];

/**
 * Completes the root: directories to mount on, and whiteouts for `00` to `ff`, so that the repository's `objects/` below the
 * image does not show through it.
 */
export function completeRoot(maker: InodeMaker, root: ImageNode): void {
  const entries = root.entries as ImageEntry[];
  const present = new Set(entries.map(({ name }) => name));
  for (const name of ROOT_DIRECTORIES) {
    if (present.has(name)) continue;
    const node: ImageNode = { inode: maker.directory({ mode: S_IFDIR | 0o755, uid: 0, gid: 0, xattrs: [] }, false), entries: [] };
    linkDots(node, root);
    entries.push({ name, node });
    present.add(name);
  }
  for (let i = 0; i < 256; i++) {
    const name = i.toString(16).padStart(2, '0');
    if (!present.has(name)) entries.push({ name, node: { inode: maker.whiteout(root.inode), entries: undefined } });
  }
  sortEntries(root);
}

/** Gives a directory its `.` and `..`, and all its entries their order. */
export function linkDots(node: ImageNode, parent: ImageNode): void {
  (node.entries as ImageEntry[]).push({ name: '.', node }, { name: '..', node: parent });
  sortEntries(node);
}

function sortEntries(node: ImageNode): void {
  (node.entries as ImageEntry[]).sort((a, b) => compareUtf8(a.name, b.name));
}
