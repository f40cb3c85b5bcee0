/**
 * Making static deltas. Any program of operations that makes the objects is a valid delta; which similar file is copied from
 * is a matter of size only. Source of order, thresholds and defaults: `ostree static-delta generate`, libostree 2022.7.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fdatasyncSync, mkdirSync, mkdtempSync, openSync, readdirSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { type Checksum, createPool, type Pool, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { encodeMetadata } from '../format/commit-format.ts';
import { deltaPath } from '../format/delta-path.ts';
import type { Metadata } from '../format/types.ts';
import { syncDirectory } from '../repo/durable-file.ts';
import type { Repo } from '../repo/repo.ts';
import { type MadePart, makePart, type PartTask } from './make-part.ts';
import { type DeltaPlan, MAX_FILE_BYTES, type PlannedPart, planParts } from './plan-parts.ts';
import { type DeltaFallback, type Endianness, encodeSignedSuperblock, layoutSuperblock, type SuperblockInit } from './superblock.ts';

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
  /** Most bytes, old and new together, for which a patch is tried. Default 128 MB, and never over 50 MB: larger files are copied from in chunks. */
  maxBsdiffBytes?: number;
  /** Payload of a part, unless a single object is larger: parts of large deltas have so much, those of small ones less. Default 32 MB. */
  maxChunkBytes?: number;
  disableBsdiff?: boolean;
  /** Seconds since 1970; now when left out. */
  timestamp?: bigint;
  /** For the delta's own metadata. */
  metadata?: Metadata;
  /** Returns signatures over the superblock, `ostree.sign.TYPE`: `aay`; the superblock is put into a signed envelope. */
  sign?: (superblock: Uint8Array) => Promise<Metadata>;
  /** Threads that compare and compress; when left out as many as there are processors, as far as memory goes; none with 0. */
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
  /** Stored size of the objects that parts hold whole. */
  looseBytes: number;
  rollsum: { objects: number; bytes: number };
  bsdiff: { objects: number };
}

const MB = 1_000_000;
/**
 * Memory of all threads together: an encoder, a thread with what it reads into, and contents that are compared, with the table
 * to find one in the other. With what the caller's thread has it stays under 250 MB.
 */
const THREADS_BYTES: number = 140 * MB;
const THREAD_BYTES: number = 60 * MB;
const TABLE_BYTES: number = 20 * MB;
/** Beside the contents themselves: compressed, on their way. */
const COMPARE_OVERHEAD = 1.3;
/** Contents of common sizes are in {@link THREAD_BYTES}. */
const SMALL_COMPARED_BYTES: number = 4 * MB;
/** A thread that keeps so much of its encoders is not used again. */
const MAX_HELD_BYTES: number = 20 * MB;
/** Pieces of large contents that wait for the garbage collector. */
const STREAMS_BYTES: number = 60 * MB;
const MAX_WORKERS = 8;
const COPY_BYTES: number = 1024 * 1024;

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
  try {
    signal?.throwIfAborted();
    const plan = planParts(repo, from, to, options.maxChunkBytes ?? 32 * MB);
    const { modified, metadata, regular, symlinks } = plan;
    on?.({ type: 'reachable', modified, metadata, regular, symlinks });
    refuseHuge(plan, options);
    staging = makeStaging(place.own ? join(repo.path, 'tmp') : place.directory);
    const made = await makeParts(repo, options, plan, staging, signal, on);
    const { checksum, fallbacks } = await writeSuperblock(repo, options, made, staging);
    mkdirSync(place.directory, { recursive: true });
    const path = join(place.directory, place.name);
    // Whoever reads meanwhile finds no delta rather than parts of two.
    if (place.own) for (const name of readdirSync(place.directory).sort(superblockFirst)) rmSync(join(place.directory, name), { recursive: true });
    if (options.inline !== true) for (const [index, part] of made.entries()) renameSync(part.path, join(place.directory, String(index)));
    renameSync(join(staging, SUPERBLOCK), path);
    if (repo.settings.fsync) syncDirectory(place.directory);
    return { path, checksum, ...totals(made), fallbacks };
  } catch (error) {
    throw systemError(error, 'Cannot write static delta') ?? error;
  } finally {
    if (staging !== undefined) rmSync(staging, { recursive: true, force: true });
  }
}

/** In the staging directory; parts are called by their number. */
const SUPERBLOCK = 'superblock';

function makeStaging(directory: string): string {
  mkdirSync(directory, { recursive: true });
  return mkdtempSync(join(directory, '.delta-'));
}

function superblockFirst(a: string, b: string): number {
  return Number(b === 'superblock') - Number(a === 'superblock');
}

