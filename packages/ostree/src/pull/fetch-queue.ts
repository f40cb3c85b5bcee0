/** Which object is asked for next: a bounded number at once, metadata before content, so that totals are known early. */
import type { Checksum } from '@cambium/base';

const PER_CHUNK = 4096;

/** A queue of checksums by the million: 32 bytes each. */
class ChecksumQueue {
  #chunks: Buffer[] = [];
  /** Of the first and in the last chunk. */
  #readAt = 0;
  #writeAt = PER_CHUNK;

  get isEmpty(): boolean {
    return this.#chunks.length === 0 || (this.#chunks.length === 1 && this.#readAt === this.#writeAt);
  }

  push(checksum: Checksum): void {
    if (this.#writeAt === PER_CHUNK) {
      this.#chunks.push(Buffer.allocUnsafeSlow(PER_CHUNK * 32));
      this.#writeAt = 0;
    }
    (this.#chunks.at(-1) as Buffer).write(checksum, 32 * this.#writeAt++, 32, 'hex');
  }

  shift(): Checksum {
    const chunk = this.#chunks[0] as Buffer;
    const checksum = chunk.toString('hex', 32 * this.#readAt, 32 * this.#readAt + 32) as Checksum;
    if (++this.#readAt === PER_CHUNK) {
      this.#chunks.shift();
      this.#readAt = 0;
    }
    return checksum;
  }
}

export class FetchQueue {
  readonly #limit: number;
  readonly #fetchFile: (checksum: Checksum) => Promise<void>;
  readonly #urgent: (() => Promise<void>)[] = [];
  readonly #files = new ChecksumQueue();
  readonly #stop: AbortController;
  #running = 0;
  #failure: { error: unknown } | undefined;
  #idle: PromiseWithResolvers<void> | undefined;

  /** @param stop is aborted at the first failure */
  constructor(limit: number, stop: AbortController, fetchFile: (checksum: Checksum) => Promise<void>) {
    this.#limit = Math.max(1, limit);
    this.#stop = stop;
    this.#fetchFile = fetchFile;
  }

  /** Adds a piece of work that goes before files. */
  addUrgent(task: () => Promise<void>): void {
    this.#urgent.push(task);
    this.#pump();
  }

  addFile(checksum: Checksum): void {
    this.#files.push(checksum);
    this.#pump();
  }

  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#stop.abort(error);
    this.#settle();
  }

  /** Resolves when nothing is left to do. @throws the first failure, when everything under way has ended */
  async drain(): Promise<void> {
    while (this.#running > 0 || (this.#failure === undefined && !this.#isEmpty())) {
      this.#idle ??= Promise.withResolvers();
      await this.#idle.promise;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #isEmpty(): boolean {
    return this.#urgent.length === 0 && this.#files.isEmpty;
  }

  #pump(): void {
    while (this.#failure === undefined && this.#running < this.#limit) {
      // The latest first: the queue stays short, and what it needs is asked for while what is below it comes.
      const task = this.#urgent.pop();
      if (task !== undefined) this.#run(task());
      else if (!this.#files.isEmpty) this.#run(this.#fetchFile(this.#files.shift()));
      else return;
    }
  }

  #run(work: Promise<void>): void {
    this.#running++;
    work.then(
      () => this.#ended(),
      (error) => {
        this.fail(error);
        this.#ended();
      },
    );
  }

  #ended(): void {
    this.#running--;
    this.#pump();
    this.#settle();
  }

  #settle(): void {
    if (this.#running > 0 || (this.#failure === undefined && !this.#isEmpty())) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
