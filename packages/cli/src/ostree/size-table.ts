/** The table of `cambium size` and `cambium ostree diff --sizes`. */
import type { PullSize, TargetMode } from '@cambium/ostree';
import { formatBytes } from '../progress.ts';

const KINDS = { file: 'files', dirtree: 'directories', dirmeta: 'directory metadata', commit: 'commit' } as const;

export function formatPullSize(size: PullSize): string {
  const objects: string[][] = [['', 'objects', 'download', 'unpacked']];
  for (const kind of ['file', 'dirtree', 'dirmeta', 'commit'] as const) {
    const { objects: count, archivedBytes, unpackedBytes } = size.kinds[kind];
    objects.push([KINDS[kind], String(count), bytes(archivedBytes), bytes(unpackedBytes)]);
  }
  const { total } = size;
  objects.push(['total', String(total.objects), bytes(total.archivedBytes), bytes(total.unpackedBytes)]);
  const deltas: string[][] = size.deltas.map(({ from, parts, fallbacks, wireBytes }) => [
    from === undefined ? 'delta from nothing' : 'delta',
    `${parts} parts${fallbacks === 0 ? '' : ` + ${fallbacks} objects`}`,
    bytes(wireBytes),
    '',
  ]);
  const writes: string[][] = [['repository', 'writes', 'on disk', 'peak']];
  for (const [mode, write] of Object.entries(size.writes) as [TargetMode, NonNullable<PullSize['writes'][TargetMode]>][])
    writes.push([mode, bytes(write.bytes), bytes(write.diskBytes), bytes(write.peakBytes)]);
  const from = size.from === undefined ? 'nothing' : size.from.slice(0, 12);
  return `From ${from} to ${size.to.slice(0, 12)}\n\n${table([...objects, ...deltas])}\n${table(writes)}`;
}

function bytes(value: number | undefined): string {
  return value === undefined ? '?' : formatBytes(value);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_cell, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => `${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')}\n`).join('');
}
