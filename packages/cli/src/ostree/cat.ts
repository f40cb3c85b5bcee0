import { dirname, resolve } from 'node:path/posix';
import type { Checksum } from '@cambium/base';
import { isSymlink, type Repo, readRev, requirePath, type TreeRoot } from '@cambium/ostree';
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
      for await (const chunk of repo.openFile(findFile(repo, commit.root, path), context.signal)) await context.ui.writeAll(chunk);
    }
    return undefined;
  },
};

/** As many as the kernel follows. */
const MAX_LINKS = 40;

/** A symlink stands for its target inside the commit, also an absolute one. */
function findFile(repo: Repo, root: TreeRoot, path: string): Checksum {
  let at = path;
  for (let links = 0; links <= MAX_LINKS; links++) {
    const node = requirePath(repo, root, at);
    if (node.kind === 'directory') throw new OstreeFailure("Can't open directory");
    const { header } = repo.readFileHeader(node.checksum);
    if (!isSymlink(header)) return node.checksum;
    at = resolve('/', dirname(at), header.target);
  }
  throw new OstreeFailure(`Too many levels of symbolic links: ${path}`);
}
