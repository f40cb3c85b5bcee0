/**
 * A bucket of an S3-compatible store: signed requests, and what its refusals mean.
 *
 * Source: Amazon S3 API reference (REST), "Error responses", "Virtual hosting of buckets".
 */
import { type Bytes, collect, type KnownError } from '@cambium/base';
import { displayUrl, type HttpResponse, type Transport } from '@cambium/http';
import { ostreeError } from '../errors.ts';
import { textOf } from '../format/xml.ts';
import { parseAnswer } from './s3-answer.ts';
import { encodedPath, encodedQuery, type S3Credentials, signRequest } from './sigv4.ts';

export interface BucketOptions {
  bucket: string;
  region: string;
  credentials: S3Credentials;
  transport: Transport;
  /** Of a store that is not Amazon's. */
  endpoint?: URL | undefined;
  /** Where the bucket's name goes: into the host's, or the path. By default into the path where an endpoint is given or the host could not have the name. */
  addressing?: 'path' | 'virtual' | undefined;
  now?: () => Date;
}

export interface BucketRequest {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST';
  /** None for the bucket itself. */
  key?: string;
  query?: Readonly<Record<string, string>>;
  headers?: Readonly<Record<string, string>>;
  body?: { bytes: Uint8Array | (() => Bytes); sizeBytes: number; sha256: string };
  /** Of the body of an answer that is no refusal. */
  limitBytes?: number;
  signal?: AbortSignal | undefined;
}

export interface BucketAnswer {
  status: number;
  headers: HttpResponse['headers'];
  body: Uint8Array;
  /** The store's code for a failure, such as `NoSuchKey`; `''` when there is none. */
  code: string;
}

export interface Bucket {
  readonly name: string;
  /** The store takes `+` in the path of a URL for a space, and most clients do not escape it. */
  readonly plusIsSpace: boolean;
  /** Makes a request and returns the answer, also one that is a refusal. Another try is made of what the store may do a moment later. */
  ask(request: BucketRequest): Promise<BucketAnswer>;
  /** Returns what to say of a refusal. `action` is what could not be done: `list "objects/"`. */
  refusal(answer: BucketAnswer, action: string): KnownError;
}

const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
/** Lists of 1000 names stay far below. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
/** Said with other statuses than those that HTTP clients try again. */
const TRANSIENT = new Set(['RequestTimeout', 'OperationAborted', 'SlowDown', 'InternalError', 'ServiceUnavailable']);
const DENIED = new Set([
  'AccessDenied',
  'AccountProblem',
  'AllAccessDisabled',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidSecurity',
  'InvalidToken',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
]);
/** As the host's name may have it. */
const DNS_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])$/;
/** As old buckets, and those of other stores, are named. */
const BUCKET_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/;
/** What a header can hold; a line's end often comes along when keys are copied. */
const HEADER_TEXT = /^[\x21-\x7e]+$/;
const REGION_NAME = /^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/;

