/** `--tree=tar=FILE`: the bytes of a tar, whatever it is compressed with. */
import { createReadStream } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { COMPRESSION_HEAD_BYTES, decompress, detectCompression } from '@cambium/archive';
import type { Bytes } from '@cambium/base';
import { featureMissing } from './verb.ts';

/** Tars come in chunks of this size. */
const READ_BYTES = 1024 * 1024;

/** @param path `-` is standard input @throws ARCHIVE_COMPRESSION_UNSUPPORTED, CLI_FEATURE_MISSING for archives that are no tars */
export async function* openTar(path: string, signal: AbortSignal): Bytes {
  // A pipe may stay silent for ever: an interruption must end the waiting too.
  const file: AsyncIterable<Uint8Array> = addAbortSignal(signal, path === '-' ? process.stdin : createReadStream(path, { highWaterMark: READ_BYTES }));
  yield* uncompressed(file, path);
}

/** Returns the tar in `bytes`. @param name for messages */
export async function* uncompressed(bytes: AsyncIterable<Uint8Array>, name: string): Bytes {
  const source = bytes[Symbol.asyncIterator]();
  // A pipe may give a few bytes at a time.
  let head: Uint8Array = new Uint8Array(0);
  while (head.byteLength < COMPRESSION_HEAD_BYTES) {
    const next = await source.next();
    if (next.done === true) break;
    head = head.byteLength === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  if (head.byteLength === 0) return;
  if (isCpio(head)) throw featureMissing(`--tree=tar=${name} (a cpio archive)`);
  yield* decompress(startingWith(head, source), detectCompression(head));
}

/** Source: cpio(5): "070701", "070702", "070707", or 070707 as a 16-bit number of either order. */
function isCpio(head: Uint8Array): boolean {
  const text = Buffer.from(head).toString('latin1', 0, 6);
  return /^07070[127]/.test(text) || text.startsWith('\xc7\x71') || text.startsWith('\x71\xc7');
}

async function* startingWith(first: Uint8Array, rest: AsyncIterator<Uint8Array>): Bytes {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
