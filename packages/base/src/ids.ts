/** A type for each kind of id; parsing is the only way in, and no function turns one kind into another. */
import { baseError } from './codes.ts';

declare const brand: unique symbol;
export type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** OSTree object name: 64 lower-case hex digits. For files it covers a header too, so it is not a digest of the content. */
export type Checksum = Branded<string, 'Checksum'>;
/** OCI content digest: `sha256:` and 64, or `sha512:` and 128, lower-case hex digits. */
export type Digest = Branded<string, 'Digest'>;
/** Digest of a layer's uncompressed tar. */
export type DiffId = Branded<string, 'DiffId'>;

const CHECKSUM = /^[0-9a-f]{64}$/;
const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isChecksum(text: string): text is Checksum {
  return CHECKSUM.test(text);
}

/** @throws ID_CHECKSUM_INVALID */
export function parseChecksum(text: string): Checksum {
  if (!isChecksum(text)) throw baseError('ID_CHECKSUM_INVALID', `Cannot parse checksum "${text.slice(0, 80)}"`);
  return text;
}

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** @throws ID_DIGEST_INVALID */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw baseError('ID_DIGEST_INVALID', `Cannot parse digest "${text.slice(0, 160)}"`);
  return text;
}

/** @throws ID_DIGEST_INVALID */
export function parseDiffId(text: string): DiffId {
  return parseDigest(text) as string as DiffId;
}

/** Returns the algorithm and the hex part. */
export function splitDigest(digest: Digest | DiffId): { algorithm: 'sha256' | 'sha512'; hex: string } {
  const colon = digest.indexOf(':');
  return { algorithm: digest.slice(0, colon) as 'sha256' | 'sha512', hex: digest.slice(colon + 1) };
}
