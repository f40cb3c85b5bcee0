/** {@link ContentWriter} over the threads of a transaction: small contents gather in shared buffers, large ones flow through them. */
import type { Checksum } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { encodeFileHeader } from '../format/object-format.ts';
import type { FileHeader } from '../format/types.ts';
import type { ContentSource, CopyOptions, CopyResult } from './content-copy.ts';
import { type BatchResult, type ContentTask, type LongTask, RECEIVED_TYPES, type ReceivedType } from './content-tasks.ts';
import type { ContentWorkers } from './content-workers.ts';
import type { ContentStream, ContentWriter } from './content-writer.ts';
import type { ObjectCounts } from './directory-shard.ts';

const BUFFER_BYTES: number = 1024 * 1024;
/** Of the smallest contents a buffer would hold ten thousand, each with a promise that takes ten times as much. */
const BATCH_RECORDS = 2048;
/** Zeros up to this number go with the content around them. */
const FEW_ZEROS = 64 * 1024;
/** How long objects from a network gather before a thread that has nothing to do gets them. */
const GATHER_MS = 10;
/** The largest archived object that goes through a shared buffer. */
export const MAX_FILEZ_RECORD: number = BUFFER_BYTES - 64;

/** Objects to copy that travel to a thread at a time. */
const SHARE_OBJECTS = 128;

/** Stands for the caller's thread where lanes are numbered. */
const INLINE = -1;

/** Called for every object, in no particular order. */
export type CountObject = (checksum: Checksum, objects: ObjectCounts, index: number, isMetadata: boolean) => void;

interface Waiter {
  isMetadata: boolean;
  resolve(checksum: Checksum): void;
  reject(error: unknown): void;
}

interface Shared {
  id: number;
  memory: SharedArrayBuffer;
  /** Lanes that have it; INLINE for the caller's own thread. */
  seenBy: Set<number>;
}

/** What the records of a batch are. */
type BatchKind = 'batch' | 'filez' | 'trusted-filez';

interface Batch {
  kind: BatchKind;
  buffer: Shared;
  bytes: Buffer;
  usedBytes: number;
  waiters: Waiter[];
}

/** Objects to copy, 32 bytes each. */
interface Share {
  source: ContentSource;
  options: CopyOptions;
  checksums: Buffer;
  usedBytes: number;
}

export class BatchingWriter implements ContentWriter {
  readonly #workers: ContentWorkers;
  readonly corruptCopies: Checksum[] = [];
  readonly #count: CountObject;
  readonly #check: (header: FileHeader) => void;
  readonly #beforeUnverified: () => void;
  /** Two per thread in flight, one being filled. */
  readonly #maxBuffers: number;
  /** Buffers being filled or worked on. */
  #used = 0;
  /** Kept for use again: shared memory that nobody holds goes only when the garbage collector comes by, which may be never. */
  #free: Shared[] = [];
  #made = 0;
  #batch: Batch | undefined;
  #share: Share | undefined;
  #room: (() => void)[] = [];
  #roomPromise: Promise<void> | undefined;
  #running = new Set<Promise<unknown>>();
  #failure: { error: unknown } | undefined;
  #scheduled = false;
  #streams = 0;

  /** @param beforeUnverified called before each object that may be stored without having been verified */
  constructor(workers: ContentWorkers, count: CountObject, check: (header: FileHeader) => void, beforeUnverified: () => void) {
    this.#workers = workers;
    this.#count = count;
    this.#check = check;
    this.#beforeUnverified = beforeUnverified;
    this.#maxBuffers = 2 * workers.lanes + 1;
  }

