/** Conditions and ranges of requests. Source: RFC 9110 sections 13.1 (conditions), 13.2.2 (their order), 14.2 (ranges). */
import type { IncomingHttpHeaders } from 'node:http';

export interface Validators {
  /** With its quotes. */
  etag: string;
  /** Milliseconds since 1970. */
  modifiedMs: number;
}

/** Returns whether the client has the file as it is. */
export function isUnchanged(headers: IncomingHttpHeaders, { etag, modifiedMs }: Validators): boolean {
  const tags = headers['if-none-match'];
  // A tag is better than a date, so the date does not count beside it.
  if (tags !== undefined) return tags.trim() === '*' || tags.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
  const since = headers['if-modified-since'];
  return since !== undefined && wholeSeconds(modifiedMs) <= Date.parse(since);
}

/** Bytes from `start` up to and without `end`. */
export interface ByteRange {
  start: number;
  end: number;
}

/**
 * Returns the bytes that are asked for; undefined for all. Several ranges at once are answered with all, as the RFC allows:
 * nobody who pulls asks for them, and they are a known way to make servers work.
 */
export function rangeOf(headers: IncomingHttpHeaders, sizeBytes: number, validators: Validators): ByteRange | 'unsatisfiable' | undefined {
  const asked = /^bytes=(?:([0-9]{1,15})-([0-9]{1,15})?|-([0-9]{1,15}))$/i.exec(headers.range?.trim() ?? '');
  if (asked === null || !conditionHolds(headers['if-range'], validators)) return undefined;
  const [, first, last, suffix] = asked;
  if (suffix !== undefined)
    return Number(suffix) === 0 || sizeBytes === 0 ? 'unsatisfiable' : { start: Math.max(0, sizeBytes - Number(suffix)), end: sizeBytes };
  const start = Number(first);
  if (last !== undefined && Number(last) < start) return undefined;
  if (start >= sizeBytes) return 'unsatisfiable';
  return { start, end: last === undefined ? sizeBytes : Math.min(sizeBytes, Number(last) + 1) };
}

/** A resumed download must go on with the same file. */
function conditionHolds(condition: string | string[] | undefined, { etag, modifiedMs }: Validators): boolean {
  if (condition === undefined) return true;
  if (Array.isArray(condition)) return false;
  return condition.includes('"') ? condition.trim() === etag : Date.parse(condition) === wholeSeconds(modifiedMs);
}

function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
