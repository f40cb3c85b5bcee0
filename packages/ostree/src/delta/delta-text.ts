/** What `ostree static-delta show` prints. */
import { deltaName } from '../format/delta-path.ts';
import { formatSize } from '../show/rev-text.ts';
import type { DeltaDescription, PartDescription } from './describe.ts';

/** Returns the lines of `ostree static-delta show`, with line ends. */
export function formatDeltaDescription({ superblock, parts }: DeltaDescription): string {
  const { from, to, fallbacks } = superblock;
  const sum = (list: readonly { sizeBytes: number; usizeBytes: number }[]): { size: number; usize: number } => ({
    size: list.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    usize: list.reduce((total, { usizeBytes }) => total + usizeBytes, 0),
  });
  const bytes = (size: number): string => `${size} (${formatSize(size)})`;
  const left = sum(fallbacks);
  const made = sum(parts);
  const lines = [
    `Delta: ${deltaName(superblock)}`,
    `Signed: ${superblock.signatures === undefined ? 'no' : 'yes'}`,
    from === undefined ? 'From <scratch>' : `From: ${from}`,
    `To: ${to}`,
    `Endianness: ${superblock.endianness}${superblock.endiannessDeclared ? '' : ' (heuristic)'}`,
    `Timestamp: ${superblock.timestamp}`,
    `Number of parents: ${superblock.parentCount}`,
    `Number of fallback entries: ${fallbacks.length}`,
    ...fallbacks.map(({ checksum }) => `  ${checksum}`),
    `Total Fallback Size: ${bytes(left.size)}`,
    `Total Fallback Uncompressed Size: ${bytes(left.usize)}`,
    `Number of parts: ${parts.length}`,
    ...parts.flatMap((part, i) => [
      `PartMeta${i}: nobjects=${part.objects} size=${part.sizeBytes} usize=${part.usizeBytes}`,
      `PartPayload${i}: nmodes=${part.modes} nxattrs=${part.xattrs} blobsize=${part.payloadBytes} opsize=${part.operationBytes}`,
      `PartPayloadOps${i}: ${countsText(part.operations)}`,
    ]),
    `Total Part Size: ${bytes(made.size)}`,
    `Total Part Uncompressed Size: ${bytes(made.usize)}`,
    `Total Size: ${bytes(left.size + made.size)}`,
    `Total Uncompressed Size: ${bytes(left.usize + made.usize)}`,
  ];
  return `${lines.join('\n')}\n`;
}

function countsText(counts: PartDescription['operations']): string {
  return (
    `openspliceclose=${counts.splice} open=${counts.open} write=${counts.write} setread=${counts['set-read-source']} ` +
    `unsetread=${counts['unset-read-source']} close=${counts.close} bspatch=${counts.bspatch}`
  );
}
