/** Connections to hosts: pools of kept-alive sockets, one per origin, and whom they trust. */
import type { SecureContext } from 'node:tls';
import { baseError } from '@cambium/base';
import type { Pool } from 'undici';

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
}

export interface Connections {
  /** Returns the pool for an origin. With `unverified` any certificate is accepted. */
  pool(origin: string, unverified: boolean): Promise<Pool>;
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
  const pools = new Map<string, Pool>();
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
      const pool = new undici.Pool(origin, {
        connections: options.connections ?? DEFAULT_CONNECTIONS,
        pipelining: 1,
        // One connection would carry all layers, and one lost packet would stall them all.
        allowH2: false,
        headersTimeout: options.headersTimeoutMs ?? DEFAULT_HEADERS_TIMEOUT_MS,
        bodyTimeout: options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS,
        maxHeaderSize: 64 * 1024,
        connect: {
          timeout: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
          ...(unverified ? { rejectUnauthorized: false } : {}),
          ...(secureContext === undefined ? {} : { secureContext }),
        },
      });
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

/** Returns undefined for Node's own default, which needs no context of ours. */
async function trustedBy(extra: readonly string[] | undefined, system: boolean): Promise<SecureContext | undefined> {
  if ((extra === undefined || extra.length === 0) && !system) return undefined;
  const tls = await import('node:tls');
  const ca = new Set([...tls.getCACertificates('default'), ...(extra ?? []), ...(system ? tls.getCACertificates('system') : [])]);
  return tls.createSecureContext({ ca: [...ca] });
}
