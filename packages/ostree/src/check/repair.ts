/**
 * Healing a repository: finds the objects of its commits that are missing or corrupt, gets them from other places, and
 * puts each in place by one rename after it has the checksum that names it. A bad object stays where it is until then.
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Bytes, type Checksum, errnoOf, isKnownError, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { parseCommit } from '../format/commit-format.ts';
import { checksumOf, isSymlink, parseDirMeta, parseDirTree } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { Commit, DirTree, FileHeader, MetadataType, ObjectType } from '../format/types.ts';
import { clearPartial, markPartial, partialReason } from '../repo/commit-markers.ts';
import { syncDirectory, writeFileDurably } from '../repo/durable-file.ts';
import { streamFile } from '../repo/object-reader.ts';
import type { Repo } from '../repo/repo.ts';
import { DEFAULT_ZLIB_LEVEL } from '../write/deflate.ts';
import { ObjectWriter } from '../write/object-writer.ts';
import { type Blame, blame } from './blame.ts';
import { verifyFiles } from './fsck-files.ts';
import { isSourceFailure, type RepairSource, type WantedFile } from './repair-source.ts';

export interface RepairOptions {
  /** The commits to heal; all that refs name, and all whose objects are here, when left out. Their parents are not followed. */
  commits?: readonly Checksum[] | undefined;
  /** Find and verify replacements; change nothing. */
  dryRun?: boolean | undefined;
  workers?: number | undefined;
}

export interface RepairedObject extends Blame {
  type: ObjectType;
  checksum: Checksum;
  missing: boolean;
  /** What is wrong with it. */
  message: string;
  /** Name of the source that had it; undefined when none had. */
  healedFrom: string | undefined;
  /** What the sources said that did not simply lack it. */
  refused: string[];
}

export type RepairEvent =
  | { type: 'progress'; done: number; total: number }
  | { type: 'bad'; objectType: ObjectType; checksum: Checksum; missing: boolean }
  | { type: 'healed'; objectType: ObjectType; checksum: Checksum; from: string };

export interface RepairResult {
  dryRun: boolean;
  commits: number;
  objects: number;
  bad: RepairedObject[];
  /** Commits that a check had marked as damaged, and that are whole again. */
  completed: Checksum[];
  /** Commits that still lack something, and are marked so. */
  damaged: Checksum[];
}

type Bad = Omit<RepairedObject, keyof Blame>;

/**
 * Heals what it can, source after source. Commits that were pulled in part on purpose may lack objects; corrupt ones of theirs are healed.
 * @throws OSTREE_REPO_READ_ONLY OSTREE_REPO_UNSUPPORTED OSTREE_LOCK_TIMEOUT, and what writing throws
 */
export async function repair(
  repo: Repo,
  sources: readonly RepairSource[],
  options: RepairOptions = {},
  signal?: AbortSignal,
  on: (event: RepairEvent) => void = (): void => undefined,
): Promise<RepairResult> {
  if (!repo.writable) throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot repair repository "${repo.path}": permission denied or read-only file system`);
  if (repo.mode === 'bare-split-xattrs')
    throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot repair repository "${repo.path}": mode bare-split-xattrs is for reading`);
  const lock = await repo.lock('shared', signal);
  let scratch: string | undefined;
  try {
    mkdirSync(join(repo.path, 'tmp'), { recursive: true, mode: 0o775 });
    // On the repository's own file system; one that a kill leaves goes with other old things in tmp.
    scratch = mkdtempSync(join(repo.path, 'tmp', 'repair-'));
    return await new Repair(repo, sources, options, scratch, signal, on).run();
  } catch (error) {
    throw systemError(error, `Cannot repair repository "${repo.path}"`) ?? error;
  } finally {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
    lock.release();
  }
}

class Repair {
  readonly #repo: Repo;
  readonly #sources: readonly RepairSource[];
  readonly #options: RepairOptions;
  readonly #scratch: string;
  readonly #signal: AbortSignal | undefined;
  readonly #on: (event: RepairEvent) => void;
  readonly #bad = new Map<string, Bad>();
  readonly #writer: ObjectWriter;
  readonly #metas = new Set<Checksum>();
  readonly #trees = new Set<Checksum>();
  /** Contents, and those among them that nothing but commits pulled in part needs. */
  readonly #files = new ObjectSet();
  readonly #optional = new ObjectSet();

