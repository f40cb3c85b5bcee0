/** Which public keys a signature is checked with, and signing by several keys. */
import { keyFiles, type Metadata, type Repo, remoteKeyrings, type SignatureKeys, signCommitBytes } from '@cambium/ostree';
import { type Environment, lookUp } from '../environment.ts';
import { OstreeFailure } from './verb.ts';

/** Where libostree finds keys that hold for all repositories. */
const GLOBAL_KEYRINGS = '/usr/share/ostree/trusted.gpg.d';

export interface KeySelection {
  /** `--gpg-homedir`: a directory of key files. */
  homeDirectory: string | undefined;
  /** `--gpg-verify-remote`: keys of this remote only, beside the global ones. */
  remote: string | undefined;
}

export function verificationKeys(repo: Repo, selection: KeySelection, environment: Environment): SignatureKeys {
  const { remote, homeDirectory } = selection;
  const global = keyFiles(lookUp(environment, ['OSTREE_GPG_HOME']) ?? GLOBAL_KEYRINGS);
  const keyrings = remote === undefined ? [...keyFiles(repo.path), ...global] : keysOfRemote(repo, remote, global);
  if (homeDirectory !== undefined) keyrings.push(...keyFiles(homeDirectory));
  // A path that does not exist was a directory that does not exist: no keys.
  return { keyrings: keyrings.filter((path) => path !== GLOBAL_KEYRINGS) };
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
