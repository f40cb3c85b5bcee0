/** Connections to hosts: pools of kept-alive sockets, one per origin, and whom they trust. */
import type { SecureContext } from 'node:tls';
import { baseError } from '@cambium/base';
import type { Dispatcher } from 'undici';
import { ociError } from '../errors.ts';

export interface ConnectionOptions {
  /** Sockets per origin. A paused download occupies one, so this is well above what callers download at once. Default 32. */
  connections?: number;
  connectTimeoutMs?: number;
  /** From the request to the head of the answer. */
  headersTimeoutMs?: number;
  /** Between two pieces of a body; time in which the reader does not read does not count. */
  stallTimeoutMs?: number;
  /** Certificates in PEM to trust beside those of Node and of the system. */
  ca?: readonly string[];
  /** Returns the URL of the HTTP proxy to reach an origin (`https://host`) through, if any: the caller reads `HTTPS_PROXY` and `NO_PROXY`. */
  proxy?: (origin: string) => string | undefined;
}

export interface Connections {
  /** Returns the pool for an origin. With `unverified` any certificate is accepted. */
  pool(origin: string, unverified: boolean): Promise<Dispatcher>;
  /** Adds the system's certificates to the trusted ones. Returns false when they already are. */
  trustSystem(): Promise<boolean>;
  close(): Promise<void>;
}

export const DEFAULT_CONNECTIONS = 32;
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

  return {
    async pool(origin, unverified) {
      const key = `${unverified ? '!' : ''}${origin}`;
      const present = pools.get(key);
      if (present !== undefined) return present;
      // Commands that stay off the network must not pay for loading it.
      const undici = await import('undici');
      let secureContext: SecureContext | undefined;
      if (origin.startsWith('https:') && !unverified) {
        trust ??= trustedBy(options.ca, systemTrusted);
        secureContext = await trust;
      }
      if (closed) throw baseError('OPERATION_ABORTED', `Stopped reading from ${origin}: the registry client was closed`);
      const made = pools.get(key);
      if (made !== undefined) return made;
      const tls = { ...(unverified ? { rejectUnauthorized: false } : {}), ...(secureContext === undefined ? {} : { secureContext }) };
      const connectTimeout = options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;
      const shared = {
        connections: options.connections ?? DEFAULT_CONNECTIONS,
        pipelining: 1,
        // One connection would carry all layers, and one lost packet would stall them all.
        allowH2: false,
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
    },
    async trustSystem() {
      if (systemTrusted) return false;
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
    throw ociError('OCI_REGISTRY_UNREACHABLE', 'Cannot use the HTTP proxy: its address is not an http:// or https:// URL', {
      hint: 'Check HTTPS_PROXY and HTTP_PROXY',
    });
  }
  return url;
}

/** Returns undefined for Node's own default, which needs no context of ours. */
async function trustedBy(extra: readonly string[] | undefined, system: boolean): Promise<SecureContext | undefined> {
  if ((extra === undefined || extra.length === 0) && !system) return undefined;
  const tls = await import('node:tls');
  const ca = new Set([...tls.getCACertificates('default'), ...(extra ?? []), ...(system ? tls.getCACertificates('system') : [])]);
  return tls.createSecureContext({ ca: [...ca] });
}
