/**
 * A web server for the files of a directory that misbehaves as told.
 *
 * Source of the protocol: RFC 9110 sections 8.8 (validators), 13 (conditional requests), 14 (ranges).
 */
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { join, normalize } from 'node:path';

/** What happens instead of a good answer. */
export type StaticFault =
  | { do: 'status'; status: number; headers?: Record<string, string>; body?: string }
  /** No answer, or no more bytes after so many. */
  | { do: 'stall'; afterBytes?: number }
  /** The body ends early, as if that were all: without a length. */
  | { do: 'truncate'; afterBytes: number }
  /** The connection (with HTTP/2: the stream) is reset (with TLS and HTTP/1.1: ended without a word), after so many bytes of the body, or before the headers. */
  | { do: 'reset'; afterBytes?: number }
  /** To another path or URL; to its own path for the smallest circle. */
  | { do: 'redirect'; to: string; status?: number }
  /** Other bytes altogether, with good headers. */
  | { do: 'replace'; body: string | Uint8Array }
  /** One byte of the body is another. */
  | { do: 'corrupt'; atByte?: number }
  /** So many bytes, again and again after a pause. */
  | { do: 'slow'; bytes: number; everyMs: number }
  /** 401 without the right password; as it should be with it. */
  | { do: 'basic'; user: string; password: string }
  /** As it should be, but `Range` is ignored. */
  | { do: 'ignore-range' };

export interface StaticServerOptions {
  directory: string;
  /** `ca` and `requestClientCert`: only clients with a certificate of that authority are let in. */
  tls?: { cert: string; key: string; ca?: string; requestClientCert?: boolean };
  /** Offer HTTP/2 beside HTTP/1.1; needs `tls`. */
  http2?: boolean;
  /** Asked once per request; `count` is how many requests of this path came before. */
  faults?: (request: { path: string; count: number; method: string }) => StaticFault | undefined;
}

export interface StaticRequest {
  method: string;
  /** As sent, query included. */
  path: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** `1.1` or `2.0`. */
  httpVersion: string;
  /** 0 when no head was sent. */
  status: number;
  /** Bytes of the body that were given to the connection. */
  bytes: number;
}

export interface StaticServer {
  url: string;
  host: string;
  port: number;
  /** In the order of their arrival. */
  requests(): StaticRequest[];
  forget(): void;
  /** How many connections were accepted. */
  connections(): number;
  stop(): Promise<void>;
}

