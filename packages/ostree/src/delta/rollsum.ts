/**
 * What two contents have in common, by chunks cut where their bytes say so: what moved is found again, in one pass over each.
 * Sizes as in libostree: a boundary about every 8 KiB, at most 32 KiB apart.
 */
import { crc32 } from 'node:zlib';

const MAX_CHUNK_BYTES = 32_768;
const BOUNDARY_SHIFT = 32 - 13;

/** A piece of the new content: copied from `offset` of the old one, or new. */
export interface Region {
  copied: boolean;
  /** In the old content when copied, in the new one otherwise. */
  offset: number;
  length: number;
}

/** Any table does, if both contents are cut with the same. */
const GEAR: Uint32Array = Uint32Array.from({ length: 256 }, (_, i) => Math.imul(Math.imul(i + 1, 0x9e37_79b1) ^ ((i + 1) << 15), 0x85eb_ca6b) >>> 0);

/** Returns the end of each chunk. */
function* chunkEnds(bytes: Uint8Array): Generator<number> {
  let hash = 0;
  let start = 0;
  for (let at = 0; at < bytes.byteLength; at++) {
    hash = ((hash << 1) + (GEAR[bytes[at] as number] as number)) | 0;
    if (hash >>> BOUNDARY_SHIFT !== 0 && at + 1 - start < MAX_CHUNK_BYTES) continue;
    start = at + 1;
    hash = 0;
    yield start;
  }
  if (start < bytes.byteLength) yield bytes.byteLength;
}

/** Returns pieces that together are `next`, and how many of its bytes `old` has. */
export function matchRegions(old: Uint8Array, next: Uint8Array): { regions: Region[]; copiedBytes: number } {
  const chunks = new Map<number, number>();
  let start = 0;
  for (const end of chunkEnds(old)) {
    const key = keyOf(old, start, end);
    if (!chunks.has(key)) chunks.set(key, start);
    start = end;
  }
  const regions: Region[] = [];
  let copiedBytes = 0;
  let done = 0;
  start = 0;
  for (const end of chunkEnds(next)) {
    const found = start < done ? undefined : chunks.get(keyOf(next, start, end));
    if (found !== undefined && Buffer.compare(old.subarray(found, found + end - start), next.subarray(start, end)) === 0) {
      let [from, to, oldFrom] = [start, end, found];
      while (from > done && oldFrom > 0 && next[from - 1] === old[oldFrom - 1]) {
        from--;
        oldFrom--;
      }
      while (to < next.byteLength && oldFrom + to - from < old.byteLength && next[to] === old[oldFrom + to - from]) to++;
      if (from > done) regions.push({ copied: false, offset: done, length: from - done });
      regions.push({ copied: true, offset: oldFrom, length: to - from });
      copiedBytes += to - from;
      done = to;
    }
    start = end;
  }
  if (done < next.byteLength) regions.push({ copied: false, offset: done, length: next.byteLength - done });
  return { regions, copiedBytes };
}

function keyOf(bytes: Uint8Array, start: number, end: number): number {
  return crc32(bytes.subarray(start, end)) * 65_536 + (end - start);
}
