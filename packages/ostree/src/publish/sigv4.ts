/**
 * Signs requests as Amazon S3, and the stores that speak like it, want them signed.
 *
 * Source: AWS Signature Version 4, "Authenticating Requests: Using the Authorization Header" (S3 API reference).
 */
import { createHmac } from 'node:crypto';
import { sha256Hex } from '@cambium/base';

export interface S3Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  /** Of credentials that end after a while. */
  sessionToken?: string | undefined;
}

export interface SigningScope {
  credentials: S3Credentials;
  region: string;
  /** `s3`, for stores. */
  service: string;
}

export interface UnsignedRequest {
  method: string;
  /** Its path and query as {@link encodedPath} and {@link encodedQuery} write them: what is signed is what is sent. */
  url: URL;
  /** Names in lower case; all of them are signed. */
  headers: Readonly<Record<string, string>>;
  /** SHA-256 of the body in hex digits. */
  payloadHash: string;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';

/** Returns the headers of the request with those that a signature needs: `host`, `x-amz-date`, the token's, and `authorization`. */
export function signRequest(request: UnsignedRequest, scope: SigningScope, at: Date): Record<string, string> {
  const { credentials, region, service } = scope;
  const time = at.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const headers: Record<string, string> = {
    ...request.headers,
    host: request.url.host,
    'x-amz-date': time,
    ...(credentials.sessionToken === undefined ? {} : { 'x-amz-security-token': credentials.sessionToken }),
  };
  const names = Object.keys(headers).sort();
  const canonical = [
    request.method,
    request.url.pathname,
    request.url.search.slice(1),
    ...names.map((name) => `${name}:${(headers[name] as string).trim().replaceAll(/ +/g, ' ')}`),
    '',
    names.join(';'),
    request.payloadHash,
  ].join('\n');
  const place = `${time.slice(0, 8)}/${region}/${service}/aws4_request`;
  const toSign = [ALGORITHM, time, place, sha256Hex(canonical)].join('\n');
  const key = place.split('/').reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${credentials.secretAccessKey}`);
  const signature = hmac(key, toSign).toString('hex');
  return { ...headers, authorization: `${ALGORITHM} Credential=${credentials.accessKeyId}/${place}, SignedHeaders=${names.join(';')}, Signature=${signature}` };
}

/** Returns a path whose segments are escaped once, as S3 signs it. */
export function encodedPath(path: string): string {
  return path.split('/').map(escaped).join('/');
}

/** Returns a query without `?`, sorted as it is signed. */
export function encodedQuery(parameters: Readonly<Record<string, string>>): string {
  return Object.keys(parameters)
    .sort()
    .map((name) => `${escaped(name)}=${escaped(parameters[name] as string)}`)
    .join('&');
}

/** RFC 3986: all but letters, digits and `-._~`. */
function escaped(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
