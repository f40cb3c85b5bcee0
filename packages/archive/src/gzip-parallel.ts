/**
 * gzip on all cores: blocks are compressed side by side, each with the end of the one before as its dictionary.
 * Source: RFC 1952; RFC 1951 section 3.2.4 (an empty stored block ends each on a byte).
 */
import { constants, crc32, deflateRaw } from 'node:zlib';
import type { Bytes } from '@cambium/base';

const BLOCK_BYTES = 1024 * 1024;
const WINDOW_BYTES = 32 * 1024;
/** As many as Node's pool has threads. */
const AT_ONCE = 4;
/** Time zero, no name, unknown system. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);

/** Returns `source` as one gzip member; equal input and level give equal bytes for one version of zlib, however the input is cut. */
export async function* gzipParallel(source: Bytes, level = 6): Bytes {
  yield HEADER;
  const running: Promise<Uint8Array>[] = [];
  let crc = 0;
  let size = 0;
  let window: Uint8Array | undefined;
  for await (const block of blocksOf(source)) {
    crc = crc32(block, crc);
    size += block.byteLength;
    running.push(deflateBlock(block, window, level, constants.Z_SYNC_FLUSH));
    // An error in one is told in its turn.
    running.at(-1)?.catch(() => undefined);
    window = block.subarray(-WINDOW_BYTES);
    if (running.length >= AT_ONCE) yield await (running.shift() as Promise<Uint8Array>);
  }
  for (const block of running) yield await block;
  yield await deflateBlock(new Uint8Array(0), undefined, level, constants.Z_FINISH);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield trailer;
}

function deflateBlock(block: Uint8Array, window: Uint8Array | undefined, level: number, finishFlush: number): Promise<Uint8Array> {
  const options = { level, finishFlush, chunkSize: BLOCK_BYTES / 2, ...(window === undefined || window.byteLength === 0 ? {} : { dictionary: window }) };
  return new Promise((resolve, reject) => {
    deflateRaw(block, options, (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
  });
}

/** Cuts a stream into blocks of one size, the last one shorter. */
async function* blocksOf(source: Bytes): Bytes {
  let block = new Uint8Array(BLOCK_BYTES);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.byteLength; ) {
      const part = chunk.subarray(at, at + BLOCK_BYTES - filled);
      block.set(part, filled);
      filled += part.byteLength;
      at += part.byteLength;
      if (filled < BLOCK_BYTES) continue;
      yield block;
      block = new Uint8Array(BLOCK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}
