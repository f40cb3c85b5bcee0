/** Static deltas of a repository on this machine, for who insists on them. Source: `ostree pull-local --require-static-deltas`, libostree 2022.7. */
import { join } from 'node:path';
import type { Checksum } from '@cambium/base';
import { type ApplyOfflineOptions, applyDeltaOffline } from '../delta/offline.ts';
import { openDelta } from '../delta/open-delta.ts';
import { ostreeError } from '../errors.ts';
import { metadataValue, parseMetadata } from '../format/commit-format.ts';
import { deltaIndexPath, deltaName, deltaPath } from '../format/delta-path.ts';
import { checksumOf, MAX_METADATA_BYTES } from '../format/object-format.ts';
import { parseSummary, SUMMARY_KEYS, type Summary, summaryDeltas, summaryHasDeltaIndexes } from '../format/summary.ts';
import { readBounded } from '../repo/bounded-file.ts';
import type { Repo } from '../repo/repo.ts';
import { readSummaryFile } from '../summary/summary-write.ts';

/**
 * Makes each commit that is not whole here from a delta that the source's summary or indexes name.
 * @throws OSTREE_REMOTE_FILE_MISSING when there is none, OSTREE_OBJECT_CORRUPT, and as {@link applyDeltaOffline}
 */
export async function applyLocalDeltas(
  repo: Repo,
  source: Repo,
  commits: readonly { ref: string | undefined; checksum: Checksum }[],
  options: ApplyOfflineOptions,
  signal?: AbortSignal,
): Promise<void> {
  const bytes = readSummaryFile(source);
  const summary = bytes === undefined ? undefined : parseSummary(bytes);
  if (summary === undefined || !(summaryHasDeltaIndexes(summary) || metadataValue(summary.metadata, SUMMARY_KEYS.deltas, 'a{sv}') !== undefined)) {
    throw missing('Fetch configured to require static deltas, but no summary deltas or delta index found');
  }
  for (const { ref, checksum } of commits) {
    if (isWhole(repo, checksum)) continue;
    const known = knownDeltas(source, summary, checksum);
    const ends = { from: bestStart(repo, known, checksum), to: checksum };
    const sha256 = known.get(deltaName(ends));
    if (sha256 === undefined) throw missing(`Static deltas required, but none found for ${ref ?? '(none)'} to ${checksum}`);
    const delta = openDelta(join(source.path, deltaPath(ends)));
    const { superblock, superblockBytes } = delta;
    const isIt = superblock.to === ends.to && superblock.from === ends.from && checksumOf(superblock.commitBytes) === ends.to;
    if (checksumOf(superblockBytes) !== sha256 || !isIt) throw ostreeError('OSTREE_OBJECT_CORRUPT', `Invalid checksum for static delta ${deltaName(ends)}`);
    await applyDeltaOffline(repo, delta, options, signal);
  }
}

function knownDeltas(source: Repo, summary: Summary, to: Checksum): ReadonlyMap<string, string> {
  if (!summaryHasDeltaIndexes(summary)) return summaryDeltas(summary);
  const path = join(source.path, deltaIndexPath(to));
  try {
    const bytes = readBounded(path, MAX_METADATA_BYTES, () => ostreeError('OSTREE_OBJECT_CORRUPT', `Cannot read the index of static deltas "${path}"`));
    return summaryDeltas({ metadata: parseMetadata(bytes, path) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return new Map();
  }
}

/** The newest commit here from which a delta leads on. */
function bestStart(repo: Repo, known: ReadonlyMap<string, string>, to: Checksum): Checksum | undefined {
  let best: { from: Checksum; timestamp: bigint } | undefined;
  for (const name of known.keys()) {
    const [from, end] = name.split('-') as [Checksum, Checksum | undefined];
    if (end !== to || !isWhole(repo, from)) continue;
    const { timestamp } = repo.readCommit(from);
    if (best === undefined || timestamp > best.timestamp) best = { from, timestamp };
  }
  return best?.from;
}

function isWhole(repo: Repo, commit: Checksum): boolean {
  return repo.hasObject('commit', commit) && !repo.isPartial(commit);
}

function missing(why: string): Error {
  return ostreeError('OSTREE_REMOTE_FILE_MISSING', why);
}
