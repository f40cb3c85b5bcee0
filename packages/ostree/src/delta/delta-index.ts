/** `delta-indexes/`: for each commit the deltas that lead to it, with the sha256 of their superblocks. Source: libostree `ostree_repo_static_delta_reindex`. */
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Checksum, compareUtf8, isKnownError, systemError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { encodeMetadata } from '../commit-format.ts';
import { listDeltaIndexes, listDeltas } from '../delta-path.ts';
import { writeFileDurably } from '../durable-file.ts';
import { ostreeError } from '../errors.ts';
import { checksumOf } from '../object-format.ts';
import type { Repo } from '../repo.ts';
import { SUMMARY_KEYS } from '../summary.ts';
import { deltaIndexPath, deltaName } from './names.ts';
import { readDeltaFile } from './offline.ts';

/**
 * Writes the indexes anew and removes those of commits without deltas; says `core.indexed-deltas=true` in the config.
 * @param to this commit's index only
 * @throws OSTREE_REPO_READ_ONLY OSTREE_DELTA_CORRUPT OSTREE_LOCK_TIMEOUT
 */
export async function reindexDeltas(repo: Repo, to?: Checksum, signal?: AbortSignal): Promise<void> {
  if (!repo.writable)
    throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot index static deltas of repository "${repo.path}": permission denied or read-only file system`);
  using _lock = await repo.lock('shared', signal);
  const sync = repo.settings.fsync;
  try {
    if (repo.config.boolean('core', 'indexed-deltas') !== true) {
      repo.config.set('core', 'indexed-deltas', 'true');
      writeFileDurably(join(repo.path, 'config'), repo.config.toString(), { sync });
    }
    const found = digestsByTarget(repo, to);
    for (const [target, digests] of found) {
      signal?.throwIfAborted();
      const path = join(repo.path, deltaIndexPath(target));
      mkdirSync(dirname(path), { recursive: true });
      digests.sort(([a], [b]) => compareUtf8(a, b));
      writeFileDurably(path, encodeMetadata([[SUMMARY_KEYS.deltas, new Variant('a{sv}', digests)]]), { sync, mode: 0o644 });
    }
    for (const index of listDeltaIndexes(repo.path)) {
      if (!found.has(index.to) && (to === undefined || index.to === to)) rmSync(index.path, { force: true });
    }
  } catch (error) {
    throw systemError(error, 'Cannot index static deltas') ?? error;
  }
}

function digestsByTarget(repo: Repo, only: Checksum | undefined): Map<Checksum, [string, Variant][]> {
  const found = new Map<Checksum, [string, Variant][]>();
  for (const delta of listDeltas(repo.path)) {
    if (only !== undefined && delta.to !== only) continue;
    const digest = superblockDigest(delta.path);
    if (digest === undefined) continue;
    const list = found.get(delta.to) ?? [];
    list.push([deltaName(delta), new Variant('ay', digest)]);
    found.set(delta.to, list);
  }
  return found;
}

/** A delta that is being deleted, or was never finished, has none. */
function superblockDigest(directory: string): Uint8Array | undefined {
  try {
    return Buffer.from(checksumOf(readDeltaFile(join(directory, 'superblock'))), 'hex');
  } catch (error) {
    if (isKnownError(error, 'OSTREE_DELTA_NOT_FOUND')) return undefined;
    throw error;
  }
}
