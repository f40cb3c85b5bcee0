/** Answers one request with a file of a repository. Source: RFC 9110, RFC 9111 (caching), RFC 8246 (`immutable`). */
import { closeSync, constants, createReadStream, fstatSync, openSync, readSync, realpathSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { sha256Hex } from '@cambium/base';
import { cacheControl, publicConfig } from '@cambium/ostree';
import { isUnchanged, rangeOf, type Validators } from './conditions.ts';
import { type RepoFile, repoFile, repoFileOfRequest } from './repo-path.ts';

/** Up to here a file is read at once: nearly all objects are small, and a stream costs more than they do. */
const SMALL_BYTES = 64 * 1024;
const CONFIG = 'config';
const MAX_CONFIG_BYTES = 1024 * 1024;
/** A slow client holds one of these for each request. */
const STREAM_CHUNK_BYTES = 64 * 1024;
const FIXED_HEADERS = { 'content-type': 'application/octet-stream', 'x-content-type-options': 'nosniff' };

/**
 * Answers a request. Never throws: what goes wrong is an answer too, or ends the connection.
 *
 * @param root the repository, without links in its path
 * @returns how many bytes of a body were sent
 */
export async function answer(root: string, request: IncomingMessage, response: ServerResponse): Promise<number> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, { allow: 'GET, HEAD' });
  const file = repoFileOfRequest(request.url ?? '');
  const opened = file === undefined ? undefined : openPublic(root, file);
  if (file === undefined || opened === undefined) return refuse(response, 404);
  const { fd, isConfig } = opened;
  let isOpen = true;
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) return refuse(response, 404);
    const made = isConfig ? readPublicConfig(fd, Number(stat.size)) : undefined;
    const sizeBytes = made?.byteLength ?? Number(stat.size);
    // The inode too: two versions of a ref have one size, and may have one time on file systems with coarse clocks.
    const version = [...(file.immutable ? [] : [stat.ino]), stat.size, stat.mtimeNs].map((part) => part.toString(36)).join('-');
    const etag = `"${made === undefined ? version : sha256Hex(made)}"`;
    const validators: Validators = { etag, modifiedMs: Number(stat.mtimeMs) };
    const headers = {
      ...FIXED_HEADERS,
      etag,
      'last-modified': new Date(validators.modifiedMs).toUTCString(),
      'accept-ranges': 'bytes',
      'cache-control': cacheControl(file.path),
    };
    if (isUnchanged(request.headers, validators)) return end(response, 304, headers);
    const range = request.method === 'GET' ? rangeOf(request.headers, sizeBytes, validators) : undefined;
    if (range === 'unsatisfiable') return refuse(response, 416, { 'content-range': `bytes */${sizeBytes}` });
    const { start, end: stop } = range ?? { start: 0, end: sizeBytes };
    const head = {
      ...headers,
      'content-length': stop - start,
      ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${stop - 1}/${sizeBytes}` }),
    };
    if (request.method === 'HEAD' || stop === start) return end(response, 200, head);
    if (made === undefined && stop - start > SMALL_BYTES) {
      isOpen = false; // The stream closes it.
      const body = createReadStream('', { fd, start, end: stop - 1, highWaterMark: STREAM_CHUNK_BYTES });
      response.writeHead(range === undefined ? 200 : 206, head);
      // Not ended by the pipeline: what came short must not look like an answer that is complete.
      await pipeline(body, response, { end: false });
      if (body.bytesRead < stop - start) response.destroy();
      else response.end();
      return body.bytesRead;
    }
    const bytes = made?.subarray(start, stop) ?? Buffer.allocUnsafe(stop - start);
    if (made === undefined && readSync(fd, bytes, 0, bytes.byteLength, start) < bytes.byteLength) return refuse(response, 500);
    response.writeHead(range === undefined ? 200 : 206, head);
    response.end(bytes);
    return bytes.byteLength;
  } catch {
    // A client that left in the middle, or a disk that fails: the rest cannot be sent.
    if (response.headersSent) response.destroy();
    else refuse(response, 500);
    return 0;
  } finally {
    if (isOpen) closeSync(fd);
  }
}

/**
 * Opens a file that is public under its own name and where its links lead to: an alias of a ref is a link to another ref,
 * and a link to anything else must not make it public. (Who may write into the repository is trusted not to race.)
 */
function openPublic(root: string, file: RepoFile): { fd: number; isConfig: boolean } | undefined {
  try {
    const real = realpathSync.native(join(root, file.path));
    const path = relative(root, real);
    if (repoFile(path) === undefined) return undefined;
    // A FIFO would block the thread for ever.
    const fd = openSync(real, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    return { fd, isConfig: file.path === CONFIG || path === CONFIG };
  } catch {
    return undefined; // Missing, or not for us to read: nobody outside needs to know which.
  }
}

/** Returns what is sent for the config. @throws OSTREE_CONFIG_INVALID, and when it is too large for one */
function readPublicConfig(fd: number, sizeBytes: number): Buffer {
  if (sizeBytes > MAX_CONFIG_BYTES) throw new RangeError(`A config of ${sizeBytes} bytes`);
  const bytes = Buffer.alloc(sizeBytes);
  const end = readSync(fd, bytes, 0, sizeBytes, 0);
  return Buffer.from(publicConfig(bytes.toString('utf8', 0, end)));
}

function refuse(response: ServerResponse, status: number, headers: Record<string, string> = {}): number {
  return end(response, status, { ...headers, 'content-length': 0, 'cache-control': 'no-cache' });
}

function end(response: ServerResponse, status: number, headers: Record<string, string | number>): number {
  response.writeHead(status, headers);
  response.end();
  return 0;
}
