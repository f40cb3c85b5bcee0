/**
 * Parts of static deltas: a byte that names the compression, then `(a(uuu)aa(ayay)ayay)`: modes, xattrs, payload, operations.
 * Framed by hand, because tables are read entry by entry as asked for: what a part claims costs nothing until it is used.
 */
import { decompressXz, decompressXzAside } from '@cambium/archive';
import type { Xattr } from '@cambium/tree';
import { arrayEnds, asBuffer, encodeXattrList, offsetSize, offsetSizeOf, parseXattrList } from '../format/framing.ts';
import { corruptDelta, inDelta } from './problems.ts';

const NONE = 0x00;
/** Names the compression at the start of a part file. */
export const XZ = 0x78;

const MODE_BYTES = 12;

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
  if (file[0] === XZ) return parsePart(inDelta('part', () => decompressXz(file.subarray(1), limitBytes)));
  return parsePlainPart(file, limitBytes);
}

/** As {@link parsePartFile}, decompressed in another thread. */
export async function unpackPartFile(file: Uint8Array, limitBytes: number): Promise<DeltaPart> {
  if (file[0] !== XZ) return parsePlainPart(file, limitBytes);
  const outcome = await decompressXzAside(file.subarray(1), limitBytes).then(
    (bytes) => (): Uint8Array => bytes,
    (error: unknown) => (): never => {
      throw error;
    },
  );
  return parsePart(inDelta('part', outcome));
}

function parsePlainPart(file: Uint8Array, limitBytes: number): DeltaPart {
  const data = file.subarray(1);
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
  if (modesEnd > xattrsEnd || xattrsEnd > payloadEnd || payloadEnd > limit || modesEnd % MODE_BYTES !== 0) throw corruptDelta('bad framing of a part');
  const ends = inDelta('table of extended attributes', () => arrayEnds(buffer, modesEnd, xattrsEnd, 'table'));
  const lists = new Map<number, readonly Xattr[]>();
  return {
    modeCount: modesEnd / MODE_BYTES,
    xattrCount: ends.length,
    payload: buffer.subarray(xattrsEnd, payloadEnd),
    operations: buffer.subarray(payloadEnd, limit),
    modeAt(index) {
      const at = index * MODE_BYTES;
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
export function encodePart({ modes, xattrs, payload, operations }: PartInit): Uint8Array {
  const tables = encodePartTables(modes, xattrs.map(encodeXattrList));
  const payloadBytes = payload.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return Buffer.concat([tables, ...payload, encodePartEnd(modes.length, tables.byteLength, payloadBytes, operations)]);
}

/** Returns what comes before the payload: the tables. @param xattrs each an encoded `a(ayay)` */
export function encodePartTables(modes: readonly FileMode[], xattrs: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([encodeModes(modes), encodeXattrTable(xattrs)]);
}

/** Returns what comes after the payload: the operations, and the framing of the whole. @param tableBytes length of all tables */
export function encodePartEnd(modeCount: number, tableBytes: number, payloadBytes: number, operations: Uint8Array): Uint8Array {
  const size = offsetSize(tableBytes + payloadBytes + operations.byteLength, 3);
  const offsets = Buffer.alloc(3 * size);
  for (const [i, end] of [tableBytes + payloadBytes, tableBytes, modeCount * MODE_BYTES].entries()) offsets.writeUIntLE(end, i * size, size);
  return Buffer.concat([operations, offsets]);
}

function encodeModes(modes: readonly FileMode[]): Buffer {
  const bytes = Buffer.alloc(modes.length * MODE_BYTES);
  for (const [i, { uid, gid, mode }] of modes.entries()) {
    bytes.writeUInt32BE(uid, i * MODE_BYTES);
    bytes.writeUInt32BE(gid, i * MODE_BYTES + 4);
    bytes.writeUInt32BE(mode, i * MODE_BYTES + 8);
  }
  return bytes;
}

function encodeXattrTable(items: readonly Uint8Array[]): Buffer {
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
