/**
 * Uploads of blobs. Source: OCI distribution-spec 1.1, push: a session is opened, filled in one stream or in chunks, and
 * closed with the digest. A transfer that broke goes on where the registry says it ended.
 */
import { createHash } from 'node:crypto';
import { type Bytes, concat, isKnownError } from '@cambium/base';
import type { HttpResponse } from '@cambium/http';
import { ociError } from '../errors.ts';
import type { BlobInput, KnownBlob } from '../image/sink.ts';
import { header, type RegistryRequest } from './connection.ts';
import type { RegistryAccess } from './registry-source.ts';

export interface UploadOptions {
  /** Sends blobs in requests of this size, held in memory each. Default: each blob in one, unless the registry finds that too large. */
  chunkBytes?: number;
}

export interface BlobUpload {
  repositoryName: string;
  /** Of the login. */
  scope: string;
  /** For messages: the image the blob is of. */
  what: string;
  blob: BlobInput;
  signal: AbortSignal | undefined;
}

/** What a proxy in front of a registry is likely to let through, when it refuses a whole blob. */
const FALLBACK_CHUNK_BYTES = 16 * 1024 * 1024;
const MAX_CHUNK_BYTES = 256 * 1024 * 1024;

/**
 * Sends a blob, or has the registry take it from another of its repositories.
 *
 * @throws OCI_AUTH_REQUIRED, OCI_AUTH_DENIED, OCI_UPLOAD_REFUSED, OCI_REGISTRY_ERROR, OCI_RATE_LIMITED, and what the blob's source throws
 */
export async function uploadBlob(access: RegistryAccess, options: UploadOptions, upload: BlobUpload): Promise<KnownBlob & { how: 'sent' | 'mounted' }> {
  const { known, mountFrom = [] } = upload.blob;
  const action = `Cannot write blob ${known === undefined ? '' : `${known.digest} `}to ${upload.what}`;
  let session: URL | undefined;
  if (known !== undefined) {
    for (const from of mountFrom) {
      const answer = await openSession(access, upload, action, { digest: known.digest, from }).catch((error: unknown) => {
        // Who may write here need not be allowed to read there: the blob is sent then.
        if (isKnownError(error) && !upload.signal?.aborted) return undefined;
        throw error;
      });
      if (answer === 'mounted') return { ...known, how: 'mounted' };
      session = answer ?? session;
    }
  }
  const sender = new Sender(access, upload, action, session);
  return { ...(await sender.send(options.chunkBytes)), how: 'sent' };
}

/** Opens a session; with `mount` the registry may have the blob at once instead. */
async function openSession(
  { registry }: RegistryAccess,
  { repositoryName, scope, signal }: BlobUpload,
  action: string,
  mount?: { digest: string; from: string },
): Promise<URL | 'mounted'> {
  const query = mount === undefined ? '' : `?${new URLSearchParams({ mount: mount.digest, from: mount.from }).toString()}`;
  const wanted = mount === undefined || mount.from === repositoryName ? scope : `${scope} repository:${mount.from}:pull`;
  const request = { method: 'POST', repositoryName, path: `blobs/uploads/${query}`, headers: { 'content-length': '0' }, scope: wanted, signal } as const;
  return await registry.request(request, async (response) => {
    if (response.status === 201 && mount !== undefined) {
      response.discard();
      return 'mounted';
    }
    if (response.status !== 202) throw await registry.failure(response, action, 'OCI_MANIFEST_UNKNOWN');
    response.discard();
    return locationOf(response, action);
  });
}

function locationOf(response: HttpResponse, action: string): URL {
  const location = header(response, 'location');
  if (location === undefined || !URL.canParse(location, response.url.href)) {
    throw ociError('OCI_REGISTRY_ERROR', `${action}: the registry does not say where to send it`, { data: { status: response.status } });
  }
  return new URL(location, response.url);
}

/** One blob on its way; the session moves with each answer. */
class Sender {
  readonly #access: RegistryAccess;
  readonly #upload: BlobUpload;
  readonly #action: string;
  #session: URL | undefined;
  /** What was read of the source: with an unknown blob, what tells its digest. */
  #known: KnownBlob | undefined;

  constructor(access: RegistryAccess, upload: BlobUpload, action: string, session: URL | undefined) {
    this.#access = access;
    this.#upload = upload;
    this.#action = action;
    this.#session = session;
    this.#known = upload.blob.known;
  }

