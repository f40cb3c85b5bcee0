/**
 * Signatures of commits with the user's own gpg, in the commit's detached metadata. A signature is over the exact bytes
 * of the commit object; each element of `ostree.gpgsigs` (aay) holds binary OpenPGP signature packets.
 */

import { closeSync, constants, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Checksum } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { type GpgSignature, signDetachedWithGpg, verifyDetachedWithGpg } from '@cambium/trust';
import { ostreeError } from '../errors.ts';
import type { Metadata } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';

export const GPG_SIGNATURES_KEY = 'ostree.gpgsigs';

/** Anyone may add to detached metadata, and each signature costs a run of gpg. */
const MAX_SIGNATURES = 64;

/** Public keys to verify against: keyring files or their contents, and nothing else. Or a gpg home. */
export type SignatureKeys = { keyrings: readonly (string | Uint8Array)[] } | { homeDirectory: string };

export interface SignCommitOptions {
  /** Key ID, fingerprint, or part of a user ID, as gpg takes it. */
  keyId: string;
  /** Where gpg's keys are, instead of the user's own place. */
  homeDirectory?: string | undefined;
  /** Program to run, `gpg` by default. */
  program?: string | undefined;
}

/**
 * Signs the bytes of a commit and returns detached metadata with the signature added to what `detached` has. For commits that
 * are not in a repository yet; else use {@link signCommit}.
 *
 * @throws OSTREE_SIGNATURE_EXISTS when the key has signed already, TRUST_GPG_MISSING TRUST_GPG_KEY_MISSING TRUST_GPG_KEY_UNUSABLE TRUST_GPG_FAILED
 */
export async function signCommitBytes(bytes: Uint8Array, detached: Metadata | undefined, options: SignCommitOptions, signal?: AbortSignal): Promise<Metadata> {
  const { keyId, homeDirectory, program } = options;
  const signature = await signDetachedWithGpg({ data: bytes, keyId, homeDirectory, program, signal });
  const present = signaturesIn(detached);
  if (present.length > 0) {
    const [made] = await identify(bytes, signature, program, signal);
    for (const element of present) {
      const old = (await identify(bytes, element, program, signal)).find((known) => known.keyId === made?.keyId);
      if (old === undefined) continue;
      throw ostreeError('OSTREE_SIGNATURE_EXISTS', `Commit is already signed with GPG key ${old.fingerprint ?? old.keyId}`, { data: { keyId: old.keyId } });
    }
  }
  return withSignatures(detached, [...present, signature]);
}

/** Signs a commit; other detached metadata stays. @throws as {@link signCommitBytes}, OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
export async function signCommit(repo: Repo, checksum: Checksum, options: SignCommitOptions, signal?: AbortSignal): Promise<void> {
  const lock = await repo.lock('exclusive', signal);
  try {
    const bytes = repo.readMetadata('commit', checksum);
    repo.writeDetachedMetadata(checksum, await signCommitBytes(bytes, repo.readDetachedMetadata(checksum), options, signal));
  } finally {
    lock.release();
  }
}

/**
 * Removes the signatures made with any of the keys (fingerprints, their last 16 or 8 digits, or, with `keys`, parts of user IDs), and
 * returns how many there were.
 */
export async function deleteSignatures(repo: Repo, checksum: Checksum, keyIds: readonly string[], keys?: SignatureKeys, signal?: AbortSignal): Promise<number> {
  const lock = await repo.lock('exclusive', signal);
  try {
    const bytes = repo.readMetadata('commit', checksum);
    const detached = repo.readDetachedMetadata(checksum);
    const kept: Uint8Array[] = [];
    let removed = 0;
    for (const element of signaturesIn(detached)) {
      const found = await verifyDetachedWithGpg({ data: bytes, signature: element, keys: keys ?? { keyrings: [] }, signal });
      if (found.some((signature) => keyIds.some((keyId) => isBy(signature, keyId)))) removed++;
      else kept.push(element);
    }
    if (removed > 0) repo.writeDetachedMetadata(checksum, withSignatures(detached, kept));
    return removed;
  } finally {
    lock.release();
  }
}

/** Returns a verdict for each signature of a commit, in stored order; none when it has no signature. @throws TRUST_SIGNATURE_INVALID for what is none */
export async function readSignatures(repo: Repo, checksum: Checksum, keys: SignatureKeys, signal?: AbortSignal): Promise<GpgSignature[]> {
  const bytes = repo.readMetadata('commit', checksum);
  const found: GpgSignature[] = [];
  for (const signature of signaturesIn(repo.readDetachedMetadata(checksum))) {
    found.push(...(await verifyDetachedWithGpg({ data: bytes, signature, keys, signal })));
  }
  return found;
}

/**
 * Returns the verdicts when at least one signature is valid and by one of the keys.
 * @throws OSTREE_SIGNATURE_MISSING OSTREE_SIGNATURE_INVALID
 */
export async function verifyCommitSignature(repo: Repo, checksum: Checksum, keys: SignatureKeys, signal?: AbortSignal): Promise<GpgSignature[]> {
  const found = await readSignatures(repo, checksum, keys, signal);
  if (found.length === 0) {
    throw ostreeError('OSTREE_SIGNATURE_MISSING', `Commit ${checksum}: GPG verification enabled, but no signatures found`, {
      hint: 'Sign it with: cambium ostree gpg-sign COMMIT KEYID',
    });
  }
  if (!found.some((signature) => signature.valid)) {
    throw ostreeError('OSTREE_SIGNATURE_INVALID', `Commit ${checksum}: GPG signatures found, but none are in trusted keyring`, {
      data: { checksum, keyIds: found.map((signature) => signature.keyId) },
    });
  }
  return found;
}

