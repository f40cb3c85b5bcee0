/** Numbers that are the same for equal seeds: a test and a campaign must be repeatable, so no Math.random. */

/** sfc32 of Chris Doty-Humphrey: small, quick, and good enough that neighbouring seeds have nothing in common. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param salt makes several streams of one seed: the name of a target */
  constructor(seed: number, salt = '') {
    let hash = 0x811c9dc5; // FNV-1a
    for (const byte of Buffer.from(salt)) hash = Math.imul(hash ^ byte, 0x01000193);
    this.#a = seed >>> 0;
    this.#b = hash >>> 0;
    this.#c = Math.floor(seed / 2 ** 32) >>> 0;
    for (let i = 0; i < 12; i++) this.u32();
  }

  u32(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** Returns a whole number of 0 … `limit` - 1; 0 when the limit is below 1. */
  below(limit: number): number {
    return limit <= 1 ? 0 : Math.floor((this.u32() / 2 ** 32) * limit);
  }

  /** Returns true once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at++) bytes[at] = this.u32() >>> 24;
    return bytes;
  }
}
