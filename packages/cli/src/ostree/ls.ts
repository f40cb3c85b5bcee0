import { isKnownError } from '@cambium/base';
import { formatListEntry, type ListEntry, type ListOptions, list, type Repo, readRev, type TreeRoot } from '@cambium/ostree';
import { ENTRY_SHAPE, entryJson, mapped } from './json.ts';
import { ostreeMessage } from './messages.ts';
import { OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

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
  json: `[${ENTRY_SHAPE}]; mode is st_mode in octal digits, xattrs { NAME: VALUE }, base64:… what is no text`,
  examples: [{ command: 'cambium ostree ls --repo=./repo -R apps/shop', explains: 'List everything in a commit' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [rev, ...paths] = operands;
    if (rev === undefined) throw new UsageError('An COMMIT argument is required');
    const { commit } = readRev(repo, rev);
    const options = { directoryOnly: values.dironly && !values.recursive, recursive: values.recursive };
    const entries = entriesOf(context, repo, commit.root, paths.length === 0 ? ['/'] : paths, options);
    if (context.ui.json) context.ui.resultJsonList(mapped(entries, entryJson));
    else if (values['nul-filenames-only']) for (const entry of entries) context.ui.write(`${entry.path}\0`);
    else for (const entry of entries) context.ui.result(formatListEntry(entry, { checksums: values.checksum, xattrs: values.xattrs }));
    return undefined;
  },
};

function* entriesOf({ signal }: VerbContext, repo: Repo, root: TreeRoot, paths: readonly string[], options: ListOptions): Generator<ListEntry> {
  for (const path of paths) {
    try {
      for (const entry of list(repo, root, path, options)) {
        signal.throwIfAborted();
        yield entry;
      }
    } catch (error) {
      if (!isKnownError(error, 'OSTREE_PATH_NOT_FOUND') && !isKnownError(error, 'OSTREE_PATH_NOT_DIRECTORY')) throw error;
      throw new OstreeFailure(`Inspecting path '${path}': ${ostreeMessage(error)}`, { cause: error });
    }
  }
}