/** @throws OSTREE_OBJECT_TOO_LARGE for a file that is neither left out nor fit for a part */
function refuseHuge({ parts }: DeltaPlan, { minFallbackBytes = 4 * MB }: GenerateDeltaOptions): void {
  if (minFallbackBytes > 0) return;
  for (const { objects } of parts) {
    const huge = objects.find(({ sizeBytes }) => sizeBytes > MAX_FILE_BYTES);
    if (huge === undefined) continue;
    const { checksum, sizeBytes } = huge;
    throw ostreeError(
      'OSTREE_OBJECT_TOO_LARGE',
      `Cannot put file object ${checksum} into a static delta: ${sizeBytes} bytes, over the limit of ${MAX_FILE_BYTES}`,
      {
        hint: 'Leave large files out, to be fetched singly: --min-fallback-size=4',
      },
    );
  }
}

interface StagedPart extends MadePart {
  path: string;
}

/** Makes all parts, as many at a time as there are threads and memory; returns those that are not empty. */
async function makeParts(
  repo: Repo,
  options: GenerateDeltaOptions,
  { parts }: DeltaPlan,
  staging: string,
  signal: AbortSignal | undefined,
  on: ((event: GenerateDeltaEvent) => void) | undefined,
): Promise<StagedPart[]> {
  const { disableBsdiff = false, maxBsdiffBytes = 128 * MB, minFallbackBytes = 4 * MB, workers = Math.min(MAX_WORKERS, availableParallelism()) } = options;
  const made: StagedPart[] = [];
  const threads = new PartThreads(workers);
  const running = new Set<Promise<void>>();
  let usedBytes = 0;
  const make = async (planned: PlannedPart, index: number): Promise<void> => {
    const path = join(staging, String(index));
    const { modes, xattrs, objects } = planned;
    const task: PartTask = {
      ...{ repo: repo.path, staging: repo.staging, path, sync: repo.settings.fsync && options.inline !== true, modes, xattrs, objects, minFallbackBytes },
      maxPatchBytes: disableBsdiff ? 0 : maxBsdiffBytes,
    };
    const part = await threads.run(task);
    made[index] = { ...part, path };
    report(part, index, on);
  };
  const stop = (): void => void threads.close();
  signal?.addEventListener('abort', stop);
  try {
    for (const [index, planned] of parts.entries()) {
      const bytes = memoryFor(planned);
      while (running.size > 0 && (running.size >= Math.max(1, workers) || usedBytes + bytes > THREADS_BYTES)) await Promise.race(running);
      signal?.throwIfAborted();
      usedBytes += bytes;
      const work = make(planned, index).finally(() => {
        usedBytes -= bytes;
        running.delete(work);
      });
      running.add(work);
    }
    await Promise.all(running);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    await threads.close();
    await Promise.allSettled(running);
  }
  const full = made.filter(({ objectCount }) => objectCount > 0);
  const [first, ...others] = made as [StagedPart, ...StagedPart[]];
  // Left out: all that a part was for. What it says of that counts all the same.
  if (full.length === 0) return [merged(first, others)];
  return full.map((part, i) =>
    i === 0
      ? merged(
          part,
          made.filter(({ objectCount }) => objectCount === 0),
        )
      : part,
  );
}

/** Returns a part with what empty ones leave out. */
function merged(part: StagedPart, empty: readonly StagedPart[]): StagedPart {
  return { ...part, leftOut: [...part.leftOut, ...empty.flatMap(({ leftOut }) => leftOut)] };
}

function memoryFor({ comparedBytes, streams }: PlannedPart): number {
  const compared = comparedBytes <= SMALL_COMPARED_BYTES ? 0 : comparedBytes * COMPARE_OVERHEAD + TABLE_BYTES;
  return THREAD_BYTES + Math.max(compared, streams ? STREAMS_BYTES : 0);
}

function report(part: MadePart, index: number, on: ((event: GenerateDeltaEvent) => void) | undefined): void {
  for (const copied of part.copied) on?.({ type: 'rollsum', ...copied });
  for (const { checksum, sizeBytes } of part.leftOut) on?.({ type: 'fallback', checksum, sizeBytes });
  const { objectCount, sizeBytes, usizeBytes } = part;
  on?.({ type: 'part', index, objects: objectCount, sizeBytes, usizeBytes });
}

/** Threads that make a part each. One that has compressed much is ended: its memory goes with it. */
class PartThreads {
  readonly #inline: boolean;
  readonly #idle: { pool: Pool<PartTask, MadePart>; heldBytes: number }[] = [];
  readonly #all = new Set<Pool<PartTask, MadePart>>();
  #closed = false;

  constructor(workers: number) {
    this.#inline = workers === 0;
  }

