/**
 * What large contents have in common, by chunks cut where their bytes say so: what moved is found again, in one pass over each,
 * and memory is a few dozen bytes for each chunk. About every 8 KiB, at most 32 KiB apart, as in libostree.
 */
import { hash } from 'node:crypto';
import type { Bytes } from '@cambium/base';

const MIN_CHUNK_BYTES = 1024;
const MAX_CHUNK_BYTES = 32_768;
const BOUNDARY_SHIFT: number = 32 - 13;

/** A piece of the new content: copied from `offset` of the old one, or new. */
export interface Region {
  copied: boolean;
  /** In the old content when copied, in the new one otherwise. */
  offset: number;
  length: number;
}

/** Any table does, if both contents are cut with the same. */
const GEAR: Uint32Array = Uint32Array.from({ length: 256 }, (_, i) => Math.imul(Math.imul(i + 1, 0x9e37_79b1) ^ ((i + 1) << 15), 0x85eb_ca6b) >>> 0);

/** Returns pieces that together are `next`, and how many of its bytes `old` has. Chunks are told apart by sha256. */
export async function matchStreams(old: Bytes, next: Bytes): Promise<{ regions: Region[]; copiedBytes: number }> {
  const places = new Map<string, number>();
  let at = 0;
  for await (const chunk of chunksOf(old)) {
    const key = hash('sha256', chunk, 'base64');
    if (!places.has(key)) places.set(key, at);
    at += chunk.byteLength;
  }
  const regions: Region[] = [];
  let copiedBytes = 0;
  at = 0;
  for await (const chunk of chunksOf(next)) {
    const found = places.get(hash('sha256', chunk, 'base64'));
    const region = { copied: found !== undefined, offset: found ?? at, length: chunk.byteLength };
    if (region.copied) copiedBytes += region.length;
    const last = regions.at(-1);
    if (last !== undefined && last.copied === region.copied && last.offset + last.length === region.offset) last.length += region.length;
    else regions.push(region);
    at += chunk.byteLength;
  }
  return { regions, copiedBytes };
}

/** Yields the chunks of a content; each is valid until the next. */
async function* chunksOf(content: Bytes): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array = new Uint8Array(0);
  for await (const piece of content) {
    const bytes = rest.byteLength === 0 ? piece : Buffer.concat([rest, piece]);
    let start = 0;
    for (let end = chunkEnd(bytes, start); end > 0; end = chunkEnd(bytes, start)) {
      yield bytes.subarray(start, end);
      start = end;
    }
    // A copy: the piece is valid until the next is asked for.
    rest = Buffer.from(bytes.subarray(start));
  }
  if (rest.byteLength > 0) yield rest;
}

/** Returns the end of the chunk that begins at `start`, or 0 when it is further on. */
function chunkEnd(bytes: Uint8Array, start: number): number {
  const last = start + MAX_CHUNK_BYTES;
  let hashed = 0;
  for (let at = start; at < bytes.byteLength; at++) {
    hashed = ((hashed << 1) + (GEAR[bytes[at] as number] as number)) | 0;
    if (hashed >>> BOUNDARY_SHIFT === 0 && at + 1 - start >= MIN_CHUNK_BYTES) return at + 1;
    if (at + 1 === last) return last;
  }
  return 0;
}
