/** `--tree=tar=FILE`: the bytes of a tar or cpio archive, whatever it is compressed with. */
import { createReadStream, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { addAbortSignal } from 'node:stream';
import { COMPRESSION_HEAD_BYTES, decompress, detectCompression } from '@cambium/archive';
import type { Bytes } from '@cambium/base';

/** Tars come in chunks of this size. */
const READ_BYTES = 1024 * 1024;

/** @param path `-` is standard input @throws ARCHIVE_COMPRESSION_UNSUPPORTED */
export async function* openTar(path: string, signal: AbortSignal): Bytes {
  yield* uncompressed(path !== '-' && statSync(path, { throwIfNoEntry: false })?.isFile() === true ? fileBytes(path, signal) : pipeBytes(path, signal));
}

/** In one buffer: a stream makes a new one for each chunk, and dozens wait for the garbage collector. */
async function* fileBytes(path: string, signal: AbortSignal): Bytes {
  const file = await open(path);
  try {
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** A pipe may stay silent for ever: an interruption must end the waiting too. */
function pipeBytes(path: string, signal: AbortSignal): Bytes {
  return addAbortSignal(signal, path === '-' ? process.stdin : createReadStream(path, { highWaterMark: READ_BYTES }));
}

/** Returns the archive in `bytes`. */
export async function* uncompressed(bytes: Bytes): Bytes {
  const source = bytes[Symbol.asyncIterator]();
  // A pipe may give a few bytes at a time.
  let head: Uint8Array = new Uint8Array(0);
  try {
    while (head.byteLength < COMPRESSION_HEAD_BYTES) {
      const next = await source.next();
      if (next.done === true) break;
      head = head.byteLength === 0 && next.value.byteLength >= COMPRESSION_HEAD_BYTES ? next.value : Buffer.concat([head, next.value]);
    }
    if (head.byteLength > 0) yield* decompress(startingWith(head, source), detectCompression(head));
  } finally {
    // Whoever stops in the middle leaves the file open otherwise.
    await source.return?.();
  }
}

async function* startingWith(first: Uint8Array, rest: AsyncIterator<Uint8Array>): Bytes {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