  async run(task: PartTask): Promise<MadePart> {
    if (this.#inline) return makePart(task);
    const thread = this.#idle.pop() ?? { pool: this.#start(), heldBytes: 0 };
    const part = await thread.pool.run(task);
    thread.heldBytes += part.heldBytes;
    if (thread.heldBytes <= MAX_HELD_BYTES) this.#idle.push(thread);
    else {
      this.#all.delete(thread.pool);
      await thread.pool.close();
    }
    return part;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#all].map((pool) => pool.close()));
  }

  #start(): Pool<PartTask, MadePart> {
    if (this.#closed) throw new TypeError('The threads have ended');
    const pool = createPool<PartTask, MadePart>({ url: new URL('./delta-worker.js', import.meta.url), size: 1, resourceLimits: HEAP_LIMITS });
    this.#all.add(pool);
    return pool;
  }
}

/** What a thread holds is outside of its heap; a small young generation frees it soon. */
const HEAP_LIMITS = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 3 };

function totals(parts: readonly StagedPart[]): Omit<GenerateDeltaResult, 'path' | 'checksum' | 'fallbacks'> {
  const sum = (of: (part: StagedPart) => number): number => parts.reduce((total, part) => total + of(part), 0);
  return {
    parts: parts.length,
    sizeBytes: sum(({ sizeBytes }) => sizeBytes),
    usizeBytes: sum(({ usizeBytes }) => usizeBytes),
    looseBytes: sum(({ looseBytes }) => looseBytes),
    rollsum: { objects: sum(({ copied }) => copied.length), bytes: sum(({ copied }) => copied.reduce((total, { copiedBytes }) => total + copiedBytes, 0)) },
    bsdiff: { objects: sum(({ patched }) => patched) },
  };
}

/** A part file that goes into the superblock as it is. */
interface InlineFile {
  path: string;
  byteLength: number;
}

/** Writes the superblock into the staging directory, with the parts inside where they are to be. */
async function writeSuperblock(
  repo: Repo,
  options: GenerateDeltaOptions,
  made: readonly StagedPart[],
  staging: string,
): Promise<{ checksum: Checksum; fallbacks: number }> {
  const { from, to, endianness = 'little', timestamp, metadata, sign } = options;
  const detached = repo.readDetachedMetadata(to);
  const fallbacks = made.flatMap(({ leftOut }) =>
    leftOut.map(({ checksum, sizeBytes, storedBytes }): DeltaFallback => ({ type: 'file', checksum, sizeBytes: storedBytes, usizeBytes: sizeBytes })),
  );
  const init: SuperblockInit<InlineFile> = {
    ...(metadata === undefined ? {} : { metadata }),
    endianness,
    timestamp: timestamp ?? BigInt(Math.floor(Date.now() / 1000)),
    from,
    to,
    commitBytes: repo.readMetadata('commit', to),
    parts: made.map(({ checksum, sizeBytes, usizeBytes, objects }) => ({ checksum, sizeBytes, usizeBytes, objects })),
    fallbacks,
    inlineParts: new Map(options.inline === true ? made.map(({ path, sizeBytes }, index) => [index, { path, byteLength: sizeBytes }]) : []),
    detached: detached === undefined ? undefined : encodeMetadata(detached),
  };
  const pieces = layoutSuperblock(init);
  const file = join(staging, SUPERBLOCK);
  if (sign === undefined) return { checksum: writePieces(file, pieces, repo.settings.fsync), fallbacks: fallbacks.length };
  const bare = Buffer.concat(pieces.flatMap((piece) => (piece instanceof Uint8Array ? [piece] : [...filePieces(piece, () => Buffer.allocUnsafe(COPY_BYTES))])));
  const checksum = writePieces(file, [encodeSignedSuperblock(bare, await sign(bare))], repo.settings.fsync);
  return { checksum, fallbacks: fallbacks.length };
}

/** Returns the sha256 of what is written. */
function writePieces(path: string, pieces: readonly (Uint8Array | InlineFile)[], sync: boolean): Checksum {
  const hash = createHash('sha256');
  const scratch = Buffer.allocUnsafe(COPY_BYTES);
  const fd = openSync(path, 'wx', 0o644);
  try {
    for (const piece of pieces) {
      for (const bytes of piece instanceof Uint8Array ? [piece] : filePieces(piece, () => scratch)) {
        hash.update(bytes);
        for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
      }
    }
    if (sync) fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex') as Checksum;
}

function* filePieces({ path, byteLength }: InlineFile, room: () => Buffer): Generator<Uint8Array> {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    for (let at = 0; at < byteLength; ) {
      const buffer = room();
      const read = readSync(fd, buffer, 0, buffer.byteLength, at);
      if (read === 0) throw ostreeError('OSTREE_CONTENT_SIZE', `Cannot write the static delta: "${path}" became shorter while it was read`, { data: { path } });
      yield buffer.subarray(0, read);
      at += read;
    }
  } finally {
    closeSync(fd);
  }
}
