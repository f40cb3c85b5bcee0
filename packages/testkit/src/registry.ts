/** The real docker-registry on loopback, behind a proxy that counts: tests ask which blobs were fetched. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo, Server as NetServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { testkitError } from './errors.ts';
import { peer } from './peers.ts';
import { output } from './run.ts';
import { scratchDirectory } from './scratch.ts';

export interface RegistryOptions {
  /** Users and their passwords: basic login is then needed for everything. */
  htpasswd?: Readonly<Record<string, string>>;
  /** Where blobs are kept, over several starts; a directory of its own when absent. */
  directory?: string;
}

/** One exchange, as the client saw it. */
export interface RequestRecord {
  method: string;
  /** Path and query. */
  path: string;
  status: number;
  /** Bytes of the request's body. */
  sentBytes: number;
  /** Bytes of the response's body that went out. */
  receivedBytes: number;
  range: string | undefined;
}

export interface Registry {
  /** `127.0.0.1:PORT`, for references. */
  host: string;
  port: number;
  /** `http://127.0.0.1:PORT` */
  url: string;
  /** All exchanges that have ended since the start or the last {@link forget}, in the order in which they ended. */
  requests(): RequestRecord[];
  /** Digests of the blobs whose bytes were fetched: each `GET` of a blob that was answered with content. */
  fetchedBlobs(): string[];
  forget(): void;
  stop(): Promise<void>;
}

const READY_MS = 20_000;

/** Starts docker-registry. The caller stops it: `defer(t, () => registry.stop())`. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const work = scratchDirectory('cambium-registry-');
  const storage = options.directory ?? join(work, 'storage');
  mkdirSync(storage, { recursive: true });
  // A socket file instead of a port: nobody else can take it between choosing and listening.
  const socket = join(work, 'http.sock');
  const configuration: Record<string, unknown> = {
    version: '0.1',
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true }, cache: { blobdescriptor: 'inmemory' } },
    http: { net: 'unix', addr: socket, relativeurls: true, secret: 'for-tests' },
  };
  if (options.htpasswd !== undefined) {
    const lines = [];
    for (const [user, password] of Object.entries(options.htpasswd)) lines.push(await output('htpasswd', ['-Bbn', '-C', '4', user, password]));
    writeFileSync(join(work, 'htpasswd'), `${lines.map((line) => line.trim()).join('\n')}\n`);
    configuration.auth = { htpasswd: { realm: 'tests', path: join(work, 'htpasswd') } };
  }
  // JSON is YAML.
  writeFileSync(join(work, 'config.yml'), JSON.stringify(configuration));

  const program = peer('docker-registry')?.path ?? 'docker-registry';
  const child = spawn(program, ['serve', join(work, 'config.yml')], { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH ?? '' } });
  let said = '';
  const listen = (chunk: Buffer): void => {
    said = (said + chunk.toString()).slice(-8000);
  };
  child.stdout.on('data', listen);
  child.stderr.on('data', listen);
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', (error) => {
      said += String(error);
      resolve();
    });
  });

  const records: RequestRecord[] = [];
  const proxy = createServer((incoming, outgoing) => forward(socket, incoming, outgoing, records));
  const stop = async (): Promise<void> => {
    await closeServer(proxy);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
    rmSync(work, { recursive: true, force: true });
  };
  try {
    await waitForAnswer(socket, child, () => said);
    return registryAt(await listenOnLoopback(proxy), records, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Returns the handle of a server that writes down what it was asked. */
export function registryAt(port: number, records: RequestRecord[], stop: () => Promise<void>): Registry {
  return {
    host: `127.0.0.1:${port}`,
    port,
    url: `http://127.0.0.1:${port}`,
    requests: () => [...records],
    fetchedBlobs: () => fetchedBlobs(records),
    forget: () => void records.splice(0),
    stop,
  };
}

/** Starts a server on a free port of loopback and returns the port. */
export async function listenOnLoopback(server: NetServer): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return (server.address() as AddressInfo).port;
}

/** Returns the digests of the blobs that were fetched with content. */
function fetchedBlobs(records: readonly RequestRecord[]): string[] {
  return records.flatMap(({ method, path, status }) => {
    const digest = /\/blobs\/(sha\d+:[0-9a-f]+)/.exec(path)?.[1];
    return method === 'GET' && digest !== undefined && (status === 200 || status === 206) ? [digest] : [];
  });
}

/** Stops a server now, its open connections included. */
export function closeServer(server: Server | TlsServer): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => (server.listening ? server.close(() => resolve()) : resolve()));
}

function forward(socketPath: string, incoming: IncomingMessage, outgoing: ServerResponse, records: RequestRecord[]): void {
  const record: RequestRecord = {
    method: incoming.method ?? 'GET',
    path: incoming.url ?? '/',
    status: 0,
    sentBytes: 0,
    receivedBytes: 0,
    range: incoming.headers.range,
  };
  outgoing.once('close', () => records.push(record));
  const onward = httpRequest({ socketPath, agent: false, method: incoming.method, path: incoming.url, headers: incoming.headers }, (answer) => {
    record.status = answer.statusCode ?? 0;
    outgoing.writeHead(record.status, answer.headers);
    answer.on('data', (chunk: Buffer) => {
      record.receivedBytes += chunk.byteLength;
    });
    answer.pipe(outgoing);
    answer.once('error', () => outgoing.destroy());
  });
  onward.once('error', () => outgoing.destroy());
  // In one piece, and on a connection of its own: sent as they came, the last bytes of an upload now and then met a connection
  // that docker-registry 2.8 had closed, and the push failed.
  const body: Buffer[] = [];
  incoming.on('data', (chunk: Buffer) => {
    record.sentBytes += chunk.byteLength;
    body.push(chunk);
  });
  incoming.once('end', () => onward.end(Buffer.concat(body)));
  outgoing.once('close', () => onward.destroy());
}

async function waitForAnswer(socketPath: string, child: ChildProcess, said: () => string): Promise<void> {
  const deadline = Date.now() + READY_MS;
  while (Date.now() < deadline && child.exitCode === null && child.signalCode === null) {
    if (existsSync(socketPath) && (await answers(socketPath))) return;
    await sleep(20);
  }
  throw testkitError('TESTKIT_NOT_READY', `docker-registry did not start: ${said()}`);
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = httpRequest({ socketPath, path: '/v2/' }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200 || answer.statusCode === 401);
    });
    request.once('error', () => resolve(false));
    request.end();
  });
}
