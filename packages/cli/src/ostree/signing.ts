/** Which public keys a signature is checked with, and signing by several keys. */
import {
  globalKeyrings,
  keyFiles,
  type Metadata,
  type Repo,
  readKeyFile,
  remoteKeyrings,
  type SignatureKeys,
  signBytesRaw,
  signCommitBytes,
} from '@cambium/ostree';
import { type RawSecretKey, type RawSignatureEngine, type RawSignatureType, rawSignatureEngine } from '@cambium/trust';
import { type Environment, lookUp } from '../environment.ts';
import { OstreeFailure } from './verb.ts';

export interface KeySelection {
  /** `--gpg-homedir`: a directory of key files. */
  homeDirectory: string | undefined;
  /** `--gpg-verify-remote`: keys of this remote only, beside the global ones. */
  remote: string | undefined;
}

export function verificationKeys(repo: Repo, selection: KeySelection, environment: Environment): SignatureKeys {
  const { remote, homeDirectory } = selection;
  const global = globalKeyrings(lookUp(environment, ['OSTREE_GPG_HOME']));
  const keyrings = remote === undefined ? [...keyFiles(repo.path), ...global] : keysOfRemote(repo, remote, global);
  if (homeDirectory !== undefined) keyrings.push(...keyFiles(homeDirectory));
  return { keyrings };
}

/** A remote with keys of its own is not checked with the global ones. */
function keysOfRemote(repo: Repo, remote: string, global: readonly string[]): string[] {
  if (!repo.config.has(`remote "${remote}"`)) throw new OstreeFailure(`Remote "${remote}" not found`);
  const own = remoteKeyrings(repo, remote);
  return own.length > 0 ? own : [...global];
}

/** Returns detached metadata with a signature by each key added. */
export async function addSignatures(
  commit: Uint8Array,
  detached: Metadata | undefined,
  keys: { keyIds: readonly string[]; homeDirectory: string | undefined },
  signal: AbortSignal,
): Promise<Metadata | undefined> {
  let metadata = detached;
  for (const keyId of keys.keyIds) metadata = await signCommitBytes(commit, metadata, { keyId, homeDirectory: keys.homeDirectory }, signal);
  return metadata;
}

/** Bare-key signatures of one type, and the secret keys to make them with. */
export interface SecretKeys {
  type: RawSignatureType;
  secrets: readonly RawSecretKey[];
}

/** What libostree's own tests set to have signatures that prove nothing. */
export function allowDummy(environment: Environment): boolean {
  const value = lookUp(environment, ['OSTREE_DUMMY_SIGN_ENABLED']);
  return value !== undefined && value !== '0';
}

/** Returns the engine of `--sign-type`, ed25519 when it was not given. */
export function engineOf(type: string | undefined, environment: Environment): RawSignatureEngine {
  return rawSignatureEngine(type ?? 'ed25519', { allowDummy: allowDummy(environment) });
}

/** Reads the keys of `--sign` (texts) and `--sign-from-file` (paths). With none the type is not looked at. */
export function readSecretKeys(texts: readonly string[], files: readonly string[], type: string | undefined, environment: Environment): SecretKeys {
  if (texts.length === 0 && files.length === 0) return { type: 'ed25519', secrets: [] };
  const engine = engineOf(type, environment);
  const secrets = texts.map((text) => engine.secretKey(text));
  for (const file of files) secrets.push(...engine.secretKeys(readKeyFile(file), file));
  return { type: engine.type, secrets };
}

/** Returns detached metadata with a signature by each of the keys added. */
export function addRawSignatures(bytes: Uint8Array, detached: Metadata | undefined, keys: SecretKeys): Metadata | undefined {
  return keys.secrets.length === 0 ? detached : signBytesRaw(bytes, detached, keys.type, keys.secrets);
}
