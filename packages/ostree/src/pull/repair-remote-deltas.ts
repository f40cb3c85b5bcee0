/** The static deltas of a remote as a source of repairs, for objects that it does not have singly, or has damaged. Nothing of them is trusted. */
import { type DeltaAtHand, type DeltaOpener, deltaSource } from '../check/repair-delta.ts';
import type { RepairSource } from '../check/repair-source.ts';
import { parseSuperblock } from '../delta/superblock.ts';
import { ostreeError } from '../errors.ts';
import { parseMetadata } from '../format/commit-format.ts';
import { type DeltaEnds, deltaIndexPath, deltaName, deltaPath, parseDeltaName } from '../format/delta-path.ts';
import { MAX_METADATA_BYTES } from '../format/object-format.ts';
import { MAX_SUMMARY_BYTES, parseSummary, summaryDeltas, summaryHasDeltaIndexes } from '../format/summary.ts';
import type { Repo } from '../repo/repo.ts';
import { MAX_PART_FILE_BYTES } from './pull-deltas.ts';
import type { RemoteSource } from './remote-source.ts';

/** @param source is closed by who opened it */
export function remoteDeltaSource(repo: Repo, source: RemoteSource): RepairSource {
  // A superblock is asked for once by each step of a repair, and may be large: the last one is kept.
  let last: { name: string; delta: DeltaAtHand } | undefined;
  const opener =
    (ends: DeltaEnds): DeltaOpener =>
    async (signal) => {
      const name = deltaName(ends);
      if (last?.name !== name) last = { name, delta: await openRemoteDelta(source, ends, signal) };
      return last.delta;
    };
  return deltaSource(repo, `static deltas of ${source.where}`, async (signal) => (await listRemoteDeltas(repo, source, signal)).map(opener));
}

/** Returns the deltas to commits that are, or should be, in the repository: as the summary lists them, else those that are likely to be there. */
async function listRemoteDeltas(repo: Repo, source: RemoteSource, signal: AbortSignal | undefined): Promise<DeltaEnds[]> {
  const tips = new Set(repo.refs.list().values());
  const bytes = await fetch(source, 'summary', MAX_SUMMARY_BYTES, signal);
  const summary = bytes === undefined ? undefined : parseSummary(bytes);
  const named: DeltaEnds[] = [];
  if (summary !== undefined && summaryHasDeltaIndexes(summary)) {
    for (const to of tips) {
      const path = deltaIndexPath(to);
      const index = await fetch(source, path, MAX_METADATA_BYTES, signal);
      if (index !== undefined) for (const name of summaryDeltas({ metadata: parseMetadata(index, path) }).keys()) named.push(parseDeltaName(name));
    }
  } else if (summary !== undefined) for (const name of summaryDeltas(summary).keys()) named.push(parseDeltaName(name));
  if (named.length > 0) return named.filter(({ to }) => tips.has(to) || repo.hasObject('commit', to));
  return [...tips].flatMap((to) => {
    const parent = repo.hasObject('commit', to) ? repo.readCommit(to).parent : undefined;
    return [...(parent === undefined ? [] : [{ from: parent, to }]), { from: undefined, to }];
  });
}

async function openRemoteDelta(source: RemoteSource, ends: DeltaEnds, signal: AbortSignal | undefined): Promise<DeltaAtHand> {
  const directory = deltaPath(ends);
  const bytes = await fetch(source, `${directory}/superblock`, MAX_METADATA_BYTES, signal);
  if (bytes === undefined) throw missing(`${directory}/superblock`);
  const superblock = parseSuperblock(bytes);
  return {
    superblock,
    readPart: async (index, partSignal) => {
      const path = `${directory}/${index}`;
      const sizeBytes = superblock.parts[index]?.sizeBytes ?? 0;
      const part = await fetch(source, path, Math.min(sizeBytes, MAX_PART_FILE_BYTES), partSignal, 'content');
      if (part === undefined) throw missing(path);
      return part;
    },
  };
}

async function fetch(
  source: RemoteSource,
  path: string,
  limitBytes: number,
  signal: AbortSignal | undefined,
  place: 'metadata' | 'content' = 'metadata',
): Promise<Uint8Array | undefined> {
  const file = await source.get(path, { limitBytes, place }, signal);
  return file === undefined || file === 'unchanged' ? undefined : file.bytes;
}

function missing(path: string): Error {
  return ostreeError('OSTREE_DELTA_NOT_FOUND', `Cannot read static delta "${path}": the remote does not have it`, { data: { path } });
}
