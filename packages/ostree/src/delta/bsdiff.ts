/**
 * What a content has of another one, for {@link applyBspatch} or to copy. Matches are found through a table of 16-byte seeds
 * instead of a sorted list of all suffixes: time is linear, and memory is what the contents take and 16 MiB at most.
 */
import { writeNumber } from './bspatch.ts';
import type { Region } from './rollsum.ts';

const SEED_BYTES = 16;
const MAX_TABLE_BITS = 22;
const MAX_SEEDS = 2 * 1024 * 1024;
/** A match must be so much better than going on where the last one leads. */
const WORTH_BYTES = 8;
const BASE = 0x0100_0193;
/** Shorter ones cost more as operations than as bytes. */
const MIN_COPY_BYTES = 24;
/** More copies than one in so many bytes are no bargain; the list of them would be. */
const COPY_EVERY_BYTES = 64;
const COMPARE_BYTES = 16_384;

/** Bytes of the new content like those at `oldAt` of the old one, then bytes that are unlike any. */
export interface Stretch {
  oldAt: number;
  like: number;
  insert: number;
}

export interface Match {
  /** Together the new content. */
  stretches: readonly Stretch[];
  /** Bytes of the new content that the old one does not predict, and what it takes to say so: what is left to compress of a patch. */
  novelBytes: number;
  /** The new content as exact copies and pieces of its own; undefined when that takes too many. */
  regions: readonly Region[] | undefined;
  copiedBytes: number;
}

/** Returns what `next` has of `old`. */
export function matchContents(old: Uint8Array, next: Uint8Array): Match {
  const start = commonStart(old, next);
  const end = commonEnd(old, next, start);
  const stretcher = new Stretcher(old, next);
  const last = next.byteLength - end;
  let scan = start;
  // Versions of a file are alike at both ends more often than not: what is between is what is searched.
  if (last - start >= SEED_BYTES && old.byteLength - end - start >= SEED_BYTES) {
    const seeds = new SeedTable(old, start, old.byteLength - end);
    while (scan <= last - SEED_BYTES) {
      const at = seeds.find(next, scan);
      if (at < 0) {
        scan++;
        continue;
      }
      let length = SEED_BYTES;
      while (scan + length < next.byteLength && at + length < old.byteLength && next[scan + length] === old[at + length]) length++;
      if (at - scan !== stretcher.shift && length > stretcher.agreement(scan, length) + WORTH_BYTES) stretcher.jump(scan, at);
      scan += length;
    }
  }
  const shift = old.byteLength - next.byteLength;
  const rest = Math.max(scan, last);
  if (next.byteLength - rest > WORTH_BYTES && shift !== stretcher.shift) stretcher.jump(rest, rest + shift);
  return stretcher.finish();
}

/** Yields a patch piece by piece. */
export function* patchPieces(old: Uint8Array, next: Uint8Array, stretches: readonly Stretch[]): Generator<Uint8Array> {
  let at = 0;
  for (const [i, { oldAt, like, insert }] of stretches.entries()) {
    const numbers = Buffer.allocUnsafe(24);
    writeNumber(numbers, 0, like);
    writeNumber(numbers, 8, insert);
    writeNumber(numbers, 16, (stretches[i + 1]?.oldAt ?? oldAt + like) - (oldAt + like));
    yield numbers;
    for (let done = 0; done < like; done += COMPARE_BYTES) {
      const difference = Buffer.allocUnsafe(Math.min(COMPARE_BYTES, like - done));
      for (let j = 0; j < difference.byteLength; j++) difference[j] = (next[at + done + j] as number) - (old[oldAt + done + j] as number);
      yield difference;
    }
    at += like;
    if (insert > 0) yield next.subarray(at, at + insert);
    at += insert;
  }
}

/** Returns the length of {@link patchPieces}. */
export function patchLength(nextBytes: number, stretches: readonly Stretch[]): number {
  return nextBytes + 24 * stretches.length;
}

function commonStart(a: Uint8Array, b: Uint8Array): number {
  const most = Math.min(a.byteLength, b.byteLength);
  let at = 0;
  while (at < most) {
    const length = Math.min(COMPARE_BYTES, most - at);
    if (Buffer.compare(a.subarray(at, at + length), b.subarray(at, at + length)) !== 0) break;
    at += length;
  }
  while (at < most && a[at] === b[at]) at++;
  return at;
}

