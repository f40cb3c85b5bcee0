/**
 * Placing files in directories that exist already: by hard link, by verified copy, as symlinks and whiteout devices.
 * Synchronous where it matters, so that it runs equally in a worker thread and in the caller's own.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fsyncSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { baseError, type Checksum, errnoOf, isKnownError, systemError } from '@cambium/base';
import { makeNode, readXattrs, setXattr } from '@cambium/system';
import { S_IFLNK, S_IFMT, type Xattr } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { canonicalXattrs } from '../format/framing.ts';
import { checksumOf, encodeFileHeader } from '../format/object-format.ts';
import type { DirMeta, FileHeader } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { readUserMeta, type UserMeta } from '../repo/user-meta.ts';
import { type SelinuxLabelling, withSelinuxLabel } from '../write/selinux-label.ts';

/** What the placing of a file depends on; plain data, for worker threads. */
export interface FilePolicy {
  /** True: the current owner, no xattrs. False: as the commit says. */
  userMode: boolean;
  overwrite: 'none' | 'union' | 'union-add' | 'union-identical';
  requireHardlinks: boolean;
  forceCopy: boolean;
  whiteouts: boolean;
  passthroughWhiteouts: boolean;
  /** Labels to set instead of those of the commit, where attributes are set at all; needs `forceCopy`. */
  selinux: CheckoutLabelling | undefined;
  /** Whether user-mode checkouts of an archive share copies in `uncompressed-objects-cache`. */
  useCache: boolean;
  /** Of the process: files whose mode it does not cut need no chmod. */
  umask: number;
}

/** Plain data. */
export interface CheckoutLabelling extends SelinuxLabelling {
  /** Path of the destination for the policy; with a slash at its end. */
  prefix: string;
}

export interface FileCounts {
  linked: number;
  copied: number;
  copiedBytes: number;
  symlinks: number;
  devices: number;
  kept: number;
}

export function noCounts(): FileCounts {
  return { linked: 0, copied: 0, copiedBytes: 0, symlinks: 0, devices: 0, kept: 0 };
}

export const WHITEOUT_PREFIX = '.wh.';
export const OPAQUE_WHITEOUT = '.wh..wh..opq';
const PASSTHROUGH_PREFIX = '.ostree-wh.';
/** Contents up to this size are verified in memory before their file appears; larger ones under a temporary name. */
const WHOLE_BYTES = 1024 * 1024;
const COMPARE_BYTES = 256 * 1024;
const S_IFCHR = 0o020000;
const NOTHING: Uint8Array = new Uint8Array(0);

/** Places files of one repository under one policy. */
export class FilePlacer {
  readonly counts: FileCounts = noCounts();
  readonly #repo: Repo;
  readonly #policy: FilePolicy;
  /** The repository's own mode and the policy allow links. */
  readonly #canLink: boolean;
  readonly #linkOwnerless: boolean;
  /** What is read lies here until it has been written; made with the first copy. */
  #scratch: Buffer | undefined;

  constructor(repo: Repo, policy: FilePolicy) {
    this.#repo = repo;
    this.#policy = policy;
    this.#canLink = !policy.forceCopy && canHardlink(repo, policy.userMode);
    this.#linkOwnerless = repo.mode === 'bare-user';
  }

