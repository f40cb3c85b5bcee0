/** What goes wrong with static deltas. */
import { isKnownError } from '@cambium/base';
import { ostreeError } from '../errors.ts';

export function corruptDelta(why: string, cause?: unknown): Error {
  return ostreeError('OSTREE_DELTA_CORRUPT', `Invalid static delta: ${why}`, cause === undefined ? {} : { cause });
}

/** Runs a parser; what it knows of bytes in general becomes a word on the delta. @throws OSTREE_DELTA_CORRUPT */
export function inDelta<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (isKnownError(error) && /^(?:BYTES|GVARIANT|ARCHIVE)_|^OSTREE_OBJECT_CORRUPT$/.test(error.code)) throw corruptDelta(`${what}: ${error.message}`, error);
    throw error;
  }
}
