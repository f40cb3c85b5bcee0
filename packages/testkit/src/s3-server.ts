/**
 * A store with the S3 interface for tests, on loopback: it checks signatures with code of its own, pages its lists, takes
 * parts, and fails where a test wants it to. What it holds is public, as a served repository is.
 *
 * Source: Amazon S3 API reference (REST); "Signature Calculations for the Authorization Header".
 */
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface S3Object {
  body: Buffer;
  /** Of the request that put it: content type, cache control. */
  headers: Record<string, string>;
}

export interface S3Request {
  method: string;
  /** As sent, without the query. */
  path: string;
  query: URLSearchParams;
  status: number;
}

/** Instead of an answer: a refusal, or no answer at all. With `late` the request is carried out first. */
export type S3Fault = { status: number; code: string; headers?: Record<string, string> } | { reset: true; late?: boolean };

export interface S3ServerOptions {
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  region?: string;
  /** How many names a list has before it is cut. Default 1000. */
  pageSize?: number;
  /** Its clock. */
  now?: () => Date;
  /** Asked once per request; `count` is how many with this method and path came before. */
  faults?: (request: { method: string; path: string; query: URLSearchParams; count: number }) => S3Fault | undefined;
}

export interface S3Server {
  url: string;
  /** By key. */
  objects: Map<string, S3Object>;
  /** Parts by number, of uploads that were begun and not put together, by their id. */
  uploads: Map<string, { key: string; headers: Record<string, string>; parts: Map<number, Buffer> }>;
  requests(): S3Request[];
  stop(): Promise<void>;
}

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly more: string;
  constructor(status: number, code: string, more = '') {
    super(code);
    this.status = status;
    this.code = code;
    this.more = more;
  }
}

const MAX_SKEW_MS = 15 * 60 * 1000;

