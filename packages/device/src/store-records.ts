/** The lists of records in an image store: `images.json`, `layers.json`, `containers.json`. */
import { readFileSync } from 'node:fs';
import { errnoOf, isRecord, parseJson, systemError } from '@cambium/base';

/** Returns the records of a file; none when it is lost or holds no list. @throws JSON_INVALID, SYSTEM_… */
export function readStoreRecords(path: string): Record<string, unknown>[] {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw systemError(error, `Cannot read ${path}`) ?? error;
  }
  const records = parseJson(bytes, path);
  return Array.isArray(records) ? records.filter(isRecord) : [];
}