  constructor(
    repo: Repo,
    sources: readonly RepairSource[],
    options: RepairOptions,
    scratch: string,
    signal: AbortSignal | undefined,
    on: (event: RepairEvent) => void,
  ) {
    this.#repo = repo;
    this.#sources = sources;
    this.#options = options;
    this.#scratch = scratch;
    this.#signal = signal;
    this.#on = on;
    const { mode, settings } = repo;
    this.#writer = new ObjectWriter(
      {
        mode,
        disableXattrs: settings.disableXattrs,
        staging: scratch,
        destination: scratch,
        present: [],
        zlibLevel: settings.zlibLevel ?? DEFAULT_ZLIB_LEVEL,
        syncEach: settings.fsync,
        umask: process.umask(),
      },
      'main',
      undefined,
    );
  }

  async run(): Promise<RepairResult> {
    const roots = this.#roots();
    // Complete ones first: what they need must be there, whoever else can do without.
    for (const tolerant of [false, true]) {
      for (const commit of roots) if (this.#isTolerant(commit) === tolerant) await this.#walk(commit, tolerant);
    }
    await this.#checkFiles();
    const { dryRun = false } = this.#options;
    const bad = [...this.#bad.values()].sort((a, b) => (a.checksum < b.checksum ? -1 : a.checksum > b.checksum ? 1 : 0));
    const blames = blame(this.#repo, roots, bad);
    await this.#healFiles(
      bad,
      blames.map(({ paths }) => paths),
    );
    const found = bad.map((object, i): RepairedObject => ({ ...object, ...(blames[i] as Blame) }));
    const objects = roots.length + this.#trees.size + this.#metas.size + this.#files.size;
    return { dryRun, commits: roots.length, objects, bad: found, ...this.#mark(roots, found) };
  }

  #roots(): Checksum[] {
    if (this.#options.commits !== undefined) return [...new Set(this.#options.commits)];
    const roots = new Set<Checksum>(this.#repo.refs.list().values());
    for (const { checksum } of this.#repo.refs.collectionRefs()) roots.add(checksum);
    for (const { type, checksum } of this.#repo.listObjects()) if (type === 'commit') roots.add(checksum);
    return [...roots].sort();
  }

  #isTolerant(commit: Checksum): boolean {
    return partialReason(this.#repo, commit) === 'pull';
  }

  async #walk(checksum: Checksum, tolerant: boolean): Promise<void> {
    const commit = await this.#metadata<Commit>('commit', checksum, parseCommit, false);
    if (commit === undefined) return;
    await this.#meta(commit.root.meta, tolerant);
    const stack: Checksum[] = [commit.root.tree];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      if (this.#trees.has(at)) continue;
      this.#trees.add(at);
      this.#signal?.throwIfAborted();
      const tree = await this.#metadata<DirTree>('dirtree', at, parseDirTree, tolerant);
      for (const file of tree?.files ?? []) {
        if (this.#files.add('file', file.checksum) && tolerant) this.#optional.add('file', file.checksum);
      }
      for (const dir of tree?.dirs ?? []) {
        await this.#meta(dir.meta, tolerant);
        stack.push(dir.tree);
      }
    }
  }

  async #meta(checksum: Checksum, tolerant: boolean): Promise<void> {
    if (this.#metas.has(checksum)) return;
    this.#metas.add(checksum);
    await this.#metadata('dirmeta', checksum, parseDirMeta, tolerant);
  }

  /** Returns a metadata object, healed if need be; undefined when it is lost. */
  async #metadata<T>(type: MetadataType, checksum: Checksum, parse: (bytes: Uint8Array, what: string) => T, tolerant: boolean): Promise<T | undefined> {
    const what = `${type} ${checksum}`;
    try {
      return parse(this.#repo.readMetadata(type, checksum), what);
    } catch (error) {
      const unreadable = ['EIO', 'EACCES', 'EISDIR', 'EINVAL'].includes(errnoOf(error) ?? '');
      if (!isKnownError(error) && !unreadable) throw error;
      const missing = isKnownError(error, 'OSTREE_OBJECT_MISSING');
      if (missing && tolerant) return undefined;
      const bad = this.#note(type, checksum, missing, (error as Error).message);
      return this.#healMetadata(bad, type, parse);
    }
  }

  async #healMetadata<T>(bad: Bad, type: MetadataType, parse: (bytes: Uint8Array, what: string) => T): Promise<T | undefined> {
    const { checksum } = bad;
    for (const source of this.#sources) {
      const bytes = await this.#ask(bad, source, () => source.metadata(type, checksum, this.#signal));
      if (bytes === undefined) continue;
      if (checksumOf(bytes) !== checksum) {
        bad.refused.push(`${source.name}: what it has does not match the checksum`);
        continue;
      }
      const value = parse(bytes, `${type} ${checksum}`);
      if (this.#options.dryRun !== true) {
        // Until all it reaches has been looked at, whoever finds a commit that was not there must know.
        if (type === 'commit' && bad.missing) markPartial(this.#repo, checksum, 'fsck');
        const staged = join(this.#scratch, 'metadata');
        writeFileDurably(staged, bytes, { sync: this.#repo.settings.fsync, mode: 0o644 });
        this.#place(staged, type, checksum);
      }
      this.#healed(bad, source);
      return value;
    }
    return undefined;
  }

  async #checkFiles(): Promise<void> {
    const total = this.#files.size;
    const names = function* (files: ObjectSet): Generator<Checksum> {
      for (const { checksum } of files) yield checksum;
    };
    let done = 0;
    await verifyFiles(this.#repo, names(this.#files), {
      workers: this.#options.workers,
      expected: total,
      signal: this.#signal,
      onBatch: ({ bad }, count) => {
        for (const { checksum, missing, message } of bad) if (!missing || !this.#optional.has('file', checksum)) this.#note('file', checksum, missing, message);
        done += count;
        this.#on({ type: 'progress', done, total });
      },
    });
  }

  async #healFiles(bad: readonly Bad[], paths: ReadonlyArray<readonly string[]>): Promise<void> {
    const wanted = bad.flatMap((object, i): { object: Bad; file: WantedFile }[] =>
      object.type === 'file' ? [{ object, file: this.#wantedFile(object.checksum, paths[i] as readonly string[]) }] : [],
    );
    for (const source of this.#sources) {
      const left = wanted.filter(({ object }) => object.healedFrom === undefined);
      if (left.length === 0) return;
      await source.prepare?.(
        left.map(({ file }) => file),
        this.#signal,
      );
      for (const { object, file } of left) {
        this.#signal?.throwIfAborted();
        const found = await this.#ask(object, source, () =>
          source.file(file, (header, size, content) => this.#takeFile(file.checksum, header, size, content), this.#signal),
        );
        if (found === true) this.#healed(object, source);
      }
    }
  }

  #wantedFile(checksum: Checksum, blamed: readonly string[]): WantedFile {
    const owners: WantedFile['owners'][number][] = [];
    for (const path of blamed) {
      const owner = this.#ownerOfParent(path);
      if (owner !== undefined) owners.push(owner);
    }
    return {
      checksum,
      paths: blamed.map((path) => path.slice(path.indexOf(':') + 1)),
      owners,
      header: quietly(() => this.#repo.readFileHeader(checksum).header),
    };
  }

  /** @param path as of {@link Blame} */
  #ownerOfParent(path: string): { uid: number; gid: number } | undefined {
    const [commit, ...names] = path.split(/:\/|\//) as [Checksum, ...string[]];
    return quietly(() => {
      let at = this.#repo.readCommit(commit).root;
      for (const name of names.slice(0, -1)) {
        const next = this.#repo.readDirTree(at.tree).dirs.find((dir) => dir.name === name);
        if (next === undefined) return undefined;
        at = next;
      }
      const { uid, gid } = this.#repo.readDirMeta(at.meta);
      return { uid, gid };
    });
  }

  /** Writes a content aside as this repository stores it, reads it back, and puts it in place. */
  async #takeFile(checksum: Checksum, header: FileHeader, sizeBytes: number, content: Bytes): Promise<void> {
    // A link is no file with content: in most modes it is a link on disk too.
    const written = isSymlink(header) ? this.#writer.writeFile(header, new Uint8Array(0)) : await this.#writeContent(header, sizeBytes, content);
    const staged = join(this.#scratch, loosePath('file', written.checksum, this.#repo.mode));
    try {
      if (written.checksum !== checksum) throw ostreeError('OSTREE_OBJECT_CORRUPT', `File object ${checksum} does not match its checksum`);
      // A bare-user-only repository keeps no owner, and a user cannot give files away: such an object would be bad again.
      for await (const _chunk of streamFile({ mode: this.#repo.mode, disableXattrs: this.#repo.settings.disableXattrs }, staged, checksum, this.#signal)) {
        // Reading is verifying.
      }
      if (this.#options.dryRun !== true) this.#place(staged, 'file', checksum);
    } finally {
      rmSync(staged, { force: true });
    }
  }

  async #writeContent(header: FileHeader, sizeBytes: number, content: Bytes): Promise<{ checksum: Checksum }> {
    const stream = this.#writer.begin(header, sizeBytes, { isNew: true });
    try {
      for await (const chunk of content) stream.write(chunk);
    } catch (error) {
      stream.abort();
      throw error;
    }
    return stream.end();
  }

  #place(staged: string, type: ObjectType, checksum: Checksum): void {
    const path = this.#repo.objectPath(type, checksum);
    mkdirSync(dirname(path), { recursive: true });
    try {
      renameSync(staged, path);
    } catch (error) {
      if (errnoOf(error) !== 'EISDIR') throw error;
      // A directory in an object's place.
      renameSync(path, join(this.#scratch, `replaced-${checksum}`));
      renameSync(staged, path);
    }
    if (this.#repo.settings.fsync) syncDirectory(dirname(path));
  }

  /** Asks a source; what it fails with is noted, and the next one is asked. */
  async #ask<T>(bad: Bad, source: RepairSource, get: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await get();
    } catch (error) {
      this.#signal?.throwIfAborted();
      if (!isSourceFailure(error)) throw error;
      bad.refused.push(`${source.name}: ${(error as Error).message}`);
      return undefined;
    }
  }

  #note(type: ObjectType, checksum: Checksum, missing: boolean, message: string): Bad {
    const key = `${checksum}.${type}`;
    const known = this.#bad.get(key);
    if (known !== undefined) return known;
    const bad: Bad = { type, checksum, missing, message, healedFrom: undefined, refused: [] };
    this.#bad.set(key, bad);
    this.#on({ type: 'bad', objectType: type, checksum, missing });
    return bad;
  }

  #healed(bad: Bad, source: RepairSource): void {
    bad.healedFrom = source.name;
    this.#on({ type: 'healed', objectType: bad.type, checksum: bad.checksum, from: source.name });
  }

  /** A commit that lacks something is marked as a check would mark it; one that has all again loses the mark. */
  #mark(roots: readonly Checksum[], found: readonly RepairedObject[]): { completed: Checksum[]; damaged: Checksum[] } {
    const lost = found.filter(({ healedFrom }) => healedFrom === undefined);
    const hurt = new Set(lost.flatMap(({ commits }) => commits));
    const lacking = new Set(lost.filter(({ missing }) => missing).flatMap(({ commits }) => commits));
    const completed = roots.filter((commit) => !hurt.has(commit) && partialReason(this.#repo, commit) === 'fsck');
    const damaged = roots.filter((commit) => lacking.has(commit));
    if (this.#options.dryRun !== true) {
      for (const commit of completed) clearPartial(this.#repo, commit);
      for (const commit of damaged) if (partialReason(this.#repo, commit) === undefined) markPartial(this.#repo, commit, 'fsck');
    }
    return { completed, damaged };
  }
}

function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    // A guess that cannot be had is done without.
    return undefined;
  }
}
