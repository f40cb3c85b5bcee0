/**
 * A registry that serves a layout and misbehaves as told.
 *
 * Source of the protocol: OCI distribution-spec 1.1, pull; Docker token authentication.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { BuiltLayout } from './image-layout.ts';
import { closeServer, listenOnLoopback, type Registry, type RequestRecord, registryAt } from './registry.ts';

/** What happens instead of a good answer. */
export type Fault =
  /** Another status; a registry-style error document unless `body` is given. */
  | { do: 'status'; status: number; headers?: Record<string, string>; body?: string }
  /** The connection is reset, after so many bytes of the body (before the headers when absent). */
  | { do: 'reset'; afterBytes?: number }
  /** The body ends early, as if that were all: chunked, without a length. */
  | { do: 'truncate'; afterBytes: number }
  /** The body never ends. */
  | { do: 'endless' }
  /** No answer, or no more bytes after so many. */
  | { do: 'hang'; afterBytes?: number }
  /** One byte of the body is another. */
  | { do: 'corrupt'; atByte?: number }
  /** Other bytes altogether, with good headers. */
  | { do: 'replace'; body: string | Uint8Array; headers?: Record<string, string> }
  /** As it should be, but `Range` is ignored. */
  | { do: 'ignore-range' };

export interface FaultRule {
  /** Which requests; all when absent. Tried against `METHOD /path`. */
  on?: RegExp;
  /** How many matching requests pass first. */
  skip?: number;
  /** How many are hit; all when absent. */
  times?: number;
  fault: Fault;
}

export interface FaultyRegistryOptions {
  /** Layouts by repository name and tag: `team/app:1`. */
  layouts: Readonly<Record<string, BuiltLayout>>;
  rules?: readonly FaultRule[];
  /** Asks for a bearer token, given at `/token` to these users; without users, to anyone. */
  bearer?: { users?: Readonly<Record<string, string>>; expiresAfterRequests?: number };
}

const CHUNK = Buffer.alloc(1 << 16, 0x61);

/** Starts the registry on a free loopback port. */
export async function faultyRegistry(options: FaultyRegistryOptions): Promise<Registry> {
  const records: RequestRecord[] = [];
  const uses = new Map<FaultRule, number>();
  const tokens = options.bearer === undefined ? undefined : tokenGate(options.bearer);
  const server: Server = createServer((request, response) => {
    const record: RequestRecord = {
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      status: 0,
      sentBytes: 0,
      receivedBytes: 0,
      range: request.headers.range,
    };
    response.once('close', () => {
      record.status = response.headersSent ? response.statusCode : 0;
      records.push(record);
    });
    const send = new Sender(response, record);
    const rule = options.rules?.find((candidate) => applies(candidate, `${record.method} ${record.path}`, uses));
    if (rule?.fault.do === 'status') return send.status(rule.fault);
    if (rule?.fault.do === 'hang' && rule.fault.afterBytes === undefined) return;
    if (rule?.fault.do === 'reset' && rule.fault.afterBytes === undefined) {
      request.socket.resetAndDestroy();
      return;
    }
    if (tokens !== undefined && !tokens(request, send)) return;
    const found = find(options.layouts, record.path);
    if (found === undefined) send.status({ do: 'status', status: record.path === '/v2/' ? 200 : 404 });
    else send.content(request, found, rule?.fault);
  });
  return registryAt(await listenOnLoopback(server), records, () => closeServer(server));
}

function applies(rule: FaultRule, subject: string, uses: Map<FaultRule, number>): boolean {
  if (rule.on !== undefined && !rule.on.test(subject)) return false;
  const seen = uses.get(rule) ?? 0;
  uses.set(rule, seen + 1);
  const skip = rule.skip ?? 0;
  return seen >= skip && seen < skip + (rule.times ?? Number.POSITIVE_INFINITY);
}

interface Found {
  bytes: Buffer;
  mediaType: string;
  digest: string;
}

function find(layouts: Readonly<Record<string, BuiltLayout>>, url: string): Found | undefined {
  const [, name, kind, reference] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)/.exec(url) ?? [];
  for (const [place, layout] of Object.entries(layouts)) {
    if (reference === undefined || !place.startsWith(`${name}:`)) continue;
    const digest = kind === 'manifests' && place === `${name}:${reference}` ? layout.digest : reference;
    const bytes = readBlob(layout, digest);
    if (bytes === undefined) continue;
    const mediaType = kind === 'blobs' ? 'application/octet-stream' : (JSON.parse(bytes.toString()) as { mediaType: string }).mediaType;
    return { bytes, mediaType, digest };
  }
  return undefined;
}

