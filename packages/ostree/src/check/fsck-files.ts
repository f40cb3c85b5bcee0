/** Verifying many content objects, in this thread or in several. */
import { availableParallelism } from 'node:os';
import { type Checksum, createPool, type Pool } from '@cambium/base';
import type { Repo } from '../repo/repo.ts';
import { type ContentVerdict, verifyContents } from './fsck-content.ts';

export interface VerifyFilesOptions {
  /** Threads; as many as processors when left out, 0 verifies in this thread. */
  workers?: number | undefined;
  /** About how many there are: a few are done sooner than threads start. */
  expected: number;
  /** Tell which files were found sound. */
  identify?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Called in this thread as batches are done; what it throws ends the work. */
  onBatch: (verdict: ContentVerdict, count: number) => void;
}

const BATCH_OBJECTS = 256;
const WORKER_OBJECTS = 2000;
const BATCHES_PER_WORKER = 4;
const MAX_WORKERS = 8;

/** Reads every one of `checksums` and compares it with its name. */
export async function verifyFiles(repo: Repo, checksums: Iterable<Checksum>, options: VerifyFilesOptions): Promise<void> {
  const { signal, onBatch, identify = false } = options;
  const workers = options.workers ?? Math.min(MAX_WORKERS, availableParallelism());
  let pool: Pool<Uint8Array, ContentVerdict> | undefined;
  if (workers > 0 && options.expected > WORKER_OBJECTS) {
    const url = new URL('./fsck-worker.js', import.meta.url);
    pool = createPool({ url, size: workers, workerData: { path: repo.path, identify }, resourceLimits: { maxYoungGenerationSizeMb: 12 } });
  }
  const running = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  const throwFailure = (): void => {
    if (failure !== undefined) throw failure.error;
  };
  try {
    for (const batch of batches(checksums)) {
      const count = batch.byteLength / 32;
      const verdict = pool?.run(batch, [batch.buffer as ArrayBuffer]) ?? verifyContents(repo, batch, identify);
      const task: Promise<void> = verdict
        .then((result) => {
          if (failure === undefined) onBatch(result, count);
        })
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => running.delete(task));
      running.add(task);
      while (running.size >= Math.max(1, workers * BATCHES_PER_WORKER)) await Promise.race(running);
      signal?.throwIfAborted();
      throwFailure();
    }
    await Promise.all(running);
    throwFailure();
  } finally {
    await Promise.allSettled(running);
    await pool?.close();
  }
}

function* batches(checksums: Iterable<Checksum>): Generator<Uint8Array> {
  let batch = new Uint8Array(BATCH_OBJECTS * 32);
  let filled = 0;
  for (const checksum of checksums) {
    Buffer.from(batch.buffer).write(checksum, filled, 32, 'hex');
    filled += 32;
    if (filled < batch.byteLength) continue;
    yield batch;
    batch = new Uint8Array(BATCH_OBJECTS * 32);
    filled = 0;
  }
  if (filled > 0) yield batch.slice(0, filled);
}
