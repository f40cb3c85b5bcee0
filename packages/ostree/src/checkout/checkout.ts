/**
 * Checking a commit out into a directory. Semantics: `ostree checkout`, libostree 2022.7.
 *
 * One thing is stricter than libostree: below the destination symlinks are never followed. A union over a tree in which
 * `lib` is a link stops with OSTREE_CHECKOUT_EXISTS instead of writing to wherever the link leads. Paths are safe only
 * while nobody else can write to the destination.
 */
import { chmodSync, closeSync, constants, lchownSync, lstatSync, mkdirSync, openSync, readdirSync, rmSync, statSync, unlinkSync, utimesSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Checksum, createPool, decodeUtf8, errnoOf, type Pool, systemError } from '@cambium/base';
import { setXattr, syncFs } from '@cambium/system';
import { S_IFLNK, S_IFMT } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import type { DirMeta, DirTree, TreeRoot } from '../format/types.ts';
import { findPath, splitPath, type TreeNode } from '../repo/lookup.ts';
import type { Repo } from '../repo/repo.ts';
import { canHardlink, type FileBatch, type FileCounts, FilePlacer, type FilePolicy, NO_COUNTS, OPAQUE_WHITEOUT, WHITEOUT_PREFIX } from './checkout-files.ts';

export interface CheckoutOptions {
  /** Directory to make; its parent exists. */
  destination: string;
  /** Keep the current owner and set no xattrs; without it owners are restored, which needs privilege. Repositories of mode bare-user-only force it. */
  userMode?: boolean;
  /**
   * What to do about what is there: `none` fails, also when the destination exists; `union` replaces files and merges directories;
   * `union-add` keeps files; `union-identical` accepts only equal ones, and needs `requireHardlinks`.
   */
  overwrite?: FilePolicy['overwrite'];
  /** Fail where a file would have to be copied (empty ones always are). */
  requireHardlinks?: boolean;
  forceCopy?: boolean;
  /** Cut the mode of directories to 0775. */
  bareUserOnlyDirs?: boolean;
  /** `.wh.NAME` removes NAME, `.wh..wh..opq` empties its directory; in a union files and directories replace each other. */
  whiteouts?: boolean;
  /** `.ostree-wh.NAME` becomes the device 0:0 called NAME. Needs privilege. */
  passthroughWhiteouts?: boolean;
  /** A directory, or one file or symlink, of the commit instead of its root. */
  subpath?: string;
  /** Do nothing when `subpath` does not exist. */
  allowNoent?: boolean;
  /** Paths from the destination, as `/a/file` and `/a/directory/`, left out with what is below. */
  skipList?: ReadonlySet<string>;
  /** Do not use, or fill, the cache of uncompressed objects of an archive repository. */
  disableCache?: boolean;
  /** Flush everything to disk before returning. */
  fsync?: boolean;
  /** Threads that place files, this one included: by default as many as there are processors; small trees take this one only. */
  threads?: number;
}

export interface CheckoutResult extends FileCounts {
  directories: number;
}

/** Batches of about this many files travel to a worker at a time. */
const BATCH_FILES = 512;
/** Trees with fewer files than this are not worth the start of a thread. */
const WORKER_FILES = 3000;
/** Batches under way per worker: enough to keep it busy while this thread places one itself. */
const BATCHES_PER_WORKER = 3;
/** Batches that wait before this thread stops walking and places one: bounds memory. */
const MAX_QUEUED = 8;
/** More only wait for the file system. */
const MAX_THREADS = 8;

/**
 * Checks out a commit.
 *
 * @throws OSTREE_CHECKOUT_EXISTS OSTREE_CHECKOUT_HARDLINK OSTREE_PATH_NOT_FOUND OSTREE_PATH_NOT_DIRECTORY OSTREE_OBJECT_MISSING
 *   OSTREE_OBJECT_CORRUPT SYSTEM_DENIED SYSTEM_NO_SPACE
 */
export async function checkout(repo: Repo, commit: Checksum, options: CheckoutOptions, signal?: AbortSignal): Promise<CheckoutResult> {
  const result: CheckoutResult = { ...NO_COUNTS, directories: 0 };
  const policy = policyOf(repo, options);
  const node = nodeOf(repo, repo.readCommit(commit).root, options);
  if (node === undefined) return result;
  const destination = resolve(options.destination);
  const placing = new Placing(repo, policy, options.threads, result, signal);
  try {
    if (node.kind === 'file') await checkoutFile(repo, policy, node.checksum, destination, options, result);
    else await new Walk(repo, policy, options, placing, result).run(node, destination);
    if (options.fsync === true) syncDestination(destination);
  } catch (error) {
    throw systemError(error, `Cannot check out to "${destination}"`) ?? error;
  } finally {
    await placing.close();
  }
  return result;
}

