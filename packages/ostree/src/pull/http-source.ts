/** Remotes over HTTP: mirrors, headers, cookies and TLS as the remote's settings say. Source: libostree 2022.7's requests. */
import { readFileSync } from 'node:fs';
import { type Bytes, collect, isKnownError } from '@cambium/base';
import { createTransport, displayUrl, type HttpResponse, type Transport } from '@cambium/http';
import { ostreeError } from '../errors.ts';
import { MAX_SUMMARY_BYTES } from '../format/summary.ts';
import type { RemoteConfig } from '../repo/remote-config.ts';
import { cookieHeader, readCookies } from './cookies.ts';
import { MAX_METALINK_BYTES, metalinkMismatch, parseMetalink } from './metalink.ts';
import type { IncomingFile, Place, RemoteSource, SmallFile, Validator } from './remote-source.ts';
import { baseUrl, parseMirrorList, webUrl } from './remote-urls.ts';

export interface HttpSourceOptions {
  /** Instead of the remote's. */
  url?: string | undefined;
  headers?: ReadonlyArray<readonly [name: string, value: string]> | undefined;
  /** Further tries of each request: 5. */
  networkRetries?: number | undefined;
  /** Wait before the second try, for tests. */
  backoffMs?: number | undefined;
  /** Abort below this; 1000 bytes over 30 seconds, as libostree. */
  lowSpeed?: { bytesPerSecond: number; seconds: number } | undefined;
  stallTimeoutMs?: number | undefined;
  /** What this program calls itself: `cambium`. */
  userAgent?: string | undefined;
  /** Returns the proxy for an origin when the remote names none. */
  proxy?: ((origin: string) => string | undefined) | undefined;
}

const LOW_SPEED = { bytesPerSecond: 1000, seconds: 30 };
const NETWORK_RETRIES = 5;
const MAX_MIRRORLIST_BYTES: number = 1024 * 1024;
const MIRRORLIST = 'mirrorlist=';

/** Source: RFC 9110 section 5.6.2, `token`. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** They are about the connection or the body, which are not the caller's. Source: RFC 9110 sections 7.6.1 and 8.6, 10.1.1. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** @throws OSTREE_OPTION_INVALID OSTREE_REMOTE_UNUSABLE OSTREE_REMOTE_ERROR OSTREE_METALINK_INVALID HTTP_* */
export async function openHttpSource(repoPath: string, remote: RemoteConfig, options: HttpSourceOptions, signal?: AbortSignal): Promise<RemoteSource> {
  const { metalink } = remote;
  const url = options.url ?? remote.url;
  if (url === undefined && metalink === undefined) throw ostreeError('OSTREE_REMOTE_UNUSABLE', `No "url" option in remote "${remote.name}"`);
  for (const [name, value] of options.headers ?? []) checkHeader(name, value);
  if (options.userAgent !== undefined) checkHeader('user-agent', options.userAgent);
  const transport = transportFor(remote, options);
  try {
    const source = new HttpSource(transport, readCookies(repoPath, remote.name), options.headers ?? []);
    // As in libostree a metalink counts before any URL, one given for this pull included.
    if (metalink !== undefined) await source.resolveMetalink(metalink, signal);
    else await source.resolve('metadata', url as string, signal);
    await source.resolve('content', remote.contentUrl ?? (metalink === undefined ? url : undefined), signal);
    return source;
  } catch (error) {
    await transport.close();
    throw error;
  }
}

function transportFor(remote: RemoteConfig, options: HttpSourceOptions): Transport {
  const pem = (path: string, key: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch (cause) {
      throw ostreeError('OSTREE_REMOTE_UNUSABLE', `Cannot read ${key} of remote "${remote.name}": "${path}"`, { cause });
    }
  };
  const { tlsCaPath, tlsClientCertPath: cert, tlsClientKeyPath: key, proxy } = remote;
  if ((cert === undefined) !== (key === undefined)) {
    throw ostreeError('OSTREE_REMOTE_UNUSABLE', `Remote "${remote.name}" must specify both "tls-client-cert-path" and "tls-client-key-path"`);
  }
  return createTransport({
    allowH2: remote.http2,
    lowSpeed: options.lowSpeed ?? LOW_SPEED,
    // Every object is verified by its checksum, and refs by what the remote's settings ask for.
    plainHttp: 'any',
    insecure: remote.tlsPermissive,
    ...(options.userAgent === undefined ? {} : { userAgent: options.userAgent }),
    retry: { attempts: 1 + (options.networkRetries ?? NETWORK_RETRIES), ...(options.backoffMs === undefined ? {} : { backoffMs: options.backoffMs }) },
    ...(options.stallTimeoutMs === undefined ? {} : { stallTimeoutMs: options.stallTimeoutMs }),
    ...(tlsCaPath === undefined ? {} : { ca: [pem(tlsCaPath, 'tls-ca-path')], onlyCa: true }),
    ...(cert === undefined || key === undefined
      ? {}
      : { clientCertificate: { cert: pem(cert, 'tls-client-cert-path'), key: pem(key, 'tls-client-key-path') } }),
    ...(proxy !== undefined ? { proxy: () => proxy } : options.proxy === undefined ? {} : { proxy: options.proxy }),
  });
}

