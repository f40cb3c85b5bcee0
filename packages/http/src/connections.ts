/** Connections to hosts: pools of kept-alive sockets, one per origin, and whom they trust. */
import type { SecureContext } from 'node:tls';
import { baseError } from '@cambium/base';
import type { Dispatcher } from 'undici';
import { httpError } from './errors.ts';

export interface ConnectionOptions {
  /** Sockets per origin. A paused download occupies one, so this is well above what callers download at once. Default 32, and 8 where HTTP/2 may be spoken. */
  connections?: number;
  connectTimeoutMs?: number;
  /** From the request to the head of the answer. */
  headersTimeoutMs?: number;
  /** Between two pieces of a body; time in which the reader does not read does not count. */
  stallTimeoutMs?: number;
  /** Certificates in PEM to trust beside those of Node and of the system. */
  ca?: readonly string[];
  /** Trust the certificates of `ca` and no others, for servers that are pinned to an authority. */
  onlyCa?: boolean;
  /** What to answer a server that asks who we are: certificate (with its chain) and private key in PEM. */
  clientCertificate?: { cert: string; key: string };
  /**
   * Speak HTTP/2 with servers that offer it: many small files over few sockets. Without it every request has a socket to itself,
   * which suits few large bodies. Default false.
   */
  allowH2?: boolean;
  /** A body that stays below this while it is being read is broken off with `HTTP_TOO_SLOW`; the request may be tried again. */
  lowSpeed?: LowSpeed;
  /** Returns the URL of the HTTP proxy to reach an origin (`https://host`) through, if any: the caller reads `HTTPS_PROXY` and `NO_PROXY`. */
  proxy?: (origin: string) => string | undefined;
}

export interface LowSpeed {
  bytesPerSecond: number;
  /** Over how long the mean is taken; time in which the reader does not read does not count. */
  seconds: number;
}

export interface Connections {
  /** Returns the pool for an origin: at once when there is one. With `unverified` any certificate is accepted. */
  pool(origin: string, unverified: boolean): Dispatcher | Promise<Dispatcher>;
  /** Adds the system's certificates to the trusted ones. Returns false when they already are. */
  trustSystem(): Promise<boolean>;
  close(): Promise<void>;
}

export const DEFAULT_CONNECTIONS = 32;
/** Where HTTP/2 may be spoken each socket carries many requests; more of them are a burden to the server. */
const H2_CONNECTIONS = 8;
export const DEFAULT_CONNECT_TIMEOUT_MS = 15_000;
/** Large: registries that fetch from elsewhere first need long for the first byte of a big layer. */
export const DEFAULT_HEADERS_TIMEOUT_MS = 60_000;
export const DEFAULT_STALL_TIMEOUT_MS = 30_000;

export function createConnections(options: ConnectionOptions): Connections {
  const pools = new Map<string, Dispatcher>();
  let systemTrusted = false;
  let trust: Promise<SecureContext | undefined> | undefined;
  let closed = false;

  const retire = async (): Promise<void> => {
    const retired = [...pools.values()];
    pools.clear();
    await Promise.all(retired.map((pool) => pool.destroy()));
  };

  const open = async (key: string, origin: string, unverified: boolean): Promise<Dispatcher> => {
    // Commands that stay off the network must not pay for loading it.
    const undici = await import('undici');
    let secureContext: SecureContext | undefined;
    if (origin.startsWith('https:')) {
      if (unverified) secureContext = await unverifiedContext(options);
      else {
        trust ??= trustedBy(options, systemTrusted);
        secureContext = await trust;
      }
    }
    if (closed) throw baseError('OPERATION_ABORTED', `Stopped reading from ${origin}: the client was closed`);
    const made = pools.get(key);
    if (made !== undefined) return made;
    const allowH2 = options.allowH2 ?? false;
    const tls = {
      ...(unverified ? { rejectUnauthorized: false } : {}),
      ...(secureContext === undefined ? {} : { secureContext }),
      ...(allowH2 ? { preferH2: true } : {}),
    };
    const connectTimeout = options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;
    const shared = {
      connections: options.connections ?? (allowH2 && origin.startsWith('https:') ? H2_CONNECTIONS : DEFAULT_CONNECTIONS),
      pipelining: 1,
      // Off by default: one connection would carry all layers of an image, and one lost packet would stall them all.
      allowH2,
      headersTimeout: options.headersTimeoutMs ?? DEFAULT_HEADERS_TIMEOUT_MS,
      bodyTimeout: options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS,
      maxHeaderSize: 64 * 1024,
    };
    const proxy = options.proxy?.(origin);
    const pool: Dispatcher =
      proxy === undefined
        ? new undici.Pool(origin, { ...shared, connect: { timeout: connectTimeout, ...tls } })
        : new undici.ProxyAgent({ ...shared, uri: proxyUrl(proxy), connectTimeout, requestTls: tls });
    pools.set(key, pool);
    return pool;
  };

  return {
    pool(origin, unverified) {
      const key = `${unverified ? '!' : ''}${origin}`;
      return pools.get(key) ?? open(key, origin, unverified);
    },
    async trustSystem() {
      if (systemTrusted || options.onlyCa === true) return false;
      systemTrusted = true;
      trust = undefined;
      for (const [key, pool] of pools) {
        if (!key.startsWith('https:')) continue;
        pools.delete(key);
        // Not awaited: it ends when the transfers that run on it have ended.
        pool.close().catch(() => undefined);
      }
      return true;
    },
    async close() {
      closed = true;
      await retire();
    },
  };
}

/** The environment often has `host:port` alone, as curl takes it. A password in it is not quoted. */
function proxyUrl(text: string): string {
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw httpError('HTTP_UNREACHABLE', 'Cannot use the HTTP proxy: its address is not an http:// or https:// URL', {
      hint: 'Check HTTPS_PROXY and HTTP_PROXY',
    });
  }
  return url;
}

/** Returns undefined for Node's own default, which needs no context of ours. */
async function trustedBy(options: ConnectionOptions, system: boolean): Promise<SecureContext | undefined> {
  const { ca: extra = [], onlyCa = false, clientCertificate } = options;
  if (extra.length === 0 && !onlyCa && !system && clientCertificate === undefined) return undefined;
  const tls = await import('node:tls');
  const ca = onlyCa ? extra : [...tls.getCACertificates('default'), ...extra, ...(system ? tls.getCACertificates('system') : [])];
  const { X509Certificate } = await import('node:crypto');
  return usable(() => {
    // OpenSSL passes over what it cannot read, and the failure would be that of a server that is not trusted.
    for (const pem of extra) new X509Certificate(pem);
    return tls.createSecureContext({ ca: [...new Set(ca)], ...clientCertificate });
  });
}

async function unverifiedContext({ clientCertificate }: ConnectionOptions): Promise<SecureContext | undefined> {
  if (clientCertificate === undefined) return undefined;
  const tls = await import('node:tls');
  return usable(() => tls.createSecureContext(clientCertificate));
}

/** OpenSSL's words for a bad certificate or key name neither; they hold no part of the key. */
function usable(make: () => SecureContext): SecureContext {
  try {
    return make();
  } catch (cause) {
    throw httpError('HTTP_CERTIFICATE_INVALID', 'Cannot use the certificates for TLS: they are not PEM, or the key is not of the certificate', { cause });
  }
}
