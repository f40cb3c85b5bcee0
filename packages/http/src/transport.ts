/**
 * HTTP for fetching content: bounded retries, redirects that keep credentials at home, and a rule for plain HTTP.
 *
 * Source: RFC 9110 sections 10.2.3 (Retry-After), 15.4 (redirects).
 */
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bytes } from '@cambium/base';
import { Answer } from './answer.ts';
import { Cancelling } from './cancelling.ts';
import { type ConnectionOptions, createConnections } from './connections.ts';
import { httpError } from './errors.ts';
import type { OnHttpEvent } from './events.ts';
import { SlowWatch } from './low-speed.ts';
import { type NetworkProblem, networkProblem } from './network-errors.ts';
import { displayUrl } from './redact.ts';
import { resumable } from './resume.ts';

export interface RetryOptions {
  /** Tries of one request, the first included. Default 5. */
  attempts?: number;
  /** Wait before the second try; it doubles each time. Default 500. */
  backoffMs?: number;
  maxBackoffMs?: number;
  /** A server that asks for a longer pause than this is given up on. Default 60 000. */
  maxRetryAfterMs?: number;
}

export interface TransportOptions extends ConnectionOptions {
  retry?: RetryOptions;
  /** Hosts (`host` or `host:port`) that may be spoken to in plain HTTP or with any certificate; `true` for all. */
  insecure?: boolean | readonly string[];
  /**
   * Where plain HTTP may be used beside `insecure`: on loopback (the default, and always allowed), anywhere, or with these hosts too.
   * Who allows it anywhere must verify what is fetched by other means. A redirect never leads from HTTPS to plain HTTP because of `any`.
   */
  plainHttp?: 'loopback' | 'any' | readonly string[];
  /** Sent with every request, those after redirects included; `authorization` and `cookie` only to the host that was asked. Names in lower case. */
  headers?: Readonly<Record<string, string>>;
  userAgent?: string;
  on?: OnHttpEvent;
}

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** User and password in it are sent as a Basic login, to its host only. */
  url: URL;
  headers: Record<string, string>;
  /** What is opened is opened again for each try; its length goes into `content-length`. */
  body?: string | Uint8Array | (() => Bytes);
  /** What a redirect is: followed (the default), or an answer like others, for who must sign each request for its place. */
  redirects?: 'follow' | 'answer';
  signal?: AbortSignal | undefined;
  /** A body that is broken off is gone on with where it ended, at once, where the server can do that. */
  resume?: boolean;
  /** Not made again after a failure: what its body carried may have been taken in part. */
  once?: boolean;
  /** Ends with a {@link ProtocolFailure} at once when the peer may speak the other of HTTP and HTTPS. */
  probe?: boolean;
}

export interface HttpResponse {
  status: number;
  /** Names in lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Where the answer came from, after redirects. */
  url: URL;
  /** The body, when it was short and is here already. */
  whole?: Uint8Array | undefined;
  body: Bytes;
  /** Lets go of the body; a short one is read so that the connection can be used again. */
  discard(): void;
}

export interface Transport {
  /**
   * Makes a request, again where that may help, and returns what `consume` makes of the answer.
   * An answer that stays 429 or 5xx reaches `consume` too. Failures of the network inside `consume` count as failures of the try.
   */
  exchange<T>(request: HttpRequest, consume: (response: HttpResponse) => Promise<T>): Promise<T>;
  /** Whether plain HTTP, or any certificate, is allowed with a host because the user said so. */
  isInsecure(host: string): boolean;
  /** Waits before another try. */
  pause(attempt: number, signal: AbortSignal | undefined): Promise<void>;
  readonly attempts: number;
  close(): Promise<void>;
}

const MAX_REDIRECTS = 5;
/** A hanging server costs a full timeout each time. */
const MAX_TIMEOUTS = 2;
const DEFAULT_ATTEMPTS = 5;
const DEFAULT_BACKOFF_MS = 500;
const DEFAULT_MAX_BACKOFF_MS = 15_000;
const DEFAULT_MAX_RETRY_AFTER_MS = 60_000;

