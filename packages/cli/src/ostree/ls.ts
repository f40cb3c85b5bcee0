import { isKnownError } from '@cambium/base';
import { formatListEntry, list, readRev } from '@cambium/ostree';
import { ostreeMessage } from './messages.ts';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

const flags = {
  dironly: { kind: 'flag', short: 'd', help: 'Do not recurse into directory arguments' },
  recursive: { kind: 'flag', short: 'R', help: 'Print directories recursively' },
  checksum: { kind: 'flag', short: 'C', help: 'Print checksum' },
  xattrs: { kind: 'flag', short: 'X', help: 'Print extended attributes' },
  'nul-filenames-only': { kind: 'flag', help: 'Print only filenames, NUL separated' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'List file paths',
  operands: [
    { name: 'COMMIT', help: '' },
    { name: 'PATH', help: '', optional: true, many: true },
  ],
  flags,
  examples: [{ command: 'cambium ostree ls --repo=./repo -R apps/shop', explains: 'List everything in a commit' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [rev, ...paths] = operands;
    if (rev === undefined) throw new UsageError('An COMMIT argument is required');
    const { commit } = readRev(repo, rev);
    const options = { directoryOnly: values.dironly && !values.recursive, recursive: values.recursive };
    for (const path of paths.length === 0 ? ['/'] : paths) {
      try {
        for (const entry of list(repo, commit.root, path, options)) {
          context.signal.throwIfAborted();
          if (values['nul-filenames-only']) context.ui.write(`${entry.path}\0`);
          else context.ui.result(formatListEntry(entry, { checksums: values.checksum, xattrs: values.xattrs }));
        }
      } catch (error) {
        if (!isKnownError(error, 'OSTREE_PATH_NOT_FOUND') && !isKnownError(error, 'OSTREE_PATH_NOT_DIRECTORY')) throw error;
        throw new OstreeFailure(`Inspecting path '${path}': ${ostreeMessage(error)}`, { cause: error });
      }
    }
    return undefined;
  },
};
