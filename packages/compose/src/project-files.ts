/**
 * Collects the files that travel with an app: what its model refers to, under the same relative paths.
 *
 * Links are looked at one by one and never followed out of the project directory.
 */
import { type Dirent, lstatSync, readdirSync, readlinkSync, realpathSync, type Stats } from 'node:fs';
import { dirname, join, relative } from 'node:path/posix';
import { compareUtf8, decodeUtf8, errnoOf, isKnownError, systemError } from '@cambium/base';
import { composeError, faultAt } from './errors.ts';
import { COMPOSE_FILE_NAMES, OVERRIDE_FILE_NAMES } from './find-files.ts';
import { IGNORE_NOTHING, type Ignore, parseIgnoreFile } from './ignore-file.ts';
import { readText } from './source-file.ts';
import type { ComposeWarning, LocalFile, Project } from './types.ts';

export const IGNORE_FILE_NAME = '.composeappignores';

export interface CollectOptions {
  /** Packs the files of `secrets`, which are left out otherwise. */
  includeSecrets?: boolean | undefined;
  /** Name of the ignore file in the project directory; `.composeappignores` unless said otherwise, `''` for none. */
  ignoreFile?: string | undefined;
  /**
   * Packs what was read to make the model too: `.env`, included and extended files; and build contexts, as empty directories. For apps
   * whose compose file ships as it was written; a resolved model needs none of them.
   */
  sourceFiles?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface ProjectFile {
  /** Relative to the project directory, without `./`. */
  path: string;
  kind: 'file' | 'directory' | 'symlink';
  /** Absolute path to read from; empty for a directory that is made because a bind mount needs it. */
  source: string;
  /** Permission bits, as in 0o644. */
  mode: number;
  sizeBytes: number;
  /** Of a file: device and inode, by which a reader knows that it opened what was looked at here. */
  identity?: string;
  /** Where a symlink leads, as it is stored. */
  target?: string;
  /** The key of the model that it is needed for. */
  key: string;
}

/** A path that must exist on the machine the app runs on. */
export interface HostPath {
  path: string;
  key: string;
}

export interface CollectedFiles {
  /** Sorted by path; parents before children. */
  files: ProjectFile[];
  hostPaths: HostPath[];
  /** Relative paths that were left out, sorted, and why. */
  leftOut: { path: string; reason: 'ignored' | 'secret' | 'special' | 'missing' | 'replaced' }[];
  warnings: ComposeWarning[];
}

/** Where the packed compose file stands in for the one that was read. */
const REPLACED_NAMES: ReadonlySet<string> = new Set([...COMPOSE_FILE_NAMES, ...OVERRIDE_FILE_NAMES].filter((name) => name !== 'docker-compose.yml'));

/** Larger trees are data and not an app. */
export const MAX_PROJECT_ENTRIES: number = 500_000;

/**
 * Returns everything the app needs from its directory.
 *
 * What is listed here is read later: a file that is another one by then, also by a link put on the way to it, is refused.
 *
 * @throws COMPOSE_FILE_MISSING, COMPOSE_PATH_OUTSIDE (also for links that lead outside), COMPOSE_IGNORE_FILE_INVALID, COMPOSE_TOO_COMPLEX
 */
export async function collectProjectFiles(project: Project, options: CollectOptions = {}): Promise<CollectedFiles> {
  const collector = new Collector(project, options, readIgnore(project.directory, options.ignoreFile ?? IGNORE_FILE_NAME));
  for (const file of project.localFiles) collector.refer(file);
  if (options.sourceFiles === true) for (const { path, key } of project.buildContexts) collector.standIn(path, key);
  return collector.result();
}

function readIgnore(directory: string, name: string): { rules: Ignore; name: string } {
  if (name === '') return { rules: IGNORE_NOTHING, name };
  const path = join(directory, name);
  try {
    return { rules: parseIgnoreFile(readText(path), path), name };
  } catch (error) {
    if (isKnownError(error, 'COMPOSE_FILE_NOT_FOUND')) return { rules: IGNORE_NOTHING, name: '' };
    throw error;
  }
}

/** A secret may be reached by other names than its own: links lead to it, or it is a link. */
function realPaths(directory: string, path: string): string[] {
  try {
    return [relative(realpathSync(directory), realpathSync(path))];
  } catch {
    return []; // it does not exist here, which is allowed
  }
}

/** Returns what tells a file from every other one on this machine. */
export function fileIdentity(stat: { dev: number; ino: number }): string {
  return `${stat.dev}:${stat.ino}`;
}

class Collector {
  readonly #directory: string;
  readonly #options: CollectOptions;
  readonly #ignore: { rules: Ignore; name: string };
  readonly #secrets: Set<string>;
  readonly #files = new Map<string, ProjectFile>();
  readonly #hostPaths = new Map<string, HostPath>();
  readonly #leftOut = new Map<string, CollectedFiles['leftOut'][number]['reason']>();
  readonly #warnings: ComposeWarning[] = [];
  readonly #visited = new Set<string>();

