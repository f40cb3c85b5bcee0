/** Signatures with bare keys in detached metadata and `summary.sig`: `ostree.sign.TYPE` (aay). */
import { type Checksum, compareBytes } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import type { RawPublicKey, RawSecretKey, RawSignatureType } from '@cambium/trust';
import { ostreeError } from '../errors.ts';
import type { Metadata } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';

/** Each is checked with each trusted key. */
const MAX_SIGNATURES = 64;

const keyOf = (type: RawSignatureType): string => `ostree.sign.${type}`;

/** Returns the signatures of a type. @throws OSTREE_OBJECT_CORRUPT when the key has another type, OSTREE_OBJECT_TOO_LARGE */
export function rawSignaturesIn(detached: Metadata | undefined, type: RawSignatureType): readonly Uint8Array[] {
  const value = detached?.find(([key]) => key === keyOf(type))?.[1];
  if (value === undefined) return [];
  if (value.type !== 'aay') throw ostreeError('OSTREE_OBJECT_CORRUPT', `Cannot read signatures: ${keyOf(type)} is of type "${value.type}"`);
  const signatures = value.value as Uint8Array[];
  if (signatures.length > MAX_SIGNATURES) {
    throw ostreeError('OSTREE_OBJECT_TOO_LARGE', `Cannot read signatures: ${signatures.length} of them, over the limit of ${MAX_SIGNATURES}`);
  }
  return signatures;
}

/** Returns detached metadata with a signature over `bytes` by each key added; one that is there already is not added again. */
export function signBytesRaw(bytes: Uint8Array, detached: Metadata | undefined, type: RawSignatureType, keys: readonly RawSecretKey[]): Metadata {
  const signatures = [...rawSignaturesIn(detached, type)];
  for (const key of keys) {
    const signature = key.sign(bytes);
    if (!signatures.some((present) => compareBytes(present, signature) === 0)) signatures.push(signature);
  }
  return withRawSignatures(detached, type, signatures);
}

/** Signs a commit; other detached metadata stays. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_LOCK_TIMEOUT */
export async function signCommitRaw(
  repo: Repo,
  checksum: Checksum,
  type: RawSignatureType,
  keys: readonly RawSecretKey[],
  signal?: AbortSignal,
): Promise<void> {
  using _lock = await repo.lock('exclusive', signal);
  repo.writeDetachedMetadata(checksum, signBytesRaw(repo.readMetadata('commit', checksum), repo.readDetachedMetadata(checksum), type, keys));
}

/** Removes the signatures made with any of the keys; returns how many there were. @throws as {@link signCommitRaw} */
export async function deleteRawSignatures(
  repo: Repo,
  checksum: Checksum,
  type: RawSignatureType,
  keys: readonly RawPublicKey[],
  signal?: AbortSignal,
): Promise<number> {
  using _lock = await repo.lock('exclusive', signal);
  const bytes = repo.readMetadata('commit', checksum);
  const detached = repo.readDetachedMetadata(checksum);
  const present = rawSignaturesIn(detached, type);
  const kept = present.filter((signature) => !keys.some((key) => key.verify(bytes, signature)));
  if (kept.length < present.length) repo.writeDetachedMetadata(checksum, withRawSignatures(detached, type, kept));
  return present.length - kept.length;
}

function withRawSignatures(detached: Metadata | undefined, type: RawSignatureType, signatures: readonly Uint8Array[]): Metadata {
  const others = (detached ?? []).filter(([key]) => key !== keyOf(type));
  return signatures.length === 0 ? others : [...others, [keyOf(type), new Variant('aay', [...signatures])]];
}
