/**
 * A pool of worker threads, made by the application and passed in.
 *
 * A task should be a shard (a directory, a batch of files), not one small file: a message costs about 30 µs.
 */
import { type ResourceLimits, Worker } from 'node:worker_threads';
import { fromPlainError, type PlainError, toPlainError } from './errors.ts';

export interface PoolOptions {
  /** Module that calls {@link serveTasks}. */
  url: URL;
  size: number;
  workerData?: unknown;
  /** Bounds on each thread's heap. */
  resourceLimits?: ResourceLimits;
}

export interface Pool<Request, Response> {
  readonly size: number;
  /**
   * Runs one task on the least busy worker, or on worker `lane` when given: tasks of one lane run in the order sent.
   * Buffers in `transfer` move to the worker.
   */
  run(request: Request, transfer?: readonly ArrayBuffer[], lane?: number): Promise<Response>;
  /** Starts all threads now; they start with their first task otherwise. */
  start(): void;
  close(): Promise<void>;
}

interface Waiting<Response> {
  resolve(value: Response): void;
  reject(error: unknown): void;
}

interface Reply {
  id: number;
  value?: unknown;
  error?: PlainError;
}

interface Lane<Response> {
  worker: Worker;
  waiting: Map<number, Waiting<Response>>;
  failure: Error | undefined;
}

export function createPool<Request, Response>(options: PoolOptions): Pool<Request, Response> {
  let nextId = 0;
  let closed = false;
  const lanes: Lane<Response>[] = [];

  const laneAt = (index: number): Lane<Response> => {
    const present = lanes[index];
    if (present !== undefined) return present;
    const worker = new Worker(options.url, {
      workerData: options.workerData,
      ...(options.resourceLimits === undefined ? {} : { resourceLimits: options.resourceLimits }),
    });
    const lane: Lane<Response> = { worker, waiting: new Map(), failure: undefined };
    const fail = (error: Error): void => {
      lane.failure = error;
      for (const waiter of lane.waiting.values()) waiter.reject(error);
      lane.waiting.clear();
    };
    worker.on('message', (reply: Reply) => {
      const waiter = lane.waiting.get(reply.id);
      lane.waiting.delete(reply.id);
      // An idle pool must not keep the process alive.
      if (lane.waiting.size === 0) worker.unref();
      if (reply.error === undefined) waiter?.resolve(reply.value as Response);
      else waiter?.reject(fromPlainError(reply.error));
    });
    worker.on('error', (error) => fail(error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', (code) => {
      if (!closed || lane.waiting.size > 0) fail(lane.failure ?? new Error(`Worker stopped with exit code ${code}`));
    });
    worker.unref();
    lanes[index] = lane;
    return lane;
  };

  const leastBusy = (): Lane<Response> => {
    let best = laneAt(0);
    for (let i = 1; i < options.size && best.waiting.size > 0; i++) {
      const lane = laneAt(i);
      if (lane.waiting.size < best.waiting.size) best = lane;
    }
    return best;
  };

  return {
    size: options.size,
    run(request, transfer = [], lane) {
      if (closed) return Promise.reject(new Error('The worker pool is closed'));
      const target = lane === undefined ? leastBusy() : laneAt(lane % options.size);
      if (target.failure !== undefined) return Promise.reject(target.failure);
      const id = nextId++;
      return new Promise<Response>((resolve, reject) => {
        // First, because it throws for what cannot travel, and nothing may wait for an answer then.
        target.worker.postMessage({ id, request }, [...transfer]);
        target.waiting.set(id, { resolve, reject });
        target.worker.ref();
      });
    },
    start() {
      for (let lane = 0; lane < options.size; lane++) laneAt(lane);
    },
    async close() {
      closed = true;
      await Promise.all(lanes.map((lane) => lane?.worker.terminate()));
    },
  };
}

/** The port a worker module serves; `parentPort` of `node:worker_threads`. */
export interface TaskPort {
  on(event: 'message', listener: (message: { id: number; request: unknown }) => void): unknown;
  postMessage(value: unknown, transfer?: readonly ArrayBuffer[]): void;
}

/** Serves the tasks of a pool inside a worker, one after the other; known errors keep their code across the boundary. */
export function serveTasks<Request, Response>(port: TaskPort | null, handle: (request: Request) => Response | Promise<Response>): void {
  if (port === null) throw new Error('serveTasks is for worker threads');
  let queue: Promise<void> = Promise.resolve();
  port.on('message', ({ id, request }) => {
    queue = queue.then(async () => {
      try {
        port.postMessage({ id, value: await handle(request as Request) });
      } catch (error) {
        port.postMessage({ id, error: toPlainError(error) });
      }
    });
  });
}
