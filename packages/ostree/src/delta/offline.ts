/** Applying a static delta from files. */
import { ostreeError } from '../errors.ts';
import { deltaName } from '../format/delta-path.ts';
import type { Repo } from '../repo/repo.ts';
import { Transaction, type TransactionOptions, type TransactionStats } from '../write/transaction.ts';
import { type ApplyDeltaResult, applyDelta } from './apply.ts';
import type { OpenedDelta } from './open-delta.ts';

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
