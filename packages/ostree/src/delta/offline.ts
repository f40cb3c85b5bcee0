/** Static deltas on disk: in a repository, in any directory, or a file alone with its parts inside. */
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { deltaName } from '../format/delta-path.ts';
import { readBounded } from '../repo/bounded-file.ts';
import type { Repo } from '../repo/repo.ts';
import { Transaction, type TransactionOptions, type TransactionStats } from '../write/transaction.ts';
import { type ApplyDeltaResult, applyDelta } from './apply.ts';
import { corruptDelta } from './problems.ts';
import { type DeltaSuperblock, parseSuperblock } from './superblock.ts';

/** A superblock, with inline parts, and a part: what a program may be made to hold in memory. */
const MAX_FILE_BYTES = 1024 * 1024 * 1024;

export interface OpenedDelta {
  superblock: DeltaSuperblock;
  /** Of the file, envelope and all. */
  superblockBytes: Uint8Array;
  /** Reads a part file from beside the superblock. @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT */
  readPart(index: number): Uint8Array;
}

/**
 * Opens a static delta.
 * @param path a superblock, or a directory with one of the name `superblock`
 * @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT
 */
export function openDelta(path: string): OpenedDelta {
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isDirectory ? join(path, 'superblock') : path;
  const superblockBytes = readDeltaFile(file);
  return { superblock: parseSuperblock(superblockBytes), superblockBytes, readPart: (index) => readDeltaFile(join(dirname(file), String(index))) };
}

/** @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT */
export function readDeltaFile(path: string): Uint8Array {
  try {
    return readBounded(path, MAX_FILE_BYTES, (why) =>
      corruptDelta(why === 'irregular' ? `"${path}" is no regular file` : `"${path}" is over ${MAX_FILE_BYTES} bytes`),
    );
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno !== 'ENOENT' && errno !== 'ENOTDIR') throw cause;
    throw ostreeError('OSTREE_DELTA_NOT_FOUND', `Cannot read static delta "${path}": no such file or directory`, { cause });
  }
}

export interface ApplyOfflineOptions extends Omit<TransactionOptions, 'signal'> {}

/**
 * Applies a delta from files, in a transaction of its own. A delta that leaves objects out cannot be applied so.
 * @throws OSTREE_DELTA_INCOMPLETE, as {@link openDelta}, {@link applyDelta} and a transaction
 */
export async function applyDeltaOffline(
  repo: Repo,
  delta: OpenedDelta,
  options: ApplyOfflineOptions = {},
  signal?: AbortSignal,
): Promise<ApplyDeltaResult & { stats: TransactionStats }> {
  const { superblock } = delta;
  if (superblock.fallbacks.length > 0) {
    throw ostreeError('OSTREE_DELTA_INCOMPLETE', 'Cannot execute delta offline: contains nonempty http fallback entries', {
      hint: 'Generate it with --min-fallback-size=0',
      data: { delta: deltaName(superblock), fallbacks: superblock.fallbacks.length },
    });
  }
  await using transaction = await Transaction.begin(repo, { reliesOnParent: true, ...options, signal });
  const result = await applyDelta(
    transaction,
    superblock,
    {
      part: async (index) => delta.readPart(index),
      fallback: () => Promise.reject(new TypeError('A delta without fallbacks asked for one')),
    },
    signal,
  );
  return { ...result, stats: await transaction.commit() };
}
