import { closeSync, openSync, realpathSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { type TarWriteItem, writeTar } from '@cambium/archive';
import { type Bytes, systemError } from '@cambium/base';
import { type Commit, type ListEntry, list, type Repo, readRev, requirePath } from '@cambium/ostree';
import { S_IFMT } from '@cambium/tree';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

const flags = {
  'no-xattrs': { kind: 'flag', help: 'Skip output of extended attributes' },
  subpath: { kind: 'text', value: 'PATH', help: 'Checkout sub-directory PATH' },
  prefix: { kind: 'text', value: 'PATH', help: 'Add PATH as prefix to archive pathnames' },
  output: { kind: 'text', short: 'o', value: 'PATH', completes: 'file', help: 'Output to PATH ' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Stream COMMIT to stdout in tar format',
  operands: [{ name: 'COMMIT', help: '' }],
  flags,
  examples: [{ command: 'cambium ostree export --repo=./repo apps/shop | tar -t', explains: 'List a commit as a tar' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [rev] = operands;
    if (rev === undefined) throw new UsageError('A COMMIT argument is required');
    const { commit } = readRev(repo, rev);
    const subpath = values.subpath ?? '/';
    if (requirePath(repo, commit.root, subpath).kind === 'file') throw new OstreeFailure('Not a directory');
    const items = tarItems(repo, commit, { subpath, prefix: values.prefix ?? '', noXattrs: values['no-xattrs'] });
    const tar = writeTar(items, context.signal);
    if (values.output !== undefined) await writeOutput(values.output, tar);
    else for await (const chunk of tar) await context.ui.writeAll(chunk);
    return undefined;
  },
};

/** Writes a file under a name beside its own until it is whole; what is no file, as a pipe or a device, is written to. */
async function writeOutput(path: string, bytes: Bytes): Promise<void> {
  let aside: string | undefined;
  try {
    const there = statSync(path, { throwIfNoEntry: false });
    const final = there === undefined ? path : realpathSync(path);
    // The same name each time: what a killed run has left is written over.
    if (there === undefined || there.isFile()) aside = `${final}.part`;
    const fd = openSync(aside ?? path, 'w', (there?.mode ?? 0o666) & 0o777);
    try {
      for await (const chunk of bytes) for (let at = 0; at < chunk.byteLength; ) at += writeSync(fd, chunk, at);
    } finally {
      closeSync(fd);
    }
    if (aside !== undefined) renameSync(aside, final);
  } catch (error) {
    if (aside !== undefined) rmSync(aside, { force: true });
    throw systemError(error, `Cannot write "${path}"`) ?? error;
  }
}

interface TarOptions {
  subpath: string;
  /** Put before every path as it is; libostree adds no slash. */
  prefix: string;
  noXattrs: boolean;
}

function* tarItems(repo: Repo, commit: Commit, { subpath, prefix, noXattrs }: TarOptions): Generator<TarWriteItem, void, void> {
  const mtime = Number(commit.timestamp);
  let root: string | undefined;
  for (const entry of list(repo, commit.root, subpath, { recursive: true })) {
    root ??= entry.path === '/' ? '/' : `${entry.path}/`;
    yield {
      entry: {
        path: pathOf(entry, prefix, root),
        type: entry.kind,
        mode: entry.mode & ~S_IFMT,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.sizeBytes,
        mtime,
        linkPath: entry.target,
        xattrs: noXattrs ? [] : entry.xattrs,
      },
      ...(entry.checksum !== undefined && entry.kind === 'file' ? { open: repo.fileOpener(entry.checksum) } : {}),
    };
  }
}

function pathOf(entry: ListEntry, prefix: string, root: string): string {
  const inside = entry.path.startsWith(root) ? entry.path.slice(root.length) : '';
  return prefix + inside || './';
}
