/**
 * Puts one file into a bucket: whole, or in parts when it is large. Its name shows it when all of it is there.
 *
 * Source: Amazon S3 API reference, PutObject, CreateMultipartUpload, UploadPart, ListParts, CompleteMultipartUpload.
 */
import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readFileSync } from 'node:fs';
import { type Bytes, mapLimit, sha256Hex } from '@cambium/base';
import { childrenOf, textOf } from '../format/xml.ts';
import { cacheControl } from './caching.ts';
import { parseAnswer } from './s3-answer.ts';
import type { Bucket, BucketRequest } from './s3-client.ts';

export interface PartOptions {
  /** Files over this go in parts. Default 64 MiB. */
  multipartOver?: number | undefined;
  /** Size of the parts, but for the last. Stores want at least 5 MiB. Default 16 MiB. */
  partBytes?: number | undefined;
}

const MIB = 1024 * 1024;
const MULTIPART_OVER = 64 * MIB;
const PART_BYTES = 16 * MIB;
const MAX_PARTS = 10_000;
/** Of one file at a time. */
const PARTS_AT_ONCE = 4;
/** Up to here a body is held in memory; above, it is read twice: once for the hash that is signed. */
const SMALL_BYTES = MIB;
const CHUNK_BYTES = 256 * 1024;

type Body = NonNullable<BucketRequest['body']>;

/**
 * @param path of the file in the repository, which says how long caches may keep it
 * @throws OSTREE_PUSH_FAILED OSTREE_PUSH_DENIED OSTREE_PUSH_NO_BUCKET OSTREE_PUSH_CLOCK
 */
export async function putObject(
  bucket: Bucket,
  key: string,
  path: string,
  content: string | Uint8Array,
  options: PartOptions,
  signal?: AbortSignal,
): Promise<void> {
  const headers = { 'content-type': 'application/octet-stream', 'cache-control': cacheControl(path) };
  const sizeBytes = typeof content === 'string' ? lstatSync(content).size : 0;
  if (typeof content === 'string' && sizeBytes > (options.multipartOver ?? MULTIPART_OVER))
    return putInParts(bucket, key, content, sizeBytes, headers, options, signal);
  const isSmall = sizeBytes <= SMALL_BYTES;
  const body = typeof content !== 'string' ? inMemory(content) : isSmall ? inMemory(readFileSync(content)) : await rangeOf(content, 0, sizeBytes);
  const answer = await bucket.ask({ method: 'PUT', key, headers, body, signal });
  if (answer.status !== 200) throw bucket.refusal(answer, `put "${key}"`);
}

function inMemory(bytes: Uint8Array): Body {
  return { bytes, sizeBytes: bytes.byteLength, sha256: sha256Hex(bytes) };
}

async function rangeOf(path: string, start: number, end: number): Promise<Body> {
  return { bytes: () => range(path, start, end), sizeBytes: end - start, sha256: await hashOf('sha256', path, start, end) };
}

function range(path: string, start: number, end: number): Bytes {
  return createReadStream(path, { start, end: end - 1, highWaterMark: CHUNK_BYTES });
}

async function hashOf(algorithm: 'sha256' | 'md5', path: string, start: number, end: number): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of range(path, start, end)) hash.update(chunk);
  return hash.digest('hex');
}

interface Part {
  number: number;
  start: number;
  end: number;
}

async function putInParts(
  bucket: Bucket,
  key: string,
  path: string,
  sizeBytes: number,
  headers: Readonly<Record<string, string>>,
  options: PartOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  const partBytes = Math.max(options.partBytes ?? PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS));
  const parts: Part[] = [];
  for (let start = 0; start < sizeBytes; start += partBytes) parts.push({ number: parts.length + 1, start, end: Math.min(start + partBytes, sizeBytes) });
  // What a push that was killed has left there is gone on with; until then it costs room, and nobody sees it.
  const uploadId = (await begunUpload(bucket, key, signal)) ?? (await beginUpload(bucket, key, headers, signal));
  const there = await partsThere(bucket, key, uploadId, signal);
  const tags = await mapLimit(parts, PARTS_AT_ONCE, async ({ number, start, end }) => {
    signal?.throwIfAborted();
    const old = there.get(number);
    if (old !== undefined && old.sizeBytes === end - start && unquoted(old.tag) === (await hashOf('md5', path, start, end))) return old.tag;
    const body = await rangeOf(path, start, end);
    const answer = await bucket.ask({ method: 'PUT', key, query: { partNumber: String(number), uploadId }, body, signal });
    if (answer.status !== 200 || typeof answer.headers.etag !== 'string') throw bucket.refusal(answer, `put part ${number} of "${key}"`);
    return answer.headers.etag;
  });
  const list = tags.map((tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>"${unquoted(tag)}"</ETag></Part>`).join('');
  const body = inMemory(Buffer.from(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${list}</CompleteMultipartUpload>`));
  const answer = await bucket.ask({ method: 'POST', key, query: { uploadId }, body, signal });
  if (answer.status === 200 && answer.code === '') return;
  // The answer to a try that did it may have been lost.
  if (answer.code === 'NoSuchUpload' && (await sizeThere(bucket, key, signal)) === sizeBytes) return;
  throw bucket.refusal(answer, `put the parts of "${key}" together`);
}

async function beginUpload(bucket: Bucket, key: string, headers: Readonly<Record<string, string>>, signal: AbortSignal | undefined): Promise<string> {
  const answer = await bucket.ask({ method: 'POST', key, query: { uploads: '' }, headers, signal });
  const id = textOf(parseAnswer(answer.body), 'UploadId');
  if (answer.status !== 200 || id === undefined) throw bucket.refusal(answer, `begin to put "${key}" in parts`);
  return id;
}

/** Stores that cannot say, or will not say it to us, have none. */
async function begunUpload(bucket: Bucket, key: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  const answer = await bucket.ask({ method: 'GET', query: { uploads: '', prefix: key }, signal });
  if (answer.status !== 200) return undefined;
  const uploads = childrenOf(parseAnswer(answer.body), 'Upload').filter((upload) => textOf(upload, 'Key') === key);
  return uploads.map((upload) => textOf(upload, 'UploadId')).find((id) => id !== undefined && id !== '');
}

async function partsThere(
  bucket: Bucket,
  key: string,
  uploadId: string,
  signal: AbortSignal | undefined,
): Promise<Map<number, { tag: string; sizeBytes: number }>> {
  const found = new Map<number, { tag: string; sizeBytes: number }>();
  for (let marker = 0; ; ) {
    const answer = await bucket.ask({ method: 'GET', key, query: { uploadId, 'part-number-marker': String(marker) }, signal });
    if (answer.status !== 200) return new Map();
    let last = marker;
    const list = parseAnswer(answer.body);
    for (const part of childrenOf(list, 'Part')) {
      const [number, tag, size] = ['PartNumber', 'ETag', 'Size'].map((name) => textOf(part, name) ?? '');
      found.set(Number(number), { tag: tag as string, sizeBytes: Number(size) });
      last = Math.max(last, Number(number));
    }
    // A list that does not move on has nothing more for us.
    if (textOf(list, 'IsTruncated') !== 'true' || !(last > marker)) return found;
    marker = last;
  }
}

async function sizeThere(bucket: Bucket, key: string, signal: AbortSignal | undefined): Promise<number | undefined> {
  const answer = await bucket.ask({ method: 'HEAD', key, signal });
  return answer.status === 200 ? Number(answer.headers['content-length']) : undefined;
}

function unquoted(tag: string): string {
  return tag.replaceAll('"', '');
}
