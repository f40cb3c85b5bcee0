import { type Checksum, isChecksum } from '@cambium/base';
import { formatDeltaTotals, formatPullResult, formatSignatureReports, type PullEvent, type PullOptions, parseRefspec, pull, Repo } from '@cambium/ostree';
import type { Values } from '../command.ts';
import { lookUp } from '../environment.ts';
import type { ProgressStatus } from '../progress.ts';
import { proxyRule } from '../proxies.ts';
import { ostreeUserAgent } from '../version.ts';
import { remoteTrustOptions } from './remote-network.ts';
import { OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'commit-metadata-only': { kind: 'flag', help: 'Fetch only the commit metadata' },
  'cache-dir': { kind: 'text', value: 'DIR', help: 'Use custom cache dir', completes: 'directory' },
  'disable-fsync': { kind: 'flag', help: 'Do not invoke fsync()' },
  'per-object-fsync': { kind: 'flag', help: 'Perform writes in such a way that avoids stalling concurrent processes' },
  'disable-static-deltas': { kind: 'flag', help: 'Do not use static deltas' },
  'require-static-deltas': { kind: 'flag', help: 'Require static deltas' },
  mirror: { kind: 'flag', help: 'Write refs suitable for a mirror and fetches all refs if none provided' },
  subpath: { kind: 'texts', value: 'PATH', help: 'Only pull the provided subpath(s)' },
  untrusted: { kind: 'flag', help: 'Verify checksums of local sources (always enabled for HTTP pulls)' },
  'http-trusted': { kind: 'flag', help: 'Do not verify checksums of HTTP sources (mostly useful when mirroring)' },
  'bareuseronly-files': { kind: 'flag', help: 'Reject regular files with mode outside of 0775 (world writable, suid, etc.)' },
  'dry-run': { kind: 'flag', help: 'Only print information on what will be downloaded (requires static deltas)' },
  depth: { kind: 'int', value: 'DEPTH', help: 'Traverse DEPTH parents (-1=infinite) (default: 0)' },
  url: { kind: 'text', value: 'URL', help: 'Pull objects from this URL instead of the one from the remote config' },
  'append-user-agent': { kind: 'text', value: 'TEXT', help: 'Append TEXT to user agent', hidden: true },
  'http-header': { kind: 'texts', value: 'NAME=VALUE', help: 'Add NAME=VALUE as HTTP header to all requests' },
  'update-frequency': { kind: 'int', value: 'FREQUENCY', help: 'Sets the update frequency, in milliseconds (0=1000ms) (default: 0)' },
  'network-retries': { kind: 'int', value: 'N', help: 'Specifies how many times each download should be retried upon error (default: 5)' },
  'low-speed-limit-bytes': { kind: 'int', value: 'N', help: 'Give up on a transfer that stays below N bytes per second (default: 1000; 0 for never)' },
  'low-speed-time-seconds': { kind: 'int', value: 'N', help: 'For how long it must stay below that (default: 30)' },
  'max-outstanding-fetcher-requests': { kind: 'int', value: 'N', help: 'How many requests are under way at once (default: 16)' },
  'disable-retry-on-network-errors': { kind: 'flag', help: 'Do not try again what fails in the network' },
  'localcache-repo': { kind: 'texts', short: 'L', value: 'REPO', help: 'Add REPO as local cache source for objects during this pull', completes: 'directory' },
  'timestamp-check': { kind: 'flag', short: 'T', help: 'Require fetched commits to have newer timestamps' },
  'timestamp-check-from-rev': { kind: 'text', value: 'REV', help: 'Require fetched commits to have newer timestamps than given rev' },
  'disable-verify-bindings': { kind: 'flag', help: 'Do not verify commit bindings' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Download data from remote repository',
  operands: [
    { name: 'REMOTE', help: '' },
    { name: 'BRANCH', help: '', optional: true, many: true },
  ],
  flags,
  examples: [{ command: 'cambium ostree pull --repo=./repo origin apps/shop', explains: 'Fetch a ref, with all that is not here yet' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [first, ...branches] = operands;
    if (first === undefined) throw new UsageError('REMOTE must be specified');
    if (values['disable-static-deltas'] && values['require-static-deltas'])
      throw new UsageError('Cannot specify both --disable-static-deltas and --require-static-deltas');
    if ((values.depth ?? 0) < -1) throw new OstreeFailure(`Invalid --depth=${values.depth}: -1 for all parents, 0 or more for so many`);
    if (values['dry-run'] && !values['require-static-deltas']) throw new OstreeFailure('--dry-run requires --require-static-deltas');
    // `REMOTE:BRANCH` is another way to name one branch; as in libostree what follows it does not count.
    const { remote = first, ref } = first.includes(':') ? parseRefspec(first) : {};
    const refs = ref === undefined ? branches : [ref];
    const result = await pull(repo, await pullOptions(context, repo, values, remote, refs), context.signal, follow(context, remote));
    context.ui.progress.clear();
    context.ui.result(values['dry-run'] ? formatDeltaTotals(result.deltas) : formatPullResult(result));
    return undefined;
  },
};

async function pullOptions(context: VerbContext, repo: Repo, values: Values<typeof flags>, remote: string, refs: readonly string[]): Promise<PullOptions> {
  const headers = values['http-header'].map((text): [string, string] => {
    const equals = text.indexOf('=');
    if (equals <= 0) throw new OstreeFailure(`Missing '=' in --http-header`);
    return [text.slice(0, equals), text.slice(equals + 1)];
  });
  const from = values['timestamp-check-from-rev'];
  const bootId = lookUp(context.environment, ['OSTREE_BOOTID']);
  return {
    remote,
    refs,
    headers,
    mirror: values.mirror,
    subpaths: values.subpath,
    depth: values.depth,
    commitMetadataOnly: values['commit-metadata-only'],
    untrusted: values.untrusted,
    httpTrusted: values['http-trusted'],
    bareUserOnlyFiles: values['bareuseronly-files'],
    staticDeltas: values['require-static-deltas'] ? 'required' : values['disable-static-deltas'] ? 'never' : 'use',
    dryRun: values['dry-run'],
    localCaches: await Promise.all(values['localcache-repo'].map((path) => Repo.open(path))),
    timestampCheck: values['timestamp-check'],
    timestampCheckFrom: from === undefined ? undefined : revision(repo, from),
    disableVerifyBindings: values['disable-verify-bindings'],
    cacheDirectory: values['cache-dir'],
    url: values.url,
    networkRetries: values['disable-retry-on-network-errors'] ? 0 : values['network-retries'],
    lowSpeed: lowSpeed(values),
    requests: values['max-outstanding-fetcher-requests'],
    userAgent: ostreeUserAgent(values['append-user-agent']),
    proxy: proxyRule(context.environment),
    trust: remoteTrustOptions(context),
    bootId,
    wantTotals: context.ui.progress.isShown,
    ...(values['disable-fsync'] ? { fsync: false } : {}),
    ...(values['per-object-fsync'] ? { perObjectFsync: true } : {}),
  };
}

function lowSpeed(values: Values<typeof flags>): PullOptions['lowSpeed'] {
  const { 'low-speed-limit-bytes': bytesPerSecond = 1000, 'low-speed-time-seconds': seconds = 30 } = values;
  if (bytesPerSecond < 0 || seconds < 1)
    throw new OstreeFailure('Invalid --low-speed-limit-bytes or --low-speed-time-seconds: a limit of 0 or more over 1 second or more');
  return { bytesPerSecond, seconds };
}

function revision(repo: Repo, rev: string): Checksum {
  return isChecksum(rev) ? rev : repo.refs.resolve(rev);
}

function follow(context: VerbContext, remote: string): (event: PullEvent) => void {
  const draw = context.ui.progress.watch<PullEvent>((event): ProgressStatus | undefined => {
    if (event.type !== 'progress') return undefined;
    const { content: done, expectedBytes, transferredBytes } = event;
    if (expectedBytes !== undefined)
      return { what: 'Receiving objects', done: transferredBytes, total: Math.max(expectedBytes, transferredBytes), unit: 'bytes' };
    return { what: event.metadataDone ? 'Receiving objects' : 'Receiving metadata and objects', done, total: event.contentWanted, unit: 'count' };
  });
  // libostree's own tests look this way whether what is kept was used.
  const failsOnCache = lookUp(context.environment, ['OSTREE_REPO_TEST_ERROR']) === 'invalid-cache';
  return (event) => {
    if (event.type === 'summary-cache-invalid' && failsOnCache)
      throw new OstreeFailure(`Remote ${remote} cached summary invalid and OSTREE_REPO_TEST_ERROR_INVALID_CACHE specified`);
    if (event.type === 'verified') {
      const subject = event.what === 'summary' ? `Summary of ${remote}` : `Commit ${event.checksum}`;
      context.ui.detail(`${subject}:\n${formatSignatureReports(event.signatures).trimEnd()}`);
    }
    draw(event);
  };
}
