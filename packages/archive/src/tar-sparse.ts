/**
 * Sparse files of tar archives: which parts of a file are stored, in any of the four forms of such maps.
 * Source: GNU tar manual, "Storing Sparse Files".
 */
import { BLOCK, type TarFail } from './tar-entry.ts';
import { parseNumber } from './tar-numbers.ts';
import type { PaxValues } from './tar-pax.ts';

/** GNU's old form: so many slots are in the header itself, and so many in each block that follows. */
export const HEADER_SLOTS = 4;
const BLOCK_SLOTS = 21;
const SLOT_BYTES = 24;

/** The map of one file: filled, checked, then walked. */
export class SparseMap {
  /** Bytes of zeros in front of the extent that {@link next} found, and its length. */
  hole = 0;
  length = 0;
  /** Offset, length, … */
  readonly #extents: number[];
  readonly #maxExtents: number;
  readonly #fail: TarFail;
  /** Of the textual form: numbers expected in all (-1 until the count is read), digits of the one at hand (-1 before the first). */
  #wanted = -1;
  #number = -1;
  #at = 0;
  #position = 0;

  constructor(extents: number[], maxExtents: number, fail: TarFail) {
    this.#extents = extents;
    this.#maxExtents = maxExtents;
    this.#fail = fail;
  }

  /** Takes slots of GNU's old form; an empty one ends the list. */
  addSlots(block: Uint8Array, at: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const slot = at + i * SLOT_BYTES;
      if (block[slot] === 0) break;
      this.#extents.push(this.#natural(parseNumber(block, slot, 12), 'sparse offset'), this.#natural(parseNumber(block, slot + 12, 12), 'sparse length'));
    }
    if (this.#extents.length > this.#maxExtents * 2) this.#fail('ARCHIVE_TAR_TOO_LARGE', `over ${this.#maxExtents} extents`);
  }

  /** Takes a block of slots that follows the header. Returns whether it is the last. */
  addSlotBlock(block: Uint8Array, at: number): boolean {
    this.addSlots(block, at, BLOCK_SLOTS);
    return block[at + 504] === 0;
  }

  /** Takes a block of the decimal numbers, one per line, that precede the data in PAX format 1.0. Returns whether it is the last. */
  addTextBlock(block: Uint8Array, at: number): boolean {
    const extents = this.#extents;
    for (let i = at; i < at + BLOCK; i++) {
      const byte = block[i] as number;
      if (byte >= 0x30 && byte <= 0x39) {
        this.#number = Math.max(this.#number, 0) * 10 + byte - 0x30;
        if (this.#number > Number.MAX_SAFE_INTEGER) this.#fail('ARCHIVE_TAR_SPARSE_INVALID', 'a number over 2^53 in the sparse map');
        continue;
      }
      if (byte !== 0x0a || this.#number < 0) this.#fail('ARCHIVE_TAR_SPARSE_INVALID', 'the sparse map is not a list of numbers');
      if (this.#wanted === -1) {
        if (this.#number > this.#maxExtents) this.#fail('ARCHIVE_TAR_TOO_LARGE', `over ${this.#maxExtents} extents`);
        this.#wanted = this.#number * 2;
      } else {
        extents.push(this.#number);
      }
      this.#number = -1;
      if (extents.length === this.#wanted) return true;
    }
    return false;
  }

  /** Checks the map against the file's size and the bytes stored for it. Returns how many bytes are holes. */
  check(size: number, stored: number): number {
    const extents = this.#extents;
    let end = 0;
    let sum = 0;
    for (let i = 0; i < extents.length; i += 2) {
      const offset = extents[i] as number;
      const length = extents[i + 1] as number;
      if (offset < end) this.#fail('ARCHIVE_TAR_SPARSE_INVALID', 'extents overlap or are out of order');
      if (length > size - offset) this.#fail('ARCHIVE_TAR_SPARSE_INVALID', 'an extent exceeds the file');
      end = offset + length;
      sum += length;
    }
    if (sum !== stored) this.#fail('ARCHIVE_TAR_SPARSE_INVALID', `extents have ${sum} bytes, the archive has ${stored}`);
    return size - sum;
  }

  /** Goes to the next extent; after the last {@link hole} is what is left of a file of `size` bytes, and false comes back. */
  next(size: number): boolean {
    const offset = this.#extents[this.#at];
    const length = this.#extents[this.#at + 1];
    if (offset === undefined || length === undefined) {
      this.hole = size - this.#position;
      this.length = 0;
      return false;
    }
    this.#at += 2;
    this.hole = offset - this.#position;
    this.length = length;
    this.#position = offset + length;
    return true;
  }

  #natural(value: number, what: string): number {
    if (value >= 0) return value;
    return this.#fail('ARCHIVE_TAR_NUMBER_INVALID', `the ${what} is not a number from 0 to 2^53`);
  }
}

export function saysSparse({ sparseMajor, sparseMap, sparseSize }: PaxValues): boolean {
  return sparseMajor !== undefined || sparseMap !== undefined || sparseSize !== undefined;
}

/** Returns the map of a file that its extended header calls sparse. Formats 0.0 and 0.1 have it in records, 1.0 in front of the data. */
export function paxSparseMap(pax: PaxValues, maxExtents: number, fail: TarFail): { map: SparseMap; size: number; isText: boolean } {
  const { sparseMajor: major = 0, sparseMinor: minor = 0, sparseSize: size, sparseCount: count } = pax;
  if (size === undefined) return fail('ARCHIVE_TAR_SPARSE_INVALID', 'a sparse file without its size');
  if (major === 1 && minor === 0) return { map: new SparseMap([], maxExtents, fail), size, isText: true };
  if (major !== 0 || minor > 1) fail('ARCHIVE_TAR_UNSUPPORTED', `sparse format ${major}.${minor}`);
  const extents = pax.sparseMap ?? [];
  if (extents.length % 2 !== 0 || (count !== undefined && count * 2 !== extents.length)) {
    fail('ARCHIVE_TAR_SPARSE_INVALID', 'the sparse map is not as long as announced');
  }
  return { map: new SparseMap(extents, maxExtents, fail), size, isText: false };
}