/** @throws OSTREE_OPTION_INVALID */
export function openBucket(options: BucketOptions): Bucket {
  const { bucket, region, credentials, transport, endpoint, now = () => new Date() } = options;
  if (!BUCKET_NAME.test(bucket)) throw ostreeError('OSTREE_OPTION_INVALID', `Cannot use ${JSON.stringify(bucket)} as the name of a bucket`);
  if (!REGION_NAME.test(region)) throw ostreeError('OSTREE_OPTION_INVALID', `Cannot use ${JSON.stringify(region)} as the name of a region`);
  if (!HEADER_TEXT.test(credentials.accessKeyId) || !HEADER_TEXT.test(credentials.sessionToken ?? 'none'))
    throw ostreeError('OSTREE_OPTION_INVALID', 'Cannot use the keys for a bucket: there are spaces, line ends or other strange characters in them');
  const addressing = options.addressing ?? (endpoint === undefined && DNS_NAME.test(bucket) ? 'virtual' : 'path');
  const base = endpoint === undefined ? new URL(`https://s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`) : endpointUrl(endpoint);
  if (addressing === 'virtual') {
    base.hostname = `${bucket}.${base.hostname}`;
    if (!base.hostname.startsWith(`${bucket.toLowerCase()}.`))
      throw ostreeError('OSTREE_OPTION_INVALID', `Cannot put the bucket "${bucket}" before the host of ${displayUrl(base)}: use path style`);
  }
  const folder = `${base.pathname.replace(/\/+$/, '')}${addressing === 'path' ? `/${bucket}` : ''}`;
  const scope = { credentials, region, service: 's3' };

  const once = ({ method, key, query, headers = {}, body, limitBytes = MAX_ANSWER_BYTES, signal }: BucketRequest): Promise<BucketAnswer> => {
    const url = new URL(base);
    url.pathname = key === undefined ? folder || '/' : `${folder}/${encodedPath(key)}`;
    url.search = encodedQuery(query ?? {});
    const payloadHash = body?.sha256 ?? EMPTY_SHA256;
    const signed = signRequest({ method, url, headers: { ...headers, 'x-amz-content-sha256': payloadHash }, payloadHash }, scope, now());
    const sized = body === undefined ? signed : { ...signed, 'content-length': String(body.sizeBytes) };
    return transport.exchange(
      { method, url, headers: sized, redirects: 'answer', signal, ...(body === undefined ? {} : { body: body.bytes }) },
      async (response) => {
        const bytes = await collect(response.body, response.status === 200 ? limitBytes : MAX_ANSWER_BYTES, displayUrl(url));
        // A list of parts is put together while the answer has begun: `200` may go with a failure.
        const isOne = response.status >= 300 || (method === 'POST' && Buffer.from(bytes).includes('<Error>'));
        return { status: response.status, headers: response.headers, body: bytes, code: isOne ? codeOf(bytes) : '' };
      },
    );
  };

  return {
    name: bucket,
    plusIsSpace: endpoint === undefined,
    async ask(request) {
      for (let attempt = 1; ; attempt++) {
        const answer = await once(request);
        if (!TRANSIENT.has(answer.code) || isTriedAgain(answer.status) || attempt >= transport.attempts) return answer;
        await transport.pause(attempt, request.signal);
      }
    },
    refusal(answer, action) {
      const { status, code, body } = answer;
      const words = printable(textOf(parseAnswer(body), 'Message') ?? '');
      const data = { bucket, status, ...(code === '' ? {} : { reason: code }) };
      const start = `Cannot ${action} in s3://${bucket}`;
      if (code === 'NoSuchBucket')
        return ostreeError('OSTREE_PUSH_NO_BUCKET', `${start}: there is no such bucket at ${base.host}`, {
          data,
          hint: 'Make it first, or check its name and the endpoint',
        });
      if (code === 'RequestTimeTooSkewed') {
        const theirs = printable(textOf(parseAnswer(body), 'ServerTime') ?? String(answer.headers.date ?? ''));
        return ostreeError('OSTREE_PUSH_CLOCK', `${start}: the clock here says ${now().toISOString()}, and the store's ${theirs}`, {
          data,
          hint: 'Set the clock of this machine: requests are signed with the time',
        });
      }
      const elsewhere = regionOf(answer);
      if (elsewhere !== undefined && elsewhere !== region)
        return ostreeError('OSTREE_PUSH_FAILED', `${start}: the bucket is in the region ${elsewhere}, not ${region}`, {
          data,
          hint: `Name it with --region=${elsewhere}`,
        });
      const said = `${code === '' ? `status ${status}` : code}${words === '' ? '' : `: ${words}`}`;
      if (DENIED.has(code) || status === 401 || status === 403)
        return ostreeError('OSTREE_PUSH_DENIED', `${start}: ${said}`, {
          data,
          hint: 'Pushing needs s3:ListBucket, s3:GetObject and s3:PutObject; check the keys, the region and the policy of the bucket',
        });
      return ostreeError('OSTREE_PUSH_FAILED', `${start}: ${said}`, { data, retryable: status >= 500 || status === 429 });
    },
  };
}

function endpointUrl(endpoint: URL): URL {
  if (/^https?:$/.test(endpoint.protocol) && endpoint.username === '' && endpoint.password === '' && endpoint.search === '' && endpoint.hash === '')
    return new URL(endpoint);
  throw ostreeError('OSTREE_OPTION_INVALID', `Cannot use ${displayUrl(endpoint)} as an endpoint: an http:// or https:// URL without login and query is needed`);
}

/** What is no code of a store's is left out: it may be anything, and is shown. */
function codeOf(body: Uint8Array): string {
  const code = textOf(parseAnswer(body), 'Code') ?? '';
  return /^[A-Za-z0-9.]{1,64}$/.test(code) ? code : '';
}

function regionOf({ headers, body, status, code }: BucketAnswer): string | undefined {
  if (status !== 301 && status !== 307 && status !== 400 && code !== 'AccessDenied') return undefined;
  const region = headers['x-amz-bucket-region'] ?? textOf(parseAnswer(body), 'Region');
  return typeof region === 'string' && REGION_NAME.test(region) ? region : undefined;
}

/** The transport has tried these again itself. */
function isTriedAgain(status: number): boolean {
  return status === 429 || status >= 500;
}

function printable(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .slice(0, 300);
}
