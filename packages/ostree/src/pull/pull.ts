/**
 * Fetching commits from a remote. Semantics and order of requests: libostree 2022.7, `ostree pull`.
 *
 * Commits are verified before they are written, marked partial before they can be seen, and appear after all that they
 * reach. What a killed pull has staged is not fetched again.
 */
import { join } from 'node:path';
import { type Checksum, isKnownError, mapLimit, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { metadataValue, parseCommit, parseMetadata } from '../format/commit-format.ts';
import { KeyFile } from '../format/key-file.ts';
import { MAX_METADATA_BYTES } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import { repoModeOf } from '../format/repo-mode.ts';
import { SUMMARY_KEYS, summaryMode } from '../format/summary.ts';
import type { Commit, Metadata } from '../format/types.ts';
import { verifyBindings } from '../repo/bindings.ts';
import { markPartial, partialReason, writeTombstone } from '../repo/commit-markers.ts';
import { writeFileDurably } from '../repo/durable-file.ts';
import { type RemoteConfig, readRemote } from '../repo/remote-config.ts';
import type { Repo } from '../repo/repo.ts';
import { formatTimestamp } from '../show/rev-text.ts';
import { type RemoteTrust, readRemoteTrust } from '../sign/trust-policy.ts';
import { verifyCommitBytes } from '../sign/verify.ts';
import { Transaction, type TransactionStats } from '../write/transaction.ts';
import { ExpectedBytes } from './expected-bytes.ts';
import { ObjectFetcher } from './object-fetcher.ts';
import { planRefs, type RequestedRef, requestedRefs, type WantedRef } from './plan-refs.ts';
import { DeltaPuller } from './pull-deltas.ts';
import type { PullEvent, PullOptions, PullResult } from './pull-types.ts';
import type { RemoteSource } from './remote-source.ts';
import { openRemote, type RemoteSummary, readRemoteSummary } from './remote-summary.ts';

const MAX_CONFIG_BYTES: number = 1024 * 1024;
/** Of a commit whose size no summary tells: libostree's limit. Larger ones are published with a summary. */
const MAX_UNANNOUNCED_COMMIT_BYTES: number = 10 * 1024 * 1024;
/** Commits looked at once: each is a request or two. */
const COMMITS_AT_ONCE = 8;

/**
 * @throws OSTREE_REMOTE_UNKNOWN OSTREE_REMOTE_UNUSABLE OSTREE_REMOTE_ERROR OSTREE_REMOTE_FILE_MISSING OSTREE_REF_NOT_FOUND OSTREE_REF_INVALID
 *   OSTREE_OBJECT_CORRUPT OSTREE_OBJECT_TOO_LARGE OSTREE_BINDING_MISMATCH OSTREE_SIGNATURE_* OSTREE_SUMMARY_INVALID OSTREE_TIMESTAMP_OLDER
 *   OSTREE_DELTA_* OSTREE_OPTION_INVALID HTTP_*, and what a transaction throws
 */
export async function pull(repo: Repo, options: PullOptions, signal?: AbortSignal, on: (event: PullEvent) => void = () => undefined): Promise<PullResult> {
  const startedMs = performance.now();
  checkOptions(repo, options);
  const remote = readRemote(repo, options.remote);
  if (remote.unconfiguredState !== undefined) throw ostreeError('OSTREE_REMOTE_UNUSABLE', `remote unconfigured-state: ${remote.unconfiguredState}`);
  if (remote.customBackend !== undefined) {
    throw ostreeError('OSTREE_REMOTE_UNUSABLE', `Cannot fetch via libostree - remote '${remote.name}' uses custom backend '${remote.customBackend}'`);
  }
  const trust = readRemoteTrust(repo, remote.name, options.trust);
  const requested = requestedRefs(remote, options);
  const source = await openRemote(repo, remote, options, signal);
  let fetcher: ObjectFetcher | undefined;
  try {
    const about = await readAbout(repo, source, trust, requested, options, signal, on);
    const wanted = await planRefs(requested, remote, source, about.summary?.summary, signal);
    const { fsync, perObjectFsync, bootId, workers } = options;
    await using transaction = await Transaction.begin(repo, { signal, fsync, perObjectFsync, bootId, workers, reliesOnParent: true });
    const before = source.transferredBytes;
    const run = new Pull(source, transaction, remote, trust, about, options, signal, on);
    fetcher = run.fetcher;
    await run.fetchAll(wanted);
    const stats = options.dryRun === true ? undefined : await publish(transaction, wanted, about.summary, requested === undefined, options, remote);
    const { deltas } = run;
    return {
      refs: new Map(wanted.flatMap(({ ref, checksum }) => (ref === undefined ? [] : [[ref, checksum] as const]))),
      commits: run.commits,
      metadataFetched: fetcher.metadataFetched + run.detachedFetched + deltas.requests,
      contentFetched: fetcher.contentFetched,
      metadataImported: fetcher.metadataImported + run.imported,
      contentImported: fetcher.contentImported,
      local: source.repo !== undefined,
      deltas: deltas.totals,
      transferredBytes: source.transferredBytes - before,
      elapsedMs: performance.now() - startedMs,
      stats,
    };
  } catch (error) {
    throw systemError(error, `Cannot pull from "${remote.name}"`) ?? error;
  } finally {
    fetcher?.removeSpool();
    await source.close();
  }
}

function checkOptions(repo: Repo, options: PullOptions): void {
  const wrong = (message: string): Error => ostreeError('OSTREE_OPTION_INVALID', message);
  if (options.staticDeltas === 'required' && repo.mode === 'archive') throw wrong("Can't use static deltas in an archive repo");
  if (options.dryRun === true && options.staticDeltas !== 'required') throw wrong('--dry-run requires --require-static-deltas');
  for (const path of options.subpaths ?? []) if (!path.startsWith('/')) throw wrong(`Cannot pull subpath "${path}": it must begin with /`);
}

/** What the remote says of itself. */
interface About {
  summary: RemoteSummary | undefined;
  tombstones: boolean;
}

async function readAbout(
  repo: Repo,
  source: RemoteSource,
  trust: RemoteTrust,
  requested: readonly RequestedRef[] | undefined,
  options: PullOptions,
  signal: AbortSignal | undefined,
  on: (event: PullEvent) => void,
): Promise<About> {
  const needsSummary =
    requested === undefined ||
    trust.gpg.summary ||
    trust.sign.summary !== undefined ||
    options.staticDeltas === 'required' ||
    requested.some(({ checksum }) => checksum === undefined);
  const reading = source.repo === undefined ? source.get('config', { limitBytes: MAX_CONFIG_BYTES }, signal) : Promise.resolve(undefined);
  reading.catch(() => undefined);
  const reader = { cacheDirectory: options.cacheDirectory, onInvalidCache: (): void => on({ type: 'summary-cache-invalid' }) };
  const summary = needsSummary ? await readRemoteSummary(repo, source, trust, reader, signal) : undefined;
  if (summary !== undefined && summary.signatures.length > 0) on({ type: 'verified', what: 'summary', checksum: undefined, signatures: summary.signatures });
  if (source.repo !== undefined) return { summary, tombstones: source.repo.settings.tombstoneCommits };
  const file = await reading;
  const config = file === undefined || file === 'unchanged' ? undefined : KeyFile.parse(Buffer.from(file.bytes).toString('utf8'), `config of ${source.where}`);
  const modeText = config?.string('core', 'mode')?.trim() ?? (config === undefined ? undefined : 'bare');
  const mode = modeText !== undefined ? repoModeOf(modeText) : summary === undefined ? undefined : summaryMode(summary.summary);
  if (modeText !== undefined && mode !== 'archive') throw ostreeError('OSTREE_REMOTE_UNUSABLE', `Can't pull from archives with mode "${modeText}"`);
  if (modeText === undefined && mode !== undefined && mode !== 'archive')
    throw ostreeError('OSTREE_REMOTE_UNUSABLE', `Can't pull from archives with mode "${mode}"`);
  const tombstones =
    config?.boolean('core', 'tombstone-commits') ??
    (summary === undefined ? false : (metadataValue<boolean>(summary.summary.metadata, SUMMARY_KEYS.tombstones, 'b') ?? false));
  return { summary, tombstones };
}

/** Sets the refs, and with a whole mirror the summary. */
async function publish(
  transaction: Transaction,
  wanted: readonly WantedRef[],
  summary: RemoteSummary | undefined,
  everything: boolean,
  options: PullOptions,
  remote: RemoteConfig,
): Promise<TransactionStats> {
  const { repo } = transaction;
  for (const { ref, collection, checksum } of wanted) {
    if (ref === undefined) continue;
    if (options.mirror !== true) transaction.setRef(`${remote.name}:${ref}`, checksum);
    else {
      // A mirror keeps refs of a collection under its name, whatever the remote is called.
      const at = collection ?? remote.collectionId;
      if (at === undefined || at === repo.settings.collectionId) transaction.setRef(ref, checksum);
      else transaction.setCollectionRef(at, ref, checksum);
    }
  }
  const stats = await transaction.commit();
  if (options.mirror === true && everything && summary !== undefined) {
    const how = { sync: options.fsync ?? repo.settings.fsync, aside: join(repo.path, 'tmp') };
    writeFileDurably(join(repo.path, 'summary'), summary.bytes, how);
    if (summary.signature !== undefined) writeFileDurably(join(repo.path, 'summary.sig'), summary.signature, how);
  }
  return stats;
}

class Pull {
  readonly commits: Checksum[] = [];
  /** Requests for detached metadata. */
  detachedFetched = 0;
  /** Commits taken from a repository on this machine. */
  imported = 0;
  readonly fetcher: ObjectFetcher;
  readonly deltas: DeltaPuller;
  readonly #source: RemoteSource;
  readonly #transaction: Transaction;
  readonly #repo: Repo;
  readonly #remote: RemoteConfig;
  readonly #trust: RemoteTrust;
  readonly #about: About;
  readonly #options: PullOptions;
  readonly #on: (event: PullEvent) => void;
  readonly #seen = new Set<Checksum>();
  readonly #complete = new Set<Checksum>();
  readonly #expected = new ExpectedBytes();

  constructor(
    source: RemoteSource,
    transaction: Transaction,
    remote: RemoteConfig,
    trust: RemoteTrust,
    about: About,
    options: PullOptions,
    signal: AbortSignal | undefined,
    on: (event: PullEvent) => void,
  ) {
    this.#source = source;
    this.#transaction = transaction;
    this.#repo = transaction.repo;
    this.#remote = remote;
    this.#trust = trust;
    this.#about = about;
    this.#options = options;
    this.#on = on;
    const report = (event: PullEvent): void => on(event.type === 'progress' ? { ...event, expectedBytes: this.#expected.bytes } : event);
    this.fetcher = new ObjectFetcher(source, transaction, options, signal, report);
    this.deltas = new DeltaPuller(source, transaction, this.fetcher, about.summary?.summary, options, on);
  }

  async fetchAll(wanted: readonly WantedRef[]): Promise<void> {
    try {
      await mapLimit(wanted, COMMITS_AT_ONCE, (each) => this.#fetchRef(each));
    } catch (error) {
      await this.fetcher.stop(error);
      throw error;
    }
    await this.fetcher.drain();
    for (const checksum of this.#complete) this.#transaction.markComplete(checksum);
  }

  async #fetchRef(wanted: WantedRef): Promise<void> {
    const { ref, checksum } = wanted;
    const current = ref === undefined ? undefined : this.#repo.refs.read(this.#options.mirror === true ? ref : `${this.#remote.name}:${ref}`);
    const base = current === undefined || !this.#isComplete(current) ? undefined : current;
    let commit: Commit | undefined;
    if (
      this.#options.commitMetadataOnly !== true &&
      !this.#isComplete(checksum) &&
      (this.#options.staticDeltas === 'required' || this.#localRepo(checksum) === undefined)
    ) {
      const delta = await this.deltas.find(checksum, base, ref);
      if (delta !== undefined) {
        if (this.#options.dryRun === true) return;
        this.#expected.addDelta(delta, this.#source.transferredBytes);
        commit = await this.#takeCommit(checksum, delta.commitBytes, delta.detached, wanted, current, false);
        await this.deltas.apply(delta);
        await this.#refreshDetached(checksum);
        this.fetcher.wantTree(commit.root);
      }
    }
    if (this.#options.dryRun === true) return;
    commit ??= await this.#fetchCommit(wanted, current);
    await this.#fetchParents(commit);
  }

  async #fetchParents(tip: Commit): Promise<void> {
    const { depth = 0 } = this.#options;
    let next = tip.parent;
    for (let left = depth; left !== 0 && next !== undefined; left--) {
      const checksum: Checksum = next;
      try {
        next = (await this.#fetchCommit({ ref: undefined, collection: undefined, checksum, commitBytes: undefined }, undefined)).parent;
      } catch (error) {
        // Where the remote's own history ends.
        if (!isMissingCommit(error, checksum)) throw error;
        if (this.#about.tombstones) await this.#takeTombstone(checksum);
        return;
      }
    }
  }

  /** Says here too that a commit was deleted on purpose. */
  async #takeTombstone(checksum: Checksum): Promise<void> {
    const path = `objects/${loosePath('tombstone-commit', checksum, 'archive')}`;
    if ((await this.#source.get(path, { limitBytes: MAX_METADATA_BYTES }, this.fetcher.signal)) !== undefined) writeTombstone(this.#repo, checksum);
  }

  /** Fetches one commit with all that it reaches. */
  async #fetchCommit(wanted: WantedRef, current: Checksum | undefined): Promise<Commit> {
    const { checksum, commitBytes } = wanted;
    if (this.#seen.has(checksum) && this.#repo.hasObject('commit', checksum)) {
      const commit = this.#repo.readCommit(checksum);
      this.#check(checksum, commit, wanted, current);
      return commit;
    }
    const local = this.#localRepo(checksum);
    const present = this.#repo.hasObject('commit', checksum);
    const limit = commitBytes === undefined ? MAX_UNANNOUNCED_COMMIT_BYTES : Math.min(MAX_METADATA_BYTES, commitBytes);
    const early = present || local !== undefined ? undefined : this.fetcher.fetchMetadata('commit', checksum, limit);
    early?.catch(() => undefined);
    const detached = await this.#detachedOf(checksum);
    if (!present && local !== undefined) this.imported++;
    const bytes = present
      ? this.#repo.readMetadata('commit', checksum)
      : local !== undefined
        ? local.readMetadata('commit', checksum)
        : await (early as Promise<Uint8Array>);
    return this.#takeCommit(checksum, bytes, detached, wanted, current, true);
  }

  /** Verifies a commit and puts it into the transaction; `scan` asks for its tree too. */
  async #takeCommit(
    checksum: Checksum,
    bytes: Uint8Array,
    detached: Metadata | undefined,
    wanted: WantedRef,
    current: Checksum | undefined,
    scan: boolean,
  ): Promise<Commit> {
    const { signal } = this.fetcher;
    const signatures = await verifyCommitBytes(this.#trust, checksum, bytes, detached ?? this.#repo.readDetachedMetadata(checksum), signal);
    if (signatures.length > 0) this.#on({ type: 'verified', what: 'commit', checksum, signatures });
    const commit = parseCommit(bytes, `commit ${checksum}`);
    this.#check(checksum, commit, wanted, current);
    const present = this.#repo.hasObject('commit', checksum);
    const complete = this.#isComplete(checksum);
    this.#on({ type: 'commit', checksum, ref: wanted.ref, present: complete });
    if (!this.#seen.has(checksum)) this.commits.push(checksum);
    this.#seen.add(checksum);
    if (detached !== undefined) this.#transaction.setDetachedMetadata(checksum, detached);
    if (complete) return commit;
    // Before the commit can be seen: whoever finds it half-fetched must know.
    if (!present) {
      markPartial(this.#repo, checksum);
      this.#transaction.writeMetadata('commit', bytes);
    }
    const { commitMetadataOnly, subpaths } = this.#options;
    if (commitMetadataOnly === true) return commit;
    const isWhole = subpaths === undefined || subpaths.length === 0;
    if (isWhole) this.#complete.add(checksum);
    if (scan && isWhole && this.#options.wantTotals === true) {
      await this.#expected.addCommit(this.#repo, commit, this.#source.transferredBytes, this.fetcher.signal);
    }
    if (scan) this.fetcher.wantTree(commit.root);
    return commit;
  }

  /** @throws OSTREE_BINDING_MISMATCH OSTREE_TIMESTAMP_OLDER */
  #check(checksum: Checksum, commit: Commit, { ref, collection }: WantedRef, current: Checksum | undefined): void {
    const { disableVerifyBindings, timestampCheck, timestampCheckFrom } = this.#options;
    if (disableVerifyBindings !== true) verifyBindings(checksum, commit, { ref, collection: collection ?? this.#remote.collectionId });
    if (ref === undefined) return;
    const than = timestampCheckFrom ?? (timestampCheck === true ? current : undefined);
    if (than === undefined || than === checksum) return;
    const old = this.#repo.readCommit(than);
    if (commit.timestamp >= old.timestamp) return;
    throw ostreeError(
      'OSTREE_TIMESTAMP_OLDER',
      `Upgrade target revision '${checksum}' with timestamp '${formatTimestamp(commit.timestamp)}' is chronologically older than current revision '${than}' with timestamp '${formatTimestamp(old.timestamp)}'; use --allow-downgrade to permit`,
      { data: { checksum, than } },
    );
  }

  /** Whether a commit and all that it reaches is here already. */
  #isComplete(checksum: Checksum): boolean {
    return (
      !this.#complete.has(checksum) &&
      this.#repo.hasObject('commit', checksum) &&
      partialReason(this.#repo, checksum) === undefined &&
      !this.#repo.isPartial(checksum)
    );
  }

  #localRepo(checksum: Checksum): Repo | undefined {
    const all = [...(this.#source.repo === undefined ? [] : [this.#source.repo]), ...(this.#options.localCaches ?? [])];
    return all.find((repo) => repo.hasObject('commit', checksum));
  }

  /** Signatures may have been added since: asked for every time. */
  async #detachedOf(checksum: Checksum): Promise<Metadata | undefined> {
    try {
      return await this.#readDetached(checksum);
    } catch (error) {
      // It is no part of the commit, and nobody asked for what may be in it.
      if (isKnownError(error, 'OSTREE_OBJECT_CORRUPT') && !this.#trust.gpg.commits && this.#trust.sign.commits === undefined) return undefined;
      throw error;
    }
  }

  async #readDetached(checksum: Checksum): Promise<Metadata | undefined> {
    if (this.#source.repo !== undefined) return this.#source.repo.readDetachedMetadata(checksum);
    this.detachedFetched++;
    const file = await this.#source.get(`objects/${loosePath('commitmeta', checksum, 'archive')}`, { limitBytes: MAX_METADATA_BYTES }, this.fetcher.signal);
    return file === undefined || file === 'unchanged' ? undefined : parseMetadata(file.bytes, `detached metadata of ${checksum}`);
  }

  async #refreshDetached(checksum: Checksum): Promise<void> {
    const detached = await this.#detachedOf(checksum);
    if (detached !== undefined) this.#transaction.setDetachedMetadata(checksum, detached);
  }
}

function isMissingCommit(error: unknown, checksum: Checksum): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  const path = (error as { data?: { path?: unknown } }).data?.path;
  const missing = error.code === 'OSTREE_REMOTE_FILE_MISSING' && typeof path === 'string' && path.endsWith(`${checksum.slice(2)}.commit`);
  return missing || (error.code === 'OSTREE_OBJECT_MISSING' && error.message.includes(checksum));
}