  constructor(project: Project, options: CollectOptions, ignore: { rules: Ignore; name: string }) {
    this.#directory = project.directory;
    this.#options = options;
    this.#ignore = ignore;
    const secrets = options.includeSecrets === true ? [] : project.localFiles.filter((file) => file.kind === 'secret');
    this.#secrets = new Set(secrets.flatMap((file) => [relative(project.directory, file.path), ...realPaths(project.directory, file.path)]));
  }

  refer(file: LocalFile): void {
    const isSource = file.kind === 'env' || file.kind === 'include' || file.kind === 'extends';
    if (isSource && this.#options.sourceFiles !== true) return;
    const path = relative(this.#directory, file.path);
    const outside = path === '..' || path.startsWith('../');
    if (outside && file.kind === 'env') return; // given with --env-file: an input of the packing, not of the app
    if (outside && file.kind === 'bind' && /^[/~]/.test(file.written)) {
      this.#hostPaths.set(file.path, { path: file.path, key: file.key });
      return;
    }
    if (file.kind === 'secret' && this.#options.includeSecrets !== true) {
      this.#leftOut.set(outside ? file.path : path, 'secret');
      this.#warn('SECRET_LEFT_OUT', `The file of ${file.key} is left out: "${file.written}"; it must be put on the device, or packed on request`, file);
      return;
    }
    if (outside) {
      throw faultAt(
        'COMPOSE_PATH_OUTSIDE',
        file.position,
        `Cannot pack "${file.written}" of ${file.key}: it is outside the project directory "${this.#directory}"`,
        {
          data: { path: file.path, key: file.key },
          hint: 'Move it into the project directory, or pack from the directory above with --project-directory',
        },
      );
    }
    this.#need(path, file, 0);
  }

  /**
   * Adds an empty directory where a build context is. Nothing is built on the device, the image is there; but docker-compose 1.29
   * refuses a compose file whose build contexts do not exist.
   */
  standIn(path: string, key: string): void {
    const inside = relative(this.#directory, path);
    if (!path.startsWith('/') || inside === '' || inside === '..' || inside.startsWith('../')) return;
    this.#empty(inside, key);
  }

  result(): CollectedFiles {
    return {
      files: [...this.#files.values()].sort((a, b) => compareUtf8(a.path, b.path)),
      hostPaths: [...this.#hostPaths.values()].sort((a, b) => compareUtf8(a.path, b.path)),
      leftOut: [...this.#leftOut].map(([path, reason]) => ({ path, reason })).sort((a, b) => compareUtf8(a.path, b.path)),
      warnings: this.#warnings,
    };
  }

  #warn(code: ComposeWarning['code'], message: string, file: LocalFile): void {
    this.#warnings.push({ code, message, ...(file.position === undefined ? {} : { position: file.position }) });
  }

  /** Adds a path and what is on the way to it; a link on the way is kept, and the way goes on where it leads. */
  #need(path: string, file: LocalFile, links: number): void {
    this.#options.signal?.throwIfAborted();
    if (links > 40) throw this.#linkFault(path, file, 'too many links follow each other');
    const parts = path === '' ? [] : path.split('/');
    let here = '';
    for (const [i, part] of parts.entries()) {
      if (this.#ignored(here === '' ? part : `${here}/${part}`) && i === parts.length - 1) {
        this.#leftOut.set(path, 'ignored');
        const stat = this.#stat(path);
        // What is in a data directory stays here, but something must be there to mount.
        if (file.kind === 'bind' && stat?.isDirectory()) return this.#add(path, 'directory', stat, file);
        if (file.required && links === 0) this.#warn('FILE_MISSING', `"${path}", needed by ${file.key}, is left out by ${this.#ignore.name}`, file);
        return;
      }
      here = here === '' ? part : `${here}/${part}`;
      // Its own reference says that it is left out.
      if (this.#secrets.has(here)) return;
      const stat = this.#stat(here);
      if (stat === undefined) return this.#missing(path, file, links);
      if (stat.isSymbolicLink()) {
        const target = this.#link(here, stat, file);
        return this.#need([target, ...parts.slice(i + 1)].filter((step) => step !== '').join('/'), file, links + 1);
      }
      if (i < parts.length - 1) {
        if (!stat.isDirectory()) return this.#missing(path, file, links);
        this.#add(here, 'directory', stat, file);
      } else this.#entry(here, stat, file);
    }
    if (parts.length === 0) this.#walk('', file);
  }

  #entry(path: string, stat: Stats, file: LocalFile): void {
    if (stat.isDirectory()) {
      this.#add(path, 'directory', stat, file);
      this.#walk(path, file);
    } else if (stat.isFile()) this.#add(path, 'file', stat, file);
    else {
      this.#leftOut.set(path, 'special');
      this.#warn('SPECIAL_FILE', `"${path}", needed by ${file.key}, is a socket, FIFO or device: it is left out`, file);
    }
  }

  /** Adds all of a directory. A stack of its own: directories nest deeper than calls should. */
  #walk(start: string, file: LocalFile): void {
    const pending = [start];
    for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
      if (this.#visited.has(directory)) continue;
      this.#visited.add(directory);
      this.#options.signal?.throwIfAborted();
      for (const name of this.#list(directory)) {
        const path = directory === '' ? name : `${directory}/${name}`;
        if (this.#secrets.has(path)) continue;
        // Tools prefer these to docker-compose.yml, or merge them over it: what they say is in it already, with pinned images.
        if (REPLACED_NAMES.has(path)) {
          this.#leftOut.set(path, 'replaced');
          continue;
        }
        const ignored = this.#ignored(path);
        if (ignored) this.#leftOut.set(path, 'ignored');
        const stat = this.#stat(path);
        if (stat === undefined) continue; // gone since it was listed
        if (stat.isDirectory()) {
          if (!ignored) this.#add(path, 'directory', stat, file);
          // An exception may take back something in an ignored directory; its parents come with it.
          if (!ignored || this.#ignore.rules.hasExceptions) pending.push(path);
        } else if (ignored) continue;
        else if (stat.isSymbolicLink()) {
          this.#parents(path, file);
          const target = this.#link(path, stat, file);
          // A link to something that is not there is kept as it is.
          if (this.#stat(target) !== undefined && !this.#inside(target, start)) this.#need(target, file, 1);
        } else {
          this.#parents(path, file);
          this.#entry(path, stat, file);
        }
      }
    }
  }

  #inside(path: string, directory: string): boolean {
    return directory === '' || path === directory || path.startsWith(`${directory}/`);
  }

  #parents(path: string, file: LocalFile): void {
    for (let at = dirname(path); at !== '.' && !this.#files.has(at); at = dirname(at)) {
      const stat = this.#stat(at);
      if (stat?.isDirectory()) this.#add(at, 'directory', stat, file);
    }
  }

  /** Adds a link and returns where it leads, relative to the project directory. */
  #link(path: string, stat: Stats, file: LocalFile): string {
    const target = readlinkSync(join(this.#directory, path), { encoding: 'buffer' });
    const text = decodeUtf8(target);
    if (text === undefined) throw this.#linkFault(path, file, 'its target is not UTF-8');
    if (text.startsWith('/')) throw this.#linkFault(path, file, `it leads to "${text}", outside the project directory`);
    const resolved = join(dirname(path), text);
    if (resolved === '..' || resolved.startsWith('../')) throw this.#linkFault(path, file, `it leads to "${text}", outside the project directory`);
    this.#parents(path, file);
    this.#add(path, 'symlink', stat, file, text);
    return resolved === '.' ? '' : resolved.replace(/\/$/, '');
  }

  #linkFault(path: string, file: LocalFile, reason: string): Error {
    return faultAt('COMPOSE_PATH_OUTSIDE', file.position, `Cannot pack link "${path}", needed by ${file.key}: ${reason}`, {
      data: { path: join(this.#directory, path), key: file.key },
      hint: 'Replace the link by what it leads to, or leave it out with .composeappignores',
    });
  }

  #missing(path: string, file: LocalFile, links: number): void {
    if (file.required) {
      throw faultAt('COMPOSE_FILE_MISSING', file.position, `Cannot pack "${file.written}" of ${file.key}: no such file`, {
        data: { path: file.path, key: file.key },
      });
    }
    this.#leftOut.set(path, 'missing');
    if (file.kind !== 'bind' || links > 0) return;
    // Docker makes the directory of a short-form bind when the container starts, and podman does not: so it is packed, empty.
    this.#warn('FILE_MISSING', `"${file.written}" of ${file.key} does not exist: an empty directory takes its place`, file);
    this.#empty(path, file.key);
  }

  /** Adds a directory and those on the way to it, without what is in them. */
  #empty(path: string, key: string): void {
    const parts = path.split('/');
    for (let i = 1; i <= parts.length; i++) {
      const at = parts.slice(0, i).join('/');
      const stat = this.#stat(at);
      if (stat !== undefined && !stat.isDirectory()) return;
      if (this.#files.has(at)) continue;
      this.#files.set(at, {
        path: at,
        kind: 'directory',
        source: stat === undefined ? '' : join(this.#directory, at),
        mode: stat === undefined ? 0o755 : stat.mode & 0o7777,
        sizeBytes: 0,
        key,
      });
    }
  }

  #add(path: string, kind: ProjectFile['kind'], stat: Stats, file: LocalFile, target?: string): void {
    if (this.#files.has(path)) return;
    if (this.#files.size >= MAX_PROJECT_ENTRIES) {
      throw composeError('COMPOSE_TOO_COMPLEX', `Cannot pack ${file.key}: more than ${MAX_PROJECT_ENTRIES} files`, {
        hint: 'Leave data out with .composeappignores',
        data: { key: file.key },
      });
    }
    this.#files.set(path, {
      path,
      kind,
      source: join(this.#directory, path),
      mode: stat.mode & 0o7777,
      sizeBytes: kind === 'file' ? stat.size : 0,
      ...(kind === 'file' ? { identity: fileIdentity(stat) } : {}),
      ...(target === undefined ? {} : { target }),
      key: file.key,
    });
  }

  #ignored(path: string): boolean {
    return (this.#ignore.name !== '' && path === this.#ignore.name) || this.#ignore.rules.ignores(path);
  }

  #stat(path: string): Stats | undefined {
    try {
      return lstatSync(join(this.#directory, path), { throwIfNoEntry: false });
    } catch (error) {
      if (errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'ENAMETOOLONG') return undefined;
      throw systemError(error, `Cannot look at "${path}"`) ?? error;
    }
  }

  #list(directory: string): string[] {
    let entries: Dirent<NonSharedBuffer>[];
    try {
      entries = readdirSync(join(this.#directory, directory), { encoding: 'buffer', withFileTypes: true });
    } catch (error) {
      throw systemError(error, `Cannot list "${directory}"`) ?? error;
    }
    return entries.map((entry) => {
      const name = decodeUtf8(entry.name);
      if (name === undefined) {
        throw composeError(
          'COMPOSE_FILE_INVALID',
          `Cannot pack "${directory}": it has a file whose name is not UTF-8: ${JSON.stringify(Buffer.from(entry.name).toString('latin1'))}`,
        );
      }
      return name;
    });
  }
}