function readBlob(layout: BuiltLayout, digest: string): Buffer | undefined {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) return undefined;
  try {
    return readFileSync(layout.blobPath(digest));
  } catch {
    return undefined; // not in this layout: the caller answers 404
  }
}

/** Writes answers and counts their bytes. */
class Sender {
  private readonly response: ServerResponse;
  private readonly record: RequestRecord;

  constructor(response: ServerResponse, record: RequestRecord) {
    this.response = response;
    this.record = record;
  }

  status(fault: Extract<Fault, { do: 'status' }>): void {
    const body = fault.body ?? (fault.status < 400 ? '{}' : JSON.stringify({ errors: [{ code: `STATUS_${fault.status}`, message: 'as scripted' }] }));
    this.response.writeHead(fault.status, { 'content-type': 'application/json', 'docker-distribution-api-version': 'registry/2.0', ...fault.headers });
    this.end(body);
  }

  content(request: IncomingMessage, found: Found, fault: Fault | undefined): void {
    const range = fault?.do === 'ignore-range' ? undefined : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const start = range == null ? 0 : Number(range[1]);
    const end = range?.[2] ? Math.min(Number(range[2]) + 1, found.bytes.byteLength) : found.bytes.byteLength;
    if (start > end) {
      this.status({ do: 'status', status: 416 });
      return;
    }
    let body = found.bytes.subarray(start, end);
    const headers: Record<string, string | number> = {
      'content-type': found.mediaType,
      'docker-content-digest': found.digest,
      'accept-ranges': 'bytes',
      ...(range == null ? {} : { 'content-range': `bytes ${start}-${end - 1}/${found.bytes.byteLength}` }),
    };
    if (fault?.do === 'replace') {
      body = Buffer.from(fault.body);
      Object.assign(headers, fault.headers);
    }
    if (fault?.do === 'corrupt') {
      body = Buffer.from(body);
      const at = Math.min(fault.atByte ?? 0, body.byteLength - 1);
      body[at] = (body[at] ?? 0) ^ 0xff;
    }
    if (fault?.do !== 'truncate' && fault?.do !== 'endless') headers['content-length'] = body.byteLength;
    this.response.writeHead(range == null ? 200 : 206, headers);
    if (request.method === 'HEAD') {
      this.response.end();
      return;
    }
    switch (fault?.do) {
      case 'truncate':
        this.end(body.subarray(0, fault.afterBytes));
        break;
      case 'hang':
        this.write(body.subarray(0, fault.afterBytes));
        break;
      case 'reset':
        // The bytes must have left before the reset, or the client sees none of them.
        this.write(body.subarray(0, fault.afterBytes), () => request.socket.resetAndDestroy());
        break;
      case 'endless':
        this.write(body);
        this.forever();
        break;
      default:
        this.end(body);
    }
  }

  private forever(): void {
    if (this.response.destroyed) return;
    this.write(CHUNK, () => setImmediate(() => this.forever()));
  }

  private write(bytes: Uint8Array, then?: () => void): void {
    this.record.receivedBytes += bytes.byteLength;
    this.response.write(bytes, then);
  }

  private end(body: string | Uint8Array): void {
    this.record.receivedBytes += Buffer.byteLength(body);
    this.response.end(body);
  }
}

/** Returns a check that lets a request pass, or answers it: the challenge, or the token itself. */
function tokenGate(bearer: NonNullable<FaultyRegistryOptions['bearer']>): (request: IncomingMessage, send: Sender) => boolean {
  const left = new Map<string, number>();
  let issued = 0;
  return (request, send) => {
    if (request.url?.startsWith('/token') === true) {
      const [user, password] = Buffer.from((request.headers.authorization ?? '').replace(/^Basic /, ''), 'base64')
        .toString()
        .split(':');
      if (bearer.users !== undefined && (password === undefined || bearer.users[user ?? ''] !== password)) {
        send.status({ do: 'status', status: 401 });
        return false;
      }
      issued += 1;
      left.set(`token-${issued}`, bearer.expiresAfterRequests ?? Number.POSITIVE_INFINITY);
      send.status({ do: 'status', status: 200, body: JSON.stringify({ token: `token-${issued}`, expires_in: 300 }) });
      return false;
    }
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    const uses = left.get(token) ?? 0;
    if (uses > 0) {
      left.set(token, uses - 1);
      return true;
    }
    const name = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(request.url ?? '')?.[1];
    const scope = name === undefined ? '' : `,scope="repository:${name}:pull"`;
    send.status({ do: 'status', status: 401, headers: { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token",service="tests"${scope}` } });
    return false;
  };
}
