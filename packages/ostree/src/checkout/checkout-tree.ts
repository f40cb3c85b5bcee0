/**
 * Placing directories: making them, filling them, giving them their modes. Work lies on a stack, and whatever is left of it
 * after a while can go on in another thread.
 */
import { chmodSync, lchownSync, lstatSync, mkdirSync, readdirSync, rmSync, statSync, unlinkSync, utimesSync } from 'node:fs';
import { type Checksum, errnoOf } from '@cambium/base';
import { reach, setXattr, withReach } from '@cambium/system';
import { S_IFLNK, S_IFMT } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import type { DirMeta, DirTree, DirTreeFile } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { FilePlacer, type FilePolicy, labelled, OPAQUE_WHITEOUT, WHITEOUT_PREFIX } from './checkout-files.ts';

/** What the placing of a tree depends on; plain data, for worker threads. */
export interface TreePolicy extends FilePolicy {
  destination: string;
  /** Cut the mode of directories to 0775. */
  cutDirectories: boolean;
  /** Paths from the destination, as `/a/file` and `/a/directory/`. */
  skipList: ReadonlySet<string> | undefined;
}

/** A directory that exists. */
export interface PlacedDirectory {
  path: string;
  meta: Checksum;
}

/** A directory that exists and is to be filled. */
export interface DirectoryTask extends PlacedDirectory {
  tree: Checksum;
  /** It was made by this checkout: it is empty, and gets mode, owner and time. */
  fresh: boolean;
}

/** Some files of a directory that has many. */
interface FilesTask {
  path: string;
  files: readonly DirTreeFile[];
}

export type TreeTask = DirectoryTask | FilesTask;

/** Directories with more files are filled by several threads. */
const MANY_FILES = 1024;
/** Trees have a handful of directory metas; hostile ones may have many. */
const MAX_KNOWN_METAS = 4096;

/** Places directories of one repository under one policy. */
export class TreePlacer {
  readonly files: FilePlacer;
  /** Directories made. */
  made = 0;
  /** Those of them that cannot get their mode and time yet, parents first. */
  late: PlacedDirectory[] = [];
  readonly #repo: Repo;
  readonly #policy: TreePolicy;
  readonly #metas = new Map<Checksum, DirMeta>();

  constructor(repo: Repo, policy: TreePolicy) {
    this.#repo = repo;
    this.#policy = policy;
    this.files = new FilePlacer(repo, policy);
  }

  /** Makes the destination, or accepts one that is there. Its mode comes last: until then nobody else can look into one that was made. */
  enterDestination(root: { tree: Checksum; meta: Checksum }): DirectoryTask {
    const path = this.#policy.destination;
    const task = { path, tree: root.tree, meta: root.meta, fresh: this.#enter(path, true) };
    if (task.fresh) this.late.push(task);
    return task;
  }

  /**
   * Takes tasks from the end of the stack, and puts those there that follow from them, until none is left or the time is over.
   * @throws as checkout
   */
  async work(stack: TreeTask[], milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds;
    for (let task = stack.pop(); task !== undefined; task = stack.pop()) {
      const way = reach(task.path);
      if (way === undefined) await this.#place(task, task.path, stack);
      else {
        try {
          await this.#place(task, way.path, stack);
        } catch (error) {
          throw way.explain(error);
        } finally {
          way.close();
        }
      }
      if (performance.now() >= end) return;
    }
  }

  /** @param disk what the kernel takes for the path of the directory */
  #place(task: TreeTask, disk: string, stack: TreeTask[]): Promise<void> {
    return 'files' in task ? this.#placeFiles(disk, task.path, task.files) : this.#placeDirectory(task, disk, stack);
  }

