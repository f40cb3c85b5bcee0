/**
 * Byte streams. A chunk is valid until the next is asked for: copy to keep it, never change it.
 *
 * Content that can be read twice is an {@link Opener}; content that can be read once is {@link Bytes}.
 */
import { createHash, hash as hashOnce } from 'node:crypto';
import { baseError } from './codes.ts';
import { type Digest, splitDigest } from './ids.ts';

export type Bytes = AsyncIterable<Uint8Array>;
export type Opener = (signal?: AbortSignal) => Bytes;

/** Returns the sha256 digest of a buffer. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${hashOnce('sha256', bytes, 'hex')}` as Digest;
}

/** Returns the 64 hex digits of the sha256 of a buffer. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return hashOnce('sha256', bytes, 'hex');
}

/** Returns all of `source` in one buffer of at most `limitBytes`. @throws BYTES_TOO_LARGE */
export async function collect(source: Bytes, limitBytes: number, what = 'data'): Promise<Uint8Array> {
  // One buffer that grows, not a list of chunks: a peer may send a byte at a time, and an object costs a hundred.
  let all = new Uint8Array(0);
  let seen = 0;
  for await (const chunk of source) {
    const end = seen + chunk.byteLength;
    if (end > limitBytes) throw baseError('BYTES_TOO_LARGE', `Cannot read ${what}: over ${limitBytes} bytes`, { data: { limitBytes } });
    if (end > all.byteLength) {
      const grown = new Uint8Array(Math.max(end, Math.min(2 * all.byteLength, limitBytes)));
      grown.set(all.subarray(0, seen));
      all = grown;
    }
    all.set(chunk, seen);
    seen = end;
  }
  return seen === all.byteLength ? all : all.slice(0, seen);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.byteLength;
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}

/** Returns a stream of one buffer. */
export async function* bytesOf(...parts: readonly Uint8Array[]): Bytes {
  yield* parts;
}

/**
 * Passes `source` through and checks it against `want`. Bytes come out before the verdict:
 * whoever writes them keeps them aside until the loop has ended.
 *
 * @throws BYTES_MISMATCH when the size or the digest differs; an endless body is cut at the stated size.
 */
export async function* verified(source: Bytes, want: { digest: Digest; size?: number | undefined }): Bytes {
  const { algorithm, hex } = splitDigest(want.digest);
  const hash = createHash(algorithm);
  let seen = 0;
  for await (const chunk of source) {
    seen += chunk.byteLength;
    if (want.size !== undefined && seen > want.size) break;
    hash.update(chunk);
    yield chunk;
  }
  if ((want.size !== undefined && seen !== want.size) || hash.digest('hex') !== hex) {
    throw baseError('BYTES_MISMATCH', `Content does not match ${want.digest}`, {
      retryable: true,
      data: { digest: want.digest, expectedBytes: want.size, seenBytes: seen },
    });
  }
}

/** Returns `bytes` after checking them. @throws BYTES_MISMATCH */
export function verifiedBuffer(bytes: Uint8Array, want: { digest: Digest; size?: number | undefined }): Uint8Array {
  const { algorithm, hex } = splitDigest(want.digest);
  if ((want.size !== undefined && bytes.byteLength !== want.size) || hashOnce(algorithm, bytes, 'hex') !== hex) {
    throw baseError('BYTES_MISMATCH', `Content does not match ${want.digest}`, {
      retryable: true,
      data: { digest: want.digest, expectedBytes: want.size, seenBytes: bytes.byteLength },
    });
  }
  return bytes;
}

/** Orders byte strings as `strcmp` does: unsigned, shorter first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/**
 * Orders strings by their UTF-8 bytes. JavaScript's own order is by UTF-16 unit,
 * which differs where surrogate pairs meet U+E000…U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    // Surrogates encode the highest code points: move them above the rest of the plane.
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000;
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000;
    }
    return x - y;
  }
  return a.length - b.length;
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Returns the text of `bytes`, or of a range of them, or undefined when they are not valid UTF-8. */
export function decodeUtf8(bytes: Uint8Array, start = 0, end: number = bytes.byteLength): string | undefined {
  // Names are nearly always ASCII, and Latin-1 decoding is several times cheaper than a fatal TextDecoder call.
  let at = start;
  while (at < end && (bytes[at] as number) <= 0x7f) at++;
  if (at === end) return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).toString('latin1', start, end);
  try {
    return strictUtf8.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}
