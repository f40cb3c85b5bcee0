/** The content threads of one transaction: made when the work is worth them, in the caller's own thread before. */
import { createPool, type Pool } from '@cambium/base';
import type { Gaps } from '../repo/tree-gaps.ts';
import type { CopyResult } from './content-copy.ts';
import { type BatchResult, type ContentReply, type ContentTask, type LongTask, TaskRunner, type WriterSetup } from './content-tasks.ts';
import type { ShardResult } from './directory-shard.ts';
import type { WrittenObject } from './object-writer.ts';

type ReplyOf<Op extends ContentTask['op']> = Op extends 'filez-file'
  ? WrittenObject & { contentBytes: number }
  : Op extends 'batch' | 'filez'
    ? BatchResult
    : Op extends 'copy'
      ? CopyResult
      : Op extends 'scan'
        ? ShardResult
        : Op extends 'end'
          ? WrittenObject
          : Op extends 'gaps'
            ? Gaps
            : undefined;

/** Work in the caller's thread that equals the start of two threads (about 40 ms). */
const INLINE_COST = 600;
/**
 * A thread's own objects are few; what it holds lies in shared and native memory. A small young generation frees the
 * buffers of one file soon: 8 MiB instead of 3 costs 20 MB more at the peak of a commit of 50,000 files, and saves nothing.
 */
const HEAP_LIMITS = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 3 };

/** Of one lane: one is worked on, another waits. */
const ENOUGH_TASKS = 2;
/** Directories looked through in one turn of the caller's thread, and in one task of another. */
const TREES_PER_TURN = 64;
const TREES_PER_TASK = 2048;

export class ContentWorkers {
  readonly #setup: WriterSetup;
  readonly lanes: number;
  /** Tasks of each lane that has begun. */
  readonly #busy: (number | undefined)[];
  readonly #contexts: ContentTask[] = [];
  #pool: Pool<ContentTask, ContentReply> | undefined;
  #inline: TaskRunner | undefined;
  #spent = 0;
  #flushing = false;
  #looked = false;
  #closed = false;

  constructor(setup: WriterSetup, lanes: number) {
    this.#setup = setup;
    this.lanes = lanes;
    this.#busy = Array.from({ length: lanes });
  }

  /**
   * Returns whether `cost` more (in objects, or in 16 KiB of content) should run in the caller's thread, and counts it.
   * Once threads run, never.
   */
  preferInline(cost: number): boolean {
    if (this.#pool !== undefined || this.lanes === 0) return this.lanes === 0;
    this.#spent += cost;
    return this.#spent <= INLINE_COST;
  }

  /** Starts the threads while the caller still waits for its input, when there will be work for them. */
  expect(contentBytes: number): void {
    if (this.preferInline(Math.ceil(contentBytes / 16_384))) return;
    this.#started().start();
    this.#beginAll();
  }

  /** Runs a task in the caller's thread. */
  runInline<Op extends Exclude<ContentTask['op'], LongTask['op']>>(task: Exclude<ContentTask, LongTask> & { op: Op }): ReplyOf<Op> {
    return this.#inlineRunner().run(task) as ReplyOf<Op>;
  }

  /** Runs a task that is not done in one turn: in a thread, unless `cost` (as for {@link preferInline}) is small or there is none. */
  async runLong<Op extends LongTask['op']>(task: LongTask & { op: Op }, cost: number = Number.POSITIVE_INFINITY): Promise<ReplyOf<Op>> {
    if (this.preferInline(cost)) return (await this.#inlineRunner().runLong(task)) as ReplyOf<Op>;
    return this.run<Op>(task, this.idlestLane().lane);
  }

  /**
   * Looks for what is missing below directories that are here: a few in the caller's thread, more in the first of the others, which
   * remembers what it has seen. What is left to look through comes back. @throws as {@link TreeGaps.look}
   */
  async findGaps(trees: Uint8Array): Promise<Gaps> {
    if (this.lanes > 0 && this.#looked) return this.run({ op: 'gaps', trees, limit: TREES_PER_TASK }, 0);
    this.#looked = true;
    const gaps = this.runInline({ op: 'gaps', trees, limit: TREES_PER_TURN });
    await new Promise((resolve) => setImmediate(resolve));
    return gaps;
  }

  /** Makes a scan context known to all threads, present and future. */
  addContext(task: ContentTask & { op: 'context' }): void {
    this.#contexts.push(task);
    this.#inlineRunner().run(task);
    if (this.#pool !== undefined) this.#announce(this.#pool, task);
  }

  /** Returns the lane with the least to do; one that has not begun only when all others have enough, for its start costs as much as 500 objects. */
  idlestLane(): { lane: number; busy: number } {
    let lane = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.lanes; i++) {
      // A lane that has not begun comes before those that have enough.
      const busy = this.#busy[i] ?? ENOUGH_TASKS - 0.5;
      if (busy >= least) continue;
      lane = i;
      least = busy;
    }
    return { lane, busy: this.#busy[lane] ?? 0 };
  }

  /** Runs a task on a lane; tasks of one lane run in the order sent. */
  async run<Op extends ContentTask['op']>(task: ContentTask & { op: Op }, lane: number): Promise<ReplyOf<Op>> {
    const pool = this.#started();
    this.#busy[lane] = (this.#busy[lane] ?? 0) + 1;
    try {
      return (await pool.run(task, [], lane)) as ReplyOf<Op>;
    } finally {
      this.#busy[lane] = (this.#busy[lane] ?? 0) - 1;
    }
  }

  /**
   * Begins to write out the file system of the staging directory in a thread that has nothing else to do, so that less is left for the end.
   * A failure is not reported: whoever needs the data on disk flushes again.
   */
  flushEarly(): void {
    if (this.#flushing || this.#pool === undefined) return;
    this.#flushing = true;
    this.run({ op: 'flush' }, this.idlestLane().lane)
      .catch(() => undefined)
      .finally(() => {
        this.#flushing = false;
      });
  }

  /** Ends all work. What is asked for later fails: the staging directory may be another transaction's by then. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#inline?.close();
    await this.#pool?.close();
    this.#pool = undefined;
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new TypeError('The transaction has ended');
  }

  #inlineRunner(): TaskRunner {
    this.#mustBeOpen();
    this.#inline ??= new TaskRunner(this.#setup, 0);
    return this.#inline;
  }

  #started(): Pool<ContentTask, ContentReply> {
    this.#mustBeOpen();
    if (this.#pool !== undefined) return this.#pool;
    const url = new URL('./content-worker.js', import.meta.url);
    const pool = createPool<ContentTask, ContentReply>({ url, size: this.lanes, workerData: this.#setup, resourceLimits: HEAP_LIMITS });
    this.#pool = pool;
    for (const context of this.#contexts) this.#announce(pool, context);
    return pool;
  }

  #beginAll(): void {
    for (let lane = 0; lane < this.lanes; lane++) this.#busy[lane] ??= 0;
  }

  #announce(pool: Pool<ContentTask, ContentReply>, context: ContentTask): void {
    this.#beginAll();
    // A failure shows in the lane's next task.
    for (let lane = 0; lane < this.lanes; lane++) pool.run(context, [], lane).catch(() => undefined);
  }
}
