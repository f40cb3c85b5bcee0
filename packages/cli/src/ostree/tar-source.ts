/** `--tree=tar=FILE`: the bytes of a tar or cpio archive, whatever it is compressed with. */
import { createReadStream } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { COMPRESSION_HEAD_BYTES, decompress, detectCompression } from '@cambium/archive';
import type { Bytes } from '@cambium/base';

/** Tars come in chunks of this size. */
const READ_BYTES = 1024 * 1024;

/** @param path `-` is standard input @throws ARCHIVE_COMPRESSION_UNSUPPORTED */
export async function* openTar(path: string, signal: AbortSignal): Bytes {
  // A pipe may stay silent for ever: an interruption must end the waiting too.
  const file: AsyncIterable<Uint8Array> = addAbortSignal(signal, path === '-' ? process.stdin : createReadStream(path, { highWaterMark: READ_BYTES }));
  yield* uncompressed(file);
}

/** Returns the archive in `bytes`. */
export async function* uncompressed(bytes: AsyncIterable<Uint8Array>): Bytes {
  const source = bytes[Symbol.asyncIterator]();
  // A pipe may give a few bytes at a time.
  let head: Uint8Array = new Uint8Array(0);
  while (head.byteLength < COMPRESSION_HEAD_BYTES) {
    const next = await source.next();
    if (next.done === true) break;
    head = head.byteLength === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  if (head.byteLength === 0) return;
  yield* decompress(startingWith(head, source), detectCompression(head));
}

async function* startingWith(first: Uint8Array, rest: AsyncIterator<Uint8Array>): Bytes {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
