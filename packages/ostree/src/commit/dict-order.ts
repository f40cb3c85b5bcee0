/**
 * The order in which libostree stores metadata that went through a GVariantDict: that of GLib's hash table. It decides a
 * commit's checksum, so what two tools commit with `--bootable` is one commit only if both have it.
 * Source: GLib 2.62 to 2.84, `ghash.c` and `gvariant.c` behaviour: open addressing, growing in place.
 */
import type { Metadata } from '../format/types.ts';

type Entry = Metadata[number];

/** Returns `metadata` with `added` put in, as from the dictionary; of entries with the same key the last one counts. */
export function throughDict(metadata: Metadata, added: Metadata): Metadata {
  const table = new Table();
  for (const entry of [...metadata, ...added]) table.insert(entry);
  return table.entries();
}

interface Slot {
  hash: number;
  entry: Entry;
}

const MIN_SHIFT = 3;
/** The largest primes below powers of two, from 2^3 on. */
const MODULI = [
  7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071, 262139, 524287, 1048573, 2097143, 4194301, 8388593, 16777213,
];

class Table {
  #shift = MIN_SHIFT;
  #slots: (Slot | undefined)[] = new Array(1 << MIN_SHIFT);
  #used = 0;

  insert(entry: Entry): void {
    const hash = Math.max(2, hashOf(entry[0]));
    let at = this.#start(hash);
    for (let step = 1; ; step++) {
      const slot = this.#slots[at];
      if (slot === undefined) break;
      if (slot.entry[0] === entry[0]) {
        slot.entry = [entry[0], entry[1]];
        return;
      }
      at = this.#next(at, step);
    }
    this.#slots[at] = { hash, entry };
    this.#used++;
    if (1 << this.#shift <= this.#used + (this.#used >>> 4)) this.#grow();
  }

  entries(): Entry[] {
    return this.#slots.flatMap((slot) => (slot === undefined ? [] : [slot.entry]));
  }

  #start(hash: number): number {
    return (Math.imul(hash, 11) >>> 0) % (MODULI[this.#shift - MIN_SHIFT] as number);
  }

  #next(at: number, step: number): number {
    return (at + step) & ((1 << this.#shift) - 1);
  }

  /** In place, as GLib does it: a slot that is taken by one that belongs there sends its own on. */
  #grow(): void {
    const old = 1 << this.#shift;
    this.#shift = Math.max(MIN_SHIFT, 32 - Math.clz32(Math.floor(this.#used * 1.333)));
    const slots = this.#slots;
    slots.length = 1 << this.#shift;
    const settled = new Set<number>();
    for (let i = 0; i < old; i++) {
      let moving = slots[i];
      if (moving === undefined || settled.has(i)) continue;
      slots[i] = undefined;
      while (moving !== undefined) {
        let at = this.#start(moving.hash);
        for (let step = 1; settled.has(at); step++) at = this.#next(at, step);
        settled.add(at);
        const evicted: Slot | undefined = slots[at];
        slots[at] = moving;
        moving = evicted;
      }
    }
  }
}

/** `g_str_hash`: times 33, over signed bytes. */
function hashOf(text: string): number {
  let hash = 5381;
  for (const byte of Buffer.from(text)) hash = (Math.imul(hash, 33) + ((byte << 24) >> 24)) | 0;
  return hash >>> 0;
}
