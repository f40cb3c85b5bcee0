/** The growing buffer that encoders write into, and a stack for the framing offsets of open containers. */
import { gvariantError } from './errors.ts';

/** Framing offsets of 8 bytes never occur below this size; nothing here needs values that large. */
export const MAX_BYTES = 0xffff_ffff;

const INITIAL_BYTES = 4096;
const KEPT_BYTES = 1 << 20;

export class Writer {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(INITIAL_BYTES);
  view: DataView = new DataView(this.bytes.buffer);
  at = 0;
  readonly ends: number[] = [];
  /** How many of `ends` are in use; the array itself keeps its length. */
  top = 0;

  /** Makes room for `length` more bytes and returns where they start. @throws GVARIANT_TOO_LARGE */
  advance(length: number): number {
    const start = this.at;
    const end = start + length;
    if (end > this.bytes.length) this.#grow(end);
    this.at = end;
    return start;
  }

  /** Writes zeros up to the alignment given as a mask. */
  align(mask: number): void {
    while ((this.at & mask) !== 0) {
      const at = this.advance(1);
      this.bytes[at] = 0;
    }
  }

  /** Writes one framing offset. */
  offset(value: number, size: number): void {
    const at = this.advance(size);
    if (size === 1) this.bytes[at] = value;
    else if (size === 2) this.view.setUint16(at, value, true);
    else this.view.setUint32(at, value, true);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.at);
  }

  reset(): void {
    this.at = 0;
    this.top = 0;
    if (this.ends.length > KEPT_BYTES) this.ends.length = 0;
    if (this.bytes.length > KEPT_BYTES) this.#replace(new Uint8Array(INITIAL_BYTES));
  }

  #grow(needed: number): void {
    if (needed > MAX_BYTES) throw gvariantError('GVARIANT_TOO_LARGE', 'Cannot encode GVariant: over 4 GiB');
    const next = new Uint8Array(Math.min(MAX_BYTES, Math.max(needed, this.bytes.length * 2)));
    next.set(this.bytes.subarray(0, this.at));
    this.#replace(next);
  }

  #replace(bytes: Uint8Array<ArrayBuffer>): void {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }
}

/** Returns the bytes of one framing offset for a container of `total` bytes. */
export function offsetSizeOf(total: number): number {
  return total === 0 ? 0 : total <= 0xff ? 1 : total <= 0xffff ? 2 : 4;
}

/** Returns the smallest size of offsets with which `body` bytes and `count` offsets still say their own total. */
export function offsetSizeFor(body: number, count: number): number {
  if (body + count <= 0xff) return 1;
  return body + 2 * count <= 0xffff ? 2 : 4;
}
