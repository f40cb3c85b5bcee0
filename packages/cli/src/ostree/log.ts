import { formatLogEntry, log } from '@cambium/ostree';
import { UsageError, type Verb } from './verb.ts';

const flags = { raw: { kind: 'flag', help: 'Show raw variant data' } } as const;

export const command: Verb<typeof flags> = {
  summary: 'Show log starting at commit or ref',
  operands: [{ name: 'REV', help: '' }],
  flags,
  examples: [{ command: 'cambium ostree log --repo=./repo apps/shop', explains: 'Show the history of a ref' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [rev] = operands;
    if (rev === undefined) throw new UsageError('A rev argument is required');
    for (const entry of log(repo, rev)) context.ui.write(formatLogEntry(entry, { raw: values.raw }));
    return undefined;
  },
};