  async send(chunkBytes: number | undefined): Promise<KnownBlob> {
    let chunk = chunkBytes;
    let offset = 0;
    for (let attempt = 1; ; attempt++) {
      this.#upload.signal?.throwIfAborted();
      try {
        const session = this.#session ?? ((await openSession(this.#access, this.#upload, this.#action)) as URL);
        this.#session = session;
        const end = chunk === undefined ? await this.#inOne(session, offset) : await this.#inChunks(session, chunk);
        return await this.#close(end);
      } catch (error) {
        if (!isKnownError(error)) throw error;
        offset = 0;
        if (chunk === undefined && error.code === 'OCI_UPLOAD_REFUSED' && error.data.status === 413) {
          chunk = FALLBACK_CHUNK_BYTES;
          this.#session = undefined;
        } else if (!error.retryable || attempt >= this.#access.transport.attempts) throw error;
        else {
          await this.#access.transport.pause(attempt, this.#upload.signal);
          offset = chunk === undefined ? await this.#takenBytes() : 0;
          // With nothing taken a new session is as good; the old one is left to the registry's own cleaning.
          if (offset === 0) this.#session = undefined;
        }
        this.#access.on?.({ type: 'upload-again', digest: this.#known?.digest, offset, reason: error.message });
      }
    }
  }

  /** The whole blob, or what is left of it, in one request. */
  async #inOne(session: URL, offset: number): Promise<URL> {
    const known = this.#upload.blob.known;
    const headers: Record<string, string> = { 'content-type': 'application/octet-stream' };
    if (known !== undefined) {
      headers['content-length'] = String(known.size - offset);
      if (offset > 0) headers['content-range'] = `${offset}-${known.size - 1}`;
      if (offset === known.size) return session;
    }
    return await this.#exchange({ method: 'PATCH', path: session, headers, body: () => skipping(this.#read(), offset) });
  }

  /** Asks how much of a broken transfer has arrived; 0 when the registry cannot tell. */
  async #takenBytes(): Promise<number> {
    const { repositoryName, scope, signal } = this.#upload;
    const session = this.#session;
    if (session === undefined) return 0;
    try {
      const request = { repositoryName, path: session, headers: {}, scope, signal };
      const { range, location } = await this.#access.registry.request(request, async (response) => {
        response.discard();
        return { range: /^(?:bytes=)?0-([1-9][0-9]{0,14})$/.exec(header(response, 'range') ?? ''), location: header(response, 'location') };
      });
      const taken = range === null ? 0 : Number(range[1]) + 1;
      if (taken > (this.#upload.blob.known?.size ?? Number.POSITIVE_INFINITY)) return 0;
      if (location !== undefined && URL.canParse(location, session.href)) this.#session = new URL(location, session);
      return taken;
    } catch (error) {
      if (!isKnownError(error)) throw error;
      return 0;
    }
  }

  /** The blob in pieces. */
  async #inChunks(session: URL, chunkBytes: number): Promise<URL> {
    const size = Math.min(MAX_CHUNK_BYTES, Math.max(1, chunkBytes));
    let at = 0;
    let next = session;
    for await (const chunk of piecesOf(this.#read(), size)) {
      const headers = {
        'content-type': 'application/octet-stream',
        'content-length': String(chunk.byteLength),
        'content-range': `${at}-${at + chunk.byteLength - 1}`,
      };
      next = await this.#exchange({ method: 'PATCH', path: next, headers, body: chunk });
      at += chunk.byteLength;
    }
    return next;
  }

  async #close(session: URL): Promise<KnownBlob> {
    const known = this.#known as KnownBlob;
    const path = new URL(session);
    path.searchParams.set('digest', known.digest);
    await this.#exchange({ method: 'PUT', path, headers: { 'content-length': '0', 'content-type': 'application/octet-stream' } });
    return known;
  }

  async #exchange(request: Pick<RegistryRequest, 'method' | 'path' | 'headers' | 'body'>): Promise<URL> {
    const { repositoryName, scope, signal } = this.#upload;
    const { registry } = this.#access;
    return await registry.request({ ...request, once: request.method === 'PATCH', repositoryName, scope, signal }, async (response) => {
      const { status } = response;
      if (status === 201 || status === 202 || status === 204) {
        response.discard();
        return status === 201 ? response.url : locationOf(response, this.#action);
      }
      if (status === 413 || status === 400 || status === 404 || status === 416) {
        const failure = await registry.failure(response, this.#action);
        throw ociError('OCI_UPLOAD_REFUSED', failure.message, { retryable: status === 404 || status === 416, data: { status } });
      }
      throw await registry.failure(response, this.#action);
    });
  }

  /** Reads the source; of an unknown blob it finds out what it is. */
  async *#read(): Bytes {
    if (this.#upload.blob.known !== undefined) {
      yield* this.#upload.blob.open();
      return;
    }
    const hash = createHash('sha256');
    let size = 0;
    for await (const chunk of this.#upload.blob.open()) {
      hash.update(chunk);
      size += chunk.byteLength;
      yield chunk;
    }
    this.#known = { digest: `sha256:${hash.digest('hex')}` as KnownBlob['digest'], size };
  }
}

async function* skipping(source: Bytes, bytes: number): Bytes {
  let left = bytes;
  for await (const chunk of source) {
    const over = Math.min(left, chunk.byteLength);
    left -= over;
    if (over < chunk.byteLength) yield over === 0 ? chunk : chunk.subarray(over);
  }
}

/** Cuts a stream into pieces of one size, the last one shorter. */
async function* piecesOf(source: Bytes, size: number): Bytes {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.byteLength; ) {
      const part = chunk.subarray(at, at + size - held);
      parts.push(new Uint8Array(part));
      held += part.byteLength;
      at += part.byteLength;
      if (held < size) continue;
      yield concat(parts);
      parts = [];
      held = 0;
    }
  }
  if (held > 0) yield concat(parts);
}