  /**
   * Places one file; returns a promise only where content is too large for one piece.
   * @param directory what the kernel takes for the path
   * @param shown path from the destination, for its label: without a slash at its front; '' when the destination stands for the file itself
   * @throws OSTREE_CHECKOUT_EXISTS OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT SYSTEM_DENIED SYSTEM_NO_SPACE
   */
  placeFile(checksum: Checksum, directory: string, name: string, shown: string): Promise<void> | undefined {
    const path = `${directory}/${name}`;
    try {
      if (this.#canLink && this.#placeLink(checksum, path, name)) return undefined;
      return this.#placeCopy(checksum, directory, name, shown)?.catch((error: unknown) => {
        throw this.#explain(error, checksum, path);
      });
    } catch (error) {
      throw this.#explain(error, checksum, path);
    }
  }

  #explain(error: unknown, checksum: Checksum, path: string): unknown {
    const syscall = error instanceof Error && 'syscall' in error ? error.syscall : undefined;
    if (errnoOf(error) === 'EEXIST' || errnoOf(error) === 'EISDIR') {
      // Empty files are copied everywhere.
      const copied = syscall === 'open' || !(this.#canLink || this.#policy.useCache);
      const by = syscall === 'symlink' ? 'symlink' : copied ? 'copy' : 'link';
      return ostreeError('OSTREE_CHECKOUT_EXISTS', `Cannot check out "${path}": File exists`, { cause: error, data: { path, checksum, by } });
    }
    if (errnoOf(error) === 'EPERM' && (syscall === 'fchown' || syscall === 'lchown')) {
      return baseError('SYSTEM_DENIED', `Cannot check out "${path}": restoring owners needs root`, {
        cause: error,
        hint: 'Keep the current owner with --user-mode (-U)',
      });
    }
    return systemError(error, `Cannot check out "${path}"`) ?? error;
  }

  /** Links the object in place and returns true, or returns false where only a copy will do. */
  #placeLink(checksum: Checksum, path: string, name: string): boolean {
    const object = this.#repo.objectPath('file', checksum);
    if (this.#linkOwnerless) return !this.#special(name) && this.#placeOwnerless(object, checksum, path);
    const stat = lstatSync(object, { throwIfNoEntry: false });
    // Staged, or in a parent repository of another mode: the general way.
    if (stat === undefined) return false;
    const symlink = (stat.mode & S_IFMT) === S_IFLNK;
    if (!symlink && this.#special(name)) return false;
    if (symlink ? this.#repo.mode !== 'bare' : stat.size === 0) return false;
    if (this.#policy.userMode && (stat.mode & 0o400) === 0) return false;
    return this.#link(object, checksum, path);
  }

  /**
   * In bare-user repositories symlinks are files, and files the owner may not read are readable on disk: the truth is in an
   * attribute. It also tells empty files, which are made without a look at the object.
   */
  #placeOwnerless(object: string, checksum: Checksum, path: string): boolean {
    let meta: UserMeta | undefined;
    try {
      meta = readUserMeta(object, checksum);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      throw error;
    }
    if (meta?.emptyChecksum === undefined) return false;
    if (meta.emptyChecksum !== checksum) return (meta.header.mode & 0o400) !== 0 && this.#link(object, checksum, path);
    if (this.#policy.overwrite === 'union-add') return false;
    void this.#copyTo(checksum, meta.header, 0, path, NOTHING);
    return true;
  }

  #link(object: string, checksum: Checksum, path: string): boolean {
    try {
      linkSync(object, path);
    } catch (error) {
      const code = errnoOf(error);
      if ((code === 'EMLINK' || code === 'EXDEV' || code === 'EPERM') && !this.#policy.requireHardlinks) return false;
      if (code !== 'EEXIST' || this.#policy.overwrite === 'none') throw error;
      this.#linkOver(object, lstatSync(object), checksum, path, error);
      return true;
    }
    this.counts.linked++;
    return true;
  }

  #linkOver(object: string, stat: Stats, checksum: Checksum, path: string, error: unknown): void {
    if (this.#policy.overwrite === 'union-add') {
      this.counts.kept++;
      return;
    }
    const present = lstatSync(path);
    if (present.ino === stat.ino && present.dev === stat.dev) {
      this.counts.kept++;
      return;
    }
    if (this.#policy.overwrite === 'union-identical') {
      const { header } = this.#repo.readFileHeader(checksum);
      if (!this.#isIdentical(present, path, checksum, header, stat)) throw error;
      this.counts.kept++;
      return;
    }
    const temporary = temporaryIn(dirname(path));
    linkSync(object, temporary);
    this.#moveOver(temporary, path);
    this.counts.linked++;
  }

  /** Renames over what is there; a directory gives way only to whiteout-style unions. */
  #moveOver(temporary: string, path: string): void {
    try {
      renameSync(temporary, path);
    } catch (error) {
      if (errnoOf(error) !== 'EISDIR' || !this.#policy.whiteouts) {
        rmSync(temporary, { force: true });
        throw error;
      }
      rmSync(path, { recursive: true, force: true });
      renameSync(temporary, path);
    }
  }

  #special(name: string): boolean {
    return (this.#policy.whiteouts && name.startsWith(WHITEOUT_PREFIX)) || (this.#policy.passthroughWhiteouts && name.startsWith(PASSTHROUGH_PREFIX));
  }

  #placeCopy(checksum: Checksum, directory: string, name: string, shown: string): Promise<void> | undefined {
    const path = `${directory}/${name}`;
    // Names that mean something are decided by the header; for all others header and content are read in one go.
    const special = this.#special(name);
    const loaded = special || this.#policy.overwrite === 'union-add' ? undefined : this.#load(checksum);
    const plain = loaded === undefined ? this.#repo.readFileHeader(checksum) : { header: loaded.header, sizeBytes: loaded.content.byteLength };
    const { sizeBytes } = plain;
    const header = labelled(plain.header, this.#policy, shown);
    const symlink = (header.mode & S_IFMT) === S_IFLNK;
    if (symlink) {
      this.#placeSymlink(checksum, header, path);
      return undefined;
    }
    if (special) {
      // What `.wh.NAME` hides is gone already: see checkout.ts.
      if (name.startsWith(PASSTHROUGH_PREFIX)) this.#placeDevice(header, `${directory}/${name.slice(PASSTHROUGH_PREFIX.length)}`);
      return undefined;
    }
    if (this.#policy.overwrite === 'union-add' && lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
      this.counts.kept++;
      return undefined;
    }
    const linkable = sizeBytes > 0 && (header.mode & 0o400) !== 0;
    if (this.#policy.requireHardlinks && linkable && !this.#canLink) {
      throw ostreeError('OSTREE_CHECKOUT_HARDLINK', `Cannot check out "${path}": a hard link was required and only a copy is possible`);
    }
    if (this.#policy.useCache && this.#repo.mode === 'archive' && linkable) return this.#placeCached(checksum, header, sizeBytes, path);
    return this.#copyTo(checksum, header, sizeBytes, path, loaded?.content);
  }

  /** Returns header and content, or undefined for what is too large for one piece. */
  #load(checksum: Checksum): { header: FileHeader; content: Uint8Array } | undefined {
    try {
      return this.#repo.loadFile(checksum, WHOLE_BYTES, this.#memory());
    } catch (error) {
      if (isKnownError(error, 'OSTREE_OBJECT_TOO_LARGE')) return undefined;
      throw error;
    }
  }

  #memory(): Buffer {
    this.#scratch ??= Buffer.allocUnsafeSlow(WHOLE_BYTES);
    return this.#scratch;
  }

  #copyTo(checksum: Checksum, header: FileHeader, sizeBytes: number, path: string, loaded?: Uint8Array): Promise<void> | undefined {
    this.counts.copied++;
    this.counts.copiedBytes += sizeBytes;
    if (sizeBytes > WHOLE_BYTES) return this.#copyLarge(checksum, header, path);
    const content = loaded ?? this.#repo.loadFile(checksum, WHOLE_BYTES, this.#memory()).content;
    const mode = this.#fileMode(header);
    let fd: number;
    try {
      fd = createFile(path, mode);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST' || this.#policy.overwrite === 'none') throw error;
      if (this.#policy.overwrite === 'union-identical') {
        this.#requireIdentical(checksum, header, path, error);
        return undefined;
      }
      const temporary = temporaryIn(dirname(path));
      this.#fill(createFile(temporary, mode), temporary, header, content);
      this.#moveOver(temporary, path);
      return undefined;
    }
    this.#fill(fd, path, header, content);
    return undefined;
  }

  /** Writes, sets what belongs to the file, closes; takes the file away when that fails. */
  #fill(fd: number, path: string, header: FileHeader, content: Uint8Array, sync = false): void {
    try {
      try {
        if (content.byteLength > 0) writeAll(fd, content);
        this.#setMeta(fd, header);
        if (sync) fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
  }

  async #copyLarge(checksum: Checksum, header: FileHeader, path: string): Promise<void> {
    const present = lstatSync(path, { throwIfNoEntry: false });
    if (present !== undefined) {
      const exists = Object.assign(new Error('EEXIST: file already exists'), { code: 'EEXIST', syscall: 'open' });
      if (this.#policy.overwrite === 'none') throw exists;
      if (this.#policy.overwrite === 'union-identical') {
        this.#requireIdentical(checksum, header, path, exists);
        return;
      }
    }
    const temporary = temporaryIn(dirname(path));
    await this.#stream(checksum, header, temporary);
    if (this.#policy.overwrite === 'union') this.#moveOver(temporary, path);
    else {
      try {
        linkSync(temporary, path);
      } finally {
        unlinkSync(temporary);
      }
    }
  }

  /** Writes a file in pieces. The verdict on the content comes last: until then it has no name that anyone uses. */
  async #stream(checksum: Checksum, header: FileHeader, temporary: string, sync = false): Promise<void> {
    const fd = createFile(temporary, this.#fileMode(header));
    try {
      try {
        if (!this.#repo.readPieces(checksum, this.#memory(), (piece) => writeAll(fd, piece)))
          for await (const chunk of this.#repo.openFile(checksum)) writeAll(fd, chunk);
        this.#setMeta(fd, header);
        if (sync) fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  }

  /** Copies in user mode are always readable by their owner, and neither setuid nor setgid. */
  #fileMode(header: FileHeader): number {
    return this.#policy.userMode ? (header.mode & 0o1777) | 0o400 : header.mode & 0o7777;
  }

  #setMeta(fd: number, header: FileHeader): void {
    const mode = this.#fileMode(header);
    if (!this.#policy.userMode) {
      // In this order: changing the owner clears setuid bits, and needs to come before attributes such as capabilities.
      fchownSync(fd, header.uid, header.gid);
      if (!this.#repo.settings.disableXattrs) for (const [name, value] of header.xattrs) setXattr(fd, name, value);
      fchmodSync(fd, mode);
    } else if ((mode & this.#policy.umask) !== 0 || mode > 0o777) fchmodSync(fd, mode);
  }

  #placeSymlink(checksum: Checksum, header: FileHeader, path: string): void {
    try {
      this.#makeSymlink(header, path);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST' || this.#policy.overwrite === 'none') throw error;
      if (this.#policy.overwrite === 'union') {
        const temporary = temporaryIn(dirname(path));
        this.#makeSymlink(header, temporary);
        this.#moveOver(temporary, path);
      } else {
        if (this.#policy.overwrite === 'union-identical') this.#requireIdentical(checksum, header, path, error);
        this.counts.kept++;
        return;
      }
    }
    this.counts.symlinks++;
  }

  #makeSymlink(header: FileHeader, path: string): void {
    symlinkSync(header.target, path);
    if (this.#policy.userMode) return;
    lchownSync(path, header.uid, header.gid);
    if (!this.#repo.settings.disableXattrs) for (const [name, value] of header.xattrs) setXattr(path, name, value);
  }

  #placeDevice(header: FileHeader, path: string): void {
    const present = lstatSync(path, { throwIfNoEntry: false });
    if (present !== undefined) {
      if (this.#policy.overwrite === 'union-add') {
        this.counts.kept++;
        return;
      }
      if (this.#policy.overwrite === 'union-identical' && (present.mode & S_IFMT) === S_IFCHR && present.rdev === 0) {
        this.counts.kept++;
        return;
      }
      if (this.#policy.overwrite !== 'union') {
        throw ostreeError('OSTREE_CHECKOUT_EXISTS', `Cannot check out "${path}": File exists`, { data: { path } });
      }
      unlinkSync(path);
    }
    makeNode(path, S_IFCHR, 0, 0);
    if (!this.#policy.userMode) {
      lchownSync(path, header.uid, header.gid);
      if (!this.#repo.settings.disableXattrs) for (const [name, value] of header.xattrs) setXattr(path, name, value);
    }
    // chmod follows links, and this was a device a moment ago: the destination is the caller's alone meanwhile.
    chmodSync(path, header.mode & 0o7777);
    this.counts.devices++;
  }

  #requireIdentical(checksum: Checksum, header: FileHeader, path: string, error: unknown): void {
    if (!this.#isIdentical(lstatSync(path), path, checksum, header, undefined)) throw error;
  }

  /** Whether what is at `path` is what would be put there. Owner and attributes count where the checkout sets them. */
  #isIdentical(present: Stats, path: string, checksum: Checksum, header: FileHeader, object: Stats | undefined): boolean {
    if ((present.mode & S_IFMT) !== (header.mode & S_IFMT)) return false;
    if (!this.#policy.userMode && (present.uid !== header.uid || present.gid !== header.gid)) return false;
    const countXattrs = !this.#policy.userMode && !this.#repo.settings.disableXattrs;
    if ((header.mode & S_IFMT) === S_IFLNK) {
      if (readlinkSync(path) !== header.target) return false;
      return !countXattrs || checksumOf(encodeFileHeader(withXattrs(header, readXattrs(path)))) === checksum;
    }
    const mode = object === undefined ? this.#fileMode(header) : object.mode & 0o7777;
    if ((present.mode & 0o7777) !== mode) return false;
    return hasContent(path, header, checksum, countXattrs);
  }

  #placeCached(checksum: Checksum, header: FileHeader, sizeBytes: number, path: string): Promise<void> | undefined {
    const cached = `${this.#repo.path}/uncompressed-objects-cache/${checksum.slice(0, 2)}/${checksum.slice(2)}.file`;
    const stat = lstatSync(cached, { throwIfNoEntry: false });
    // Whoever can write to the cache can write to the objects too; what is odd is copied around, not used.
    if (stat !== undefined) {
      if (stat.isFile() && stat.size === sizeBytes && this.#link(cached, checksum, path)) return undefined;
      return this.#copyTo(checksum, header, sizeBytes, path);
    }
    if (!this.#repo.writable) return this.#copyTo(checksum, header, sizeBytes, path);
    const directory = dirname(cached);
    mkdirSync(directory, { recursive: true, mode: 0o775 });
    const temporary = temporaryIn(directory);
    const place = (): Promise<void> | undefined => {
      publishCached(temporary, cached);
      this.counts.copiedBytes += sizeBytes;
      return this.#link(cached, checksum, path) ? undefined : this.#copyTo(checksum, header, sizeBytes, path);
    };
    // Later checkouts trust what has a name here: after a power cut it must not be a file of zeros.
    const sync = this.#repo.settings.fsync;
    if (sizeBytes > WHOLE_BYTES) return this.#stream(checksum, header, temporary, sync).then(place);
    const { content } = this.#repo.loadFile(checksum, WHOLE_BYTES);
    this.#fill(createFile(temporary, this.#fileMode(header)), temporary, header, content, sync);
    return place();
  }
}

/** Returns metadata with the label that a policy has for a path from the destination. */
export function labelled<Meta extends DirMeta>(meta: Meta, { selinux, userMode }: FilePolicy, shown: string): Meta {
  if (selinux === undefined || userMode) return meta;
  return { ...meta, xattrs: withSelinuxLabel(meta.xattrs, selinux, selinux.prefix + shown, meta.mode) };
}

/** Returns whether objects of this repository can be linked into such a checkout at all. */
export function canHardlink(repo: Repo, userMode: boolean): boolean {
  if (repo.mode === 'bare') return !userMode;
  return (repo.mode === 'bare-user' || repo.mode === 'bare-user-only') && userMode;
}

function createFile(path: string, mode: number): number {
  // Set-id bits come last, after the owner: they are not asked for here.
  return openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode & 0o777);
}

function writeAll(fd: number, content: Uint8Array): void {
  for (let at = 0; at < content.byteLength; ) at += writeSync(fd, content, at);
}

/** Gives a file its name unless there is one: replacing it would take the inode away from a thread that is about to link it (ENOENT). */
function publishCached(temporary: string, cached: string): void {
  try {
    linkSync(temporary, cached);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  } finally {
    unlinkSync(temporary);
  }
}

function temporaryIn(directory: string): string {
  return `${directory}/.cambium-${randomBytes(8).toString('hex')}`;
}

function withXattrs(header: FileHeader, xattrs: readonly Xattr[]): FileHeader {
  return { ...header, xattrs: canonicalXattrs(xattrs) };
}

/**
 * Whether header and a file's content have the checksum: the object itself need not be read, and memory is one buffer.
 * @param ownXattrs the file's attributes take the place of the header's
 */
function hasContent(path: string, header: FileHeader, checksum: Checksum, ownXattrs: boolean): boolean {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const hash = createHash('sha256').update(encodeFileHeader(ownXattrs ? withXattrs(header, readXattrs(fd)) : header));
    const buffer = Buffer.allocUnsafe(COMPARE_BYTES);
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer)) hash.update(buffer.subarray(0, read));
    return hash.digest('hex') === checksum;
  } finally {
    closeSync(fd);
  }
}
