/** Refs: names for commits, in files under `refs/`. Source: libostree `ostree-repo-refs.c` behaviour; `docs/formats/ostree-repo.md`. */
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { type Checksum, compareUtf8, errnoOf, isChecksum, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { readBounded } from './bounded-file.ts';
import { writeFileDurably } from './durable-file.ts';

/** As GLib's `\w`: letters and digits of any script. */
const FRAGMENT = /^[\p{L}\p{N}_][-.\p{L}\p{N}_]*$/u;
/** A checksum, and any white space that an editor left. */
const MAX_REF_BYTES = 1024;

export interface Refspec {
  remote: string | undefined;
  ref: string;
}

/** Returns whether `text` can be a ref's name: fragments of letters, digits, `_`, `.` and `-`, joined by `/`. */
export function isRefName(text: string): boolean {
  return text.split('/').every((fragment) => FRAGMENT.test(fragment));
}

/** Returns the parts of `[REMOTE:]REF`. @throws OSTREE_REF_INVALID */
export function parseRefspec(text: string): Refspec {
  const colon = text.indexOf(':');
  const remote = colon < 0 ? undefined : text.slice(0, colon);
  const ref = text.slice(colon + 1);
  if ((remote !== undefined && !FRAGMENT.test(remote)) || !isRefName(ref)) throw ostreeError('OSTREE_REF_INVALID', `Invalid refspec ${text}`);
  return { remote, ref };
}

/** What the refs need of their repository. */
export interface RefsHost {
  readonly path: string;
  readonly fsync: boolean;
  readonly collectionId: string | undefined;
  readonly parentRefs: Refs | undefined;
  commitsWithPrefix(prefix: string): Checksum[];
  parentOf(commit: Checksum): Checksum | undefined;
  /** Sets the repository directory's own mtime: watchers rely on it. */
  touch(): void;
}

/** The refs of one repository. Reads see what an open transaction of the same Repo will write. */
export class Refs {
  readonly #host: RefsHost;
  /** Refs of the open transaction, by refspec; undefined deletes. */
  pending: ReadonlyMap<string, Checksum | undefined> | undefined;

  constructor(host: RefsHost) {
    this.#host = host;
  }

  /**
   * Returns refs by refspec (`name` or `remote:name`), sorted. With a prefix: the ref of that name and those below it;
   * `remote:` gives all of a remote.
   */
  list(prefix?: string): Map<string, Checksum> {
    const found: [string, Checksum][] = [];
    const beginning = prefix?.replace(/\/+$/, '');
    const wanted = (name: string): boolean =>
      beginning === undefined || name === beginning || name.startsWith(beginning.endsWith(':') ? beginning : `${beginning}/`);
    // What is not asked for is not read either: a damaged ref elsewhere does not matter.
    const walk = (directory: string, remote: string): void =>
      walkRefs(
        directory,
        '',
        (name, checksum) => found.push([remote + name, checksum]),
        (name) => wanted(remote + name),
      );
    walk(this.#path('heads'), '');
    for (const remote of directories(this.#path('remotes'))) walk(this.#path('remotes', remote), `${remote}:`);
    return new Map(found.sort(([a], [b]) => compareUtf8(a, b)));
  }

  /** Returns the commit of exactly this refspec, here or in the parent repository. @throws OSTREE_REF_INVALID */
  read(refspec: string): Checksum | undefined {
    if (this.pending?.has(refspec) === true) return this.pending.get(refspec);
    return readRefFile(this.#file(parseRefspec(refspec))) ?? this.#host.parentRefs?.read(refspec);
  }

  /** As {@link resolve}, or undefined when nothing fits. @throws OSTREE_REF_INVALID OSTREE_REF_AMBIGUOUS */
  find(rev: string): Checksum | undefined {
    const base = rev.replace(/\^+$/, '');
    let commit = this.#findBase(base);
    for (let i = base.length; i < rev.length && commit !== undefined; i++) {
      const parent = this.#host.parentOf(commit);
      if (parent === undefined) throw ostreeError('OSTREE_REF_NOT_FOUND', `Commit ${commit} has no parent`, { data: { rev } });
      commit = parent;
    }
    return commit;
  }

  /**
   * Returns the commit of a revision: a checksum, the unique beginning of one, a ref of this repository, `remote/name`,
   * `remote:name`, a ref of any remote, a ref of the parent repository; each `^` at the end goes one commit back.
   *
   * @throws OSTREE_REF_NOT_FOUND OSTREE_REF_INVALID OSTREE_REF_AMBIGUOUS
   */
  resolve(rev: string): Checksum {
    const found = this.find(rev);
    if (found === undefined) throw ostreeError('OSTREE_REF_NOT_FOUND', `Refspec '${rev}' not found`, { data: { rev } });
    return found;
  }

  #findBase(base: string): Checksum | undefined {
    if (isChecksum(base)) return base;
    if (/^[0-9a-f]{1,63}$/.test(base)) {
      const fits = this.#host.commitsWithPrefix(base);
      if (fits.length > 1) throw ostreeError('OSTREE_REF_AMBIGUOUS', `Refspec ${base} not unique`, { data: { commits: fits.slice(0, 10) } });
      if (fits[0] !== undefined) return fits[0];
    }
    const { remote, ref } = parseRefspec(base);
    if (this.pending?.has(base) === true) return this.pending.get(base);
    if (remote !== undefined) return readRefFile(this.#file({ remote, ref })) ?? this.#host.parentRefs?.find(base);
    const here = readRefFile(this.#path('heads', ref)) ?? readRefFile(this.#path('remotes', ref));
    if (here !== undefined) return here;
    for (const name of directories(this.#path('remotes'))) {
      const checksum = readRefFile(this.#path('remotes', name, ref));
      if (checksum !== undefined) return checksum;
    }
    return this.#host.parentRefs?.find(base);
  }

  /**
   * Points a ref at a commit, or removes it. Atomic and, unless the repository says `fsync=false`, durable; `sync` says otherwise.
   * @throws OSTREE_REF_INVALID OSTREE_REF_CONFLICT
   */
  write(refspec: string, checksum: Checksum | undefined, sync: boolean = this.#host.fsync): void {
    const { remote, ref } = parseRefspec(refspec);
    if (checksum !== undefined && isChecksum(ref)) throw ostreeError('OSTREE_REF_INVALID', `Rev name '${ref}' looks like a checksum`);
    this.#writeFile(remote === undefined ? this.#path('heads') : this.#path('remotes', remote), ref, checksum, sync);
  }

  #writeFile(base: string, ref: string, checksum: Checksum | undefined, sync: boolean): void {
    try {
      this.#replaceFile(base, ref, checksum, sync);
    } catch (error) {
      if (errnoOf(error) !== 'ENAMETOOLONG') throw error;
      throw ostreeError('OSTREE_REF_INVALID', `Cannot write ref "${ref.slice(0, 80)}…": too long for the name of a file`, { cause: error });
    }
  }

  #replaceFile(base: string, ref: string, checksum: Checksum | undefined, sync: boolean): void {
    const file = join(base, ref);
    if (checksum === undefined) {
      try {
        unlinkSync(file);
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw systemError(error, `Cannot delete ref "${ref}"`) ?? error;
      }
      this.#host.touch();
      return;
    }
    for (let up = dirname(ref); up !== '.'; up = dirname(up)) {
      if (statSync(join(base, up), { throwIfNoEntry: false })?.isDirectory() === false) {
        throw ostreeError('OSTREE_REF_CONFLICT', `Conflict: ${up} exists above ${ref} when attempting write`, { data: { ref, existing: up } });
      }
    }
    if (lstatSync(file, { throwIfNoEntry: false })?.isDirectory() === true) {
      let below: string | undefined;
      walkRefs(file, '', (name) => {
        below ??= name;
      });
      if (below !== undefined) {
        throw ostreeError('OSTREE_REF_CONFLICT', `Conflict: ${posix.join(ref, below)} exists under ${ref} when attempting write`, { data: { ref } });
      }
      removeEmptyDirectories(file);
    }
    try {
      if (!existsSync(dirname(file))) {
        // Of a read-only file system mkdir says that something does not exist.
        accessSync(this.#host.path, constants.W_OK);
        mkdirSync(dirname(file), { recursive: true });
      }
    } catch (error) {
      throw systemError(error, `Cannot write ref "${ref}"`) ?? error;
    }
    // An alias (a symlink) is replaced by a ref of its own, as libostree does.
    writeFileDurably(file, `${checksum}\n`, { sync, aside: join(this.#host.path, 'tmp') });
    this.#host.touch();
  }

  /** Returns aliases (symlinks among the local refs) and what they stand for. */
  aliases(): Map<string, string> {
    const found = new Map<string, string>();
    const visit = (directory: string, prefix: string): void => {
      for (const entry of entries(directory)) {
        const path = join(directory, entry.name);
        if (entry.isDirectory()) visit(path, `${prefix}${entry.name}/`);
        else if (entry.isSymbolicLink()) found.set(prefix + entry.name, readlinkSync(path).replace(/^(?:\.\.\/)+/, ''));
      }
    };
    visit(this.#path('heads'), '');
    return new Map([...found].sort(([a], [b]) => compareUtf8(a, b)));
  }

  /** Makes `alias` another name of the local ref `ref`, or removes it. @throws OSTREE_REF_INVALID OSTREE_REF_NOT_FOUND */
  writeAlias(alias: string, ref: string | undefined): void {
    if (!isRefName(alias) || (ref !== undefined && !isRefName(ref)))
      throw ostreeError('OSTREE_REF_INVALID', `Invalid ref name ${isRefName(alias) ? ref : alias}`);
    const file = this.#path('heads', alias);
    if (ref === undefined) {
      rmSync(file, { force: true });
      this.#host.touch();
      return;
    }
    if (readRefFile(this.#path('heads', ref)) === undefined) throw ostreeError('OSTREE_REF_NOT_FOUND', `Cannot create alias to non-existent ref: ${ref}`);
    mkdirSync(dirname(file), { recursive: true });
    // What a killed process leaves lies where it is removed one day.
    const aside = join(this.#host.path, 'tmp');
    mkdirSync(aside, { recursive: true });
    const temporary = join(aside, `.${process.pid}.alias`);
    rmSync(temporary, { force: true });
    symlinkSync('../'.repeat(alias.split('/').length - 1) + ref, temporary);
    renameSync(temporary, file);
    this.#host.touch();
  }

  /** Returns the refs of each collection: this repository's own ID, and the mirrored ones. */
  collectionRefs(): { collection: string; ref: string; checksum: Checksum }[] {
    const found: { collection: string; ref: string; checksum: Checksum }[] = [];
    const own = this.#host.collectionId;
    if (own !== undefined) walkRefs(this.#path('heads'), '', (ref, checksum) => found.push({ collection: own, ref, checksum }));
    for (const collection of directories(this.#path('mirrors'))) {
      walkRefs(this.#path('mirrors', collection), '', (ref, checksum) => found.push({ collection, ref, checksum }));
    }
    return found.sort((a, b) => compareUtf8(a.collection, b.collection) || compareUtf8(a.ref, b.ref));
  }

  /** Points a ref of a collection at a commit, or removes it. @throws OSTREE_REF_INVALID OSTREE_REF_CONFLICT */
  writeCollectionRef(collection: string, ref: string, checksum: Checksum | undefined, sync: boolean = this.#host.fsync): void {
    if (!/^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$/.test(collection) || !isRefName(ref))
      throw ostreeError('OSTREE_REF_INVALID', `Invalid collection ref (${collection}, ${ref})`);
    this.#writeFile(collection === this.#host.collectionId ? this.#path('heads') : this.#path('mirrors', collection), ref, checksum, sync);
  }

  #path(...parts: string[]): string {
    return join(this.#host.path, 'refs', ...parts);
  }

  #file({ remote, ref }: Refspec): string {
    return remote === undefined ? this.#path('heads', ref) : this.#path('remotes', remote, ref);
  }
}

/** Returns the commit in a ref file; undefined when there is no such file. @throws OSTREE_REF_INVALID */
function readRefFile(path: string): Checksum | undefined {
  const refuse = (why: string): Error =>
    ostreeError('OSTREE_REF_INVALID', `Cannot read ref file "${path}": ${why}`, {
      hint: 'Point the ref at a commit again with: cambium ostree refs --create=REF --force COMMIT',
    });
  let text: string;
  try {
    if (statSync(path).isDirectory()) return undefined;
    text = readBounded(path, MAX_REF_BYTES, () => refuse(`no regular file of at most ${MAX_REF_BYTES} bytes`))
      .toString('latin1')
      .trimEnd();
  } catch (error) {
    const code = errnoOf(error);
    // A name that is too long for a file is that of no ref.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    // A link in circles, a socket.
    throw code === 'ELOOP' || code === 'ENXIO' ? refuse('no regular file') : error;
  }
  if (!isChecksum(text)) throw refuse(`"${text.slice(0, 80)}" is not a checksum`);
  return text;
}

function walkRefs(directory: string, prefix: string, visit: (name: string, checksum: Checksum) => void, wanted?: (name: string) => boolean): void {
  for (const entry of entries(directory)) {
    // Editors' leftovers and our own temporary files are not refs.
    if (!FRAGMENT.test(entry.name)) continue;
    const path = join(directory, entry.name);
    const name = prefix + entry.name;
    if (entry.isDirectory()) walkRefs(path, `${name}/`, visit, wanted);
    else if (wanted?.(name) !== false) {
      const checksum = readRefFile(path);
      if (checksum !== undefined) visit(name, checksum);
    }
  }
}

function entries(directory: string): import('node:fs').Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function directories(path: string): string[] {
  return entries(path)
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort(compareUtf8);
}

function removeEmptyDirectories(path: string): void {
  for (const entry of entries(path)) if (entry.isDirectory()) removeEmptyDirectories(join(path, entry.name));
  rmdirSync(path);
}
