/** Streams whose compression nobody says, or says wrongly: the first bytes tell. */
import { type Bytes, concat } from '@cambium/base';
import { type DecompressOptions, decompress } from './decompress.ts';
import { COMPRESSION_HEAD_BYTES, type Compression, detectCompression } from './detect-compression.ts';

/** Returns what a stream is compressed with, and the whole stream again: read it, or the source stays open. */
export async function sniffCompression(source: Bytes): Promise<{ compression: Compression; bytes: Bytes }> {
  const iterator = source[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let size = 0;
  let ended = false;
  while (size < COMPRESSION_HEAD_BYTES && !ended) {
    const next = await iterator.next();
    if (next.done === true) ended = true;
    else {
      // A chunk belongs to its source again once the next is asked for.
      head.push(new Uint8Array(next.value));
      size += next.value.byteLength;
    }
  }
  const start = concat(head);
  const bytes = {
    async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        if (start.byteLength > 0) yield start;
        while (!ended) {
          const next = await iterator.next();
          if (next.done === true) return;
          yield next.value;
        }
      } finally {
        await iterator.return?.();
      }
    },
  };
  return { compression: detectCompression(start), bytes };
}

/** Returns what a stream holds, whatever it is compressed with. @throws as {@link decompress} */
export async function* decompressAny(source: Bytes, options: DecompressOptions = {}): Bytes {
  const { compression, bytes } = await sniffCompression(source);
  yield* decompress(bytes, compression, options);
}
