/**
 * Patches without header and compression, as static deltas hold them: repeated triples of numbers x, y, z (64 bits, sign and
 * magnitude), x bytes to add to the old ones, y bytes to insert; z moves in the old file. Source: bsdiff, the endsley variant.
 */
import { asBuffer } from '../format/framing.ts';
import { corruptDelta } from './problems.ts';
import type { ReadSource } from './read-source.ts';

const CHUNK_BYTES = 256 * 1024;

/** Yields the new content, `sizeBytes` in all; each chunk is valid until the next. @throws OSTREE_DELTA_CORRUPT */
export function* applyBspatch(old: ReadSource, patch: Uint8Array, sizeBytes: number): Generator<Uint8Array> {
  const bytes = asBuffer(patch);
  let at = 0;
  let oldAt = 0;
  let made = 0;
  while (made < sizeBytes) {
    if (bytes.byteLength - at < 24) throw corruptDelta('a patch that ends early');
    const [add, insert, move] = [readNumber(bytes, at), readNumber(bytes, at + 8), readNumber(bytes, at + 16)];
    at += 24;
    // Nothing made and nothing left of the patch but numbers would go on as long as its maker likes; a part bounds it.
    if (add < 0 || insert < 0 || add + insert > sizeBytes - made || add + insert > bytes.byteLength - at) throw corruptDelta('a patch beyond its end');
    for (let done = 0; done < add; done += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, add - done);
      yield sum(bytes.subarray(at + done, at + done + length), old, oldAt + done);
    }
    at += add;
    if (insert > 0) yield bytes.subarray(at, at + insert);
    at += insert;
    made += add + insert;
    oldAt += add + move;
    if (!Number.isSafeInteger(oldAt)) throw corruptDelta('a patch beyond its source');
  }
  if (at !== bytes.byteLength) throw corruptDelta('a patch that is too long');
}

/** Bytes outside the old content count as 0. */
function sum(difference: Uint8Array, old: ReadSource, oldAt: number): Uint8Array {
  const output = Uint8Array.from(difference);
  const from = Math.max(0, -oldAt);
  const to = Math.min(difference.byteLength, old.sizeBytes - oldAt);
  if (from >= to) return output;
  const base = old.read(oldAt + from, to - from);
  for (let i = from; i < to; i++) output[i] = (output[i] as number) + (base[i - from] as number);
  return output;
}

function readNumber(bytes: Buffer, at: number): number {
  const low = bytes.readUInt32LE(at);
  const high = bytes.readUInt32LE(at + 4);
  const magnitude = (high & 0x7fff_ffff) * 0x1_0000_0000 + low;
  if (!Number.isSafeInteger(magnitude)) throw corruptDelta('an impossible number in a patch');
  return high >= 0x8000_0000 ? -magnitude : magnitude;
}

/** Writes a number as {@link applyBspatch} reads it. */
export function writeNumber(bytes: Buffer, at: number, value: number): void {
  const magnitude = Math.abs(value);
  bytes.writeUInt32LE(magnitude % 0x1_0000_0000, at);
  bytes.writeUInt32LE((Math.floor(magnitude / 0x1_0000_0000) | (value < 0 ? 0x8000_0000 : 0)) >>> 0, at + 4);
}
