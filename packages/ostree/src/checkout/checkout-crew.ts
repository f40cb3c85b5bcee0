/**
 * Placing a tree in several threads. All take from one stack, which this thread holds: whoever gets a share works on it for a
 * few milliseconds and gives back what is left. So nobody needs to know in advance how much lies below a directory, and all end
 * at the same time.
 */
import { availableParallelism } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Checksum, createPool, type Pool } from '@cambium/base';
import type { Repo } from '../repo/repo.ts';
import type { FileCounts } from './checkout-files.ts';
import { type PlacedDirectory, TreePlacer, type TreePolicy, type TreeTask } from './checkout-tree.ts';

export interface CrewRequest {
  stack: TreeTask[];
  /** After which the rest comes back. */
  milliseconds: number;
}

export interface CrewReply {
  stack: TreeTask[];
  late: PlacedDirectory[];
  made: number;
  counts: FileCounts;
}

export interface TreeCounts extends FileCounts {
  directories: number;
}

/** How long this thread works before it hears the others. */
const OWN_MS = 4;
/** How long others work before they give back what is left. */
const SHARE_MS = 5;
/** Shares under way per worker: it never waits for this thread. */
const SHARES_PER_WORKER = 2;
/** Tasks in a share: most are small. */
const SHARE_TASKS = 32;
/** Named files in a share: what is not done comes back, each name in a message both ways. */
const SHARE_FILES = 1024;
/** Threads are started when the work has taken this long and is not done: each costs about 50 ms of its own processor. */
const START_MS = 15;
/** More only wait for the file system. */
const MAX_THREADS = 8;

/**
 * Places a tree and adds up what was done.
 * @param threads this one included: as many as processors when left out, and this one only for small trees
 * @throws as checkout
 */
export async function placeTree(
  repo: Repo,
  policy: TreePolicy,
  root: { tree: Checksum; meta: Checksum },
  result: TreeCounts,
  threads: number | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const crew = new Crew(repo, policy, result, threads ?? Math.min(MAX_THREADS, availableParallelism()), threads === undefined ? START_MS : 0);
  try {
    await crew.run(root, signal);
  } finally {
    await crew.close();
  }
}

class Crew {
  readonly #repo: Repo;
  readonly #policy: TreePolicy;
  readonly #result: TreeCounts;
  readonly #threads: number;
  readonly #startMs: number;
  readonly #placer: TreePlacer;
  readonly #stack: TreeTask[] = [];
  readonly #running = new Set<Promise<void>>();
  #pool: Pool<CrewRequest, CrewReply> | undefined;
  /** Workers that have started. */
  #ready = 0;
  #failure: { error: unknown } | undefined;

  constructor(repo: Repo, policy: TreePolicy, result: TreeCounts, threads: number, startMs: number) {
    this.#repo = repo;
    this.#policy = policy;
    this.#result = result;
    this.#threads = threads;
    this.#startMs = startMs;
    this.#placer = new TreePlacer(repo, policy);
  }

  async run(root: { tree: Checksum; meta: Checksum }, signal: AbortSignal | undefined): Promise<void> {
    const started = performance.now();
    signal?.throwIfAborted();
    this.#stack.push(this.#placer.enterDestination(root));
    while (this.#stack.length > 0 || this.#running.size > 0) {
      await this.#placer.work(this.#stack, OWN_MS);
      if (this.#stack.length === 0 && this.#running.size > 0) await Promise.race(this.#running);
      // The workers' replies, and an abort, come in only here.
      else await nextTurn();
      signal?.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#pool !== undefined) this.#share(this.#pool);
      else if (this.#threads > 1 && this.#stack.length > 1 && performance.now() - started >= this.#startMs) this.#pool = this.#startPool();
    }
    // Children first: their modes may close them to us, or their parents'.
    for (const directory of this.#placer.late.reverse()) this.#placer.finish(directory);
    addCounts(this.#result, this.#placer.files.counts);
    this.#result.directories += this.#placer.made;
  }

  /** Gives tasks from the bottom of the stack away: what lies there longest has most below it. The last one is for this thread. */
  #share(pool: Pool<CrewRequest, CrewReply>): void {
    const shares = this.#ready * SHARES_PER_WORKER;
    while (this.#running.size < shares && this.#stack.length > 1) {
      const stack = this.#stack.splice(0, this.#shareTasks(shares));
      const task = pool.run({ stack, milliseconds: SHARE_MS }).then((reply) => this.#take(reply), this.#fail);
      const running: Promise<void> = task.finally(() => this.#running.delete(running));
      this.#running.add(running);
    }
  }

  #shareTasks(shares: number): number {
    const most = Math.min(SHARE_TASKS, Math.ceil(this.#stack.length / (shares + 1)));
    let files = 0;
    for (let count = 0; count < most; count++) {
      const task = this.#stack[count];
      if (task !== undefined && 'files' in task) files += task.files.length;
      if (files > SHARE_FILES) return Math.max(1, count);
    }
    return most;
  }

  readonly #fail = (error: unknown): void => {
    this.#failure ??= { error };
  };

  #take({ stack, late, made, counts }: CrewReply): void {
    for (const task of stack) this.#stack.push(task);
    for (const directory of late) this.#placer.late.push(directory);
    this.#result.directories += made;
    addCounts(this.#result, counts);
  }

  #startPool(): Pool<CrewRequest, CrewReply> {
    const pool = createPool<CrewRequest, CrewReply>({
      url: new URL('./checkout-worker.js', import.meta.url),
      size: this.#threads - 1,
      workerData: { path: this.#repo.path, policy: this.#policy },
      // Buffers and zlib streams live outside of the heap and pile up unseen until it fills: a small one took 130 MB less, and less time.
      resourceLimits: { maxYoungGenerationSizeMb: 12 },
    });
    // Nothing is given to a thread that is still starting: this one could be done with it sooner.
    for (let lane = 0; lane < pool.size; lane++) pool.run({ stack: [], milliseconds: 0 }, [], lane).then(() => this.#ready++, this.#fail);
    return pool;
  }

  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#pool?.close();
  }
}

export function addCounts(to: FileCounts, counts: FileCounts): void {
  to.linked += counts.linked;
  to.copied += counts.copied;
  to.copiedBytes += counts.copiedBytes;
  to.symlinks += counts.symlinks;
  to.devices += counts.devices;
  to.kept += counts.kept;
}
