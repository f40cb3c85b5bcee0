/**
 * Publishing: copies commits, their static deltas and the summary of an archive repository to another place. Objects go
 * first, commits after what they reach, refs and the summary last; nothing has its final name before it is whole. So a
 * push that is killed leaves a sound repository, and the next one sends what is missing.
 */
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Checksum, mapLimit, systemError } from '@cambium/base';
import { verifyFiles } from '../check/fsck-files.ts';
import { ostreeError } from '../errors.ts';
import { deltaPath, listDeltaIndexes, listDeltas } from '../format/delta-path.ts';
import { KeyFile } from '../format/key-file.ts';
import { MAX_METADATA_BYTES } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import { repoModeOf } from '../format/repo-mode.ts';
import { parseSummary } from '../format/summary.ts';
import { partialReason } from '../repo/commit-markers.ts';
import type { Repo } from '../repo/repo.ts';
import { traverse } from '../repo/traverse.ts';
import { NEW_PUBLIC_CONFIG } from './public-config.ts';
import type { PushFile, PushTarget } from './push-target.ts';

export interface PushOptions {
  /** Local refs; all of them when left out. Each brings the commit it names, without parents. */
  refs?: readonly string[] | undefined;
  dryRun?: boolean | undefined;
  workers?: number | undefined;
}

export type PushEvent = { type: 'plan'; objects: number; bytes: number } | { type: 'sent'; files: number; bytes: number; total: number };

export interface PushResult {
  dryRun: boolean;
  target: string;
  /** Objects sent, or to be sent; and their bytes. */
  objects: number;
  objectBytes: number;
  /** Objects that were there already. */
  present: number;
  /** Static deltas sent, as `FROM-TO` or `TO`. */
  deltas: string[];
  /** Refs that moved. */
  refs: { ref: string; from: Checksum | undefined; to: Checksum }[];
  /** Whether the summary went: only one that says of the pushed refs what is true, and names no other, is sent. */
  summary: 'sent' | 'same' | 'none' | 'other-refs';
}

const MAX_CONFIG_BYTES = 1024 * 1024;
const MAX_REF_BYTES = 1024;
/** Of a new repository. `objects` comes after its config: a place that has objects and no config is not a new one. */
const DIRECTORIES = ['tmp', 'extensions', 'state', 'refs', 'refs/heads', 'refs/mirrors', 'refs/remotes'];

/**
 * @throws OSTREE_REPO_UNSUPPORTED unless both sides are of mode archive, OSTREE_REF_NOT_FOUND OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT
 *   OSTREE_PUSH_FAILED
 */
