/**
 * Parts of static deltas: a byte that names the compression, then `(a(uuu)aa(ayay)ayay)`: modes, xattrs, payload, operations.
 * Framed by hand, because tables are read entry by entry as asked for: what a part claims costs nothing until it is used.
 */
import { compressXz, decompressXz } from '@cambium/archive';
import type { Xattr } from '@cambium/tree';
import { arrayEnds, asBuffer, encodeXattrList, offsetSize, offsetSizeOf, parseXattrList } from '../format/framing.ts';
import { corruptDelta, inDelta } from './problems.ts';

const NONE = 0x00;
const XZ = 0x78;

export interface FileMode {
  uid: number;
  gid: number;
  /** A full st_mode. */
  mode: number;
}

export interface DeltaPart {
  modeCount: number;
  xattrCount: number;
  payload: Uint8Array;
  operations: Uint8Array;
  /** @throws OSTREE_DELTA_CORRUPT for an index outside the table */
  modeAt(index: number): FileMode;
  xattrsAt(index: number): readonly Xattr[];
}

/** Returns the part in a part file. @param limitBytes most that may come out of decompression. @throws OSTREE_DELTA_CORRUPT */
export function parsePartFile(file: Uint8Array, limitBytes: number): DeltaPart {
  const data = file.subarray(1);
  if (file[0] === XZ) return parsePart(inDelta('part', () => decompressXz(data, limitBytes)));
  if (file[0] !== NONE) throw corruptDelta(file.byteLength === 0 ? 'an empty part' : `unknown compression ${file[0]} of a part`);
  if (data.byteLength > limitBytes) throw corruptDelta('a part that is too large');
  return parsePart(data);
}

export function parsePart(bytes: Uint8Array): DeltaPart {
  const buffer = asBuffer(bytes);
  const total = buffer.byteLength;
  const size = offsetSizeOf(total);
  const limit = total - 3 * size;
  if (limit < 0) throw corruptDelta('a part too short for its framing');
  const end = (n: number): number => buffer.readUIntLE(total - n * size, size);
  const [modesEnd, xattrsEnd, payloadEnd] = [end(1), end(2), end(3)];
  if (modesEnd > xattrsEnd || xattrsEnd > payloadEnd || payloadEnd > limit || modesEnd % 12 !== 0) throw corruptDelta('bad framing of a part');
  const ends = inDelta('table of extended attributes', () => arrayEnds(buffer, modesEnd, xattrsEnd, 'table'));
  const lists = new Map<number, readonly Xattr[]>();
  return {
    modeCount: modesEnd / 12,
    xattrCount: ends.length,
    payload: buffer.subarray(xattrsEnd, payloadEnd),
    operations: buffer.subarray(payloadEnd, limit),
    modeAt(index) {
      const at = index * 12;
      if (at >= modesEnd) throw corruptDelta('a mode outside its table');
      return { uid: buffer.readUInt32BE(at), gid: buffer.readUInt32BE(at + 4), mode: buffer.readUInt32BE(at + 8) };
    },
    xattrsAt(index) {
      const known = lists.get(index);
      if (known !== undefined) return known;
      if (index >= ends.length) throw corruptDelta('extended attributes outside their table');
      const from = modesEnd + (index === 0 ? 0 : (ends[index - 1] as number));
      const list = inDelta('extended attributes', () => parseXattrList(buffer.subarray(from, modesEnd + (ends[index] as number))));
      lists.set(index, list);
      return list;
    },
  };
}

export interface PartInit {
  modes: readonly FileMode[];
  xattrs: readonly (readonly Xattr[])[];
  payload: readonly Uint8Array[];
  operations: Uint8Array;
}

/** Returns the bytes of a part, not yet compressed. */
export function encodePart(init: PartInit): Uint8Array {
  const modes = Buffer.alloc(init.modes.length * 12);
  for (const [i, { uid, gid, mode }] of init.modes.entries()) {
    modes.writeUInt32BE(uid, i * 12);
    modes.writeUInt32BE(gid, i * 12 + 4);
    modes.writeUInt32BE(mode, i * 12 + 8);
  }
  const xattrs = encodeXattrTable(init.xattrs);
  const payloadBytes = init.payload.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const xattrsEnd = modes.byteLength + xattrs.byteLength;
  const body = xattrsEnd + payloadBytes + init.operations.byteLength;
  const size = offsetSize(body, 3);
  const offsets = Buffer.alloc(3 * size);
  for (const [i, end] of [xattrsEnd + payloadBytes, xattrsEnd, modes.byteLength].entries()) offsets.writeUIntLE(end, i * size, size);
  return Buffer.concat([modes, xattrs, ...init.payload, init.operations, offsets]);
}

function encodeXattrTable(lists: readonly (readonly Xattr[])[]): Buffer {
  const items = lists.map(encodeXattrList);
  const body = items.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const size = offsetSize(body, items.length);
  const offsets = Buffer.alloc(items.length * size);
  let end = 0;
  for (const [i, item] of items.entries()) {
    end += item.byteLength;
    offsets.writeUIntLE(end, i * size, size);
  }
  return Buffer.concat([...items, offsets]);
}

/** Returns the part file of a part. */
export async function encodePartFile(part: Uint8Array): Promise<Uint8Array> {
  return Buffer.concat([Buffer.from([XZ]), await compressXz(part)]);
}
