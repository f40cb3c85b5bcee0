/** A repository: finding and reading objects. Writing goes through a `Transaction`. */
import { accessSync, constants, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Bytes, type Checksum, errnoOf, isKnownError, type Opener, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { encodeMetadata, parseCommit, parseMetadata } from '../format/commit-format.ts';
import { KeyFile } from '../format/key-file.ts';
import { checksumOf, MAX_METADATA_BYTES, parseDirMeta, parseDirTree } from '../format/object-format.ts';
import { loosePath, parseLoosePath, type StoredType } from '../format/object-path.ts';
import type { Commit, DirMeta, DirTree, FileHeader, Metadata, MetadataType, ObjectType, RepoMode } from '../format/types.ts';
import { readBounded } from './bounded-file.ts';
import { writeFileDurably } from './durable-file.ts';
import { type ContentStore, readPieces, readStoredFile, readWholeFile, streamFile } from './object-reader.ts';
import { Refs } from './refs.ts';
import { parseRepoSettings, type RepoSettings } from './repo-config.ts';
import { createRepoLayout, type InitOptions } from './repo-layout.ts';
import { type RepoLock, type RepoLockKind, RepoLocks } from './repo-lock.ts';

/** A chain of parent repositories longer than this is a loop. */
const MAX_PARENTS = 16;
/** Hundreds of remotes fit. */
const MAX_CONFIG_BYTES: number = 1024 * 1024;

export class Repo {
  readonly path: string;
  readonly config: KeyFile;
  readonly settings: RepoSettings;
  readonly mode: RepoMode;
  /** The repository that `core.parent` names: read through for what is not here. */
  readonly parent: Repo | undefined;
  /** Whether this process may write objects. */
  readonly writable: boolean;
  readonly refs: Refs;
  /** Objects of the open transaction, laid out like `objects/`: found as if they were there. Set by transactions, by nobody else. */
  staging: string | undefined;
  /** Where it gathers those that nobody has verified. */
  unverified: string | undefined;
  readonly #store: ContentStore;
  readonly #locks: RepoLocks;

  /** Use {@link Repo.open}. */
  constructor(path: string, config: KeyFile, settings: RepoSettings, parent: Repo | undefined) {
    this.path = path;
    this.config = config;
    this.settings = settings;
    this.mode = settings.mode;
    this.parent = parent;
    this.writable = isWritable(join(path, 'objects'));
    this.#store = { mode: settings.mode, disableXattrs: settings.disableXattrs };
    this.#locks = new RepoLocks(path, settings);
    this.refs = new Refs({
      path,
      fsync: settings.fsync,
      collectionId: settings.collectionId,
      parentRefs: parent?.refs,
      commitsWithPrefix: (prefix) => this.#commitsWithPrefix(prefix),
      parentOf: (commit) => this.readCommit(commit).parent,
      touch: () => this.touch(),
    });
  }

  /** @throws OSTREE_REPO_NOT_FOUND OSTREE_REPO_UNSUPPORTED OSTREE_CONFIG_INVALID */
  static async open(path: string): Promise<Repo> {
    return Repo.openSync(path);
  }

  /** As {@link Repo.open}; for workers and batches. */
  static openSync(path: string): Repo {
    return openAt(resolve(path), 0);
  }

  /** Makes a repository (nothing happens when there is one) and opens it. @throws as {@link Repo.open} */
  static async init(path: string, options: InitOptions): Promise<Repo> {
    explained(`Cannot make repository "${path}"`, () => createRepoLayout(path, options));
    return Repo.openSync(path);
  }

  /** Returns where an object is, or would be, in this repository's `objects/`. */
  objectPath(type: StoredType, checksum: Checksum): string {
    return `${this.path}/objects/${loosePath(type, checksum, this.mode)}`;
  }

  /** Returns the path of an object: staged by the open transaction, here, or in a parent repository. */
  findObject(type: StoredType, checksum: Checksum): string | undefined {
    return this.#find(type, checksum)?.path;
  }

  hasObject(type: ObjectType, checksum: Checksum): boolean {
    return this.#find(type, checksum) !== undefined;
  }

  /** Returns the bytes of a metadata object, verified. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  readMetadata(type: MetadataType, checksum: Checksum): Uint8Array {
    // Where there is one place only, opening it says whether the object is there, and spares asking first.
    const path = this.staging === undefined && this.parent === undefined ? this.objectPath(type, checksum) : this.#mustFind(type, checksum).path;
    const bytes = readSmallObject(path, type, checksum);
    const actual = checksumOf(bytes);
    if (actual !== checksum) {
      throw ostreeError('OSTREE_OBJECT_CORRUPT', `Object ${checksum}.${type} does not match its checksum`, { data: { checksum, type, actual } });
    }
    return bytes;
  }

  /** @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  readCommit(checksum: Checksum): Commit {
    return parseCommit(this.readMetadata('commit', checksum), `commit ${checksum}`);
  }

  /** @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  readDirTree(checksum: Checksum): DirTree {
    return parseDirTree(this.readMetadata('dirtree', checksum), `dirtree ${checksum}`);
  }

  /** @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  readDirMeta(checksum: Checksum): DirMeta {
    return parseDirMeta(this.readMetadata('dirmeta', checksum), `dirmeta ${checksum}`);
  }

  /**
   * Returns header and size of a content object without reading the content, hence not verified.
   * @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT
   */
  readFileHeader(checksum: Checksum): { header: FileHeader; sizeBytes: number } {
    const { path, repo } = this.#mustFind('file', checksum);
    const { header, sizeBytes } = readStoredFile(repo.#store, path, checksum);
    return { header, sizeBytes };
  }

  /** Returns the whole content, verified; empty for symlinks. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_OBJECT_TOO_LARGE */
  readFile(checksum: Checksum, limitBytes: number): Uint8Array {
    return this.loadFile(checksum, limitBytes).content;
  }

  /**
   * Returns header and whole content, verified together. With `scratch` both may lie there, until it is used again.
   * @throws as {@link readFile}
   */
  loadFile(checksum: Checksum, limitBytes: number, scratch?: Buffer): { header: FileHeader; content: Uint8Array } {
    try {
      // Nearly always here: opening it says so, and spares asking first.
      return readWholeFile(this.#store, this.objectPath('file', checksum), checksum, limitBytes, scratch);
    } catch (error) {
      if (!isKnownError(error, 'OSTREE_OBJECT_MISSING')) throw error;
    }
    const { path, repo } = this.#mustFind('file', checksum);
    return readWholeFile(repo.#store, path, checksum, limitBytes, scratch);
  }

  /** As {@link openFile}, in one turn and through `scratch`; returns false for compressed objects. @throws as {@link openFile} */
  readPieces(checksum: Checksum, scratch: Buffer, take: (piece: Uint8Array) => void): boolean {
    const { path, repo } = this.#mustFind('file', checksum);
    return readPieces(repo.#store, path, checksum, scratch, take);
  }

  /** Streams the content; the verdict on it comes at the end. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  openFile(checksum: Checksum, signal?: AbortSignal): Bytes {
    const { path, repo } = this.#mustFind('file', checksum);
    return streamFile(repo.#store, path, checksum, signal);
  }

  /** Returns what opens the content as often as wanted. */
  fileOpener(checksum: Checksum): Opener {
    return (signal) => this.openFile(checksum, signal);
  }

  /** Returns a commit's detached metadata, or undefined when it has none. @throws OSTREE_OBJECT_CORRUPT */
  readDetachedMetadata(checksum: Checksum): Metadata | undefined {
    const path = this.findObject('commitmeta', checksum);
    return path === undefined ? undefined : parseMetadata(readSmallObject(path, 'commitmeta', checksum), `detached metadata of ${checksum}`);
  }

  /** Replaces a commit's detached metadata at once, outside of any transaction. */
  writeDetachedMetadata(checksum: Checksum, metadata: Metadata): void {
    const path = this.objectPath('commitmeta', checksum);
    mkdirSync(dirname(path), { recursive: true });
    writeFileDurably(path, encodeMetadata(metadata), { sync: this.settings.fsync, mode: 0o644, aside: join(this.path, 'tmp') });
  }

  /**
   * Takes libostree's repository lock: shared for writers of objects, exclusive for those who remove. Recursive.
   * A repository that cannot be written is not locked. @throws OSTREE_LOCK_TIMEOUT, the signal's reason
   */
  async lock(kind: RepoLockKind, signal?: AbortSignal): Promise<RepoLock> {
    if (!this.writable) return { release: () => undefined, [Symbol.dispose]: () => undefined };
    return this.#locks.take(kind, signal);
  }

  /** Yields every object in this repository's own `objects/`, in no particular order. */
  *listObjects(): Generator<{ type: StoredType; checksum: Checksum }> {
    const objects = join(this.path, 'objects');
    for (const directory of readdirSync(objects)) {
      if (!/^[0-9a-f]{2}$/.test(directory)) continue;
      for (const name of readdirSync(join(objects, directory))) {
        const object = parseLoosePath(directory, name, this.mode);
        if (object !== undefined) yield object;
      }
    }
  }

  /** Returns whether a commit is marked as not known to be complete. */
  isPartial(commit: Checksum): boolean {
    return exists(join(this.path, 'state', `${commit}.commitpartial`)) || (this.parent?.isPartial(commit) ?? false);
  }

  /** Sets the directory's mtime: how others notice that refs changed. */
  touch(): void {
    const now = Date.now() / 1000;
    try {
      utimesSync(this.path, now, now);
    } catch (error) {
      if (errnoOf(error) !== 'EPERM') throw error;
      // Only the owner may set times; whoever may write sets them by writing.
      rmSync(mkdtempSync(join(this.path, '.touch-')), { recursive: true });
    }
  }

  #find(type: StoredType, checksum: Checksum): { path: string; repo: Repo } | undefined {
    const own = this.objectPath(type, checksum);
    if (exists(own)) return { path: own, repo: this };
    if (this.staging !== undefined) {
      const staged = `${this.staging}/${loosePath(type, checksum, this.mode)}`;
      if (exists(staged)) return { path: staged, repo: this };
    }
    if (this.unverified !== undefined) {
      const staged = `${this.unverified}/${loosePath(type, checksum, this.mode)}`;
      if (exists(staged)) return { path: staged, repo: this };
    }
    return this.parent === undefined ? undefined : this.parent.#find(type, checksum);
  }

  #mustFind(type: ObjectType, checksum: Checksum): { path: string; repo: Repo } {
    const found = this.#find(type, checksum);
    if (found === undefined) throw missing(type, checksum);
    return found;
  }

  #commitsWithPrefix(prefix: string): Checksum[] {
    const found = new Set<Checksum>();
    for (const root of [join(this.path, 'objects'), ...(this.staging === undefined ? [] : [this.staging])]) {
      const directories = prefix.length >= 2 ? [prefix.slice(0, 2)] : names(root).filter((name) => /^[0-9a-f]{2}$/.test(name) && name.startsWith(prefix));
      for (const directory of directories) {
        for (const name of names(join(root, directory))) {
          const object = parseLoosePath(directory, name, this.mode);
          if (object?.type === 'commit' && object.checksum.startsWith(prefix)) found.add(object.checksum);
        }
      }
    }
    return [...found];
  }
}

/** Turns what the system says about a path that cannot be entered into known errors. */
function explained<T>(action: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'EEXIST')
      throw ostreeError('OSTREE_REPO_NOT_FOUND', `${action}: a file is in its way`, { cause: error });
    throw systemError(error, action) ?? error;
  }
}