export async function push(
  repo: Repo,
  target: PushTarget,
  options: PushOptions = {},
  signal?: AbortSignal,
  on: (event: PushEvent) => void = (): void => undefined,
): Promise<PushResult> {
  if (repo.mode !== 'archive') {
    throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot push from "${repo.path}": its mode is ${repo.mode}, and only archive repositories are served`, {
      hint: 'Copy it into one first: cambium ostree init --repo=PUBLIC --mode=archive, then cambium ostree pull-local --repo=PUBLIC REPO',
    });
  }
  const refs = wantedRefs(repo, options.refs);
  // What is found there must not be pruned before the refs that need it are.
  const release = await target.hold(signal);
  const lock = await repo.lock('shared', signal);
  try {
    return await run(repo, target, refs, options, signal, on);
  } catch (error) {
    throw systemError(error, `Cannot push to "${target.name}"`) ?? error;
  } finally {
    lock.release();
    release();
  }
}

async function run(
  repo: Repo,
  target: PushTarget,
  refs: ReadonlyMap<string, Checksum>,
  options: PushOptions,
  signal: AbortSignal | undefined,
  on: (event: PushEvent) => void,
): Promise<PushResult> {
  const { dryRun = false } = options;
  const isNew = await checkTarget(target, signal);
  const objects = await missingObjects(repo, target, [...refs.values()], signal);
  await verify(repo, objects, options.workers, signal);
  const commits = new Set(refs.values());
  const deltas = await missingDeltas(repo, target, commits, signal);
  const there = await mapLimit(refs.keys(), target.atOnce, async (ref) => {
    const bytes = await target.read(`refs/heads/${ref}`, MAX_REF_BYTES, signal);
    return Buffer.from(bytes ?? [])
      .toString('latin1')
      .trim();
  });
  const moved: PushResult['refs'] = [];
  for (const [i, [ref, to]] of [...refs].entries()) {
    const from = there[i] as string;
    if (from !== to) moved.push({ ref, from: from === '' ? undefined : (from as Checksum), to });
  }
  const { state: summary, files: summaryFiles } = await summaryOf(repo, target, refs, signal);
  const objectBytes = bytesOf(objects.files) + bytesOf(objects.commits);
  const count = objects.files.length + objects.commits.length;
  const result: PushResult = {
    dryRun,
    target: target.name,
    objects: count,
    objectBytes,
    present: objects.present,
    deltas: deltas.map(({ name }) => name),
    refs: moved,
    summary,
  };
  on({ type: 'plan', objects: count, bytes: objectBytes });
  if (dryRun) return result;

  // In this order: whoever sees a name finds all that it leads to.
  const stages: PushFile[][][] = [
    [objects.files],
    [objects.detached, objects.commits],
    [deltas.flatMap(({ parts }) => parts)],
    [deltas.map(({ superblock }) => superblock), indexFiles(repo, commits)],
    [moved.map(({ ref, to }) => ({ path: `refs/heads/${ref}`, content: Buffer.from(`${to}\n`) }))],
    summaryFiles.map((file) => [file]),
  ];
  await target.makeDirectories(isNew ? DIRECTORIES : ['tmp'], signal);
  if (isNew) {
    await target.put([[{ path: 'config', content: Buffer.from(NEW_PUBLIC_CONFIG) }]], signal, () => undefined);
    await target.makeDirectories(['objects'], signal);
  }
  const directories = new Set<string>();
  for (const { path } of stages.flat(2)) for (let at = dirname(path); at !== '.'; at = dirname(at)) directories.add(at);
  await target.makeDirectories([...directories].sort(), signal);
  const total = bytesOf(stages.flat(2));
  let files = 0;
  let bytes = 0;
  for (const stage of stages) {
    if (stage.every((group) => group.length === 0)) continue;
    await target.put(stage, signal, (file) => {
      files++;
      bytes += sizeOf(file);
      on({ type: 'sent', files, bytes, total });
    });
    await target.settle();
  }
  return result;
}

function wantedRefs(repo: Repo, names: readonly string[] | undefined): Map<string, Checksum> {
  const local = new Map([...repo.refs.list()].filter(([ref]) => !ref.includes(':')));
  const refs = names === undefined || names.length === 0 ? local : new Map<string, Checksum>();
  for (const ref of names ?? []) {
    const checksum = local.get(ref);
    if (checksum === undefined) throw ostreeError('OSTREE_REF_NOT_FOUND', `No local ref '${ref}' in "${repo.path}"`, { data: { ref } });
    refs.set(ref, checksum);
  }
  for (const [ref, checksum] of refs) {
    if (partialReason(repo, checksum) === undefined) continue;
    throw ostreeError('OSTREE_OBJECT_MISSING', `Cannot push ${ref}: commit ${checksum} is not complete here`, { data: { ref, checksum } });
  }
  return refs;
}

/** Returns whether there is no repository yet. */
async function checkTarget(target: PushTarget, signal: AbortSignal | undefined): Promise<boolean> {
  const config = await target.read('config', MAX_CONFIG_BYTES, signal);
  if (config === undefined) {
    // Of whatever mode it is: a new config would make another repository of it.
    if (!(await target.exists('objects', signal))) return true;
    throw ostreeError('OSTREE_PUSH_FAILED', `Cannot push to ${target.name}: it has objects and no config`, {
      hint: 'Put its config back, or push to a place that is empty',
    });
  }
  const mode = repoModeOf(KeyFile.parse(Buffer.from(config).toString('utf8'), `config of ${target.name}`).string('core', 'mode')?.trim() ?? 'bare');
  if (mode !== 'archive')
    throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot push to ${target.name}: the mode of the repository there is ${mode ?? 'unknown'}, not archive`);
  return false;
}

interface Missing {
  files: PushFile[];
  detached: PushFile[];
  commits: PushFile[];
  contents: Checksum[];
  present: number;
}

