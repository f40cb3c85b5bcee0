/**
 * Making static deltas. Any program of operations that makes the objects is a valid delta; which similar file is copied from
 * is a matter of size only. Source of order, thresholds and defaults: `ostree static-delta generate`, libostree 2022.7.
 */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Checksum, createPool, type Pool, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { encodeMetadata } from '../format/commit-format.ts';
import { deltaPath } from '../format/delta-path.ts';
import { checksumOf, isSymlink } from '../format/object-format.ts';
import type { ObjectName } from '../format/object-set.ts';
import type { FileHeader, Metadata, MetadataType } from '../format/types.ts';
import { syncDirectory, writeFileDurably } from '../repo/durable-file.ts';
import type { Repo } from '../repo/repo.ts';
import { traverse } from '../repo/traverse.ts';
import { type DeltaReply, type DeltaTask, type Recipe, runDeltaTask } from './delta-tasks.ts';
import { PartBuilder } from './part-builder.ts';
import { SimilarFiles } from './similar.ts';
import { type DeltaFallback, type DeltaPartHeader, type Endianness, encodeSignedSuperblock, encodeSuperblock } from './superblock.ts';

export interface GenerateDeltaOptions {
  /** Undefined: from nothing. Its files must be here. */
  from: Checksum | undefined;
  to: Checksum;
  /** Parts inside the superblock. */
  inline?: boolean;
  /** Write the superblock there and the parts beside it, instead of into the repository. */
  filename?: string;
  /** Default `little`. */
  endianness?: Endianness;
  /** Larger regular files are left out, to be fetched singly; 0: none. Default 4 MB. */
  minFallbackBytes?: number;
  /** Most bytes, old and new together, for which a patch is tried. Default 128 MB. */
  maxBsdiffBytes?: number;
  /** Payload of a part, unless a single object is larger. Default 32 MB. */
  maxChunkBytes?: number;
  disableBsdiff?: boolean;
  /** Seconds since 1970; now when left out. */
  timestamp?: bigint;
  /** For the delta's own metadata. */
  metadata?: Metadata;
  /** Returns signatures over the superblock, `ostree.sign.TYPE`: `aay`; the superblock is put into a signed envelope. */
  sign?: (superblock: Uint8Array) => Promise<Metadata>;
  /** Threads that compare and compress, 95 MB each; 2 when left out, none with 0. */
  workers?: number;
}

export type GenerateDeltaEvent =
  | { type: 'reachable'; modified: number; metadata: number; regular: number; symlinks: number }
  | { type: 'rollsum'; from: Checksum; to: Checksum; copiedBytes: number }
  | { type: 'fallback'; checksum: Checksum; sizeBytes: number }
  | { type: 'part'; index: number; objects: number; sizeBytes: number; usizeBytes: number };

export interface GenerateDeltaResult {
  /** Of the superblock. */
  path: string;
  checksum: Checksum;
  parts: number;
  fallbacks: number;
  sizeBytes: number;
  usizeBytes: number;
  /** Stored size of the objects that parts make. */
  looseBytes: number;
  rollsum: { objects: number; bytes: number };
  bsdiff: { objects: number };
}

const MB = 1_000_000;
/** Larger files are not compared, and not put into parts: both want them in memory. */
const MAX_FILE_BYTES = 512 * 1024 * 1024;
const DEFAULT_WORKERS = 2;

/**
 * Writes a delta. One that is there is replaced, the superblock last.
 * @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_OBJECT_TOO_LARGE OSTREE_REPO_READ_ONLY
 */