class HttpSource implements RemoteSource {
  readonly repo = undefined;
  transferredBytes = 0;
  where = '';
  readonly #transport: Transport;
  readonly #cookies: ReturnType<typeof readCookies>;
  readonly #headers: ReadonlyArray<readonly [string, string]>;
  readonly #bases: Record<Place, URL[]> = { metadata: [], content: [] };
  /** The one that a metalink told of. */
  #summary: SmallFile | undefined;

  constructor(transport: Transport, cookies: ReturnType<typeof readCookies>, headers: ReadonlyArray<readonly [string, string]>) {
    this.#transport = transport;
    this.#cookies = cookies;
    this.#headers = headers;
  }

  /** Finds out where a place is: a URL, or the mirrors of a list; where metadata is, when nothing is said. */
  async resolve(place: Place, text: string | undefined, signal?: AbortSignal): Promise<void> {
    if (text === undefined) {
      this.#bases[place] = this.#bases.metadata;
      return;
    }
    const isList = text.startsWith(MIRRORLIST);
    const base = isList ? webUrl(text.slice(MIRRORLIST.length)) : baseUrl(text);
    if (place === 'metadata') this.where = displayUrl(base);
    this.#bases[place] = isList ? await this.#mirrors(base, signal) : [base];
  }

  /** Fetches the summary from the first place that has the one which a metalink tells of; all else is beside it. */
  async resolveMetalink(text: string, signal?: AbortSignal): Promise<void> {
    const at = webUrl(text);
    const collectAtMost = (limitBytes: number, what: string) => (response: HttpResponse) => collect(this.#counted(response.body), limitBytes, what);
    const document = await this.#once(at, undefined, signal, collectAtMost(MAX_METALINK_BYTES, 'metalink'));
    if (document === undefined) throw missingFile(displayUrl(at));
    const metalink = parseMetalink(document, 'summary');
    if (metalink.sizeBytes > MAX_SUMMARY_BYTES) throw tooLarge('summary', MAX_SUMMARY_BYTES);
    let problem = '';
    for (const url of metalink.urls) {
      try {
        const bytes = await this.#once(url, undefined, signal, collectAtMost(MAX_SUMMARY_BYTES, 'summary'));
        const mismatch = bytes === undefined ? 'Server returned HTTP 404' : metalinkMismatch(metalink, bytes);
        if (bytes !== undefined && mismatch === undefined) {
          const base = new URL('.', url);
          this.where = displayUrl(base);
          this.#bases.metadata = [base];
          this.#summary = { bytes };
          return;
        }
        problem = `${displayUrl(url)}: ${mismatch}`;
      } catch (error) {
        signal?.throwIfAborted();
        if (!isKnownError(error)) throw error;
        problem = error.message;
      }
    }
    throw ostreeError('OSTREE_REMOTE_ERROR', `Exhausted ${metalink.urls.length} metalink targets, last error: ${problem}`);
  }

  async get(
    path: string,
    options: { limitBytes: number; place?: Place; since?: Validator | undefined },
    signal?: AbortSignal,
  ): ReturnType<RemoteSource['get']> {
    const { limitBytes, place = 'metadata', since } = options;
    if (path === 'summary' && this.#summary !== undefined) return this.#summary;
    return this.#ask(path, place, signal, since, async (response) => {
      if (response.status === 304) {
        response.discard();
        return 'unchanged' as const;
      }
      if ((lengthOf(response) ?? 0) > limitBytes) {
        response.discard();
        throw tooLarge(path, limitBytes);
      }
      try {
        const bytes = this.#whole(response, limitBytes) ?? (await collect(this.#counted(response.body), limitBytes, path));
        return { bytes, etag: headerOf(response, 'etag'), lastModified: headerOf(response, 'last-modified') };
      } catch (cause) {
        throw isKnownError(cause, 'BYTES_TOO_LARGE') ? tooLarge(path, limitBytes, cause) : cause;
      }
    });
  }

