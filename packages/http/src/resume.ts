/** Bodies that go on where a lost connection broke them off. Source: RFC 9110, sections 13.1.5 (If-Range) and 14 (ranges). */
import type { Bytes } from '@cambium/base';
import { networkProblem } from './network-errors.ts';
import type { HttpResponse } from './transport.ts';

/** Lost connections that one body outlives at once, each of which brought something: then the whole request fails, and its own tries count. */
const MAX_RESUMPTIONS = 16;

/**
 * Returns an answer whose body asks for its remainder when the connection is lost in the middle. Only answers that say of which version they are
 * can be resumed; others are returned as they are.
 *
 * @param again makes the request again with further headers
 */
export function resumable(first: HttpResponse, again: (headers: Record<string, string>) => Promise<HttpResponse>): HttpResponse {
  const version = first.status === 200 ? versionOf(first) : undefined;
  return version === undefined ? first : { ...first, body: continued(first, version, again) };
}

async function* continued(first: HttpResponse, version: string, again: (headers: Record<string, string>) => Promise<HttpResponse>): Bytes {
  let response = first;
  let seen = 0;
  for (let left = MAX_RESUMPTIONS; ; left--) {
    const start = seen;
    try {
      for await (const chunk of response.body) {
        seen += chunk.byteLength;
        yield chunk;
      }
      return;
    } catch (error) {
      // A peer that stalls is not waited for again and again; one that sends nothing gets the pauses of a new try.
      const isLost = networkProblem(error, first.url)?.error.code === 'HTTP_UNREACHABLE';
      if (!isLost || left === 0 || (seen === start && response !== first)) throw error;
      const next = await again({ range: `bytes=${seen}-`, 'if-range': version });
      if (next.status !== 206 || startOf(next) !== seen) {
        next.discard();
        throw error;
      }
      response = next;
    }
  }
}

/** Returns what `If-Range` takes: a strong entity tag, or a date that is old enough to be one. */
function versionOf({ headers }: HttpResponse): string | undefined {
  const { etag, date, 'last-modified': modified } = headers;
  if (typeof etag === 'string') return etag.startsWith('"') ? etag : undefined;
  if (typeof modified !== 'string' || typeof date !== 'string') return undefined;
  // RFC 9110, section 8.8.2.2: a file may change twice in a second.
  return Date.parse(date) - Date.parse(modified) >= 1000 ? modified : undefined;
}

function startOf({ headers }: HttpResponse): number | undefined {
  const range = headers['content-range'];
  const start = typeof range === 'string' ? /^bytes (\d{1,15})-/.exec(range)?.[1] : undefined;
  return start === undefined ? undefined : Number(start);
}
