import { deleteSignatures } from '@cambium/ostree';
import { addSignatures, verificationKeys } from './signing.ts';
import { UsageError, type Verb } from './verb.ts';

const flags = {
  delete: { kind: 'flag', short: 'd', help: 'Delete signatures having any of the GPG KEY-IDs' },
  'gpg-homedir': { kind: 'text', value: 'HOMEDIR', help: 'GPG Homedir to use when looking for keyrings' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Sign a commit',
  operands: [
    { name: 'COMMIT', help: '' },
    { name: 'KEY-ID', help: '', many: true },
  ],
  flags,
  examples: [{ command: 'cambium ostree gpg-sign --repo=./repo apps/shop you@example.com', explains: 'Add a signature by one of your keys' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [rev, ...keyIds] = operands;
    if (rev === undefined) throw new UsageError('Need a COMMIT to sign');
    if (keyIds.length === 0) throw new UsageError('Need at least one GPG KEY-ID to sign with');
    const commit = repo.refs.resolve(rev);
    const homeDirectory = values['gpg-homedir'];
    if (values.delete) {
      const keys = verificationKeys(repo, { homeDirectory, remote: undefined }, context.environment);
      context.ui.result(`Signatures deleted: ${await deleteSignatures(repo, commit, keyIds, keys, context.signal)}`);
      return undefined;
    }
    const lock = await repo.lock('exclusive', context.signal);
    try {
      // All keys or none: one write at the end.
      const metadata = await addSignatures(repo.readMetadata('commit', commit), repo.readDetachedMetadata(commit), { keyIds, homeDirectory }, context.signal);
      if (metadata !== undefined) repo.writeDetachedMetadata(commit, metadata);
    } finally {
      lock.release();
    }
    return undefined;
  },
};
