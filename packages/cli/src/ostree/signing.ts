/** Signing commits with the user's gpg. */
import type { Checksum } from '@cambium/base';
import type { Repo, Transaction } from '@cambium/ostree';
import type { VerbContext } from './verb.ts';

interface GpgFlags {
  'gpg-sign': readonly string[];
  'gpg-homedir': string | undefined;
}

/** Adds a signature of each key to the detached metadata of a commit. */
export async function signWithGpg(context: VerbContext, repo: Repo, transaction: Transaction, commit: Checksum, values: GpgFlags): Promise<void> {
  if (values['gpg-sign'].length === 0) return;
  const { signCommit } = await import('@cambium/ostree');
  for (const keyId of values['gpg-sign']) {
    await signCommit(repo, commit, { keyId, homeDirectory: values['gpg-homedir'], transaction }, context.signal);
  }
}
