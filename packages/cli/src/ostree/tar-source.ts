/** `--tree=tar=FILE`: the bytes of a tar, whatever it is compressed with. */
import { createReadStream } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { decompress, detectCompression } from '@cambium/archive';
import type { Bytes } from '@cambium/base';

/** Tars come in chunks of this size. */
const READ_BYTES = 1024 * 1024;

/** @param path `-` is standard input */
export async function* openTar(path: string, signal: AbortSignal): Bytes {
  // A pipe may stay silent for ever: an interruption must end the waiting too.
  const file: AsyncIterable<Uint8Array> = addAbortSignal(signal, path === '-' ? process.stdin : createReadStream(path, { highWaterMark: READ_BYTES }));
  const source = file[Symbol.asyncIterator]();
  // The first chunk of a file or pipe holds the few bytes that tell the kind.
  const first = await source.next();
  if (first.done === true) return;
  yield* decompress(startingWith(first.value, source), detectCompression(first.value));
}

async function* startingWith(first: Uint8Array, rest: AsyncIterator<Uint8Array>): Bytes {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
