/** What `ostree prune` prints. */
import { formatSize } from '../show/rev-text.ts';
import type { PruneOptions, PruneResult } from './prune.ts';

/** Returns the lines of `ostree prune`, with line ends. */
export function formatPruneResult(result: PruneResult, options: Pick<PruneOptions, 'dryRun' | 'commitOnly'> = {}): string {
  const total = `Total ${options.commitOnly === true ? '(commit only) ' : ''}objects: ${result.totalObjects}\n`;
  if (result.prunedObjects === 0) return `${total}No unreachable objects\n`;
  const size = formatSize(result.freedBytes);
  if (options.dryRun === true) return `${total}Would delete: ${result.prunedObjects} objects, freeing ${size}\n`;
  return `${total}Deleted ${result.prunedObjects} objects, ${size} freed\n`;
}