export async function generateDelta(
  repo: Repo,
  options: GenerateDeltaOptions,
  signal?: AbortSignal,
  on?: (event: GenerateDeltaEvent) => void,
): Promise<GenerateDeltaResult> {
  const { filename, from, to } = options;
  if (filename === undefined && !repo.writable) {
    throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot write a static delta to repository "${repo.path}": permission denied or read-only file system`);
  }
  const place =
    filename === undefined
      ? { directory: join(repo.path, deltaPath({ from, to })), name: 'superblock', own: true }
      : { directory: dirname(filename), name: basename(filename), own: false };
  let staging: string | undefined;
  const generation = new Generation(repo, options, () => (staging ??= makeStaging(place.own ? join(repo.path, 'tmp') : place.directory)), signal, on);
  try {
    const { superblock, result } = await generation.run();
    mkdirSync(place.directory, { recursive: true });
    const path = join(place.directory, place.name);
    // Whoever reads meanwhile finds no delta rather than parts of two.
    if (place.own) for (const name of readdirSync(place.directory).sort(superblockFirst)) rmSync(join(place.directory, name), { recursive: true });
    if (staging !== undefined) for (const name of readdirSync(staging)) renameSync(join(staging, name), join(place.directory, name));
    writeFileDurably(path, superblock, { sync: repo.settings.fsync, mode: 0o644 });
    if (repo.settings.fsync) syncDirectory(place.directory);
    return { ...result, path };
  } catch (error) {
    throw systemError(error, 'Cannot write static delta') ?? error;
  } finally {
    if (staging !== undefined) rmSync(staging, { recursive: true, force: true });
    await generation.close();
  }
}

function makeStaging(directory: string): string {
  mkdirSync(directory, { recursive: true });
  return mkdtempSync(join(directory, '.delta-'));
}

function superblockFirst(a: string, b: string): number {
  return Number(b === 'superblock') - Number(a === 'superblock');
}

interface NewFile extends ObjectName {
  header: FileHeader;
  sizeBytes: number;
}

class Generation {
  readonly #repo: Repo;
  readonly #options: GenerateDeltaOptions;
  readonly #staging: () => string;
  readonly #signal: AbortSignal | undefined;
  readonly #on: ((event: GenerateDeltaEvent) => void) | undefined;
  readonly #lanes: number;
  #pool: Pool<DeltaTask, DeltaReply> | undefined;
  #part = new PartBuilder();
  readonly #headers: DeltaPartHeader[] = [];
  readonly #inline = new Map<number, Uint8Array>();
  readonly #compressing: Promise<void>[] = [];
  #partCount = 0;
  #looseBytes = 0;
  readonly #rollsum = { objects: 0, bytes: 0 };
  readonly #bsdiff = { objects: 0 };

  constructor(
    repo: Repo,
    options: GenerateDeltaOptions,
    staging: () => string,
    signal: AbortSignal | undefined,
    on: ((event: GenerateDeltaEvent) => void) | undefined,
  ) {
    this.#repo = repo;
    this.#options = options;
    this.#staging = staging;
    this.#signal = signal;
    this.#on = on;
    this.#lanes = options.workers ?? DEFAULT_WORKERS;
  }

  async run(): Promise<{ superblock: Uint8Array; result: Omit<GenerateDeltaResult, 'path'> }> {
    const { from, to, minFallbackBytes = 4 * MB } = this.#options;
    const { metadata, regular, symlinks } = this.#newObjects();
    const similar = from === undefined ? undefined : new SimilarFiles(this.#repo, from, to);
    const sources = new Map<NewFile, { checksum: Checksum; sizeBytes: number }>();
    for (const file of regular) {
      const source = file.sizeBytes > MAX_FILE_BYTES ? undefined : similar?.find(file.checksum, file.sizeBytes);
      if (source !== undefined && source.sizeBytes <= MAX_FILE_BYTES) sources.set(file, source);
    }
    this.#on?.({ type: 'reachable', modified: sources.size, metadata: metadata.length + 1, regular: regular.length, symlinks: symlinks.length });
    for (const object of metadata) {
      const bytes = this.#repo.readMetadata(object.type as MetadataType, object.checksum);
      await this.#emit(object, bytes.byteLength, (part) => part.addMetadata(object, bytes));
    }
    const whole = new Set(regular);
    await this.#emitSimilar(sources, whole);
    const fallbacks: DeltaFallback[] = [];
    for (const file of whole) {
      if (minFallbackBytes > 0 && file.sizeBytes > minFallbackBytes) {
        const { type, checksum, sizeBytes } = file;
        fallbacks.push({ type, checksum, sizeBytes: this.#storedBytes(file), usizeBytes: sizeBytes });
        this.#on?.({ type: 'fallback', checksum, sizeBytes });
        continue;
      }
      const content = this.#repo.readFile(file.checksum, MAX_FILE_BYTES);
      await this.#emit(file, content.byteLength, (part) => part.addContent(file, file.header, content));
    }
    for (const link of symlinks) await this.#emit(link, link.header.target.length, (part) => part.addContent(link, link.header, new Uint8Array(0)));
    // A delta of nothing but the commit has an empty part, as libostree's.
    if (this.#part.objectCount > 0 || this.#partCount === 0) this.#finishPart();
    await Promise.all(this.#compressing);
    return this.#finish(fallbacks);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#compressing);
    await this.#pool?.close();
  }

  async #finish(fallbacks: DeltaFallback[]): Promise<{ superblock: Uint8Array; result: Omit<GenerateDeltaResult, 'path'> }> {
    const { from, to, endianness = 'little', timestamp, metadata, sign } = this.#options;
    const detached = this.#repo.readDetachedMetadata(to);
    const bare = encodeSuperblock({
      ...(metadata === undefined ? {} : { metadata }),
      endianness,
      timestamp: timestamp ?? BigInt(Math.floor(Date.now() / 1000)),
      from,
      to,
      commitBytes: this.#repo.readMetadata('commit', to),
      parts: this.#headers,
      fallbacks,
      // Threads end in any order; equal input makes equal deltas.
      inlineParts: new Map([...this.#inline].sort(([a], [b]) => a - b)),
      detached: detached === undefined ? undefined : encodeMetadata(detached),
    });
    const superblock = sign === undefined ? bare : encodeSignedSuperblock(bare, await sign(bare));
    const sum = (of: (header: DeltaPartHeader) => number): number => this.#headers.reduce((total, header) => total + of(header), 0);
    return {
      superblock,
      result: {
        checksum: checksumOf(superblock),
        parts: this.#headers.length,
        fallbacks: fallbacks.length,
        sizeBytes: sum(({ sizeBytes }) => sizeBytes),
        usizeBytes: sum(({ usizeBytes }) => usizeBytes),
        looseBytes: this.#looseBytes,
        rollsum: this.#rollsum,
        bsdiff: this.#bsdiff,
      },
    };
  }

  /** Everything the new commit reaches and the old one does not, without the commit itself. */
  #newObjects(): { metadata: ObjectName[]; regular: NewFile[]; symlinks: NewFile[] } {
    const { from, to } = this.#options;
    const old = from === undefined ? undefined : traverse(this.#repo, [from], { depth: 0 });
    const found: { metadata: ObjectName[]; regular: NewFile[]; symlinks: NewFile[] } = { metadata: [], regular: [], symlinks: [] };
    for (const object of traverse(this.#repo, [to], { depth: 0 })) {
      if (object.type === 'commit' || old?.has(object.type, object.checksum) === true) continue;
      if (object.type !== 'file') found.metadata.push(object);
      else {
        const { header, sizeBytes } = this.#repo.readFileHeader(object.checksum);
        found[isSymlink(header) ? 'symlinks' : 'regular'].push({ ...object, header, sizeBytes });
      }
    }
    return found;
  }

  /** Emits what can be made of old files, and takes it out of `whole`. As many are compared at a time as there are threads. */
  async #emitSimilar(sources: ReadonlyMap<NewFile, { checksum: Checksum; sizeBytes: number }>, whole: Set<NewFile>): Promise<void> {
    const { disableBsdiff = false, maxBsdiffBytes = 128 * MB } = this.#options;
    const running: { file: NewFile; source: Checksum; content: Uint8Array; recipe: Promise<Recipe> }[] = [];
    const settle = async (): Promise<void> => {
      const next = running.shift();
      if (next === undefined) return;
      const { file, source, content } = next;
      const recipe = await next.recipe;
      if (recipe === undefined) return;
      whole.delete(file);
      if (recipe.kind === 'rollsum') {
        const { regions, copiedBytes } = recipe;
        this.#rollsum.objects++;
        this.#rollsum.bytes += copiedBytes;
        this.#on?.({ type: 'rollsum', from: source, to: file.checksum, copiedBytes });
        await this.#emit(file, content.byteLength - copiedBytes + 32, (part) => part.addCopied(file, file.header, content, source, regions));
      } else {
        this.#bsdiff.objects++;
        const { patch } = recipe;
        await this.#emit(file, patch.byteLength + 32, (part) => part.addPatched(file, file.header, content.byteLength, source, patch));
      }
    };
    try {
      for (const [file, source] of sources) {
        const old = this.#repo.readFile(source.checksum, MAX_FILE_BYTES);
        const content = this.#repo.readFile(file.checksum, MAX_FILE_BYTES);
        const bsdiff = !disableBsdiff && old.byteLength + content.byteLength <= maxBsdiffBytes;
        const recipe = this.#run({ op: 'compare', old: own(old), next: own(content), bsdiff }).then((reply) => ('recipe' in reply ? reply.recipe : undefined));
        // Looked at in its turn; a failure before that must not end the process.
        recipe.catch(() => undefined);
        running.push({ file, source: source.checksum, content, recipe });
        if (running.length > this.#lanes) await settle();
      }
      while (running.length > 0) await settle();
    } finally {
      await Promise.allSettled(running.map(({ recipe }) => recipe));
    }
  }

  /** Adds to the part being filled, or to the next when it would be too long. */
  async #emit(object: ObjectName, payloadBytes: number, add: (part: PartBuilder) => void): Promise<void> {
    this.#signal?.throwIfAborted();
    const { maxChunkBytes = 32 * MB } = this.#options;
    if (this.#part.payloadBytes > 0 && this.#part.payloadBytes + payloadBytes > maxChunkBytes) {
      this.#finishPart();
      // The part being filled, and one for each thread, are all that is in memory.
      while (this.#compressing.length > this.#lanes) await this.#compressing.shift();
    }
    add(this.#part);
    this.#looseBytes += this.#storedBytes(object);
  }

  #finishPart(): void {
    const part = this.#part;
    const index = this.#partCount++;
    this.#part = new PartBuilder();
    const { objects, usizeBytes, objectCount } = part;
    const work = this.#run({ op: 'compress', part: own(part.encode()) }).then((reply) => {
      if (!('file' in reply)) throw new TypeError('A thread answered another question');
      const { file } = reply;
      this.#headers[index] = { checksum: checksumOf(file), sizeBytes: file.byteLength, usizeBytes, objects };
      if (this.#options.inline === true) this.#inline.set(index, file);
      else writeFileDurably(join(this.#staging(), String(index)), file, { sync: this.#repo.settings.fsync, mode: 0o644 });
      this.#on?.({ type: 'part', index, objects: objectCount, sizeBytes: file.byteLength, usizeBytes });
    });
    work.catch(() => undefined);
    this.#compressing.push(work);
  }

  #run(task: DeltaTask): Promise<DeltaReply> {
    this.#signal?.throwIfAborted();
    if (this.#lanes === 0) return runDeltaTask(task);
    this.#pool ??= createPool({ url: new URL('./delta-worker.js', import.meta.url), size: this.#lanes });
    const buffers = task.op === 'compress' ? [task.part] : [task.old, task.next];
    return this.#pool.run(
      task,
      buffers.map(({ buffer }) => buffer as ArrayBuffer),
    );
  }

  #storedBytes({ type, checksum }: ObjectName): number {
    const path = this.#repo.findObject(type, checksum);
    return path === undefined ? 0 : lstatSync(path).size;
  }
}

/** Returns the bytes in a buffer of their own, that can go to a thread. */
function own(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
