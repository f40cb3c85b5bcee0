/** Telling what is in a static delta, and looking after those of a repository. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ostreeError } from '../errors.ts';
import { type DeltaEnds, deltaName, deltaPath } from '../format/delta-path.ts';
import type { Repo } from '../repo/repo.ts';
import { formatSize } from '../show/rev-text.ts';
import type { EngineTrust } from '../sign/trust-policy.ts';
import { checkRawSignatures, type SignatureReport } from '../sign/verify.ts';
import { partLimit, verifyPartFile } from './apply.ts';
import { type OpenedDelta, openDelta } from './offline.ts';
import { type DeltaOperation, parseOperations } from './operations.ts';
import { parsePartFile } from './part.ts';
import { type DeltaSuperblock, partObjects } from './superblock.ts';

export interface PartDescription {
  objects: number;
  sizeBytes: number;
  usizeBytes: number;
  modes: number;
  xattrs: number;
  payloadBytes: number;
  operationBytes: number;
  operations: Readonly<Record<DeltaOperation['op'], number>>;
}

export interface DeltaDescription {
  superblock: DeltaSuperblock;
  parts: readonly PartDescription[];
}

/** Returns what `static-delta show` tells: each part is read, verified and gone through. @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT */
export function describeDelta(delta: OpenedDelta): DeltaDescription {
  const { superblock } = delta;
  const parts = superblock.parts.map((header, index): PartDescription => {
    const inline = superblock.inlineParts.get(index);
    const file = inline ?? delta.readPart(index);
    if (inline === undefined) verifyPartFile(file, header, index);
    const part = parsePartFile(file, partLimit(header));
    const operations = { splice: 0, open: 0, write: 0, 'set-read-source': 0, 'unset-read-source': 0, close: 0, bspatch: 0 };
    for (const { op } of parseOperations(part.operations, partObjects(header))) operations[op]++;
    return {
      objects: header.objects.byteLength / 33,
      sizeBytes: header.sizeBytes,
      usizeBytes: header.usizeBytes,
      modes: part.modeCount,
      xattrs: part.xattrCount,
      payloadBytes: part.payload.byteLength,
      operationBytes: part.operations.byteLength,
      operations,
    };
  });
  return { superblock, parts };
}

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

/** Returns whether the repository has a delta. */
export function hasDelta(repo: Repo, ends: DeltaEnds): boolean {
  return existsSync(join(repo.path, deltaPath(ends), 'superblock'));
}

/** Opens a delta of a repository by its ends. @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT */
export function openRepoDelta(repo: Repo, ends: DeltaEnds): OpenedDelta {
  return openDelta(join(repo.path, deltaPath(ends), 'superblock'));
}

/** Removes a delta; its index stays until {@link reindexDeltas}. @throws OSTREE_DELTA_NOT_FOUND OSTREE_REPO_READ_ONLY */
export function deleteDelta(repo: Repo, ends: DeltaEnds): void {
  if (!repo.writable) throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot delete from repository "${repo.path}": permission denied or read-only file system`);
  const directory = join(repo.path, deltaPath(ends));
  // Also without its superblock: as an interrupted deletion leaves it.
  if (!existsSync(directory)) throw ostreeError('OSTREE_DELTA_NOT_FOUND', `Can't find delta ${deltaName(ends)}`);
  // First, so that nobody finds a delta without parts.
  rmSync(join(directory, 'superblock'), { force: true });
  rmSync(directory, { recursive: true, force: true });
}

/** Returns a verdict for each bare-key signature over a superblock; none for one that is not signed. */
export function verifyDelta(superblock: DeltaSuperblock, trust: EngineTrust): SignatureReport[] {
  return checkRawSignatures(trust, superblock.signedBytes, superblock.signatures);
}