  add(header: FileHeader, content: Uint8Array): Promise<Checksum> {
    if (this.#failure !== undefined) return failed(this.#failure.error);
    try {
      this.#check(header);
    } catch (error) {
      return failed(error);
    }
    const prefix = encodeFileHeader(header);
    const length = prefix.byteLength + content.byteLength;
    if (4 + length > BUFFER_BYTES) {
      const stream = this.begin(header, content.byteLength);
      stream.write(content);
      return stream.end();
    }
    return this.#append('batch', prefix, content, false);
  }

  addFilez(checksum: Checksum, bytes: Uint8Array, trusted: boolean): Promise<Checksum> {
    if (this.#failure !== undefined) return failed(this.#failure.error);
    if (trusted) this.#beforeUnverified();
    return this.#append(trusted ? 'trusted-filez' : 'filez', receivedPrefix('file', checksum), bytes, false);
  }

  addMetadata(type: 'dirtree' | 'dirmeta', checksum: Checksum, bytes: Uint8Array): Promise<Checksum> {
    if (this.#failure !== undefined) return failed(this.#failure.error);
    // Beside whatever is gathered, so that one message carries both.
    const kind = this.#batch === undefined || this.#batch.kind === 'batch' ? 'filez' : this.#batch.kind;
    return this.#append(kind, receivedPrefix(type, checksum), bytes, true);
  }

  addFilezFile(checksum: Checksum, path: string, trusted: boolean): Promise<Checksum> {
    if (this.#failure !== undefined) return failed(this.#failure.error);
    if (trusted) this.#beforeUnverified();
    const work = this.#workers.runLong({ op: 'filez-file', path, checksum, trusted }).then(({ written, storedBytes, contentBytes }) => {
      this.#count(checksum, oneObject(written, contentBytes, storedBytes), 0, false);
      return checksum;
    });
    this.#track(work);
    return work;
  }

  copy(source: ContentSource, checksum: Checksum, options: CopyOptions): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (options.acceptCorrupt === true) this.#beforeUnverified();
    if (this.#share !== undefined && (this.#share.source !== source || this.#share.options !== options)) this.#sendShare();
    this.#share ??= { source, options, checksums: Buffer.allocUnsafe(SHARE_OBJECTS * 32), usedBytes: 0 };
    this.#share.checksums.write(checksum, this.#share.usedBytes, 32, 'hex');
    this.#share.usedBytes += 32;
    if (this.#share.usedBytes === this.#share.checksums.byteLength) this.#sendShare();
  }

  #sendShare(): void {
    const share = this.#share;
    if (share === undefined) return;
    this.#share = undefined;
    const { source, options, usedBytes } = share;
    const checksums = share.checksums.subarray(0, usedBytes);
    this.#used++;
    const work = this.#workers.runLong({ op: 'copy', source, checksums, options }, usedBytes / 32).then((result) => this.#countCopied(checksums, result));
    this.#track(work.finally(() => this.#makeRoom()));
  }

  #countCopied(checksums: Buffer, result: CopyResult): void {
    for (const [i, present] of result.present.entries()) {
      if (present === 0) this.#count(checksums.toString('hex', i * 32, i * 32 + 32) as Checksum, result, i, false);
    }
    this.corruptCopies.push(...(result.corrupt ?? []));
  }

  /** Adds a record of two parts, which fit a buffer together. */
  #append(kind: BatchKind, first: Uint8Array, second: Uint8Array, isMetadata: boolean): Promise<Checksum> {
    const length = first.byteLength + second.byteLength;
    if (this.#batch !== undefined && (this.#batch.kind !== kind || !hasRoom(this.#batch, 4 + length))) this.#send();
    this.#batch ??= this.#newBatch(kind);
    const { bytes, usedBytes, waiters } = this.#batch;
    bytes.writeUInt32LE(length, usedBytes);
    bytes.set(first, usedBytes + 4);
    bytes.set(second, usedBytes + 4 + first.byteLength);
    this.#batch.usedBytes += 4 + length;
    const { promise, resolve, reject } = Promise.withResolvers<Checksum>();
    // flush() reports failures too; a promise that nobody looks at must not end the process.
    promise.catch(() => undefined);
    waiters.push({ isMetadata, resolve, reject });
    this.#schedule();
    return promise;
  }

  begin(header: FileHeader, sizeBytes: number): ContentStream {
    this.#check(header);
    const stream = this.#streams++;
    const { lane } = this.#workers.idlestLane();
    const inline = this.#workers.preferInline(Math.ceil(sizeBytes / 16_384));
    const run = (task: Exclude<ContentTask, LongTask>): Promise<unknown> => {
      if (inline) return attempt(() => this.#workers.runInline(task));
      return this.#workers.run(task, lane);
    };
    let failure: { error: unknown } | undefined;
    const follow = (work: Promise<unknown>): void => {
      this.#track(
        work.catch((error) => {
          failure ??= { error };
        }),
      );
    };
    follow(run({ op: 'begin', stream, prefix: encodeFileHeader(header), sizeBytes }));
    let seen = 0;
    let ended = false;
    /** What came last, until it fills a buffer: content may come a few bytes at a time. */
    let filling: { buffer: Shared; bytes: Uint8Array; usedBytes: number } | undefined;
    const send = (): void => {
      if (filling === undefined) return;
      const { buffer, usedBytes } = filling;
      filling = undefined;
      // Counted from here on: who waits for room must not wait for a stream that nobody writes to.
      this.#used++;
      follow(run({ op: 'data', stream, ...use(buffer, inline ? INLINE : lane), usedBytes }).finally(() => this.#release(buffer)));
    };
    /** Returns free memory at the end of what came last, of at most `wanted` bytes, as filled. */
    const take = (wanted: number): Uint8Array => {
      if (filling?.usedBytes === BUFFER_BYTES) send();
      if (filling === undefined) {
        const buffer = this.#freeBuffer();
        filling = { buffer, bytes: new Uint8Array(buffer.memory), usedBytes: 0 };
      }
      const at = filling.usedBytes;
      filling.usedBytes = Math.min(BUFFER_BYTES, at + wanted);
      return filling.bytes.subarray(at, filling.usedBytes);
    };
    const stop = (): void => {
      ended = true;
      if (filling !== undefined) this.#free.push(filling.buffer);
      filling = undefined;
      follow(run({ op: 'abort', stream }));
    };
    return {
      write: (chunk) => {
        if (ended) throw new TypeError('Content stream has ended');
        seen += chunk.byteLength;
        for (let at = 0; at < chunk.byteLength; ) {
          const room = take(chunk.byteLength - at);
          room.set(chunk.subarray(at, at + room.byteLength));
          at += room.byteLength;
        }
      },
      zeros: (length) => {
        if (ended) throw new TypeError('Content stream has ended');
        seen += length;
        if (length > FEW_ZEROS) {
          send();
          this.#used++;
          follow(run({ op: 'zeros', stream, length }).finally(() => this.#makeRoom()));
        } else for (let left = length; left > 0; ) left -= take(left).fill(0).byteLength;
      },
      end: () => {
        if (ended) throw new TypeError('Content stream has ended');
        if (seen !== sizeBytes) {
          stop();
          return failed(
            ostreeError('OSTREE_CONTENT_SIZE', `Content of ${sizeBytes} bytes was announced, and ${seen} came`, { data: { announced: sizeBytes, seen } }),
          );
        }
        ended = true;
        send();
        const work = run({ op: 'end', stream }).then(
          (reply) => {
            if (failure !== undefined) throw failure.error;
            const { checksum, written, storedBytes } = reply as { checksum: Checksum; written: boolean; storedBytes: number };
            this.#count(checksum, oneObject(written, sizeBytes, storedBytes), 0, false);
            return checksum;
          },
          (error) => {
            throw failure?.error ?? error;
          },
        );
        this.#track(work);
        return work;
      },
      abort: () => {
        if (!ended) stop();
      },
    };
  }

  ready(): Promise<void> | undefined {
    if (this.#used < this.#maxBuffers) return undefined;
    this.#roomPromise ??= new Promise((resolve) => this.#room.push(resolve));
    return this.#roomPromise;
  }

  async flush(): Promise<void> {
    this.#send();
    this.#sendShare();
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Sends what is there once the caller pauses, as long as a thread has nothing to do: otherwise a fuller batch is better. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const send = (): void => {
      this.#scheduled = false;
      if (this.#batch !== undefined && this.#workers.idlestLane().busy === 0) this.#send();
    };
    // Objects from a network come one in each turn: a message for each would cost more than the object.
    if (this.#batch?.kind === 'batch') setImmediate(send);
    else setTimeout(send, GATHER_MS);
  }

  #send(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    const { kind, buffer, usedBytes, waiters } = batch;
    const inline = this.#workers.preferInline(waiters.length + Math.ceil(usedBytes / 16_384));
    const lane = inline ? INLINE : this.#workers.idlestLane().lane;
    const records = { ...use(buffer, lane), usedBytes, count: waiters.length };
    const task = kind === 'batch' ? ({ op: 'batch', ...records } as const) : ({ op: 'filez', trusted: kind === 'trusted-filez', ...records } as const);
    const work = (inline ? attempt(() => this.#workers.runInline(task)) : this.#workers.run(task, lane)).then(
      (result) => this.#settle(result, waiters),
      (error) => {
        for (const waiter of waiters) waiter.reject(error);
        throw error;
      },
    );
    this.#track(
      work.finally(() => {
        this.#release(buffer);
        if (this.#batch !== undefined) this.#schedule();
      }),
    );
  }

  #settle({ checksums, objects }: BatchResult, waiters: readonly Waiter[]): void {
    const hex = Buffer.from(checksums.buffer, checksums.byteOffset, checksums.byteLength).toString('hex');
    for (const [i, waiter] of waiters.entries()) {
      const checksum = hex.slice(i * 64, i * 64 + 64) as Checksum;
      this.#count(checksum, objects, i, waiter.isMetadata);
      waiter.resolve(checksum);
    }
  }

  #track(work: Promise<unknown>): void {
    const tracked = work.then(
      () => {
        this.#running.delete(tracked);
      },
      (error) => {
        this.#failure ??= { error };
        this.#running.delete(tracked);
      },
    );
    this.#running.add(tracked);
  }

  #newBatch(kind: BatchKind): Batch {
    const buffer = this.#takeBuffer();
    return { kind, buffer, bytes: Buffer.from(buffer.memory), usedBytes: 0, waiters: [] };
  }

  #takeBuffer(): Shared {
    // Above the limit when the caller does not wait for ready(): its memory, its choice.
    this.#used++;
    return this.#freeBuffer();
  }

  #freeBuffer(): Shared {
    return this.#free.pop() ?? { id: this.#made++, memory: new SharedArrayBuffer(BUFFER_BYTES), seenBy: new Set() };
  }

  #release(buffer: Shared): void {
    this.#free.push(buffer);
    this.#makeRoom();
  }

  #makeRoom(): void {
    this.#used--;
    if (this.#used >= this.#maxBuffers) return;
    const waiting = this.#room;
    this.#room = [];
    this.#roomPromise = undefined;
    for (const resolve of waiting) resolve();
  }
}

function hasRoom(batch: Batch, bytes: number): boolean {
  return batch.usedBytes + bytes <= BUFFER_BYTES && batch.waiters.length < BATCH_RECORDS;
}

/** Returns what goes before an object that came from a network. */
function receivedPrefix(type: ReceivedType, checksum: Checksum): Buffer {
  const prefix = Buffer.allocUnsafe(33);
  prefix[0] = RECEIVED_TYPES.indexOf(type);
  prefix.write(checksum, 1, 32, 'hex');
  return prefix;
}

/** Returns how a task names a buffer to a lane. */
function use(buffer: Shared, lane: number): { buffer: number; memory?: SharedArrayBuffer } {
  if (buffer.seenBy.has(lane)) return { buffer: buffer.id };
  buffer.seenBy.add(lane);
  return { buffer: buffer.id, memory: buffer.memory };
}

function oneObject(written: boolean, contentBytes: number, storedBytes: number): ObjectCounts {
  return { written: Uint8Array.of(written ? 1 : 0), contentBytes: Float64Array.of(contentBytes), storedBytes: Float64Array.of(storedBytes), cacheHits: 0 };
}

/** Runs in this turn, and gives a failure as a rejection. */
function attempt<T>(run: () => T): Promise<T> {
  try {
    return Promise.resolve(run());
  } catch (error) {
    return failed(error);
  }
}

function failed(error: unknown): Promise<never> {
  const promise = Promise.reject(error);
  promise.catch(() => undefined);
  return promise;
}