/** One record of `--from-file`. */
export interface CheckoutRecord {
  rev: string;
  subpath: string;
}

/** Returns the records `REV NUL SUBPATH NUL …` of `ostree checkout --from-file`; the last NUL may be missing, and a REV alone at the end is dropped, as by libostree. */
export function parseCheckoutRecords(bytes: Uint8Array): CheckoutRecord[] {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw ostreeError('OSTREE_REF_INVALID', 'Cannot read checkout records: not UTF-8');
  const fields = text.split('\0');
  if (fields.at(-1) === '') fields.pop();
  const records: CheckoutRecord[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) records.push({ rev: fields[i] as string, subpath: fields[i + 1] as string });
  return records;
}

/** Returns the paths of a skip list: one per line, empty lines ignored. */
export function parseSkipList(text: string): Set<string> {
  return new Set(text.split('\n').filter((line) => line !== ''));
}

function policyOf(repo: Repo, options: CheckoutOptions): FilePolicy {
  const userMode = options.userMode === true || repo.mode === 'bare-user-only';
  const { overwrite = 'none', requireHardlinks = false, forceCopy = false } = options;
  if (overwrite === 'union-identical' && !requireHardlinks) {
    throw ostreeError('OSTREE_CHECKOUT_HARDLINK', '--union-identical requires --require-hardlinks');
  }
  if (requireHardlinks && (forceCopy || !canHardlink(repo, userMode))) {
    if (forceCopy) throw ostreeError('OSTREE_CHECKOUT_HARDLINK', 'Cannot require hard links and force copies at once');
    throw ostreeError(
      'OSTREE_CHECKOUT_HARDLINK',
      repo.mode === 'bare-user' ? 'User repository mode requires user checkout mode to hardlink' : 'Bare repository mode cannot hardlink in user checkout mode',
    );
  }
  // libostree's own choice: the cache serves plain checkouts only.
  const plain = !forceCopy && (overwrite === 'none' || overwrite === 'union') && options.bareUserOnlyDirs !== true && options.skipList === undefined;
  const noWhiteouts = options.whiteouts !== true && options.passthroughWhiteouts !== true;
  const useCache = userMode && plain && noWhiteouts && options.disableCache !== true && repo.settings.enableUncompressedCache;
  return {
    userMode,
    overwrite,
    requireHardlinks,
    forceCopy,
    whiteouts: options.whiteouts === true,
    passthroughWhiteouts: options.passthroughWhiteouts === true,
    useCache,
    umask: process.umask(),
  };
}

function nodeOf(repo: Repo, root: TreeRoot, options: CheckoutOptions): TreeNode | undefined {
  const { subpath = '/' } = options;
  const node = findPath(repo, root, subpath);
  if (node === undefined && options.allowNoent !== true) throw ostreeError('OSTREE_PATH_NOT_FOUND', `No such file or directory: ${subpath}`);
  return node;
}

async function checkoutFile(
  repo: Repo,
  policy: FilePolicy,
  checksum: Checksum,
  destination: string,
  options: CheckoutOptions,
  result: CheckoutResult,
): Promise<void> {
  const present = statSync(destination, { throwIfNoEntry: false });
  if (present === undefined) makeDirectory(destination);
  else if (!present.isDirectory()) throw existsError(destination);
  const placer = new FilePlacer(repo, policy);
  const name = splitPath(options.subpath ?? '').at(-1) as string;
  await placer.placeFile(checksum, destination, name);
  add(result, placer.counts);
}

/** The walk over directories: makes them, in the caller's thread, and gives their files away in batches. */
class Walk {
  readonly #repo: Repo;
  readonly #policy: FilePolicy;
  readonly #options: CheckoutOptions;
  readonly #placing: Placing;
  readonly #result: CheckoutResult;
  /** Directories made, parents first; their modes are set last, children first, so that unwritable ones can be filled. */
  readonly #made: { path: string; meta: Checksum }[] = [];
  readonly #metas = new Map<Checksum, DirMeta>();

  constructor(repo: Repo, policy: FilePolicy, options: CheckoutOptions, placing: Placing, result: CheckoutResult) {
    this.#repo = repo;
    this.#policy = policy;
    this.#options = options;
    this.#placing = placing;
    this.#result = result;
  }