/** Starts the server on a free loopback port. Files are read anew for each request. */
export async function startStaticServer(options: StaticServerOptions): Promise<StaticServer> {
  const { tls, directory, faults } = options;
  if (options.http2 === true && tls === undefined) throw new TypeError('HTTP/2 needs a certificate');
  const records: StaticRequest[] = [];
  const counts = new Map<string, number>();
  const listener = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    const record: StaticRequest = {
      method: request.method,
      path: request.url,
      headers: request.headers,
      httpVersion: request.httpVersion,
      status: 0,
      bytes: 0,
    };
    records.push(record);
    const count = counts.get(record.path) ?? 0;
    counts.set(record.path, count + 1);
    const fault = faults?.({ path: record.path, count, method: record.method });
    answer(directory, new Answer(request, response, record), fault);
  };
  // The three kinds of server give a listener objects of one shape.
  const any = listener as never;
  const wanted = tls?.requestClientCert === true;
  const secure = tls && { cert: tls.cert, key: tls.key, ...(tls.ca === undefined ? {} : { ca: tls.ca }), requestCert: wanted, rejectUnauthorized: wanted };
  const server: Server =
    secure === undefined ? createServer(any) : options.http2 === true ? createSecureServer({ ...secure, allowHTTP1: true }, any) : createTlsServer(secure, any);
  const sockets = new Set<Socket>();
  let accepted = 0;
  server.on('connection', (socket: Socket) => {
    accepted++;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // A client that is not let in is the client's failure.
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    port,
    requests: () => [...records],
    forget: () => void records.splice(0),
    connections: () => accepted,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function answer(directory: string, to: Answer, fault: StaticFault | undefined): void {
  const { record } = to;
  switch (fault?.do) {
    case 'status':
      to.status(fault.status, fault.headers, fault.body);
      return;
    case 'redirect':
      to.status(fault.status ?? 302, { location: fault.to });
      return;
    case 'stall':
      if (fault.afterBytes === undefined) return;
      break;
    case 'reset':
      if (fault.afterBytes === undefined) return to.reset();
      break;
    case 'basic': {
      const wanted = `Basic ${Buffer.from(`${fault.user}:${fault.password}`).toString('base64')}`;
      if (record.headers.authorization !== wanted) return to.status(401, { 'www-authenticate': 'Basic realm="tests"' });
      break;
    }
  }
  if (record.method !== 'GET' && record.method !== 'HEAD') return to.status(405, { allow: 'GET, HEAD' });
  const path = pathOf(directory, record.path);
  const found = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
  if (path === undefined || found?.isFile() !== true) return to.status(404);
  const etag = `"${found.size.toString(16)}-${Math.trunc(found.mtimeMs).toString(16)}"`;
  const headers: Record<string, string | number> = { etag, 'last-modified': found.mtime.toUTCString(), 'accept-ranges': 'bytes' };
  if (isUnchanged(record, etag, found.mtime)) return to.status(304, headers);
  to.content(readFileSync(path), headers, etag, fault);
}

function isUnchanged({ headers }: StaticRequest, etag: string, modified: Date): boolean {
  const tags = headers['if-none-match'];
  if (typeof tags === 'string') return tags === '*' || tags.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
  const since = headers['if-modified-since'];
  return typeof since === 'string' && Math.trunc(modified.getTime() / 1000) * 1000 <= Date.parse(since);
}

function pathOf(directory: string, url: string): string | undefined {
  let path: string;
  try {
    path = decodeURIComponent(url.split('?', 1)[0] as string);
  } catch {
    return undefined;
  }
  return path.includes('\0') || normalize(path).startsWith('..') ? undefined : join(directory, normalize(`/${path}`));
}

/** Writes one answer and counts its bytes. */
class Answer {
  readonly record: StaticRequest;
  private readonly request: Http2ServerRequest;
  private readonly response: Http2ServerResponse;

  constructor(request: Http2ServerRequest, response: Http2ServerResponse, record: StaticRequest) {
    this.request = request;
    this.response = response;
    this.record = record;
  }

  status(status: number, headers: Record<string, string | number> = {}, body?: string): void {
    this.head(status, { ...(body === undefined ? {} : { 'content-type': 'text/plain' }), ...headers });
    if (body !== undefined) this.write(Buffer.from(body));
    this.response.end();
  }

  reset(): void {
    if (this.record.httpVersion === '2.0') this.response.stream.close(2);
    else if ('encrypted' in this.request.socket) this.request.socket.destroy();
    else (this.request.socket as Socket).resetAndDestroy();
  }

  content(file: Buffer, headers: Record<string, string | number>, etag: string, fault: StaticFault | undefined): void {
    const asked = fault?.do === 'ignore-range' || !this.rangeHolds(etag) ? null : /^bytes=(\d+)-(\d*)$/.exec(String(this.record.headers.range ?? ''));
    const start = asked === null ? 0 : Number(asked[1]);
    const end = asked?.[2] ? Math.min(Number(asked[2]) + 1, file.byteLength) : file.byteLength;
    if (asked !== null && start >= end) return this.status(416, { 'content-range': `bytes */${file.byteLength}` });
    let body = file.subarray(start, end);
    if (fault?.do === 'replace') body = Buffer.from(fault.body);
    if (fault?.do === 'corrupt' && body.byteLength > 0) {
      const at = Math.min(fault.atByte ?? 0, body.byteLength - 1);
      body[at] = (body[at] as number) ^ 0xff;
    }
    this.head(asked === null ? 200 : 206, {
      ...headers,
      'content-type': 'application/octet-stream',
      ...(fault?.do === 'truncate' ? {} : { 'content-length': body.byteLength }),
      ...(asked === null ? {} : { 'content-range': `bytes ${start}-${end - 1}/${file.byteLength}` }),
    });
    if (this.record.method === 'HEAD') {
      this.response.end();
      return;
    }
    switch (fault?.do) {
      case 'stall':
        this.write(body.subarray(0, fault.afterBytes));
        return;
      case 'reset':
        // The bytes must have left before the reset, or the client sees none of them.
        this.write(body.subarray(0, fault.afterBytes), () => this.reset());
        return;
      case 'slow':
        this.trickle(body, fault.bytes, fault.everyMs);
        return;
      case 'truncate':
        body = body.subarray(0, fault.afterBytes);
    }
    this.write(body);
    this.response.end();
  }

  private rangeHolds(etag: string): boolean {
    const condition = this.record.headers['if-range'];
    return condition === undefined || condition === etag;
  }

  private trickle(body: Buffer, bytes: number, everyMs: number): void {
    if (this.response.destroyed) return;
    this.write(body.subarray(0, bytes));
    if (body.byteLength <= bytes) this.response.end();
    else setTimeout(() => this.trickle(body.subarray(bytes), bytes, everyMs), everyMs);
  }

  private head(status: number, headers: Record<string, string | number>): void {
    this.record.status = status;
    this.response.writeHead(status, headers);
  }

  private write(bytes: Uint8Array, then?: () => void): void {
    this.record.bytes += bytes.byteLength;
    this.response.write(bytes, then);
  }
}
