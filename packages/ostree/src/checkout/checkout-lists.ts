/** Files that say what to check out and what to leave out. */
import { decodeUtf8 } from '@cambium/base';
import { ostreeError } from '../errors.ts';

/** One record of `--from-file`. */
export interface CheckoutRecord {
  rev: string;
  subpath: string;
}

/** Returns the records `REV NUL SUBPATH NUL …` of `ostree checkout --from-file`; the last NUL may be missing, and a REV alone at the end is dropped, as by libostree. */
export function parseCheckoutRecords(bytes: Uint8Array): CheckoutRecord[] {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw ostreeError('OSTREE_REF_INVALID', 'Cannot read checkout records: not UTF-8');
  const fields = text.split('\0');
  if (fields.at(-1) === '') fields.pop();
  const records: CheckoutRecord[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) records.push({ rev: fields[i] as string, subpath: fields[i + 1] as string });
  return records;
}

/** Returns the paths of a skip list: one per line, empty lines ignored. */
export function parseSkipList(text: string): Set<string> {
  return new Set(text.split('\n').filter((line) => line !== ''));
}
