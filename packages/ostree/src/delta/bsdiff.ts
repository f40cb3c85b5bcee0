/**
 * Patches for {@link applyBspatch}. Matches are found through a table of 16-byte seeds instead of a sorted list of all
 * suffixes: time is linear, and memory is what the contents take and 32 MiB at most.
 */
import { writeNumber } from './bspatch.ts';

const SEED_BYTES = 16;
const MAX_TABLE_BITS = 23;
const MAX_SEEDS = 4 * 1024 * 1024;
/** A match must be so much better than going on where the last one leads. */
const WORTH_BYTES = 8;
const BASE = 0x0100_0193;

export interface Patch {
  bytes: Uint8Array;
  /** Bytes of the new content that the old one does not predict: what is left to compress. */
  novelBytes: number;
}

/** Returns the patch that makes `next` of `old`. */
export function bsdiff(old: Uint8Array, next: Uint8Array): Patch {
  const seeds = new SeedTable(old);
  const writer = new PatchWriter(old, next);
  let scan = 0;
  while (scan <= next.byteLength - SEED_BYTES) {
    const at = seeds.find(next, scan);
    if (at < 0) {
      scan++;
      continue;
    }
    let length = SEED_BYTES;
    while (scan + length < next.byteLength && at + length < old.byteLength && next[scan + length] === old[at + length]) length++;
    if (at - scan !== writer.shift && length > writer.agreement(scan, length) + WORTH_BYTES) writer.jump(scan, at);
    scan += length;
  }
  return writer.finish();
}

class SeedTable {
  readonly #old: Uint8Array;
  readonly #slots: Int32Array;
  readonly #shift: number;
  /** What the oldest byte of a window counts in its hash. */
  readonly #drop: number;
  #hash = 0;
  #hashedAt = -2;

  constructor(old: Uint8Array) {
    this.#old = old;
    const step = Math.max(1, Math.ceil(old.byteLength / MAX_SEEDS));
    const bits = Math.min(MAX_TABLE_BITS, Math.max(8, Math.ceil(Math.log2(old.byteLength / step + 1)) + 1));
    this.#slots = new Int32Array(2 ** bits).fill(-1);
    this.#shift = 32 - bits;
    let drop = 1;
    for (let i = 1; i < SEED_BYTES; i++) drop = Math.imul(drop, BASE);
    this.#drop = drop;
    for (let at = 0; at <= old.byteLength - SEED_BYTES; at++) {
      this.#roll(old, at);
      if (at % step !== 0) continue;
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

/** Turns places where both contents agree into triples, each stretched as far as it pays. */
class PatchWriter {
  readonly #old: Uint8Array;
  readonly #next: Uint8Array;
  readonly #parts: Uint8Array[] = [];
  /** Where the last agreement begins, in both. */
  #nextAt = 0;
  #oldAt = 0;
  #novelBytes = 0;

  constructor(old: Uint8Array, next: Uint8Array) {
    this.#old = old;
    this.#next = next;
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

  finish(): Patch {
    const end = this.#next.byteLength;
    const forward = this.#forward(end);
    this.#emit(forward, end, this.#oldAt + forward);
    return { bytes: Buffer.concat(this.#parts), novelBytes: this.#novelBytes };
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

  #emit(add: number, nextAt: number, oldAt: number): void {
    const insert = nextAt - (this.#nextAt + add);
    const part = Buffer.allocUnsafe(24 + add + insert);
    writeNumber(part, 0, add);
    writeNumber(part, 8, insert);
    writeNumber(part, 16, oldAt - (this.#oldAt + add));
    for (let i = 0; i < add; i++) {
      const difference = ((this.#next[this.#nextAt + i] as number) - (this.#old[this.#oldAt + i] as number)) & 0xff;
      part[24 + i] = difference;
      if (difference !== 0) this.#novelBytes++;
    }
    part.set(this.#next.subarray(nextAt - insert, nextAt), 24 + add);
    this.#novelBytes += insert + 24;
    this.#parts.push(part);
    this.#nextAt = nextAt;
    this.#oldAt = oldAt;
  }
}
