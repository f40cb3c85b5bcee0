/**
 * Making a repository's `summary`. Source: libostree `ostree_repo_regenerate_summary` and `ostree summary --update` behaviour;
 * `docs/formats/ostree-repo.md`.
 */

import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, errnoOf } from '@cambium/base';
import { u64Swap, Variant } from '@cambium/gvariant';
import { ostreeError } from '../errors.ts';
import { encodeMetadata, metadataValue, parseCommit } from '../format/commit-format.ts';
import {
  COMMIT_TIMESTAMP_KEY,
  COMMIT_VERSION_KEY,
  encodeCollectionMap,
  encodeSummary,
  MAX_SUMMARY_BYTES,
  SUMMARY_KEYS,
  type SummaryRef,
} from '../format/summary.ts';
import type { Metadata } from '../format/types.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { listCollectionRefs } from '../repo/collection-refs.ts';
import { syncDirectory, writeFileDurably } from '../repo/durable-file.ts';
import type { Repo } from '../repo/repo.ts';
import { type DeltaDigest, encodeDeltaDigests, superblockDigests, writeDeltaIndexes } from './delta-index.ts';

export const SUMMARY_FILE = 'summary';
export const SUMMARY_SIGNATURE_FILE = 'summary.sig';

export interface RegenerateSummaryOptions {
  /** More keys, as `ostree.summary.expires` (t, big-endian); those that are made here cannot be set. */
  metadata?: Metadata | undefined;
  /** Seconds since 1970; the clock's when left out. */
  lastModified?: bigint | undefined;
  /** Returns the content of `summary.sig` for these bytes; without it the summary is not signed. */
  sign?: ((summary: Uint8Array) => Promise<Metadata>) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Writes `summary` anew from refs and deltas, and `summary.sig` with it: an old one goes. Returns the bytes of the summary.
 *
 * Signing comes before the first file is changed. The delta indexes are written too, as by libostree.
 *
 * @throws OSTREE_OBJECT_MISSING when a ref's commit is not there, OSTREE_REPO_READ_ONLY OSTREE_LOCK_TIMEOUT, what `sign` throws
 */
export async function regenerateSummary(repo: Repo, options: RegenerateSummaryOptions = {}): Promise<Uint8Array> {
  if (!repo.writable) throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot write the summary of "${repo.path}": permission denied or read-only file system`);
  const { signal, lastModified = BigInt(Math.floor(Date.now() / 1000)) } = options;
  using _lock = await repo.lock('shared', signal);
  const deltas = superblockDigests(repo);
  // The summary sends clients to the indexes: they must be there first.
  writeDeltaIndexes(repo, deltas, signal);
  const metadata = summaryMetadata(repo, deltas, options.metadata ?? [], lastModified);
  const bytes = encodeSummary({ refs: summaryRefs(repo, repo.refs.list()), metadata });
  const signature = options.sign === undefined ? undefined : encodeMetadata(await options.sign(bytes));
  signal?.throwIfAborted();
  publish(repo, bytes, signature);
  return bytes;
}

/** Regenerates the summary when the config wants it after each change of refs: `core.auto-update-summary`. @throws as {@link regenerateSummary} */
export async function autoUpdateSummary(repo: Repo, signal?: AbortSignal): Promise<void> {
  const { config } = repo;
  const wanted = config.boolean('core', 'auto-update-summary') ?? config.boolean('core', 'commit-update-summary') ?? false;
  if (wanted) await regenerateSummary(repo, { signal });
}

/** Returns the bytes of the repository's summary, or undefined when it has none. @throws OSTREE_SUMMARY_INVALID when it is no file, or too large */
export function readSummaryFile(repo: Repo, name: typeof SUMMARY_FILE | typeof SUMMARY_SIGNATURE_FILE = SUMMARY_FILE): Uint8Array | undefined {
  try {
    return readBounded(join(repo.path, name), MAX_SUMMARY_BYTES, () =>
      ostreeError('OSTREE_SUMMARY_INVALID', `Cannot read ${name}: no regular file of at most ${MAX_SUMMARY_BYTES} bytes`),
    );
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Local refs only: those of remotes have a colon in their names. */
function summaryRefs(repo: Repo, refs: ReadonlyMap<string, Checksum>): SummaryRef[] {
  return [...refs].filter(([name]) => !name.includes(':')).map(([ref, checksum]) => summaryRef(repo, ref, checksum));
}

function summaryRef(repo: Repo, ref: string, checksum: Checksum): SummaryRef {
  const bytes = repo.readMetadata('commit', checksum);
  const commit = parseCommit(bytes, `commit ${checksum}`);
  const version = metadataValue<string>(commit.metadata, 'version', 's');
  const metadata: Metadata = [
    ...(version === undefined ? [] : [[COMMIT_VERSION_KEY, new Variant('s', version)] as const]),
    [COMMIT_TIMESTAMP_KEY, new Variant('t', u64Swap(BigInt.asUintN(64, commit.timestamp)))],
  ];
  return { ref, commitBytes: BigInt(bytes.byteLength), checksum, metadata };
}

function summaryMetadata(repo: Repo, deltas: readonly DeltaDigest[], additional: Metadata, lastModified: bigint): Metadata {
  const { config, settings } = repo;
  const collections = new Map<string, SummaryRef[]>();
  for (const { collection, ref, checksum } of listCollectionRefs(repo)) {
    if (collection === settings.collectionId) continue;
    const refs = collections.get(collection) ?? [];
    refs.push(summaryRef(repo, ref, checksum));
    collections.set(collection, refs);
  }
  const listed = config.boolean('core', 'no-deltas-in-summary') === true ? [] : deltas;
  const first: [string, Variant][] = [
    [SUMMARY_KEYS.mode, new Variant('s', config.string('core', 'mode')?.trim() ?? 'bare')],
    [SUMMARY_KEYS.lastModified, new Variant('t', u64Swap(lastModified))],
    [SUMMARY_KEYS.tombstones, new Variant('b', settings.tombstoneCommits)],
  ];
  if (collections.size > 0) first.push([SUMMARY_KEYS.collectionMap, encodeCollectionMap(collections)]);
  if (listed.length > 0) first.push([SUMMARY_KEYS.deltas, encodeDeltaDigests(listed)]);
  const last: [string, Variant][] = [[SUMMARY_KEYS.indexedDeltas, new Variant('b', true)]];
  if (settings.collectionId !== undefined) last.push([SUMMARY_KEYS.collectionId, new Variant('s', settings.collectionId)]);
  const made = new Set([...first, ...last].map(([key]) => key));
  // Of a key that is given twice the last counts, as in libostree's hash table.
  const more = [...new Map(additional.filter(([key]) => !made.has(key)))];
  return [...first, ...more, ...last];
}

/** Both files are complete aside before the first has its name; the old signature goes before a summary that it is not for comes. */
function publish(repo: Repo, summary: Uint8Array, signature: Uint8Array | undefined): void {
  const sync = repo.settings.fsync;
  const staged = join(repo.path, 'tmp', `summary-${process.pid}.sig`);
  try {
    if (signature !== undefined) writeFileDurably(staged, signature, { sync, mode: 0o644 });
    else rmSync(join(repo.path, SUMMARY_SIGNATURE_FILE), { force: true });
    writeFileDurably(join(repo.path, SUMMARY_FILE), summary, { sync, mode: 0o644, aside: join(repo.path, 'tmp') });
    if (signature !== undefined) renameSync(staged, join(repo.path, SUMMARY_SIGNATURE_FILE));
    if (sync) syncDirectory(repo.path);
  } finally {
    rmSync(staged, { force: true });
  }
}
