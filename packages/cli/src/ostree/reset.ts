import { Transaction } from '@cambium/ostree';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

export const command: Verb = {
  summary: 'Reset a REF to a previous COMMIT',
  operands: [
    { name: 'REF', help: '' },
    { name: 'COMMIT', help: '' },
  ],
  flags: {},
  examples: [{ command: 'cambium ostree reset --repo=./repo apps/shop apps/shop^', explains: 'Go back by one commit' }],
  async run(context, { operands }) {
    const repo = await context.openRepo();
    const [ref, target] = operands;
    if (ref === undefined || target === undefined) throw new UsageError('A REF and COMMIT argument is required');
    if (!repo.refs.list().has(ref)) throw new OstreeFailure(`Invalid ref '${ref}'`);
    const commit = repo.refs.resolve(target);
    repo.readCommit(commit);
    const transaction = await Transaction.begin(repo, { signal: context.signal });
    transaction.setRef(ref, commit);
    await transaction.commit();
    return undefined;
  },
};
