/** Layers as tar, whatever they are compressed with. */
import { decompress, detectCompression } from '@cambium/archive';
import { type Bytes, concat } from '@cambium/base';

/** Gives the tar of a layer. The compression is read from the bytes: media types of real images are wrong often enough. */
export async function* plainLayer(layer: Bytes, limitBytes: number, signal: AbortSignal | undefined): Bytes {
  const source = layer[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let size = 0;
  let ended = false;
  while (size < 6 && !ended) {
    const next = await source.next();
    if (next.done === true) ended = true;
    else {
      head.push(new Uint8Array(next.value));
      size += next.value.byteLength;
    }
  }
  const start = concat(head);
  const whole: Bytes = {
    async *[Symbol.asyncIterator]() {
      try {
        if (start.byteLength > 0) yield start;
        while (!ended) {
          const next = await source.next();
          if (next.done === true) return;
          yield next.value;
        }
      } finally {
        await source.return?.();
      }
    },
  };
  yield* decompress(whole, detectCompression(start), { limitBytes, ...(signal === undefined ? {} : { signal }) });
}
