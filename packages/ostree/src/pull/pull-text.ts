/** What `ostree pull` says at its end. Wording: libostree 2022.7. */
import { formatSize } from '../show/rev-text.ts';
import type { PullResult } from './pull-types.ts';

export function formatPullResult(result: PullResult): string {
  const { metadataFetched, contentFetched, metadataImported, contentImported, deltas, transferredBytes, elapsedMs } = result;
  const written = `${formatSize(result.stats?.contentBytesWritten ?? 0)} content written`;
  if (result.local) return `${metadataImported} metadata, ${contentImported} content objects imported; ${written}`;
  const fetched =
    deltas.partsFetched > 0
      ? `${deltas.partsFetched} delta parts, ${metadataFetched + contentFetched} loose fetched`
      : `${metadataFetched} metadata, ${contentFetched} content objects fetched`;
  const imported = metadataImported + contentImported > 0 ? ` (${metadataImported} meta, ${contentImported} content local)` : '';
  const transferred = transferredBytes < 1024 ? `${transferredBytes} B` : `${Math.floor(transferredBytes / 1024)} KiB`;
  return `${fetched}${imported}; ${transferred} transferred in ${Math.floor(elapsedMs / 1000)} seconds; ${written}`;
}

/** What `--dry-run` says. */
export function formatDeltaTotals({ parts, partsFetched, bytes, usizeBytes }: PullResult['deltas']): string {
  return `Delta update: ${partsFetched}/${parts} parts, 0 bytes/${formatSize(bytes)}, ${formatSize(usizeBytes)} total uncompressed`;
}