/**
 * Returns the keyrings of a remote: its own file in the repository and what its `gpgkeypath` names, directories by their `*.gpg` and `*.asc` files.
 * Files are not looked into.
 *
 * @throws OSTREE_CONFIG_INVALID when paths are parted by both commas and semicolons
 */
export function remoteKeyrings(repo: Repo, remote: string): string[] {
  const own = join(repo.path, `${remote}.trustedkeys.gpg`);
  const files = existsSync(own) ? [own] : [];
  for (const path of keyPaths(repo, remote)) files.push(...keyFiles(path));
  return files;
}

/** Semicolons part the paths, or commas where there is no semicolon. One that is empty at the start or between others is a path: of no file, as in libostree. */
function keyPaths(repo: Repo, remote: string): readonly string[] {
  const group = `remote "${remote}"`;
  const raw = repo.config.raw(group, 'gpgkeypath') ?? '';
  if (!raw.includes(',')) return repo.config.list(group, 'gpgkeypath') ?? [];
  if (raw.includes(';'))
    throw ostreeError('OSTREE_CONFIG_INVALID', `Cannot read gpgkeypath of remote "${remote}": key value list contains more than one separator`);
  const paths = (repo.config.string(group, 'gpgkeypath') ?? '').split(',');
  while (paths.at(-1) === '') paths.pop();
  return paths;
}

/** Returns a key file itself, or the files in a directory that hold public keys (`*.gpg` and `*.asc`), in order of their names. */
export function keyFiles(path: string): string[] {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return [path];
  const names = readdirSync(path, { withFileTypes: true }).filter((entry) => !entry.isDirectory() && /\.(?:gpg|asc)$/.test(entry.name));
  return names
    .map(({ name }) => join(path, name))
    .sort()
    .filter(holdsPublicKeys);
}

const LOOK_BYTES = 64 * 1024;
const PUBLIC_KEY_TAG = 6;

/** A gpg home has the trust database and secret keys under such names too. Source: RFC 4880, section 4.2; GnuPG's doc/KEYFORMAT. */
function holdsPublicKeys(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    // gpg will say what is wrong with it.
    return true;
  }
  try {
    if (!fstatSync(fd).isFile()) return false;
    const head = Buffer.alloc(LOOK_BYTES);
    const bytes = head.subarray(0, readSync(fd, head, 0, LOOK_BYTES, 0));
    const first = bytes[0] ?? 0;
    const tag = (first & 0x40) === 0 ? (first >> 2) & 0x0f : first & 0x3f;
    if ((first & 0x80) !== 0 && tag === PUBLIC_KEY_TAG) return true;
    return bytes.toString('latin1', 8, 12) === 'KBXf' || bytes.includes('-----BEGIN PGP PUBLIC KEY BLOCK');
  } finally {
    closeSync(fd);
  }
}

/** Returns the signatures in detached metadata. @throws OSTREE_OBJECT_CORRUPT when the key has another type, OSTREE_OBJECT_TOO_LARGE */
export function signaturesIn(detached: Metadata | undefined): readonly Uint8Array[] {
  const value = detached?.find(([key]) => key === GPG_SIGNATURES_KEY)?.[1];
  if (value === undefined) return [];
  if (value.type !== 'aay') throw ostreeError('OSTREE_OBJECT_CORRUPT', `Cannot read signatures: ${GPG_SIGNATURES_KEY} is of type "${value.type}"`);
  const signatures = value.value as Uint8Array[];
  if (signatures.length > MAX_SIGNATURES) {
    throw ostreeError('OSTREE_OBJECT_TOO_LARGE', `Cannot read signatures: ${signatures.length} of them, over the limit of ${MAX_SIGNATURES}`);
  }
  return signatures;
}

/** Returns detached metadata with these signatures instead of its own; other keys keep their place. */
export function withSignatures(detached: Metadata | undefined, signatures: readonly Uint8Array[]): Metadata {
  const others = (detached ?? []).filter(([key]) => key !== GPG_SIGNATURES_KEY);
  return signatures.length === 0 ? others : [...others, [GPG_SIGNATURES_KEY, new Variant('aay', [...signatures])]];
}

/** Returns whose signature it is without being able to check it. */
function identify(bytes: Uint8Array, signature: Uint8Array, program: string | undefined, signal: AbortSignal | undefined): Promise<GpgSignature[]> {
  return verifyDetachedWithGpg({ data: bytes, signature, keys: { keyrings: [] }, signal, program });
}

function isBy(signature: GpgSignature, keyId: string): boolean {
  const hex = keyId.replace(/^0x/i, '').toUpperCase();
  if (/^[0-9A-F]{8,64}$/.test(hex)) {
    return [signature.keyId, signature.fingerprint, signature.primaryFingerprint].some((known) => known?.toUpperCase().endsWith(hex) === true);
  }
  return signature.userId?.toLowerCase().includes(keyId.toLowerCase()) === true;
}
