/**
 * GVariant framing for the few shapes that occur by the million: written by hand because a generic codec is several
 * times slower. Property tests hold both to the same bytes. Source: GVariant specification 1.0, section "Serialisation".
 */
import { compareBytes } from '@cambium/base';
import type { Xattr } from '@cambium/tree';
import { ostreeError } from '../errors.ts';

/** Returns the size of framing offsets for a container of `body` bytes and `count` offsets. */
export function offsetSize(body: number, count: number): 1 | 2 | 4 {
  if (body + count <= 0xff) return 1;
  return body + 2 * count <= 0xffff ? 2 : 4;
}

/** Returns the size of the offsets in a container of `total` bytes. */
export function offsetSizeOf(total: number): 1 | 2 | 4 {
  if (total <= 0xff) return 1;
  return total <= 0xffff ? 2 : 4;
}

export function corrupt(what: string, why: string): Error {
  return ostreeError('OSTREE_OBJECT_CORRUPT', `Cannot parse ${what}: ${why}`);
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Returns the end offsets of the elements of an array of variable-size elements within `bytes[from, to)`, relative to `from`. */
export function arrayEnds(bytes: Buffer, from: number, to: number, what: string): Uint32Array {
  const total = to - from;
  if (total === 0) return new Uint32Array(0);
  const size = offsetSizeOf(total);
  const bodyEnd = bytes.readUIntLE(to - size, size);
  const table = total - bodyEnd;
  if (bodyEnd > total - size || table % size !== 0) throw corrupt(what, 'bad array framing');
  const ends = new Uint32Array(table / size);
  let last = 0;
  for (let i = 0; i < ends.length; i++) {
    const end = bytes.readUIntLE(from + bodyEnd + i * size, size);
    if (end < last || end > bodyEnd) throw corrupt(what, 'array offsets out of order');
    ends[i] = end;
    last = end;
  }
  return ends;
}

/** Returns the xattrs in byte order of their names without those whose value is empty, as libostree imports them. */
export function canonicalXattrs(xattrs: readonly Xattr[]): readonly Xattr[] {
  if (xattrs.length === 0) return xattrs;
  return xattrs.filter(([, value]) => value.byteLength > 0).sort(([a], [b]) => compareBytes(a, b));
}

/** Returns the size of an `a(ayay)`. */
export function xattrListSize(xattrs: readonly Xattr[]): number {
  if (xattrs.length === 0) return 0;
  let body = 0;
  for (const [name, value] of xattrs) body += xattrSize(name, value);
  return body + xattrs.length * offsetSize(body, xattrs.length);
}

function xattrSize(name: Uint8Array, value: Uint8Array): number {
  const body = name.byteLength + 1 + value.byteLength;
  return body + offsetSize(body, 1);
}

/** Writes an `a(ayay)` at `at` in the order given; returns where it ends. */
export function writeXattrList(target: Buffer, at: number, xattrs: readonly Xattr[]): number {
  if (xattrs.length === 0) return at;
  const start = at;
  const ends: number[] = [];
  for (const [name, value] of xattrs) {
    const elementStart = at;
    target.set(name, at);
    at += name.byteLength;
    target[at++] = 0;
    const nameEnd = at - elementStart;
    target.set(value, at);
    at += value.byteLength;
    const size = offsetSize(at - elementStart, 1);
    at = target.writeUIntLE(nameEnd, at, size);
    ends.push(at - start);
  }
  const size = offsetSize(at - start, ends.length);
  for (const end of ends) at = target.writeUIntLE(end, at, size);
  return at;
}

/** Returns the `a(ayay)` in `bytes[from, to)`; names lose their NUL. The caller checks order and normal form. */
export function readXattrList(bytes: Buffer, from: number, to: number, what: string): Xattr[] {
  const ends = arrayEnds(bytes, from, to, what);
  const xattrs: Xattr[] = [];
  let start = from;
  for (const relative of ends) {
    const end = from + relative;
    const size = offsetSizeOf(end - start);
    if (end - start < 2) throw corrupt(what, 'bad extended attribute');
    const nameEnd = start + bytes.readUIntLE(end - size, size);
    if (nameEnd <= start + 1 || nameEnd > end - size || bytes[nameEnd - 1] !== 0) throw corrupt(what, 'bad extended attribute name');
    // Copies: what is kept of an object must not keep its whole buffer alive.
    const name = Uint8Array.prototype.slice.call(bytes, start, nameEnd - 1);
    if (name.includes(0)) throw corrupt(what, 'extended attribute name with a NUL inside');
    xattrs.push([name, Uint8Array.prototype.slice.call(bytes, nameEnd, end - size)]);
    start = end;
  }
  return xattrs;
}

/** Returns whether the names are in order and without duplicates. */
export function xattrsAreSorted(xattrs: readonly Xattr[]): boolean {
  return xattrs.every(([name], i) => i === 0 || compareBytes((xattrs[i - 1] as Xattr)[0], name) < 0);
}

/** Returns the bytes of an `a(ayay)`. */
export function encodeXattrList(xattrs: readonly Xattr[]): Buffer {
  const bytes = Buffer.alloc(xattrListSize(xattrs));
  writeXattrList(bytes, 0, xattrs);
  return bytes;
}

/** Returns the value of an `a(ayay)`, in stored order. @throws OSTREE_OBJECT_CORRUPT also when not in normal form */
export function parseXattrList(bytes: Uint8Array, what = 'extended attributes'): Xattr[] {
  const buffer = asBuffer(bytes);
  const xattrs = readXattrList(buffer, 0, buffer.byteLength, what);
  if (!encodeXattrList(xattrs).equals(buffer)) throw corrupt(what, 'not in normal form');
  return xattrs;
}