  async #placeDirectory(task: DirectoryTask, disk: string, stack: TreeTask[]): Promise<void> {
    const tree = this.#repo.readDirTree(task.tree);
    // An opaque directory starts anew: it has nothing left of the one that was there, its mode and times included.
    const fresh = task.fresh || (this.#policy.whiteouts && applyWhiteouts(this.#repo, tree, disk));
    // Not always needed, but whoever checks out gets to know that it is missing.
    const meta = this.#dirMeta(task.meta);
    const files = this.#wantedFiles(tree, task.path);
    const split = files.length > MANY_FILES;
    if (split) for (let from = 0; from < files.length; from += MANY_FILES) stack.push({ path: task.path, files: files.slice(from, from + MANY_FILES) });
    else await this.#placeFiles(disk, task.path, files);
    // All are made before any is filled: then nothing changes in this directory any more.
    for (const dir of tree.dirs) {
      const path = `${task.path}/${dir.name}`;
      if (this.#policy.skipList?.has(`${this.#shown(path)}/`) !== true)
        stack.push({ path, tree: dir.tree, meta: dir.meta, fresh: this.#enter(`${disk}/${dir.name}`, false) });
    }
    if (!fresh) return;
    this.made++;
    if (task.path === this.#policy.destination && task.fresh) return;
    const closed = tree.dirs.length > 0 && (meta.mode & 0o100) === 0;
    if (split || closed) this.late.push({ path: task.path, meta: task.meta });
    else this.#finish(disk, task.path, meta);
  }

  async #placeFiles(disk: string, path: string, files: readonly DirTreeFile[]): Promise<void> {
    const shown = this.#policy.selinux && this.#shown(`${path}/`).slice(1);
    for (const file of files) {
      const pending = this.files.placeFile(file.checksum, disk, file.name, shown === undefined ? '' : shown + file.name);
      if (pending !== undefined) await pending;
    }
  }

  #wantedFiles(tree: DirTree, directory: string): readonly DirTreeFile[] {
    const { skipList } = this.#policy;
    return skipList === undefined ? tree.files : tree.files.filter((file) => !skipList.has(this.#shown(`${directory}/${file.name}`)));
  }

  /** Returns a path as skip lists have it: from the destination, with a slash at its front. */
  #shown(path: string): string {
    return path.slice(this.#policy.destination.length);
  }

  /** Makes a directory, or accepts one that is there, and returns whether it was made. */
  #enter(path: string, isDestination: boolean): boolean {
    try {
      makeDirectory(path);
      return true;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (this.#policy.overwrite === 'none') throw existsError(path, error);
    }
    // Only the destination itself may be a link: the user named it.
    const stat = isDestination ? statSync(path, { throwIfNoEntry: false }) : lstatSync(path);
    if (stat?.isDirectory() === true) return false;
    if (isDestination || this.#policy.overwrite !== 'union' || !this.#policy.whiteouts) throw existsError(path);
    unlinkSync(path);
    makeDirectory(path);
    return true;
  }

  #dirMeta(checksum: Checksum): DirMeta {
    let meta = this.#metas.get(checksum);
    if (meta === undefined) {
      meta = this.#repo.readDirMeta(checksum);
      if (this.#metas.size >= MAX_KNOWN_METAS) this.#metas.clear();
      this.#metas.set(checksum, meta);
    }
    return meta;
  }

  /** Gives a directory that is filled its owner, mode and time. */
  finish(directory: PlacedDirectory): void {
    const meta = this.#dirMeta(directory.meta);
    withReach(directory.path, (disk) => this.#finish(disk, directory.path, meta));
  }

  #finish(disk: string, path: string, meta: DirMeta): void {
    if (!this.#policy.userMode) {
      lchownSync(disk, meta.uid, meta.gid);
      const { xattrs } = labelled(meta, this.#policy, this.#shown(path).slice(1));
      if (!this.#repo.settings.disableXattrs) for (const [name, value] of xattrs) setXattr(disk, name, value);
    }
    chmodSync(disk, meta.mode & (this.#policy.cutDirectories ? 0o775 : 0o7777));
    // Linked files have this time too; in a copy nothing does.
    if (!this.#policy.forceCopy) utimesSync(disk, 0, 0);
  }
}

export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, 0o700);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw ostreeError('OSTREE_PATH_NOT_FOUND', `Cannot check out to "${path}": its parent directory does not exist`, { cause: error });
  }
}

export function existsError(path: string, cause?: unknown): Error {
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