  read<T>(path: string, place: Place, take: (file: IncomingFile) => T | Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
    return this.#ask(path, place, signal, undefined, async (response) => {
      const whole = this.#whole(response, Number.POSITIVE_INFINITY);
      return take({ whole, body: whole === undefined ? this.#counted(response.body) : response.body, announcedBytes: lengthOf(response) });
    });
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  /** Asks one mirror after the other: the next when one fails or does not have it. */
  async #ask<T>(
    path: string,
    place: Place,
    signal: AbortSignal | undefined,
    since: Validator | undefined,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T | undefined> {
    const bases = this.#bases[place];
    for (const [index, base] of bases.entries()) {
      try {
        const found = await this.#once(new URL(path, base), since, signal, consume);
        if (found !== undefined || index === bases.length - 1) return found;
      } catch (error) {
        signal?.throwIfAborted();
        if (index === bases.length - 1) throw error;
      }
    }
    return undefined;
  }

  async #once<T>(
    url: URL,
    since: Validator | undefined,
    signal: AbortSignal | undefined,
    consume: (response: HttpResponse) => Promise<T>,
  ): Promise<T | undefined> {
    const headers: Record<string, string> = {};
    if (since?.etag !== undefined) headers['if-none-match'] = since.etag;
    if (since?.lastModified !== undefined) headers['if-modified-since'] = since.lastModified;
    const cookie = cookieHeader(this.#cookies, url);
    if (cookie !== undefined) {
      checkHeader('cookie', cookie);
      headers.cookie = cookie;
    }
    for (const [name, value] of this.#headers) headers[name.toLowerCase()] = value;
    return this.#transport.exchange({ method: 'GET', url, headers, signal, resume: true }, async (response) => {
      const { status } = response;
      if (status === 200 || (status === 304 && since !== undefined)) return consume(response);
      this.transferredBytes += Math.min(lengthOf(response) ?? 0, 64 * 1024);
      response.discard();
      if (status === 404 || status === 403 || status === 410) return undefined;
      throw ostreeError('OSTREE_REMOTE_ERROR', `While fetching ${displayUrl(url)}: Server returned HTTP ${status}`, {
        retryable: status >= 500 || status === 408 || status === 429,
        data: { url: displayUrl(url), status },
      });
    });
  }

  /** Returns the mirrors that a list names; the first one that answers goes first. */
  async #mirrors(list: URL, signal: AbortSignal | undefined): Promise<URL[]> {
    const text = await this.#once(list, undefined, signal, async (response) =>
      Buffer.from(await collect(response.body, MAX_MIRRORLIST_BYTES, 'mirror list')).toString('utf8'),
    );
    if (text === undefined) throw missingFile(displayUrl(list));
    const mirrors = parseMirrorList(text);
    for (const [index, mirror] of mirrors.entries()) {
      try {
        const found = await this.#once(new URL('config', mirror), undefined, signal, async (response) => {
          response.discard();
          return true;
        });
        if (found === true) return [mirror, ...mirrors.slice(0, index), ...mirrors.slice(index + 1)];
      } catch {
        signal?.throwIfAborted();
      }
    }
    throw ostreeError('OSTREE_REMOTE_ERROR', `No valid mirrors were found in mirrorlist '${displayUrl(list)}'`);
  }

  /** Returns a short body that is here already. */
  #whole({ whole }: HttpResponse, limitBytes: number): Uint8Array | undefined {
    if (whole === undefined || whole.byteLength > limitBytes) return undefined;
    this.transferredBytes += whole.byteLength;
    return whole;
  }

  async *#counted(body: Bytes): Bytes {
    for await (const chunk of body) {
      this.transferredBytes += chunk.byteLength;
      yield chunk;
    }
  }
}

/** The value may be a password, and is not told. */
function checkHeader(name: string, value: string): void {
  const what = JSON.stringify(name);
  if (!HEADER_NAME.test(name)) throw ostreeError('OSTREE_OPTION_INVALID', `Cannot send HTTP header ${what}: not a name of one`);
  if (OWN_HEADERS.has(name.toLowerCase())) throw ostreeError('OSTREE_OPTION_INVALID', `Cannot send HTTP header ${what}: it is not for callers to set`);
  if (!HEADER_VALUE.test(value)) throw ostreeError('OSTREE_OPTION_INVALID', `Cannot send HTTP header ${what}: its value has characters that no header has`);
}

function headerOf(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function lengthOf(response: HttpResponse): number | undefined {
  const text = headerOf(response, 'content-length');
  return text === undefined || !/^\d{1,15}$/.test(text) ? undefined : Number(text);
}

function tooLarge(path: string, limitBytes: number, cause?: unknown): Error {
  return ostreeError('OSTREE_OBJECT_TOO_LARGE', `File ${path} of the remote is over the limit of ${limitBytes} bytes`, { cause });
}

/** The failure for a file that the remote does not have and must. Message: libostree's. */
export function missingFile(path: string): Error {
  return ostreeError('OSTREE_REMOTE_FILE_MISSING', `While fetching ${path}: Server returned HTTP 404`, { data: { path } });
}
