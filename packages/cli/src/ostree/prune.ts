import { type Checksum, isChecksum } from '@cambium/base';
import { formatPruneResult, type PruneOptions, prune } from '@cambium/ostree';
import type { Values } from '../command.ts';
import { parseDate } from '../dates.ts';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

const flags = {
  'no-prune': { kind: 'flag', help: "Only display unreachable objects; don't delete" },
  'refs-only': { kind: 'flag', help: 'Only compute reachability via refs' },
  depth: { kind: 'int', value: 'DEPTH', help: 'Only traverse DEPTH parents for each commit (default: -1=infinite)' },
  'delete-commit': { kind: 'text', value: 'COMMIT', help: 'Specify a commit to delete' },
  'keep-younger-than': { kind: 'text', value: 'DATE', help: 'Prune all commits older than the specified date' },
  'static-deltas-only': { kind: 'flag', help: 'Change the behavior of delete-commit and keep-younger-than to prune only static deltas' },
  'retain-branch-depth': { kind: 'texts', value: 'BRANCH=DEPTH', help: 'Additionally retain BRANCH=DEPTH commits' },
  'only-branch': { kind: 'texts', value: 'BRANCH', help: 'Only prune BRANCH (may be specified multiple times)' },
  'commit-only': { kind: 'flag', help: 'Only traverse and delete commit objects.' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Search for unreachable objects',
  operands: [],
  flags,
  json: '{ dryRun, totalObjects, prunedObjects, freedBytes, prunedDeltas }',
  examples: [
    { command: 'cambium ostree prune --repo=./repo --refs-only --depth=2 --no-prune', explains: 'See what keeping three commits of each ref would free' },
  ],
  async run(context, { values }) {
    const repo = await context.openRepo();
    const options = pruneOptions(values);
    const result = await prune(repo, options, context.signal);
    if (context.ui.json) context.ui.resultJson({ dryRun: values['no-prune'], ...result });
    else context.ui.write(formatPruneResult(result, options));
    return undefined;
  },
};

function pruneOptions(values: Values<typeof flags>): PruneOptions {
  const commit = values['delete-commit'];
  const dryRun = values['no-prune'];
  if (commit !== undefined && dryRun) throw new UsageError('Cannot specify both --delete-commit and --no-prune');
  if (values['static-deltas-only'] && commit === undefined) {
    throw new OstreeFailure('--static-deltas-only requires --delete-commit; see https://github.com/ostreedev/ostree/issues/1479');
  }
  if (commit !== undefined && !isChecksum(commit)) throw new OstreeFailure(`Invalid checksum of length ${commit.length} expected 64`);
  return {
    refsOnly: values['refs-only'],
    commitOnly: values['commit-only'],
    staticDeltasOnly: values['static-deltas-only'],
    dryRun,
    ...(values.depth === undefined ? {} : { depth: values.depth }),
    ...(commit === undefined ? {} : { deleteCommit: commit as Checksum }),
    ...(values['keep-younger-than'] === undefined ? {} : { keepYoungerThan: parseDate(values['keep-younger-than']) }),
    ...(values['only-branch'].length === 0 ? {} : { onlyBranches: values['only-branch'] }),
    ...(values['retain-branch-depth'].length === 0 ? {} : { retainBranchDepth: new Map(values['retain-branch-depth'].map(parseRetention)) }),
  };
}

function parseRetention(text: string): [branch: string, depth: number] {
  const equals = text.indexOf('=');
  if (equals < 0) throw new OstreeFailure(`Invalid value ${text}, must specify BRANCH=DEPTH`);
  // What follows the digits is not looked at.
  const depth = /^\s*[+-]?\d+/.exec(text.slice(equals + 1));
  if (depth === null) throw new OstreeFailure(`Invalid depth ${text.slice(equals + 1)}`);
  return [text.slice(0, equals), Number(depth[0])];
}
