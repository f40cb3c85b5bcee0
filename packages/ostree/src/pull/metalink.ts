/**
 * Metalinks: where a file can be had, and how it is known. A remote may have one for its summary.
 *
 * Source: Metalink 3.0 (metalinker.org), as far as libostree 2022.7 reads it: `metalink/files/file[name]` with `size`,
 * `verification/hash` and `resources/url`; everything else is passed over.
 */
import { createHash } from 'node:crypto';
import { decodeUtf8 } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { childrenOf, parseXml, textOf, type XmlElement } from '../format/xml.ts';

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

/** Returns what a metalink says of a file. @throws OSTREE_METALINK_INVALID */
export function parseMetalink(bytes: Uint8Array, file: string): Metalink {
  if (bytes.byteLength > MAX_METALINK_BYTES) throw invalid(`over ${MAX_METALINK_BYTES} bytes`);
  const text = decodeUtf8(bytes);
  if (text === undefined) throw invalid('not UTF-8');
  const metalink = parseXml(text, invalid);
  const files = metalink.name === 'metalink' ? childrenOf(metalink, 'files').flatMap((list) => childrenOf(list, 'file')) : [];
  if (files.length === 0) throw invalid('No <file> element found');
  const found = files.find(({ attributes }) => attributes.get('name') === file);
  if (found === undefined) throw invalid(`No <file name='${file}'> found`);
  const size = textOf(found, 'size')?.trim() ?? '';
  const sizeBytes = /^\d{1,15}$/.test(size) ? Number(size) : 0;
  if (sizeBytes === 0) throw invalid('No <size> element found or it is zero');
  const hashes = new Map(inside(found, 'verification', 'hash').map((hash) => [hash.attributes.get('type') ?? '', hash.text.trim()]));
  for (const [algorithm, length] of HASHES) {
    const hex = hashes.get(algorithm);
    if (hex !== undefined && !(hex.length === length && /^[0-9a-f]*$/.test(hex))) throw invalid(`Invalid hash digest for ${algorithm}`);
  }
  const algorithm = HASHES.map(([name]) => name).find((name) => hashes.has(name));
  if (algorithm === undefined) throw invalid('No <verification> element with known <hash type=> found');
  const urls = inside(found, 'resources', 'url').map(usableUrl);
  const usable = urls.filter((url) => url !== undefined).slice(0, MAX_URLS);
  if (usable.length === 0) throw invalid("No <url method='http'> elements found");
  return { sizeBytes, hash: { algorithm, hex: hashes.get(algorithm) as string }, urls: usable };
}

/** Returns why bytes are not what a metalink says of them, or undefined when they are. Wording: libostree's. */
export function metalinkMismatch({ sizeBytes, hash }: Metalink, bytes: Uint8Array): string | undefined {
  if (bytes.byteLength !== sizeBytes) return `Expected size is ${sizeBytes} bytes but content is ${bytes.byteLength} bytes`;
  const actual = createHash(hash.algorithm).update(bytes).digest('hex');
  return actual === hash.hex ? undefined : `Expected checksum is ${hash.hex} but actual is ${actual}`;
}

function inside(element: XmlElement, list: string, name: string): XmlElement[] {
  return childrenOf(element, list).flatMap((one) => childrenOf(one, name));
}

function usableUrl({ attributes, text }: XmlElement): URL | undefined {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  return url !== undefined && /^https?:$/.test(url.protocol) && /^https?$/.test(attributes.get('protocol') ?? 'http') ? url : undefined;
}

function invalid(why: string): Error {
  return ostreeError('OSTREE_METALINK_INVALID', `Cannot use the metalink: ${why}`);
}
