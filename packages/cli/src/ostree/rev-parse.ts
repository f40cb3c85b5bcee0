import { OstreeFailure, UsageError, type Verb } from './verb.ts';

const flags = {
  single: { kind: 'flag', short: 'S', help: 'If the repository has exactly one commit, then print it; any other case will result in an error' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Output the target of a rev',
  operands: [{ name: 'REV', help: '' }],
  flags,
  examples: [{ command: 'cambium ostree rev-parse --repo=./repo apps/shop', explains: 'Print the commit a ref names' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    if (values.single) {
      if (operands.length > 0) throw new UsageError('Cannot specify arguments with --single');
      const commits = [...repo.listObjects()].filter((object) => object.type === 'commit');
      const [first, ...others] = commits;
      if (first === undefined) throw new OstreeFailure('No commit objects found');
      if (others.length > 0) throw new OstreeFailure('Multiple commit objects found');
      context.ui.result(first.checksum);
      return undefined;
    }
    if (operands.length === 0) throw new UsageError('REV must be specified');
    for (const rev of operands) context.ui.result(repo.refs.resolve(rev));
    return undefined;
  },
};