function openAt(path: string, depth: number): Repo {
  return explained(`Cannot open repository "${path}"`, () => openConfigured(path, depth));
}

function openConfigured(path: string, depth: number): Repo {
  if (depth > MAX_PARENTS) throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot open repository "${path}": its chain of parents does not end`);
  if (!exists(join(path, 'objects'))) {
    throw ostreeError('OSTREE_REPO_NOT_FOUND', `Cannot open repository "${path}": no "objects" directory there`, {
      hint: 'Make one with: cambium ostree init --repo=PATH',
    });
  }
  let text: string;
  try {
    text = readBounded(join(path, 'config'), MAX_CONFIG_BYTES, () =>
      ostreeError('OSTREE_CONFIG_INVALID', `Cannot open repository "${path}": its config is no regular file of at most ${MAX_CONFIG_BYTES} bytes`),
    ).toString('utf8');
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw cause;
    throw ostreeError('OSTREE_REPO_NOT_FOUND', `Cannot open repository "${path}": no config file`, { cause });
  }
  const config = KeyFile.parse(text, join(path, 'config'));
  const settings = parseRepoSettings(config, path);
  // libostree takes a relative parent as relative to the working directory.
  const parent = settings.parent === undefined ? undefined : openAt(resolve(settings.parent), depth + 1);
  return new Repo(path, config, settings, parent);
}

function readSmallObject(path: string, type: StoredType, checksum: Checksum): Buffer {
  const data = { checksum, type };
  const irregular = (cause?: unknown): Error => ostreeError('OSTREE_OBJECT_CORRUPT', `Object ${checksum}.${type} is no regular file`, { data, cause });
  try {
    return readBounded(path, MAX_METADATA_BYTES, (why) =>
      why === 'irregular' ? irregular() : ostreeError('OSTREE_OBJECT_TOO_LARGE', `Cannot read ${type} ${checksum}: over ${MAX_METADATA_BYTES} bytes`, { data }),
    );
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT') throw missing(type, checksum);
    // A link in circles, a socket.
    throw code === 'ELOOP' || code === 'ENXIO' ? irregular(error) : error;
  }
}

function missing(type: StoredType, checksum: Checksum): Error {
  const what = type === 'file' ? `Couldn't find file object '${checksum}'` : `No such metadata object ${checksum}.${type}`;
  return ostreeError('OSTREE_OBJECT_MISSING', what, { data: { checksum, type } });
}

function exists(path: string): boolean {
  // Not followed: a bare repository's objects may be dangling symlinks.
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
