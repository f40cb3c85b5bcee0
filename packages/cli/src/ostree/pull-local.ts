import { resolve } from 'node:path';
import { isKnownError } from '@cambium/base';
import { formatSize, type PullLocalEvent, type PullLocalOptions, pullLocal, Repo } from '@cambium/ostree';
import type { Values } from '../command.ts';
import { lookUp } from '../environment.ts';
import type { ProgressStatus } from '../progress.ts';
import { verificationKeys } from './signing.ts';
import { featureMissing, OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'commit-metadata-only': { kind: 'flag', help: 'Fetch only the commit metadata' },
  remote: { kind: 'text', value: 'REMOTE', help: 'Add REMOTE to refspec' },
  'disable-fsync': { kind: 'flag', help: 'Do not invoke fsync()' },
  'per-object-fsync': { kind: 'flag', help: 'Perform writes in such a way that avoids stalling concurrent processes' },
  untrusted: { kind: 'flag', help: 'Verify checksums of local sources (always enabled for HTTP pulls)' },
  'bareuseronly-files': { kind: 'flag', help: 'Reject regular files with mode outside of 0775 (world writable, suid, etc.)' },
  'require-static-deltas': { kind: 'flag', help: 'Require static deltas' },
  'gpg-verify': { kind: 'flag', help: 'GPG verify commits (must specify --remote)' },
  'gpg-verify-summary': { kind: 'flag', help: 'GPG verify summary (must specify --remote)' },
  'disable-verify-bindings': { kind: 'flag', help: 'Do not verify commit bindings' },
  depth: { kind: 'int', value: 'DEPTH', help: 'Traverse DEPTH parents (-1=infinite) (default: 0)' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Copy data from SRC_REPO',
  operands: [
    { name: 'SRC_REPO', help: '', completes: 'directory' },
    { name: 'REFS', help: '', optional: true, many: true },
  ],
  flags,
  examples: [{ command: 'cambium ostree pull-local --repo=./copy ./repo apps/shop', explains: 'Copy a commit and its files to another repository' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [source, ...refs] = operands;
    if (source === undefined) throw new UsageError('DESTINATION must be specified');
    if (values['require-static-deltas']) throw featureMissing('--require-static-deltas');
    if (values['gpg-verify-summary']) throw featureMissing('--gpg-verify-summary');
    if (values['gpg-verify'] && values.remote === undefined) throw new OstreeFailure('Must specify remote name to enable gpg verification');
    const from = await openSource(source);
    const bootId = lookUp(context.environment, ['OSTREE_BOOTID']);
    const keys = values['gpg-verify'] ? verificationKeys(repo, { homeDirectory: undefined, remote: values.remote }, context.environment) : undefined;
    const result = await pullLocal(
      repo,
      from,
      { ...pullOptions(values, refs), ...(bootId === undefined ? {} : { bootId }), ...(keys === undefined ? {} : { gpgVerify: keys }) },
      context.signal,
      draw(context),
    );
    context.ui.progress.clear();
    const { metadataWritten, contentWritten, contentBytesWritten } = result.stats;
    context.ui.result(`${metadataWritten} metadata, ${contentWritten} content objects imported; ${formatSize(contentBytesWritten)} content written`);
    return undefined;
  },
};

async function openSource(path: string): Promise<Repo> {
  try {
    return await Repo.open(path);
  } catch (error) {
    if (!isKnownError(error, 'OSTREE_REPO_NOT_FOUND')) throw error;
    throw new OstreeFailure(`opening repo: opendir(${resolve(path)}): No such file or directory`, { cause: error });
  }
}

function pullOptions(values: Values<typeof flags>, refs: readonly string[]): PullLocalOptions {
  return {
    commitMetadataOnly: values['commit-metadata-only'],
    untrusted: values.untrusted,
    bareUserOnlyFiles: values['bareuseronly-files'],
    disableVerifyBindings: values['disable-verify-bindings'],
    ...(values['disable-fsync'] ? { fsync: false } : {}),
    ...(values['per-object-fsync'] ? { perObjectFsync: true } : {}),
    ...(refs.length === 0 ? {} : { refs }),
    ...(values.remote === undefined ? {} : { remote: values.remote }),
    ...(values.depth === undefined ? {} : { depth: values.depth }),
  };
}

function draw({ ui }: VerbContext): (event: PullLocalEvent) => void {
  return ui.progress.watch<PullLocalEvent>((event): ProgressStatus | undefined =>
    event.type === 'progress' ? { what: 'Copying objects', done: event.objects, unit: 'count' } : undefined,
  );
}