  async run(root: TreeRoot, destination: string): Promise<void> {
    if (this.#options.skipList?.has('/') === true) return;
    const stack: { path: string; shown: string; root: TreeRoot }[] = [{ path: destination, shown: '/', root }];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const tree = this.#repo.readDirTree(at.root.tree);
      let fresh = this.#enter(at.path, at.shown === '/');
      // An opaque directory starts anew: it has nothing left of the one that was there, its mode and times included.
      if (!fresh && this.#policy.whiteouts) fresh = applyWhiteouts(this.#repo, tree, at.path);
      if (fresh) this.#made.push({ path: at.path, meta: at.root.meta });
      // Not needed, but whoever checks out gets to know that it is missing.
      else this.#dirMeta(at.root.meta);
      const pending = this.#placing.add(at.path, at.root.tree, tree.files.length, this.#skippedFiles(tree, at.shown));
      if (pending !== undefined) await pending;
      for (const dir of tree.dirs) {
        const shown = `${at.shown}${dir.name}/`;
        if (this.#options.skipList?.has(shown) !== true) stack.push({ path: `${at.path}/${dir.name}`, shown, root: { tree: dir.tree, meta: dir.meta } });
      }
    }
    await this.#placing.finish();
    for (let i = this.#made.length - 1; i >= 0; i--) {
      const { path, meta } = this.#made[i] as { path: string; meta: Checksum };
      this.#finishDirectory(path, this.#dirMeta(meta));
    }
    this.#result.directories = this.#made.length;
  }

  #skippedFiles(tree: DirTree, shown: string): string[] | undefined {
    const { skipList } = this.#options;
    if (skipList === undefined) return undefined;
    return tree.files.filter((file) => skipList.has(`${shown}${file.name}`)).map((file) => file.name);
  }

  /** Makes a directory, or accepts one that is there, and returns whether it was made. */
  #enter(path: string, isRoot: boolean): boolean {
    try {
      makeDirectory(path);
      return true;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST' || this.#policy.overwrite === 'none') throw errnoOf(error) === 'EEXIST' ? existsError(path, error) : error;
    }
    // Only the destination itself may be a link: the user named it.
    const stat = isRoot ? statSync(path, { throwIfNoEntry: false }) : lstatSync(path);
    if (stat?.isDirectory() === true) return false;
    if (isRoot || this.#policy.overwrite !== 'union' || !this.#policy.whiteouts) throw existsError(path);
    unlinkSync(path);
    makeDirectory(path);
    return true;
  }

  #dirMeta(checksum: Checksum): DirMeta {
    let meta = this.#metas.get(checksum);
    if (meta === undefined) {
      meta = this.#repo.readDirMeta(checksum);
      this.#metas.set(checksum, meta);
    }
    return meta;
  }

  #finishDirectory(path: string, meta: DirMeta): void {
    if (!this.#policy.userMode) {
      lchownSync(path, meta.uid, meta.gid);
      if (!this.#repo.settings.disableXattrs) for (const [name, value] of meta.xattrs) setXattr(path, name, value);
    }
    const cut = this.#options.bareUserOnlyDirs === true || this.#repo.mode === 'bare-user-only';
    chmodSync(path, meta.mode & (cut ? 0o775 : 0o7777));
    // Linked files have this time too; in a copy nothing does.
    if (!this.#policy.forceCopy) utimesSync(path, 0, 0);
  }
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, 0o700);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw ostreeError('OSTREE_PATH_NOT_FOUND', `Cannot check out to "${path}": its parent directory does not exist`, { cause: error });
  }
}

function existsError(path: string, cause?: unknown): Error {
  return ostreeError('OSTREE_CHECKOUT_EXISTS', `Cannot check out to "${path}": File exists`, {
    cause,
    data: { path },
    hint: 'Choose another destination, or merge with --union',
  });
}

/**
 * Takes away what the whiteouts of a directory hide: before anything is put there, since a commit may hide a name and bring it anew.
 * Returns whether nothing is left.
 */
