/**
 * Sets of objects by the million: 33 bytes and a share of empty slots each, where a `Set` of strings takes about 150.
 */
import type { Checksum } from '@cambium/base';
import { u32Swap } from '@cambium/gvariant';
import type { ObjectType } from './types.ts';

/** The numbers libostree gives the kinds (OstreeObjectType); 0 marks an empty slot. */
const CODE: Readonly<Record<ObjectType, number>> = { file: 1, dirtree: 2, dirmeta: 3, commit: 4 };
const TYPES: readonly (ObjectType | undefined)[] = [undefined, 'file', 'dirtree', 'dirmeta', 'commit'];
const WORDS = 8;

export interface ObjectName {
  type: ObjectType;
  checksum: Checksum;
}

/**
 * A set of (type, checksum): open addressing over one typed array. Checksums are uniform, so their first bits are the hash;
 * iteration is then nearly in order of checksum, which is also the order of directories on disk.
 */
export class ObjectSet {
  #size = 0;
  #capacity = 1024;
  /** Turns 32 bits of hash into a slot. */
  #shift = 22;
  #words: Uint32Array;
  #types: Uint8Array;
  readonly #scratch: Buffer = Buffer.alloc(32);
  readonly #key: Uint32Array = new Uint32Array(this.#scratch.buffer, this.#scratch.byteOffset, WORDS);

  constructor(expected = 512) {
    while (this.#capacity * 0.75 < expected) this.#double();
    this.#words = new Uint32Array(this.#capacity * WORDS);
    this.#types = new Uint8Array(this.#capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** Adds an object; returns whether it was new. */
  add(type: ObjectType, checksum: Checksum): boolean {
    this.#scratch.write(checksum, 0, 32, 'hex');
    return this.#add(CODE[type]);
  }

  #add(code: number): boolean {
    const at = this.#slot(code);
    if (this.#types[at] !== 0) return false;
    this.#types[at] = code;
    this.#words.set(this.#key, at * WORDS);
    if (++this.#size > this.#capacity * 0.75) this.#grow();
    return true;
  }

  has(type: ObjectType, checksum: Checksum): boolean {
    this.#scratch.write(checksum, 0, 32, 'hex');
    return this.#types[this.#slot(CODE[type])] !== 0;
  }

  /** As {@link add} for the 32 bytes at `at`. */
  addBytes(type: ObjectType, bytes: Buffer, at: number): boolean {
    bytes.copy(this.#scratch, 0, at, at + 32);
    return this.#add(CODE[type]);
  }

  /** As {@link has} for the 32 bytes at `at`. */
  hasBytes(type: ObjectType, bytes: Buffer, at: number): boolean {
    bytes.copy(this.#scratch, 0, at, at + 32);
    return this.#types[this.#slot(CODE[type])] !== 0;
  }

  /** The objects, in no particular order. The set must not change meanwhile. */
  *[Symbol.iterator](): Generator<ObjectName, void, void> {
    const bytes = Buffer.from(this.#words.buffer);
    for (let at = 0; at < this.#capacity; at++) {
      const type = TYPES[this.#types[at] as number];
      if (type !== undefined) yield { type, checksum: bytes.toString('hex', at * 32, at * 32 + 32) as Checksum };
    }
  }

  /** The slot that holds the key in `#key`, or the empty one where it belongs. */
  #slot(code: number): number {
    const mask = this.#capacity - 1;
    const key = this.#key;
    const words = this.#words;
    for (let at = u32Swap(key[0] as number) >>> this.#shift; ; at = (at + 1) & mask) {
      const type = this.#types[at] as number;
      if (type === 0) return at;
      if (type !== code) continue;
      const from = at * WORDS;
      let i = 0;
      while (i < WORDS && words[from + i] === key[i]) i++;
      if (i === WORDS) return at;
    }
  }

  #double(): void {
    this.#capacity *= 2;
    this.#shift--;
  }

  #grow(): void {
    const words = this.#words;
    const types = this.#types;
    this.#double();
    this.#words = new Uint32Array(this.#capacity * WORDS);
    this.#types = new Uint8Array(this.#capacity);
    for (let old = 0; old < types.length; old++) {
      const code = types[old] as number;
      if (code === 0) continue;
      this.#key.set(words.subarray(old * WORDS, old * WORDS + WORDS));
      const at = this.#slot(code);
      this.#types[at] = code;
      this.#words.set(this.#key, at * WORDS);
    }
  }
}
