/** Breaks off bodies that trickle: a peer that sends a byte now and then would hold us for ever without any timeout. */
import type { Readable } from 'node:stream';
import type { Bytes } from '@cambium/base';
import type { LowSpeed } from './connections.ts';
import { httpError } from './errors.ts';
import { displayUrl } from './redact.ts';

/**
 * Passes a body on while it comes at least as fast as `limit`, on the mean over `limit.seconds` of waiting for it.
 *
 * @throws HTTP_TOO_SLOW
 */
export async function* limitedFromBelow(body: Readable, limit: LowSpeed, url: URL): Bytes {
  const windowMs = limit.seconds * 1000;
  const enough = limit.bytesPerSecond * limit.seconds;
  let waitedMs = 0;
  let received = 0;
  const chunks = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  try {
    for (;;) {
      const began = performance.now();
      // A window in which enough came ends early, so whatever reaches its end is too slow.
      let isWaiting = true;
      const giveUp = (): void => {
        if (isWaiting) body.destroy(tooSlow(url, limit));
      };
      // After what has come already: this thread may have been busy, and the server quick.
      const timer = setTimeout(() => setImmediate(giveUp), Math.max(0, windowMs - waitedMs));
      let next: IteratorResult<Uint8Array>;
      try {
        next = await chunks.next();
      } finally {
        isWaiting = false;
        clearTimeout(timer);
      }
      if (next.done === true) return;
      waitedMs += performance.now() - began;
      received += next.value.byteLength;
      if (received >= enough) {
        waitedMs = 0;
        received = 0;
      }
      yield next.value;
    }
  } finally {
    await chunks.return?.();
  }
}

function tooSlow(url: URL, limit: LowSpeed): Error {
  return httpError('HTTP_TOO_SLOW', `Gave up on ${url.host}: it sent less than ${limit.bytesPerSecond} bytes per second for ${limit.seconds} seconds`, {
    retryable: true,
    data: { url: displayUrl(url), ...limit },
  });
}
