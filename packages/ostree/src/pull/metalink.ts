/**
 * Metalinks: where a file can be had, and how it is known. A remote may have one for its summary.
 *
 * Source: Metalink 3.0 (metalinker.org), as far as libostree 2022.7 reads it: `metalink/files/file[name]` with `size`,
 * `verification/hash` and `resources/url`; everything else is passed over.
 */
import { createHash } from 'node:crypto';
import { decodeUtf8 } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { readXml } from '../format/xml.ts';

export interface Metalink {
  sizeBytes: number;
  hash: { algorithm: 'sha256' | 'sha512'; hex: string };
  /** Of http and https, in the document's order, which is that in which libostree asks. */
  urls: readonly URL[];
}

/** A mirror manager's list for a whole distribution is a tenth of this. */
export const MAX_METALINK_BYTES: number = 1024 * 1024;
/** More places than these are no help. */
const MAX_URLS = 100;
/** Weaker ones prove nothing. The stronger one counts, as in libostree. */
const HASHES = [
  ['sha512', 128],
  ['sha256', 64],
] as const;

interface Found {
  size: string | undefined;
  hashes: Map<string, string>;
  urls: URL[];
}

/** Returns what a metalink says of a file. @throws OSTREE_METALINK_INVALID */
export function parseMetalink(bytes: Uint8Array, file: string): Metalink {
  if (bytes.byteLength > MAX_METALINK_BYTES) throw invalid(`over ${MAX_METALINK_BYTES} bytes`);
  const text = decodeUtf8(bytes);
  if (text === undefined) throw invalid('not UTF-8');
  const { found, files } = collectFile(text, file);
  if (found === undefined) throw invalid(files === 0 ? 'No <file> element found' : `No <file name='${file}'> found`);
  const sizeBytes = /^\d{1,15}$/.test(found.size ?? '') ? Number(found.size) : 0;
  if (sizeBytes === 0) throw invalid('No <size> element found or it is zero');
  for (const [algorithm, length] of HASHES) {
    const hex = found.hashes.get(algorithm);
    if (hex !== undefined && !(hex.length === length && /^[0-9a-f]*$/.test(hex))) throw invalid(`Invalid hash digest for ${algorithm}`);
  }
  const algorithm = HASHES.map(([name]) => name).find((name) => found.hashes.has(name));
  if (algorithm === undefined) throw invalid('No <verification> element with known <hash type=> found');
  if (found.urls.length === 0) throw invalid("No <url method='http'> elements found");
  return { sizeBytes, hash: { algorithm, hex: found.hashes.get(algorithm) as string }, urls: found.urls };
}

/** Returns why bytes are not what a metalink says of them, or undefined when they are. Wording: libostree's. */
export function metalinkMismatch({ sizeBytes, hash }: Metalink, bytes: Uint8Array): string | undefined {
  if (bytes.byteLength !== sizeBytes) return `Expected size is ${sizeBytes} bytes but content is ${bytes.byteLength} bytes`;
  const actual = createHash(hash.algorithm).update(bytes).digest('hex');
  return actual === hash.hex ? undefined : `Expected checksum is ${hash.hex} but actual is ${actual}`;
}

/** Returns the first file of a name; the whole document must be well formed. */
function collectFile(document: string, file: string): { found: Found | undefined; files: number } {
  const path: { name: string; attributes: ReadonlyMap<string, string>; text: string }[] = [];
  let found: Found | undefined;
  let inside = false;
  let files = 0;
  for (const event of readXml(document, invalid)) {
    if (event.type === 'open') {
      path.push({ name: event.name, attributes: event.attributes, text: '' });
      if (placeOf(path) !== FILE) continue;
      files++;
      inside = found === undefined && event.attributes.get('name') === file;
      if (inside) found = { size: undefined, hashes: new Map(), urls: [] };
    } else if (event.type === 'text') {
      const element = path.at(-1);
      if (inside && element !== undefined) element.text += event.text;
    } else {
      const place = placeOf(path);
      const element = path.pop();
      if (!inside || found === undefined || element === undefined) continue;
      if (place === FILE) inside = false;
      else take(found, place, element.attributes, element.text.trim());
    }
  }
  return { found, files };
}

const FILE = 'metalink/files/file';

function placeOf(path: readonly { name: string }[]): string {
  return path.map(({ name }) => name).join('/');
}

function take(found: Found, place: string, attributes: ReadonlyMap<string, string>, text: string): void {
  switch (place) {
    case `${FILE}/size`:
      found.size = text;
      return;
    case `${FILE}/verification/hash`:
      found.hashes.set(attributes.get('type') ?? '', text);
      return;
    case `${FILE}/resources/url`: {
      const url = URL.canParse(text) ? new URL(text) : undefined;
      const usable = url !== undefined && /^https?:$/.test(url.protocol) && /^https?$/.test(attributes.get('protocol') ?? 'http');
      if (usable && found.urls.length < MAX_URLS) found.urls.push(url);
    }
  }
}

function invalid(why: string): Error {
  return ostreeError('OSTREE_METALINK_INVALID', `Cannot use the metalink: ${why}`);
}
