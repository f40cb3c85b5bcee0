/**
 * The raw deflate streams of archive objects.
 *
 * Content of one segment goes through libdeflate, which is faster and takes whole buffers only. Longer content is
 * compressed by zlib segment by segment, each with the 32 KiB before it as dictionary and a sync flush behind it: one
 * valid stream, and memory for one segment only. The bytes are the same whether the content came whole or in pieces.
 */
import type { EventEmitter } from 'node:events';
import { constants, deflateRawSync } from 'node:zlib';
import { deflate } from 'libdeflate';

/**
 * Used when the config has no `archive.zlib-level`; the compressed bytes are never hashed.
 *
 * Measured on one core of a 2-core VM, 92 MB of libraries, programs and documents below 1 MiB each, then 40 MB in pieces
 * of 4 KiB; size and time against zlib's level 6:
 *
 * | | size | time | pieces: time |
 * |---|---|---|---|
 * | zlib 6 | 1 | 1 | 1 |
 * | zlib 3 | 1.032 | 0.57 | 0.72 |
 * | zlib 2 | 1.039 | 0.53 | 0.70 |
 * | libdeflate (wasm) 1 | 1.033 | 0.41 | 0.47 |
 * | libdeflate 2 | 1.006 | 0.60 | |
 * | libdeflate 6 | 0.981 | 0.81 | |
 */
export const DEFAULT_ZLIB_LEVEL = 1;

/** libostree's own default. */
export const LIBOSTREE_ZLIB_LEVEL = 6;

export const SEGMENT_BYTES: number = 1024 * 1024;
const WINDOW_BYTES = 32 * 1024;
/** zlib's largest hash table and longest blocks: 10 % less time than with 8, the default, for 0.15 % more bytes. */
const MEM_LEVEL = 9;

/**
 * Returns the deflate stream of a whole content in parts.
 *
 * @param likeZlib content of one segment gets the very bytes that libostree writes: for commits that record sizes
 */
export function deflateContent(content: Uint8Array, level: number, likeZlib = false): Uint8Array[] {
  if (content.byteLength <= SEGMENT_BYTES) return [deflateWhole(content, level, likeZlib)];
  const parts: Uint8Array[] = [];
  for (let at = 0; at < content.byteLength; at += SEGMENT_BYTES) {
    const end = Math.min(at + SEGMENT_BYTES, content.byteLength);
    parts.push(deflateSegment(content.subarray(at, end), at === 0 ? undefined : content.subarray(at - WINDOW_BYTES, at), end === content.byteLength, level));
  }
  return parts;
}

/**
 * Gives back what {@link deflateContent} returned, once it is used. Left to the garbage collector it gathers: 64 MB in each
 * thread, before memory outside the heap makes it run.
 */
export function releaseDeflated(part: Uint8Array): void {
  const { buffer } = part;
  // Small ones lie in a slab that Node shares out.
  if (buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0);
}

/** Compresses content that comes in pieces; the bytes are those of {@link deflateContent}. */
export class SegmentedDeflate {
  readonly #level: number;
  readonly #put: (compressed: Uint8Array) => void;
  readonly #likeZlib: boolean;
  /** Window and segment side by side, so that the window needs no copy but its own. */
  readonly #buffer: Buffer<ArrayBuffer> = Buffer.allocUnsafeSlow(WINDOW_BYTES + SEGMENT_BYTES);
  #filled = 0;
  #first = true;

  /** @param put takes what is ready; it is gone when it returns */
  constructor(level: number, put: (compressed: Uint8Array) => void, likeZlib = false) {
    this.#level = level;
    this.#likeZlib = likeZlib;
    this.#put = put;
  }

  write(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength) {
      // A full segment goes only when more follows: the last one must carry the end mark.
      if (this.#filled === SEGMENT_BYTES) this.#send(false);
      const take = Math.min(SEGMENT_BYTES - this.#filled, chunk.byteLength - at);
      this.#buffer.set(chunk.subarray(at, at + take), WINDOW_BYTES + this.#filled);
      this.#filled += take;
      at += take;
    }
  }

  /** Ends the stream, and gives the memory back. */
  end(): void {
    this.#send(true);
    this.#buffer.buffer.transfer(0);
  }

  #send(last: boolean): void {
    const segment = this.#buffer.subarray(WINDOW_BYTES, WINDOW_BYTES + this.#filled);
    const compressed =
      this.#first && last
        ? deflateWhole(segment, this.#level, this.#likeZlib)
        : deflateSegment(segment, this.#first ? undefined : this.#buffer.subarray(0, WINDOW_BYTES), last, this.#level);
    this.#put(compressed);
    releaseDeflated(compressed);
    this.#first = false;
    if (!last) this.#buffer.copyWithin(0, SEGMENT_BYTES, SEGMENT_BYTES + WINDOW_BYTES);
    this.#filled = 0;
  }
}

function deflateWhole(content: Uint8Array, level: number, likeZlib: boolean): Uint8Array {
  // Level 0, stored blocks, is zlib's alone.
  if (level === 0 || likeZlib) return deflateRawSync(content, { level });
  if (!loaded) load();
  return deflate(content, level);
}

let loaded = false;

/**
 * Makes the WebAssembly module, and takes back the listeners that its loader sets for the whole process: they throw again
 * whatever nobody caught, past everyone else's.
 */
function load(): void {
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const emitter: EventEmitter = process;
  const before = events.map((event) => new Set(emitter.rawListeners(event)));
  deflate(new Uint8Array(1), 1);
  for (const [i, event] of events.entries()) {
    for (const listener of emitter.rawListeners(event)) {
      if (before[i]?.has(listener) === false) emitter.off(event, listener as () => void);
    }
  }
  loaded = true;
}

function deflateSegment(segment: Uint8Array, window: Uint8Array | undefined, last: boolean, level: number): Uint8Array {
  return deflateRawSync(segment, {
    level,
    memLevel: MEM_LEVEL,
    chunkSize: outputChunk(segment.byteLength),
    finishFlush: last ? constants.Z_FINISH : constants.Z_SYNC_FLUSH,
    ...(window === undefined ? {} : { dictionary: window }),
  });
}

/**
 * Node allocates output in pieces of this size. Half the input holds most results in one piece: over 50,000 files that is
 * 60 MB less of garbage at its peak, and a third less time in the kernel, than the default of 16 KiB for every file.
 */
function outputChunk(contentBytes: number): number {
  return Math.max(64, (contentBytes >> 1) + 64);
}