/** @param start what is not to be counted again */
function commonEnd(a: Uint8Array, b: Uint8Array, start: number): number {
  const most = Math.min(a.byteLength, b.byteLength) - start;
  let length = 0;
  while (length < most) {
    const step = Math.min(COMPARE_BYTES, most - length);
    const [x, y] = [a.byteLength - length, b.byteLength - length];
    if (Buffer.compare(a.subarray(x - step, x), b.subarray(y - step, y)) !== 0) break;
    length += step;
  }
  while (length < most && a[a.byteLength - length - 1] === b[b.byteLength - length - 1]) length++;
  return length;
}

/** Kept for the next file of the thread. */
let slotMemory: Int32Array = new Int32Array(0);

class SeedTable {
  readonly #old: Uint8Array;
  readonly #slots: Int32Array;
  readonly #shift: number;
  /** What the oldest byte of a window counts in its hash. */
  readonly #drop: number;
  #hash = 0;
  #hashedAt = -2;

  /** Holds what is between `from` and `to`. */
  constructor(old: Uint8Array, from: number, to: number) {
    this.#old = old;
    const length = to - from;
    const step = Math.max(1, Math.ceil(length / MAX_SEEDS));
    const bits = Math.min(MAX_TABLE_BITS, Math.max(8, Math.ceil(Math.log2(length / step + 1)) + 1));
    if (slotMemory.length < 2 ** bits) slotMemory = new Int32Array(2 ** bits);
    this.#slots = slotMemory.subarray(0, 2 ** bits).fill(-1);
    this.#shift = 32 - bits;
    let drop = 1;
    for (let i = 1; i < SEED_BYTES; i++) drop = Math.imul(drop, BASE);
    this.#drop = drop;
    for (let at = from; at <= to - SEED_BYTES; at++) {
      this.#roll(old, at);
      if ((at - from) % step !== 0) continue;
      const slot = this.#slot();
      if (this.#slots[slot] === -1) this.#slots[slot] = at;
    }
    this.#hashedAt = -2;
  }

  /** Returns where the old content has the 16 bytes at `at`, or -1. */
  find(next: Uint8Array, at: number): number {
    this.#roll(next, at);
    const found = this.#slots[this.#slot()] as number;
    if (found < 0) return -1;
    for (let i = 0; i < SEED_BYTES; i++) if (this.#old[found + i] !== next[at + i]) return -1;
    return found;
  }

  #slot(): number {
    return Math.imul(this.#hash ^ (this.#hash >>> 15), 0x9e37_79b1) >>> this.#shift;
  }

  #roll(bytes: Uint8Array, at: number): void {
    if (this.#hashedAt === at - 1) {
      const without = (this.#hash - Math.imul(bytes[at - 1] as number, this.#drop)) | 0;
      this.#hash = (Math.imul(without, BASE) + (bytes[at + SEED_BYTES - 1] as number)) | 0;
    } else {
      this.#hash = 0;
      for (let i = 0; i < SEED_BYTES; i++) this.#hash = (Math.imul(this.#hash, BASE) + (bytes[at + i] as number)) | 0;
    }
    this.#hashedAt = at;
  }
}

/** Turns places where both contents agree into stretches, each as long as it pays. */
class Stretcher {
  readonly #old: Uint8Array;
  readonly #next: Uint8Array;
  readonly #stretches: Stretch[] = [];
  readonly #regions: Region[] = [];
  readonly #maxRegions: number;
  #copiedBytes = 0;
  /** Where the last agreement begins, in both. */
  #nextAt = 0;
  #oldAt = 0;
  #novelBytes = 0;

  constructor(old: Uint8Array, next: Uint8Array) {
    this.#old = old;
    this.#next = next;
    this.#maxRegions = 16 + next.byteLength / COPY_EVERY_BYTES;
  }

  /** How much further on the old content is. */
  get shift(): number {
    return this.#oldAt - this.#nextAt;
  }

  /** Returns how many of the bytes there the last agreement predicts. */
  agreement(at: number, length: number): number {
    const { shift } = this;
    let count = 0;
    for (let i = at; i < at + length; i++) if (this.#old[i + shift] === this.#next[i]) count++;
    return count;
  }

  /** Ends the last agreement before `scan`, where the old content agrees at `at`. */
  jump(scan: number, at: number): void {
    let forward = this.#forward(scan);
    let backward = this.#backward(scan, at);
    const overlap = this.#nextAt + forward - (scan - backward);
    if (overlap > 0) {
      // Which of the two gets how much of what both reach.
      let [score, best, cut] = [0, 0, 0];
      for (let i = 0; i < overlap; i++) {
        if (this.#next[this.#nextAt + forward - overlap + i] === this.#old[this.#oldAt + forward - overlap + i]) score++;
        if (this.#next[scan - backward + i] === this.#old[at - backward + i]) score--;
        if (score > best) [best, cut] = [score, i + 1];
      }
      forward += cut - overlap;
      backward -= cut;
    }
    this.#emit(forward, scan - backward, at - backward);
  }

  finish(): Match {
    const end = this.#next.byteLength;
    const forward = this.#forward(end);
    this.#emit(forward, end, this.#oldAt + forward);
    const regions = this.#regions.length > this.#maxRegions ? undefined : this.#regions;
    return { stretches: this.#stretches, novelBytes: this.#novelBytes, regions, copiedBytes: this.#copiedBytes };
  }

  #forward(limit: number): number {
    const most = Math.min(limit - this.#nextAt, this.#old.byteLength - this.#oldAt);
    let [same, best, length] = [0, 0, 0];
    for (let i = 0; i < most; i++) {
      if (this.#old[this.#oldAt + i] === this.#next[this.#nextAt + i]) same++;
      const score = 2 * same - (i + 1);
      if (score > best) [best, length] = [score, i + 1];
    }
    return length;
  }

  #backward(scan: number, at: number): number {
    const most = Math.min(scan - this.#nextAt, at);
    let [same, best, length] = [0, 0, 0];
    for (let i = 1; i <= most; i++) {
      if (this.#old[at - i] === this.#next[scan - i]) same++;
      const score = 2 * same - i;
      if (score > best) [best, length] = [score, i];
    }
    return length;
  }

  #emit(like: number, nextAt: number, oldAt: number): void {
    const insert = nextAt - (this.#nextAt + like);
    // The first begins at 0 of the old content, unless one of nothing leads on.
    if (like > 0 || insert > 0 || (this.#stretches.length === 0 && oldAt !== 0)) {
      this.#stretches.push({ oldAt: this.#oldAt, like, insert });
      this.#novelBytes += insert + 24;
      this.#copyFrom(this.#nextAt, this.#oldAt, like);
      this.#literal(this.#nextAt + like, insert);
    }
    this.#nextAt = nextAt;
    this.#oldAt = oldAt;
  }

  /** Finds the exact copies in bytes that are alike, and counts the others. */
  #copyFrom(nextAt: number, oldAt: number, length: number): void {
    const [old, next] = [this.#old, this.#next];
    let done = 0;
    let at = 0;
    while (at < length) {
      let run = at;
      while (run < length && old[oldAt + run] === next[nextAt + run]) run++;
      if (run - at >= MIN_COPY_BYTES) {
        this.#literal(nextAt + done, at - done);
        this.#copy(oldAt + at, run - at);
        done = run;
      }
      // The byte after a run is not like the old one.
      if (run < length) this.#novelBytes++;
      at = run + 1;
    }
    this.#literal(nextAt + done, length - done);
  }

  #copy(offset: number, length: number): void {
    this.#copiedBytes += length;
    const last = this.#regions.at(-1);
    if (last?.copied === true && last.offset + last.length === offset) last.length += length;
    else this.#region({ copied: true, offset, length });
  }

  #literal(offset: number, length: number): void {
    if (length === 0) return;
    const last = this.#regions.at(-1);
    if (last?.copied === false) last.length += length;
    else this.#region({ copied: false, offset, length });
  }

  #region(region: Region): void {
    if (this.#regions.length <= this.#maxRegions) this.#regions.push(region);
  }
}
