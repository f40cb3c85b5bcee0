/** Serves an OSTree repository over HTTP/1.1, and over HTTP/2 where there is a certificate. */
import { realpathSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { errnoOf, throwIfAborted } from '@cambium/base';
import { Repo } from '@cambium/ostree';
import { answer } from './answer.ts';
import { type Connections, trackConnections } from './connections.ts';
import { serverError } from './errors.ts';
import type { OnServerEvent } from './events.ts';

export interface RepoServerOptions {
  /** Path of a repository in archive mode. */
  repo: string;
  /** Address or name to listen on. Default `127.0.0.1`: this machine only. */
  host?: string | undefined;
  /** Default 0: any that is free. */
  port?: number | undefined;
  /** Certificate with its chain, and private key, in PEM. With them HTTPS is spoken, HTTP/2 to clients that can. */
  tls?: { cert: string; key: string } | undefined;
  /** Stops the server in good order. */
  signal?: AbortSignal | undefined;
  /** How long requests may go on when the server stops. Default 10 000. */
  graceMs?: number | undefined;
  on?: OnServerEvent | undefined;
}

export interface RepoServer {
  /** Where the repository is, for the `url` of a remote. */
  url: string;
  port: number;
  /** Takes no more requests, lets those that run come to their end, and closes all connections. */
  stop(): Promise<void>;
  /** Resolves when the server has stopped, by {@link stop} or by the signal. */
  stopped: Promise<void>;
}

const DEFAULT_GRACE_MS = 10_000;
/** A client that takes nothing for so long is gone. */
const IDLE_SOCKET_MS = 120_000;
const MAX_LOGGED_PATH = 512;
/** Requests at once on one connection of HTTP/2; each large one holds a file open. The RFC asks for at least 100. */
const MAX_STREAMS = 128;

/**
 * Starts the server; resolves when it listens. Only what a client needs to pull is served, by GET and HEAD.
 *
 * @throws SERVER_REPO_MODE SERVER_ADDRESS_IN_USE SERVER_ADDRESS_UNUSABLE SERVER_CERTIFICATE_INVALID, and as `Repo.open`
 */
export async function startRepoServer(options: RepoServerOptions): Promise<RepoServer> {
  const { tls, signal, on } = options;
  throwIfAborted(signal);
  const repo = await Repo.open(options.repo);
  if (repo.mode !== 'archive') {
    throw serverError('SERVER_REPO_MODE', `Cannot serve repository "${options.repo}": its mode is ${repo.mode}`, {
      hint: 'Make one with "ostree init --mode=archive", and pull into it with "ostree pull-local"',
      data: { mode: repo.mode },
    });
  }
  const root = realpathSync(repo.path);

  let connections: Connections | undefined;
  const running = new Set<Promise<void>>();
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const began = performance.now();
    connections?.began(request, response);
    const client = request.socket.remoteAddress ?? '';
    const { method = '', url = '', httpVersion } = request;
    const closed = new Promise<void>((resolve) => response.once('close', resolve));
    const sentBytes = await answer(root, request, response);
    await closed;
    on?.({
      type: 'request',
      method,
      path: url.slice(0, MAX_LOGGED_PATH).replace(/[^\x21-\x7e]/g, '?'),
      status: response.headersSent ? response.statusCode : 0,
      sentBytes,
      durationMs: performance.now() - began,
      httpVersion,
      client,
    });
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const one = serve(request, response).finally(() => running.delete(one));
    running.add(one);
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.setTimeout(IDLE_SOCKET_MS);
  connections = trackConnections(server, tls !== undefined);
  const host = options.host ?? '127.0.0.1';
  await listen(server, host, options.port ?? 0);

  const { port } = server.address() as AddressInfo;
  let stopping: Promise<void> | undefined;
  let resolveStopped: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => {
    resolveStopped = resolve;
  });
  const stop = (): Promise<void> => {
    stopping ??= connections.close(options.graceMs ?? DEFAULT_GRACE_MS).then(async () => {
      // Every request has been reported when this is over.
      await Promise.all(running);
      signal?.removeEventListener('abort', onAbort);
      resolveStopped();
    });
    return stopping;
  };
  const onAbort = (): void => void stop();
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted === true) onAbort();
  return { url: `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`, port, stop, stopped };
}

function createTlsServer(tls: { cert: string; key: string }, listener: RequestListener): Http2SecureServer {
  try {
    // The listener of one protocol fits the other: Node's HTTP/2 objects have the shape of those of HTTP/1.1.
    return createSecureServer({ cert: tls.cert, key: tls.key, allowHTTP1: true, settings: { maxConcurrentStreams: MAX_STREAMS } }, listener as never);
  } catch (cause) {
    throw serverError('SERVER_CERTIFICATE_INVALID', 'Cannot use the certificate of the server: it is not PEM, or the key is not of it', { cause });
  }
}

async function listen(server: Server | Http2SecureServer, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    const code = errnoOf(cause);
    const where = `${host} port ${port}`;
    if (code === 'EADDRINUSE') throw serverError('SERVER_ADDRESS_IN_USE', `Cannot listen on ${where}: another program does`, { cause, data: { host, port } });
    throw serverError('SERVER_ADDRESS_UNUSABLE', `Cannot listen on ${where}: ${code ?? 'not possible'}`, {
      ...(code === 'EACCES' ? { hint: 'Ports below 1024 are for root' } : {}),
      cause,
      data: { host, port },
    });
  }
}