/** Starts the server on a free port. */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const { faults, bucket, pageSize = 1000 } = options;
  const objects: S3Server['objects'] = new Map();
  const uploads: S3Server['uploads'] = new Map();
  const records: S3Request[] = [];
  const counts = new Map<string, number>();

  const carryOut = (request: IncomingMessage, url: URL, body: Buffer, response: ServerResponse): void => {
    const isVirtual = (request.headers.host ?? '').startsWith(`${bucket}.`);
    const [, name, ...rest] = `${isVirtual ? `/${bucket}` : ''}${url.pathname}`.split('/').map(decodeURIComponent);
    const key = rest.join('/');
    const isPublic = (request.method === 'GET' || request.method === 'HEAD') && key !== '' && request.headers.authorization === undefined;
    if (!isPublic) checkSignature(request, url, body, options);
    if (name !== bucket) throw new Refusal(404, 'NoSuchBucket');
    const query = url.searchParams;
    const sent = Object.fromEntries(['content-type', 'cache-control'].map((header) => [header, String(request.headers[header] ?? '')]));
    const uploadId = query.get('uploadId');
    const upload = uploadId === null ? undefined : uploads.get(uploadId);
    if (uploadId !== null && upload?.key !== key) throw new Refusal(404, 'NoSuchUpload');
    if (request.method === 'PUT' && upload !== undefined) {
      upload.parts.set(Number(query.get('partNumber')), body);
      response.writeHead(200, { etag: tagOf(body) }).end();
    } else if (request.method === 'PUT') {
      objects.set(key, { body, headers: sent });
      response.writeHead(200, { etag: tagOf(body) }).end();
    } else if (request.method === 'POST' && query.has('uploads')) {
      const id = randomUUID();
      uploads.set(id, { key, headers: sent, parts: new Map() });
      xml(response, 200, 'InitiateMultipartUploadResult', element('Key', key) + element('UploadId', id));
    } else if (request.method === 'POST' && upload !== undefined) {
      const named = [...body.toString().matchAll(/<Part><PartNumber>(\d+)<\/PartNumber><ETag>"?([0-9a-f]+)"?<\/ETag><\/Part>/g)];
      const parts = named.map(([, number, tag]) => {
        const part = upload.parts.get(Number(number));
        if (part === undefined || tagOf(part) !== `"${tag}"`) throw new Refusal(400, 'InvalidPart');
        return part;
      });
      uploads.delete(uploadId as string);
      objects.set(key, { body: Buffer.concat(parts), headers: upload.headers });
      xml(response, 200, 'CompleteMultipartUploadResult', element('Key', key));
    } else if (request.method === 'GET' && upload !== undefined) {
      const after = Number(query.get('part-number-marker') ?? 0);
      const parts = [...upload.parts].filter(([number]) => number > after).sort(([a], [b]) => a - b);
      const page = parts.slice(0, pageSize);
      const list = page.map(([n, part]) => element('Part', element('PartNumber', n) + element('ETag', tagOf(part)) + element('Size', part.byteLength)));
      xml(response, 200, 'ListPartsResult', element('IsTruncated', page.length < parts.length) + list.join(''));
    } else if (request.method === 'GET' && key === '' && query.has('uploads')) {
      const begun = [...uploads].filter(([, { key: at }]) => at.startsWith(query.get('prefix') ?? ''));
      xml(
        response,
        200,
        'ListMultipartUploadsResult',
        begun.map(([id, { key: at }]) => element('Upload', element('Key', at) + element('UploadId', id))).join(''),
      );
    } else if (request.method === 'GET' && key === '' && query.get('list-type') === '2') {
      const after = query.get('continuation-token') ?? '';
      const keys = [...objects.keys()].filter((at) => at.startsWith(query.get('prefix') ?? '') && at > after).sort();
      const page = keys.slice(0, pageSize);
      const isCut = page.length < keys.length;
      const list = page.map((at) => element('Contents', element('Key', at) + element('Size', objects.get(at)?.body.byteLength ?? 0)));
      xml(
        response,
        200,
        'ListBucketResult',
        element('IsTruncated', isCut) + list.join('') + (isCut ? element('NextContinuationToken', page.at(-1) ?? '') : ''),
      );
    } else if (isPublic || request.method === 'GET' || request.method === 'HEAD') {
      const found = objects.get(key);
      if (found === undefined) throw new Refusal(404, 'NoSuchKey');
      response.writeHead(200, { ...found.headers, etag: tagOf(found.body), 'content-length': found.body.byteLength });
      response.end(request.method === 'HEAD' ? undefined : found.body);
    } else {
      throw new Refusal(501, 'NotImplemented');
    }
  };

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://store');
    const method = request.method ?? '';
    const record: S3Request = { method, path: url.pathname, query: url.searchParams, status: 0 };
    records.push(record);
    response.on('finish', () => {
      record.status = response.statusCode;
    });
    const place = `${method} ${url.pathname}`;
    const count = counts.get(place) ?? 0;
    counts.set(place, count + 1);
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => undefined);
    request.on('end', () => {
      try {
        const fault = faults?.({ method, path: url.pathname, query: url.searchParams, count });
        if (fault !== undefined && 'code' in fault) {
          for (const [name, value] of Object.entries(fault.headers ?? {})) response.setHeader(name, value);
          throw new Refusal(fault.status, fault.code);
        }
        if (fault !== undefined) {
          const lost = { writeHead: () => lost, end: () => lost, setHeader: () => lost } as unknown as ServerResponse;
          if (fault.late === true) carryOut(request, url, Buffer.concat(chunks), lost);
          request.socket.destroy();
          return;
        }
        carryOut(request, url, Buffer.concat(chunks), response);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        xml(response, error.status, 'Error', element('Code', error.code) + element('Message', 'As the test wants it & not else') + error.more);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects,
    uploads,
    requests: () => [...records],
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** From the bytes of the request line and the headers, as they came. */
function checkSignature(request: IncomingMessage, url: URL, body: Buffer, options: S3ServerOptions): void {
  const { headers } = request;
  const now = (options.now ?? (() => new Date()))();
  const given = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/.exec(
    headers.authorization ?? '',
  );
  if (given === null) throw new Refusal(403, 'AccessDenied');
  const [, id, day, region, names, signature] = given as unknown as string[];
  if (id !== options.accessKeyId) throw new Refusal(403, 'InvalidAccessKeyId');
  if (region !== (options.region ?? 'us-east-1')) throw new Refusal(400, 'AuthorizationHeaderMalformed', element('Region', options.region ?? 'us-east-1'));
  if (headers['x-amz-security-token'] !== options.sessionToken) throw new Refusal(400, 'InvalidToken');
  const stamp = String(headers['x-amz-date']);
  const [, year, month, date, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(stamp) ?? [];
  const at = Date.UTC(Number(year), Number(month) - 1, Number(date), Number(hour), Number(minute), Number(second));
  if (!(Math.abs(at - now.getTime()) <= MAX_SKEW_MS)) throw new Refusal(403, 'RequestTimeTooSkewed', element('ServerTime', now.toISOString()));
  const digest = createHash('sha256').update(body).digest('hex');
  if (headers['x-amz-content-sha256'] !== digest) throw new Refusal(400, 'XAmzContentSHA256Mismatch');
  const signed = (names as string).split(';');
  const wanted = Object.keys(headers).filter((name) => name === 'host' || name.startsWith('x-amz-'));
  if (!wanted.every((name) => signed.includes(name))) throw new Refusal(403, 'AccessDenied');
  const [path, query = ''] = (request.url as string).split('?');
  const fields = query === '' ? [] : query.split('&').map((field) => field.split('='));
  fields.sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1));
  let canonical = `${request.method}\n${path}\n${fields.map(([name, value = '']) => `${name}=${value}`).join('&')}\n`;
  for (const name of signed) canonical += `${name}:${headers[name]}\n`;
  canonical += `\n${names}\n${digest}`;
  const text = `AWS4-HMAC-SHA256\n${stamp}\n${day}/${region}/s3/aws4_request\n${createHash('sha256').update(canonical).digest('hex')}`;
  const mac = (key: string | Buffer, words: string): Buffer => createHmac('sha256', key).update(words).digest();
  const key = mac(mac(mac(mac(`AWS4${options.secretAccessKey}`, day as string), region as string), 's3'), 'aws4_request');
  if (mac(key, text).toString('hex') !== signature || !stamp.startsWith(day as string)) throw new Refusal(403, 'SignatureDoesNotMatch');
  // A path that is not escaped as it is signed would name another object.
  if (/[^A-Za-z0-9\-._~%/]/.test(url.pathname)) throw new Refusal(403, 'SignatureDoesNotMatch');
}

function tagOf(body: Buffer): string {
  return `"${createHash('md5').update(body).digest('hex')}"`;
}

function element(name: string, value: string | number | boolean): string {
  const text = String(value);
  return `<${name}>${text.startsWith('<') ? text : text.replaceAll('&', '&amp;').replaceAll('"', '&quot;')}</${name}>`;
}

function xml(response: ServerResponse, status: number, name: string, content: string): void {
  response.writeHead(status, { 'content-type': 'application/xml', date: new Date().toUTCString() });
  response.end(`<?xml version="1.0" encoding="UTF-8"?>\n<${name}>${content}</${name}>`);
}
