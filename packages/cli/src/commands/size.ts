import { pullSize, Repo } from '@cambium/ostree';
import type { Command } from '../command.ts';
import { formatPullSize } from '../ostree/size-table.ts';
import { repoPlace } from './repo-place.ts';

const flags = {
  repo: { kind: 'text', value: 'PATH', completes: 'directory', env: ['OSTREE_REPO'], help: 'The OSTree repository that has both commits' },
} as const;

export const command: Command<typeof flags> = {
  summary: 'Say what an update moves, writes and needs at its peak',
  description: [
    'FROM and TO are refs or commits; with TO alone, what a first pull moves. "download" is what an archive repository serves, without ' +
      'headers of requests; "on disk" counts blocks of 4 KiB; "peak" adds the downloads that can lie beside the objects. Nothing is fetched: ' +
      'the sizes are those of the files of an archive repository, or those that a commit made with --generate-sizes records.',
  ],
  operands: [
    { name: 'FROM', help: 'What is there before: a ref or commit', optional: true },
    { name: 'TO', help: 'What is pulled: a ref or commit' },
  ],
  flags,
  examples: [
    { command: 'cambium size --repo=./repo apps/shop^ apps/shop', explains: 'What the last update costs' },
    { command: 'cambium size --repo=./repo apps/shop', explains: 'What a first pull costs' },
  ],
  json:
    '{ from, to, kinds: { file, dirtree, dirmeta, commit: { objects, archivedBytes, unpackedBytes } }, total, dropped: { objects }, ' +
    'deltas: [{ from, parts, fallbacks, wireBytes, largestPartBytes }], writes: { MODE: { bytes, diskBytes, peakBytes } }, known }',
  async run({ ui, environment, signal }, { values, operands }) {
    const repo = await Repo.open(repoPlace(values.repo, environment));
    const to = operands.at(-1) as string;
    const from = operands.length === 2 ? repo.refs.resolve(operands[0] as string) : undefined;
    const size = await pullSize(repo, from, repo.refs.resolve(to), signal);
    if (ui.json) ui.resultJson(size);
    else ui.write(formatPullSize(size));
    return undefined;
  },
};
