/** Telling what is in a static delta. */
import { partLimit, verifyPartFile } from './apply.ts';
import type { OpenedDelta } from './open-delta.ts';
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
