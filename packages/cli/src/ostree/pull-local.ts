import { resolve } from 'node:path';
import { isChecksum, isKnownError } from '@cambium/base';
import {
  formatSize,
  type PullLocalEvent,
  type PullLocalOptions,
  parseSummary,
  pullLocal,
  Repo,
  readRemoteTrust,
  readSummaryFile,
  verifySummaryBytes,
} from '@cambium/ostree';
import type { Values } from '../command.ts';
import { lookUp } from '../environment.ts';
import type { ProgressStatus } from '../progress.ts';
import { remoteTrustOptions } from './remote-network.ts';
import { verificationKeys } from './signing.ts';
import { OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'commit-metadata-only': { kind: 'flag', help: 'Fetch only the commit metadata' },
  remote: { kind: 'text', value: 'REMOTE', help: 'Add REMOTE to refspec' },
  'disable-fsync': { kind: 'flag', help: 'Do not invoke fsync()' },
  'per-object-fsync': { kind: 'flag', help: 'Perform writes in such a way that avoids stalling concurrent processes' },
  untrusted: { kind: 'flag', help: 'Verify checksums of local sources (always enabled for HTTP pulls)' },
  'bareuseronly-files': { kind: 'flag', help: 'Reject regular files with mode outside of 0775 (world writable, suid, etc.)' },
  'require-static-deltas': { kind: 'flag', help: 'Require static deltas' },
  'disable-static-deltas': { kind: 'flag', hidden: true, help: 'Do not use static deltas' },
  'gpg-verify': { kind: 'flag', help: 'GPG verify commits (must specify --remote)' },
  'gpg-verify-summary': { kind: 'flag', help: 'GPG verify summary (must specify --remote)' },
  'disable-verify-bindings': { kind: 'flag', help: 'Do not verify commit bindings' },
  depth: { kind: 'int', value: 'DEPTH', help: 'Traverse DEPTH parents (-1=infinite) (default: 0)' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Copy data from SRC_REPO',
  description: [
    'Without --untrusted, content that does not match its checksum is copied as it is: a warning names what had to be rewritten, while files that can be hard-linked are not looked at. With it damaged content ends the copy. Commits and directories are verified in any case.',
  ],
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
    if ((values['gpg-verify'] || values['gpg-verify-summary']) && values.remote === undefined)
      throw new OstreeFailure('Must specify remote name to enable gpg verification');
    if (values['disable-static-deltas'] && values['require-static-deltas'])
      throw new UsageError('Cannot specify both --disable-static-deltas and --require-static-deltas');
    const from = await openSource(source);
    const bootId = lookUp(context.environment, ['OSTREE_BOOTID']);
    const keys = values['gpg-verify'] ? verificationKeys(repo, { homeDirectory: undefined, remote: values.remote }, context.environment) : undefined;
    const result = await pullLocal(
      repo,
      from,
      {
        ...pullOptions(values, values['gpg-verify-summary'] ? await refsOfSummary(context, repo, from, values.remote as string, refs) : refs),
        ...(bootId === undefined ? {} : { bootId }),
        ...(keys === undefined ? {} : { gpgVerify: keys }),
      },
      context.signal,
      follow(context),
    );
    context.ui.progress.clear();
    const { metadataWritten, contentWritten, contentBytesWritten } = result.stats;
    context.ui.result(`${metadataWritten} metadata, ${contentWritten} content objects imported; ${formatSize(contentBytesWritten)} content written`);
    return undefined;
  },
};

/** Returns the refs that were asked for, or all, as a summary that the remote's keys signed has them. */
async function refsOfSummary(context: VerbContext, repo: Repo, source: Repo, remote: string, refs: readonly string[]): Promise<string[]> {
  const trust = readRemoteTrust(repo, remote, remoteTrustOptions(context));
  const bytes = readSummaryFile(source);
  const missing = (what: string): Error =>
    new OstreeFailure(`GPG verification enabled, but no ${what} found (use gpg-verify-summary=false in remote config to disable)`);
  if (bytes === undefined) throw missing('summary');
  const signature = readSummaryFile(source, 'summary.sig');
  if (signature === undefined) throw missing('summary.sig');
  await verifySummaryBytes({ ...trust, gpg: { ...trust.gpg, summary: true } }, bytes, signature, context.signal);
  const signed = new Map(parseSummary(bytes).refs.map((row) => [row.ref, row.checksum]));
  return (refs.length === 0 ? [...signed.keys()] : refs).map((ref) => {
    // A commit that is named by its checksum needs nobody's word.
    if (isChecksum(ref) || ref.includes('@')) return ref;
    const checksum = signed.get(ref);
    if (checksum === undefined) throw new OstreeFailure(`No such branch '${ref}' in repository summary`);
    return `${ref}@${checksum}`;
  });
}

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
    // libostree looks at nothing then; here it is told at least.
    acceptCorrupt: !values.untrusted,
    bareUserOnlyFiles: values['bareuseronly-files'],
    disableVerifyBindings: values['disable-verify-bindings'],
    requireStaticDeltas: values['require-static-deltas'],
    ...(values['disable-fsync'] ? { fsync: false } : {}),
    ...(values['per-object-fsync'] ? { perObjectFsync: true } : {}),
    ...(refs.length === 0 ? {} : { refs }),
    ...(values.remote === undefined ? {} : { remote: values.remote }),
    ...(values.depth === undefined ? {} : { depth: values.depth }),
  };
}

function follow({ ui }: VerbContext): (event: PullLocalEvent) => void {
  const draw = ui.progress.watch<PullLocalEvent>((event): ProgressStatus | undefined =>
    event.type === 'progress' ? { what: 'Copying objects', done: event.objects, unit: 'count' } : undefined,
  );
  return (event) => {
    if (event.type === 'corrupt') ui.warn(`File object ${event.checksum} does not match its checksum, and is copied as it is; with --untrusted it is refused`);
    draw(event);
  };
}
