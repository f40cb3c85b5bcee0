import { readRev, requirePath } from '@cambium/ostree';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

export const command: Verb = {
  summary: 'Concatenate contents of files',
  operands: [
    { name: 'COMMIT', help: '' },
    { name: 'PATH', help: '', many: true },
  ],
  flags: {},
  examples: [{ command: 'cambium ostree cat --repo=./repo apps/shop /precompose.json', explains: 'Print a file of a commit' }],
  async run(context, { operands }) {
    const repo = await context.openRepo();
    const [rev, ...paths] = operands;
    if (rev === undefined || paths.length === 0) throw new UsageError('A COMMIT and at least one PATH argument are required');
    const { commit } = readRev(repo, rev);
    for (const path of paths) {
      const node = requirePath(repo, commit.root, path);
      if (node.kind === 'directory') throw new OstreeFailure("Can't open directory");
      for await (const chunk of repo.openFile(node.checksum, context.signal)) await context.ui.writeAll(chunk);
    }
    return undefined;
  },
};
