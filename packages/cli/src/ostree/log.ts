import { formatLogEntry, type LogEntry, log, writeCommit } from '@cambium/ostree';
import { COMMIT_SHAPE, commitJson, mapped } from './json.ts';
import { UsageError, type Verb } from './verb.ts';

const flags = { raw: { kind: 'flag', help: 'Show raw variant data' } } as const;

export const command: Verb<typeof flags> = {
  summary: 'Show log starting at commit or ref',
  operands: [{ name: 'REV', help: '' }],
  flags,
  json: `[${COMMIT_SHAPE}], newest first; { commit, missing: true } at its end when the history goes on and is not here`,
  examples: [{ command: 'cambium ostree log --repo=./repo apps/shop', explains: 'Show the history of a ref' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [rev] = operands;
    if (rev === undefined) throw new UsageError('A rev argument is required');
    const json = (entry: LogEntry): object => (entry.kind === 'commit' ? commitJson(entry.checksum, entry.commit) : { commit: entry.parent, missing: true });
    if (context.ui.json) context.ui.resultJsonList(mapped(log(repo, rev), json));
    else
      for (const entry of log(repo, rev)) {
        if (entry.kind === 'commit') writeCommit(entry.checksum, entry.commit, { raw: values.raw }, (text) => context.ui.write(text));
        else context.ui.write(formatLogEntry(entry));
      }
    return undefined;
  },
};