function applyWhiteouts(repo: Repo, tree: DirTree, directory: string): boolean {
  let opaque = false;
  for (const file of tree.files) {
    if (!file.name.startsWith(WHITEOUT_PREFIX)) continue;
    if ((repo.readFileHeader(file.checksum).header.mode & S_IFMT) === S_IFLNK) continue;
    if (file.name === OPAQUE_WHITEOUT) {
      opaque = true;
      for (const name of readdirSync(directory, 'buffer')) rmSync(Buffer.concat([Buffer.from(`${directory}/`), name]), { recursive: true, force: true });
      continue;
    }
    const name = file.name.slice(WHITEOUT_PREFIX.length);
    // Removing `.wh..` or `.wh...` would reach outside of this directory.
    if (name === '' || name === '.' || name === '..') throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Cannot apply whiteout "${file.name}" in "${directory}"`);
    rmSync(`${directory}/${name}`, { recursive: true, force: true });
  }
  return opaque;
}

/**
 * Collects batches of files and places them. This thread takes its share: it places a batch whenever the workers have enough to
 * do, and all of them while there are few. A thread costs about 50 ms to start, as much as 5000 links.
 */
class Placing {
  readonly #repo: Repo;
  readonly #policy: FilePolicy;
  readonly #threads: number;
  readonly #result: CheckoutResult;
  readonly #signal: AbortSignal | undefined;
  readonly #placer: FilePlacer;
  #batch: FileBatch[] = [];
  #batchFiles = 0;
  readonly #queue: FileBatch[][] = [];
  #seenFiles = 0;
  #pool: Pool<FileBatch[], FileCounts> | undefined;
  readonly #running = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(repo: Repo, policy: FilePolicy, threads: number | undefined, result: CheckoutResult, signal: AbortSignal | undefined) {
    this.#repo = repo;
    this.#policy = policy;
    this.#threads = threads ?? Math.min(MAX_THREADS, availableParallelism());
    this.#result = result;
    this.#signal = signal;
    this.#placer = new FilePlacer(repo, policy);
  }

  /** Adds the files of a directory; a promise is work that goes first. */
  add(directory: string, tree: Checksum, files: number, skip: string[] | undefined): Promise<void> | undefined {
    for (let from = 0; from < files; from += BATCH_FILES) {
      const to = Math.min(files, from + BATCH_FILES);
      this.#batch.push({ directory, tree, from, to, ...(skip === undefined || skip.length === 0 ? {} : { skip }) });
      this.#batchFiles += to - from;
      if (this.#batchFiles >= BATCH_FILES) this.#enqueue();
    }
    this.#check();
    return this.#queue.length > MAX_QUEUED ? this.#placeNext() : undefined;
  }

  #enqueue(): void {
    if (this.#batch.length === 0) return;
    this.#queue.push(this.#batch);
    this.#seenFiles += this.#batchFiles;
    this.#batch = [];
    this.#batchFiles = 0;
    if (this.#pool === undefined && this.#threads > 1 && this.#seenFiles >= WORKER_FILES) this.#pool = this.#startPool();
    this.#dispatch();
  }

  #startPool(): Pool<FileBatch[], FileCounts> {
    return createPool({
      url: new URL('./checkout-worker.js', import.meta.url),
      size: this.#threads - 1,
      workerData: { path: this.#repo.path, policy: this.#policy },
      // Buffers and zlib streams live outside of the heap and pile up unseen until it fills: a small one took 130 MB less, and less time.
      resourceLimits: { maxYoungGenerationSizeMb: 12 },
    });
  }

  #dispatch(): void {
    while (this.#pool !== undefined && this.#running.size < this.#pool.size * BATCHES_PER_WORKER) {
      const batches = this.#queue.shift();
      if (batches === undefined) return;
      const task = this.#pool.run(batches).then(
        (counts) => add(this.#result, counts),
        (error: unknown) => {
          this.#failure ??= { error };
        },
      );
      const running: Promise<void> = task.finally(() => {
        this.#running.delete(running);
        this.#dispatch();
      });
      this.#running.add(running);
    }
  }

  async #placeNext(): Promise<void> {
    const batches = this.#queue.shift();
    if (batches !== undefined) await this.#placer.place(batches);
    // The workers' answers, and an abort, come in only here.
    await nextTurn();
    this.#check();
  }

  #check(): void {
    this.#signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Places the rest, and waits for everything. */
  async finish(): Promise<void> {
    this.#enqueue();
    while (this.#queue.length > 0) await this.#placeNext();
    await Promise.all(this.#running);
    add(this.#result, this.#placer.counts);
    this.#check();
  }

  async close(): Promise<void> {
    this.#queue.length = 0;
    await Promise.all(this.#running);
    await this.#pool?.close();
  }
}

function add(to: FileCounts, counts: FileCounts): void {
  to.linked += counts.linked;
  to.copied += counts.copied;
  to.copiedBytes += counts.copiedBytes;
  to.symlinks += counts.symlinks;
  to.devices += counts.devices;
  to.kept += counts.kept;
}

function syncDestination(destination: string): void {
  const fd = openSync(destination, constants.O_RDONLY);
  try {
    syncFs(fd);
  } finally {
    closeSync(fd);
  }
}
