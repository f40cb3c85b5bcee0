/** `delta-indexes/`: for each commit the deltas that lead to it, with the sha256 of their superblocks. Source: libostree `ostree_repo_static_delta_reindex`. */
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Checksum, compareUtf8, errnoOf, systemError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { ostreeError } from '../errors.ts';
import { encodeMetadata } from '../format/commit-format.ts';
import { type DeltaEnds, deltaIndexPath, deltaName, listDeltaIndexes, listDeltas } from '../format/delta-path.ts';
import { SUMMARY_KEYS } from '../format/summary.ts';
import { digestFile } from '../repo/bounded-file.ts';
import { writeFileDurably } from '../repo/durable-file.ts';
import type { Repo } from '../repo/repo.ts';

/**
 * Writes the indexes anew and removes those of commits without deltas; says `core.indexed-deltas=true` in the config.
 * @param to this commit's index only
 * @throws OSTREE_REPO_READ_ONLY OSTREE_DELTA_CORRUPT OSTREE_LOCK_TIMEOUT
 */
export async function reindexDeltas(repo: Repo, to?: Checksum, signal?: AbortSignal): Promise<void> {
  if (!repo.writable)
    throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot index static deltas of repository "${repo.path}": permission denied or read-only file system`);
  using _lock = await repo.lock('shared', signal);
  writeDeltaIndexes(repo, superblockDigests(repo, to), signal, to);
}

/** As {@link reindexDeltas}, of digests at hand, for who holds the lock. */
export function writeDeltaIndexes(repo: Repo, digests: readonly DeltaDigest[], signal?: AbortSignal, to?: Checksum): void {
  const sync = repo.settings.fsync;
  const aside = join(repo.path, 'tmp');
  try {
    if (repo.config.boolean('core', 'indexed-deltas') !== true) {
      repo.config.set('core', 'indexed-deltas', 'true');
      writeFileDurably(join(repo.path, 'config'), repo.config.toString(), { sync, aside });
    }
    const found = Map.groupBy(digests, (delta) => delta.to);
    for (const [target, deltas] of found) {
      signal?.throwIfAborted();
      const path = join(repo.path, deltaIndexPath(target));
      mkdirSync(dirname(path), { recursive: true });
      writeFileDurably(path, encodeMetadata([[SUMMARY_KEYS.deltas, encodeDeltaDigests(deltas)]]), { sync, mode: 0o644, aside });
    }
    for (const index of listDeltaIndexes(repo.path)) {
      if (!found.has(index.to) && (to === undefined || index.to === to)) rmSync(index.path, { force: true });
    }
  } catch (error) {
    throw systemError(error, 'Cannot index static deltas') ?? error;
  }
}

/** The sha256 of a static delta's superblock. */
export interface DeltaDigest extends DeltaEnds {
  digest: Uint8Array;
}

/** Returns the digests of all static deltas, or of those to one commit, sorted by name: the same deltas give the same bytes. */
export function superblockDigests(repo: Repo, to?: Checksum): DeltaDigest[] {
  const found: (DeltaDigest & { name: string })[] = [];
  for (const delta of listDeltas(repo.path)) {
    if (to !== undefined && delta.to !== to) continue;
    const digest = superblockDigest(join(delta.path, 'superblock'));
    if (digest !== undefined) found.push({ name: deltaName(delta), from: delta.from, to: delta.to, digest });
  }
  return found.sort((a, b) => compareUtf8(a.name, b.name));
}

/** Returns `a{sv}`: digests by the names of their deltas, as summaries and indexes have them. */
export function encodeDeltaDigests(digests: readonly DeltaDigest[]): Variant {
  return new Variant(
    'a{sv}',
    digests.map((delta) => [deltaName(delta), new Variant('ay', delta.digest)]),
  );
}

/** A delta that is being deleted, or was never finished, has none. */
function superblockDigest(path: string): Uint8Array | undefined {
  try {
    return digestFile(path, () => ostreeError('OSTREE_DELTA_CORRUPT', `Invalid static delta: "${path}" is no regular file`));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
