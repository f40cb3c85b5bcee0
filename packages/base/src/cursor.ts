/** A reader over a buffer in which every step is checked against what remains. */
import { baseError } from './codes.ts';

export class Cursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #at: number;

  constructor(bytes: Uint8Array, what: string, at = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#at = at;
  }

  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#bytes.byteLength - this.#at;
  }

  /** Returns a view of the next `length` bytes. @throws BYTES_TRUNCATED */
  take(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.#bytes.subarray(at, at + length);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16be(): number {
    return this.#view.getUint16(this.#advance(2), false);
  }

  u32be(): number {
    return this.#view.getUint32(this.#advance(4), false);
  }

  u32le(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u64be(): bigint {
    return this.#view.getBigUint64(this.#advance(8), false);
  }

  u64le(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  #advance(length: number): number {
    const at = this.#at;
    if (!Number.isSafeInteger(length) || length < 0 || length > this.#bytes.byteLength - at) {
      throw baseError('BYTES_TRUNCATED', `Cannot read ${this.#what}: ${length} bytes wanted at offset ${at}, ${this.remaining} left`, {
        data: { offset: at, wanted: length },
      });
    }
    this.#at = at + length;
    return at;
  }
}
