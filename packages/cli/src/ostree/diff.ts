import { type DiffOptions, type DiffSide, diff, diffStats, formatDiff, formatDiffStats, pullSize, type Repo, readRev } from '@cambium/ostree';
import { formatPullSize } from './size-table.ts';
import { UsageError, type Verb } from './verb.ts';

const flags = {
  stats: { kind: 'flag', help: 'Print various statistics' },
  'fs-diff': { kind: 'flag', help: 'Print filesystem diff' },
  'no-xattrs': { kind: 'flag', help: 'Skip output of extended attributes' },
  'owner-uid': { kind: 'int', value: 'UID', help: 'Use file ownership user id for local files' },
  'owner-gid': { kind: 'int', value: 'GID', help: 'Use file ownership group id for local files' },
  sizes: { kind: 'flag', help: 'Print what a pull from the first commit to the second moves and writes' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Compare directory TARGETDIR against revision REV',
  operands: [
    { name: 'REV_OR_DIR', help: '' },
    { name: 'REV_OR_DIR', help: '' },
  ],
  flags,
  json: '{ modified: [PATH], removed: [PATH], added: [PATH] }, paths without a slash at their front; with --stats { objectsA, objectsB, common, commonBytes }; with --sizes as of cambium size; with several of them, all in one',
  examples: [
    { command: 'cambium ostree diff --repo=./repo apps/shop', explains: 'Compare a commit with its parent' },
    { command: 'cambium ostree diff --repo=./repo apps/shop ./shop', explains: 'Compare a commit with a directory' },
    { command: 'cambium ostree diff --repo=./repo --sizes apps/shop', explains: 'See what the update from the parent moves' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [first, second] = operands;
    if (first === undefined) throw new UsageError('REV must be specified');
    const [before, after] = second === undefined ? [`${first}^`, first] : [first, second];
    const json = {};
    if (values.sizes) {
      const size = await pullSize(repo, repo.refs.resolve(before), repo.refs.resolve(after), context.signal);
      if (context.ui.json) Object.assign(json, size);
      else context.ui.write(formatPullSize(size));
    }
    if (values['fs-diff'] || !(values.stats || values.sizes)) {
      const options: DiffOptions = {
        noXattrs: values['no-xattrs'],
        ...(values['owner-uid'] === undefined ? {} : { ownerUid: values['owner-uid'] }),
        ...(values['owner-gid'] === undefined ? {} : { ownerGid: values['owner-gid'] }),
      };
      const [a, b] = [sideOf(repo, before), sideOf(repo, after)];
      const changes = diff(repo, a, b, options);
      if (context.ui.json) Object.assign(json, changes);
      else context.ui.write(formatDiff(changes, a, b));
    }
    if (values.stats) {
      const stats = diffStats(repo, repo.refs.resolve(before), repo.refs.resolve(after));
      if (context.ui.json) Object.assign(json, stats);
      else context.ui.write(formatDiffStats(stats));
    }
    if (context.ui.json) context.ui.resultJson(json);
    return undefined;
  },
};

/** A bare word is a revision; a directory starts with `/` or `./`. */
function sideOf(repo: Repo, text: string): DiffSide {
  if (text.startsWith('/') || text.startsWith('./')) return { kind: 'directory', path: text };
  return { kind: 'commit', root: readRev(repo, text).commit.root };
}