export function createTransport(options: TransportOptions = {}): Transport {
  const connections = createConnections(options);
  const attempts = Math.max(1, options.retry?.attempts ?? DEFAULT_ATTEMPTS);
  const backoffMs = options.retry?.backoffMs ?? DEFAULT_BACKOFF_MS;
  const maxBackoffMs = options.retry?.maxBackoffMs ?? DEFAULT_MAX_BACKOFF_MS;
  const maxRetryAfterMs = options.retry?.maxRetryAfterMs ?? DEFAULT_MAX_RETRY_AFTER_MS;
  const { on } = options;
  const cancelling = new Cancelling();
  const watch = options.lowSpeed === undefined ? undefined : new SlowWatch(options.lowSpeed);

  const plainHosts = Array.isArray(options.plainHttp) ? (options.plainHttp as readonly string[]) : [];
  /** Whether plain HTTP with a host was allowed by name. */
  const isPlainHost = (host: string): boolean => isInsecure(host) || plainHosts.includes(host);
  const isPlainAllowed = (url: URL): boolean => options.plainHttp === 'any' || isLoopback(url) || isPlainHost(url.host);

  const isInsecure = (host: string): boolean => {
    const { insecure } = options;
    return typeof insecure === 'boolean' ? insecure : (insecure?.includes(host) ?? false);
  };

  const backoff = (attempt: number): number => {
    const full = Math.min(maxBackoffMs, backoffMs * 2 ** (attempt - 1));
    // Half of it by chance, so that many clients do not come back together.
    return full / 2 + Math.random() * (full / 2);
  };

  const wait = async (ms: number, signal: AbortSignal | undefined): Promise<void> => {
    try {
      await sleep(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  };

  const once = async (request: HttpRequest, url: URL, headers: Record<string, string>): Promise<HttpResponse> => {
    const { signal, method } = request;
    signal?.throwIfAborted();
    const { origin } = url;
    const pool = await connections.pool(origin, url.protocol === 'https:' && isInsecure(url.host));
    signal?.throwIfAborted();
    const sent = typeof request.body === 'function' ? Readable.from(request.body(), { objectMode: false }) : request.body;
    const answer = new Answer({
      watch,
      url,
      method,
      ended: (failed) => {
        if (signal !== undefined) cancelling.forget(signal, answer);
        if (failed && sent instanceof Readable) sent.on('error', () => undefined).destroy();
      },
    });
    if (signal !== undefined) cancelling.follow(signal, answer);
    pool.dispatch({ origin, method, path: `${url.pathname}${url.search}`, headers, ...(sent === undefined ? {} : { body: sent }) }, answer);
    const { status, headers: answered, whole } = await answer.head;
    on?.({ type: 'request', method, url: displayUrl(url), status });
    return { status, headers: answered, url, whole, body: answer.body(), discard: () => answer.discard() };
  };

  const follow = async (request: HttpRequest): Promise<HttpResponse> => {
    let url: URL = request.url;
    let headers: Record<string, string> = {
      'user-agent': options.userAgent ?? 'cambium',
      'accept-encoding': 'identity',
      ...basicOf(request.url),
      ...options.headers,
      ...request.headers,
    };
    const seen = new Set([url.href]);
    for (;;) {
      requireAllowed(url, isPlainAllowed);
      const response = await onceTrusting(request, url, headers);
      const location = response.headers.location;
      if (![301, 302, 303, 307, 308].includes(response.status) || typeof location !== 'string' || request.redirects === 'answer') return response;
      response.discard();
      // Only downloads are redirected by honest servers; a login must not travel.
      if (request.method !== 'GET' && request.method !== 'HEAD') throw redirectError(url, 'a login must not be redirected');
      const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
      if (next === undefined) throw redirectError(url, 'the new place is not a URL');
      next.hash = '';
      if (next.username !== '' || next.password !== '') throw redirectError(url, 'the new place has a password in it');
      if (seen.has(next.href)) throw redirectError(url, 'it goes in circles');
      if (seen.size > MAX_REDIRECTS) throw redirectError(url, `over ${MAX_REDIRECTS} times`);
      // Loopback is trusted when the user names it, not when someone elsewhere does; and nobody may take TLS away.
      const stillPlain = url.protocol === 'http:' && (isLoopback(url) || options.plainHttp === 'any');
      if (next.protocol === 'http:' && !isPlainHost(next.host) && !stillPlain) {
        throw redirectError(url, `to plain HTTP at ${next.host}`);
      }
      seen.add(next.href);
      if (next.origin !== url.origin) {
        const { authorization: _authorization, cookie: _cookie, ...others } = headers;
        headers = others;
      }
      url = next;
    }
  };

  /** Companies sign with an authority that only the system knows. Asking it costs 90 ms, so it is asked when there is need. */
  const onceTrusting = async (request: HttpRequest, url: URL, headers: Record<string, string>): Promise<HttpResponse> => {
    try {
      return await once(request, url, headers);
    } catch (error) {
      const problem = networkProblem(error, url);
      if (problem?.error.code === 'HTTP_TLS_UNTRUSTED' && !problem.protocol && (await connections.trustSystem())) return await once(request, url, headers);
      throw problem === undefined ? error : new Failed(problem);
    }
  };

  return {
    attempts,
    isInsecure,
    pause: (attempt, signal) => wait(backoff(attempt), signal),
    close: () => connections.close(),
    async exchange(request, consume) {
      const { signal } = request;
      const tries = request.once === true ? 1 : attempts;
      let timeouts = 0;
      for (let attempt = 1; ; attempt++) {
        signal?.throwIfAborted();
        let delayMs = backoff(attempt);
        let reason: string;
        try {
          const first = await follow(request);
          const response =
            request.resume === true && first.whole === undefined
              ? resumable(first, (more) => follow({ ...request, headers: { ...request.headers, ...more } }))
              : first;
          if (!isRetryStatus(response.status) || attempt >= tries) return await consume(response);
          const asked = retryAfterMs(response.headers['retry-after']);
          if (asked !== undefined && asked > maxRetryAfterMs) return await consume(response);
          if (asked !== undefined) delayMs = Math.max(asked, delayMs);
          reason = `status ${response.status}`;
          response.discard();
        } catch (error) {
          signal?.throwIfAborted();
          const problem = error instanceof Failed ? error.problem : networkProblem(error, request.url);
          if (problem === undefined) throw error;
          if (problem.protocol && request.probe === true) throw new ProtocolFailure(problem);
          if (problem.error.code === 'HTTP_TIMEOUT') timeouts++;
          if (!problem.transient || attempt >= tries || timeouts >= MAX_TIMEOUTS) throw problem.error;
          reason = problem.error.message;
        }
        on?.({ type: 'retry', url: displayUrl(request.url), attempt, delayMs: Math.round(delayMs), reason });
        await wait(delayMs, signal);
      }
    },
  };
}

/** Carries a problem with the URL it happened at through the retry loop. */
class Failed extends Error {
  readonly problem: NetworkProblem;
  constructor(problem: NetworkProblem) {
    super(problem.error.message);
    this.problem = problem;
  }
}

/** The peer may speak the other of HTTP and HTTPS. */
export class ProtocolFailure extends Error {
  readonly error: NetworkProblem['error'];
  constructor(problem: NetworkProblem) {
    super(problem.error.message);
    this.error = problem.error;
  }
}

export function isLoopback(url: URL): boolean {
  const host = url.hostname;
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function requireAllowed(url: URL, isPlainAllowed: (url: URL) => boolean): void {
  if (url.protocol === 'https:') return;
  if (url.protocol === 'http:' && isPlainAllowed(url)) return;
  throw httpError('HTTP_TLS_REQUIRED', `Cannot use ${displayUrl(url)}: only HTTPS is allowed`, {
    hint: 'Allow the server as insecure if the network is trusted',
  });
}

function redirectError(from: URL, reason: string): Error {
  return httpError('HTTP_REDIRECT', `Cannot follow the redirect of ${displayUrl(from)}: ${reason}`, { data: { url: displayUrl(from) } });
}

function isRetryStatus(status: number): boolean {
  return status === 408 || status === 429 || status === 500 || status === 502 || status === 503 || status === 504;
}

/** A password in a URL is meant for the server of that URL; a header that the caller sets goes before it. */
function basicOf({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  return { authorization: `Basic ${Buffer.from(`${unescaped(username)}:${unescaped(password)}`).toString('base64')}` };
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // A lone `%` in a password that was not encoded.
  }
}

/** Returns the pause that a `Retry-After` header asks for: seconds, or a date. */
export function retryAfterMs(header: string | string[] | undefined, now: number = Date.now()): number | undefined {
  const text = Array.isArray(header) ? header[0] : header;
  if (text === undefined) return undefined;
  if (/^\s*[0-9]{1,9}\s*$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Returns the start of a body as text; the rest is let go. */
export async function readText(response: HttpResponse, limitBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let seen = 0;
  for await (const chunk of response.body) {
    seen += chunk.byteLength;
    text += decoder.decode(chunk, { stream: true });
    if (seen >= limitBytes) break;
  }
  return text;
}
