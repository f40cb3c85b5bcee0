/** JSON as documents that others hash or sign: strict reading, sorted writing. */
import { decodeUtf8 } from './bytes.ts';
import { baseError } from './codes.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Returns the document in `bytes`. @throws JSON_INVALID */
export function parseJson(bytes: Uint8Array | string, what: string): unknown {
  const text = typeof bytes === 'string' ? bytes : decodeUtf8(bytes);
  if (text === undefined) throw baseError('JSON_INVALID', `Cannot parse ${what}: not UTF-8`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw baseError('JSON_INVALID', `Cannot parse ${what}: ${cause instanceof Error ? cause.message : 'not JSON'}`, { cause });
  }
}

/** Returns JSON text with the keys of every object sorted, so that equal values give equal bytes. */
export function stableJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_key, item: unknown) => (isRecord(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item),
    indent,
  );
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
