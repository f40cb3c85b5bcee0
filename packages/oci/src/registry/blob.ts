/** Downloads of blobs: verified while they stream, and going on where they broke. */
import { createHash } from 'node:crypto';
import { type Bytes, splitDigest } from '@cambium/base';
import { type HttpResponse, networkProblem } from '@cambium/http';
import { ociError } from '../errors.ts';
import type { Descriptor } from '../image/types.ts';
import type { OnRegistryEvent } from './events.ts';

export interface BlobDownload {
  descriptor: Descriptor;
  /** For messages: the image the blob is of. */
  what: string;
  /** Asks for the bytes from `offset` on; the answer has status 200 (all of it), 206 or 416. */
  request(offset: number): Promise<HttpResponse>;
  /** Breaks in a row, without much progress between them, after which it is given up. */
  attempts: number;
  pause(attempt: number): Promise<void>;
  signal?: AbortSignal | undefined;
  on?: OnRegistryEvent | undefined;
}

/** Progress that makes earlier breaks forgotten. With less, a peer that sends a byte per connection would keep us busy for ever. */
const PROGRESS_BYTES = 1024 * 1024;

/**
 * Streams a blob. Bytes come out before the verdict.
 *
 * @throws OCI_BLOB_MISMATCH, HTTP_UNREACHABLE, HTTP_TIMEOUT and what `request` throws
 */
export async function* downloadBlob({ descriptor, what, request, attempts, pause, signal, on }: BlobDownload): Bytes {
  const { digest, size } = descriptor;
  const { algorithm, hex } = splitDigest(digest);
  const hash = createHash(algorithm);
  const mismatch = (reason: string, data: Record<string, unknown> = {}): Error =>
    ociError('OCI_BLOB_MISMATCH', `Cannot trust blob ${digest} of ${what}: ${reason}`, { retryable: true, data: { digest, expectedBytes: size, ...data } });

  let seen = 0;
  let mark = 0;
  let breaks = 0;
  for (;;) {
    signal?.throwIfAborted();
    const response = await request(seen);
    let skip = 0;
    if (response.status === 206) {
      const range = parseContentRange(response.headers['content-range']);
      if (range === undefined || range.start !== seen || (range.total !== undefined && range.total !== size)) {
        response.discard();
        throw mismatch('the registry sends another range than the one asked for');
      }
    } else if (response.status === 416) {
      response.discard();
      throw mismatch(`it ends before its ${size} bytes`, { seenBytes: seen });
    } else {
      // The whole blob, also where a part was asked for: pass over what we have.
      skip = seen;
      const length = contentLength(response.headers['content-length']);
      if (length !== undefined && length !== size) {
        response.discard();
        throw mismatch(`it has ${length} bytes, not ${size}`, { seenBytes: length });
      }
    }

    let broken: unknown;
    try {
      for await (const received of response.body) {
        let chunk = received;
        if (skip > 0) {
          const over = Math.min(skip, chunk.byteLength);
          skip -= over;
          if (over === chunk.byteLength) continue;
          chunk = chunk.subarray(over);
        }
        seen += chunk.byteLength;
        // Never more than promised is passed on or waited for: an endless body is an attack.
        if (seen > size) throw mismatch(`it has more than its ${size} bytes`, { seenBytes: seen });
        hash.update(chunk);
        yield chunk;
      }
    } catch (error) {
      signal?.throwIfAborted();
      const problem = networkProblem(error, response.url);
      if (problem === undefined || !problem.transient) throw problem?.error ?? error;
      broken = problem.error;
    }
    if (seen === size) break;

    // A body that ended early without any error was cut by a proxy, or has no stated length.
    breaks = seen - mark >= PROGRESS_BYTES ? 1 : breaks + 1;
    mark = seen;
    if (breaks >= attempts) throw broken ?? mismatch(`it ends after ${seen} of ${size} bytes`, { seenBytes: seen });
    const reason = broken instanceof Error ? broken.message : 'ended early';
    on?.({ type: 'resume', digest, offset: seen, reason });
    await pause(breaks);
  }
  if (hash.digest('hex') !== hex) throw mismatch('its bytes have another digest', { seenBytes: seen });
}

function parseContentRange(header: string | string[] | undefined): { start: number; total: number | undefined } | undefined {
  const found = typeof header === 'string' ? /^bytes ([0-9]{1,15})-[0-9]{1,15}\/([0-9]{1,15}|\*)$/i.exec(header.trim()) : null;
  if (found === null) return undefined;
  return { start: Number(found[1]), total: found[2] === '*' ? undefined : Number(found[2]) };
}

function contentLength(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^[0-9]{1,15}$/.test(header) ? Number(header) : undefined;
}