async function missingObjects(repo: Repo, target: PushTarget, commits: readonly Checksum[], signal: AbortSignal | undefined): Promise<Missing> {
  const reached = traverse(repo, commits, { depth: 0 });
  const prefixes = new Set<string>();
  for (const { checksum } of reached) prefixes.add(`objects/${checksum.slice(0, 2)}`);
  const there = new Set<string>();
  for (const [directory, names] of await target.list([...prefixes].sort(), signal)) for (const name of names) there.add(`${directory}/${name}`);
  const missing: Missing = { files: [], detached: [], commits: [], contents: [], present: 0 };
  for (const { type, checksum } of reached) {
    const path = `objects/${loosePath(type, checksum, 'archive')}`;
    const local = repo.findObject(type, checksum);
    const detached = type === 'commit' ? repo.findObject('commitmeta', checksum) : undefined;
    // Signatures may have come after the commit was pushed.
    if (detached !== undefined) missing.detached.push({ path: `objects/${loosePath('commitmeta', checksum, 'archive')}`, content: detached });
    if (there.has(path)) {
      missing.present++;
      continue;
    }
    if (local === undefined) throw ostreeError('OSTREE_OBJECT_MISSING', `No such object ${checksum}.${type}`, { data: { checksum, type } });
    if (type === 'file' && !local.endsWith('.filez'))
      throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot push ${checksum}.file: it is in a parent repository of another mode`);
    if (type === 'file') missing.contents.push(checksum);
    (type === 'commit' ? missing.commits : missing.files).push({ path, content: local });
  }
  return missing;
}

/** What is published is sound: metadata was read and verified on the way here, contents are now. */
async function verify(repo: Repo, { contents }: Missing, workers: number | undefined, signal: AbortSignal | undefined): Promise<void> {
  await verifyFiles(repo, contents, {
    workers,
    expected: contents.length,
    signal,
    onBatch: ({ bad: [bad] }) => {
      if (bad === undefined) return;
      throw ostreeError(bad.missing ? 'OSTREE_OBJECT_MISSING' : 'OSTREE_OBJECT_CORRUPT', `Cannot push: ${bad.message}`, {
        data: { checksum: bad.checksum, type: 'file' },
        hint: 'Heal the repository first: cambium ostree repair',
      });
    },
  });
}

async function missingDeltas(
  repo: Repo,
  target: PushTarget,
  commits: ReadonlySet<Checksum>,
  signal: AbortSignal | undefined,
): Promise<{ name: string; parts: PushFile[]; superblock: PushFile }[]> {
  const found: { name: string; parts: PushFile[]; superblock: PushFile }[] = [];
  const wanted = [...listDeltas(repo.path)].filter((delta) => commits.has(delta.to) && existsSync(join(repo.path, deltaPath(delta), 'superblock')));
  await mapLimit(wanted, target.atOnce, async (delta) => {
    const directory = deltaPath(delta);
    const local = join(repo.path, directory, 'superblock');
    const superblock = readFileSync(local);
    const there = await target.read(`${directory}/superblock`, MAX_METADATA_BYTES, signal);
    // It names its parts by checksum, and was put after them.
    if (there !== undefined && superblock.equals(there)) return;
    const parts = readdirSync(join(repo.path, directory))
      .filter((name) => /^\d+$/.test(name))
      .map((name): PushFile => ({ path: `${directory}/${name}`, content: join(repo.path, directory, name) }));
    found.push({
      name: delta.from === undefined ? delta.to : `${delta.from}-${delta.to}`,
      parts,
      superblock: { path: `${directory}/superblock`, content: local },
    });
  });
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function indexFiles(repo: Repo, commits: ReadonlySet<Checksum>): PushFile[] {
  return [...listDeltaIndexes(repo.path)]
    .filter(({ to }) => commits.has(to))
    .map(({ path }): PushFile => ({ path: path.slice(repo.path.length + 1), content: path }));
}

async function summaryOf(
  repo: Repo,
  target: PushTarget,
  refs: ReadonlyMap<string, Checksum>,
  signal: AbortSignal | undefined,
): Promise<{ state: PushResult['summary']; files: PushFile[] }> {
  const local = join(repo.path, 'summary');
  if (!existsSync(local)) return { state: 'none', files: [] };
  const bytes = readFileSync(local);
  const named = parseSummary(bytes, `summary of "${repo.path}"`).refs;
  if (named.length !== refs.size || !named.every(({ ref, checksum }) => refs.get(ref) === checksum)) return { state: 'other-refs', files: [] };
  const files = ['summary', 'summary.sig'].filter((name) => existsSync(join(repo.path, name)));
  const there = await Promise.all(files.map((name) => target.read(name, MAX_METADATA_BYTES, signal)));
  const isSame = files.every((name, i) => there[i] !== undefined && readFileSync(join(repo.path, name)).equals(there[i]));
  return isSame ? { state: 'same', files: [] } : { state: 'sent', files: files.map((name) => ({ path: name, content: join(repo.path, name) })) };
}

function sizeOf({ content }: PushFile): number {
  return typeof content === 'string' ? lstatSync(content).size : content.byteLength;
}

function bytesOf(files: readonly PushFile[]): number {
  return files.reduce((sum, file) => sum + sizeOf(file), 0);
}
