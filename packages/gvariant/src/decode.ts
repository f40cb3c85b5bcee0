/**
 * Compiles a type into a function that reads its values, in normal form only: what is accepted encodes to the same bytes.
 * Memory is bounded by the bytes at hand, never by what they claim. Source: GVariant specification, section 2.4.
 */
import { decodeUtf8 } from '@cambium/base';
import { gvariantError } from './errors.ts';
import { isObjectPath, isSignature } from './strings.ts';
import { type BasicCode, MAX_DEPTH, type VariantType } from './type.ts';
import { Just, Variant } from './variant.ts';
import { MAX_BYTES, offsetSizeFor, offsetSizeOf } from './writer.ts';

/** The bytes of one outermost value; positions are relative to its start, which alignment counts from. */
export class Source {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly text: Buffer;
  readonly type: string;

  constructor(bytes: Uint8Array, type: string) {
    this.bytes = bytes;
    this.type = type;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.byteLength > MAX_BYTES) throw gvariantError('GVARIANT_TOO_LARGE', 'Cannot decode GVariant: over 4 GiB');
  }

  /** Returns `at` moved up to the alignment, after checking that the bytes between are zero and inside `limit`. */
  align(at: number, mask: number, limit: number): number {
    const aligned = at + (-at & mask);
    if (aligned > limit) this.fail(at, 'alignment leads past the end');
    for (let i = at; i < aligned; i++) if (this.bytes[i] !== 0) this.fail(i, 'padding is not zero');
    return aligned;
  }

  offset(at: number, size: number): number {
    return size === 1 ? (this.bytes[at] as number) : size === 2 ? this.view.getUint16(at, true) : this.view.getUint32(at, true);
  }

  fail(at: number, why: string): never {
    throw gvariantError('GVARIANT_NOT_NORMAL', `Cannot decode GVariant of type "${this.type.slice(0, 80)}": ${why} (offset ${at})`, { data: { offset: at } });
  }
}

export type Read = (source: Source, start: number, end: number, depth: number) => unknown;

/** Returns the reader for a type string found in a variant. @throws GVARIANT_TYPE_INVALID, GVARIANT_TOO_DEEP */
export type ReadLookup = (type: string) => { type: VariantType; read: Read };

export function compileRead(type: VariantType, lookup: ReadLookup): Read {
  switch (type.kind) {
    case 'basic':
      return readBasic(type.code);
    case 'variant':
      return readVariant(lookup);
    case 'maybe':
      return readMaybe(type, compileRead(type.item, lookup));
    case 'array':
      if (type.item.text === 'y') return readBytes;
      return type.item.fixedSize > 0 ? readFixedArray(type, compileRead(type.item, lookup)) : readArray(type, compileRead(type.item, lookup));
    default: {
      const reads = type.items.map((item) => compileRead(item, lookup));
      if (reads.length === 0) return readUnit;
      return type.fixedSize > 0 ? readFixedStructure(type, reads) : readStructure(type, reads);
    }
  }
}

function sized(size: number, read: (view: DataView, at: number) => unknown): Read {
  return (source, start, end) => {
    if (end - start !== size) source.fail(start, `${size} bytes expected, ${end - start} found`);
    return read(source.view, start);
  };
}

function readBasic(code: BasicCode): Read {
  switch (code) {
    case 'b':
      return (source, start, end) => {
        const byte = source.bytes[start];
        if (end - start !== 1 || byte === undefined || byte > 1) source.fail(start, 'not a boolean');
        return byte === 1;
      };
    case 'y':
      return sized(1, (view, at) => view.getUint8(at));
    case 'n':
      return sized(2, (view, at) => view.getInt16(at, true));
    case 'q':
      return sized(2, (view, at) => view.getUint16(at, true));
    case 'i':
    case 'h':
      return sized(4, (view, at) => view.getInt32(at, true));
    case 'u':
      return sized(4, (view, at) => view.getUint32(at, true));
    case 'x':
      return sized(8, (view, at) => view.getBigInt64(at, true));
    case 't':
      return sized(8, (view, at) => view.getBigUint64(at, true));
    case 'd':
      return sized(8, (view, at) => view.getFloat64(at, true));
    case 's':
      return readText;
    case 'o':
      return (source, start, end) => {
        const text = readText(source, start, end);
        return isObjectPath(text) ? text : source.fail(start, 'not an object path');
      };
    case 'g':
      return (source, start, end) => {
        const text = readText(source, start, end);
        return isSignature(text) ? text : source.fail(start, 'not a signature');
      };
  }
}

function readText(source: Source, start: number, end: number): string {
  const { bytes } = source;
  const last = end - 1;
  if (last < start || bytes[last] !== 0) source.fail(start, 'text has no NUL at its end');
  let high = 0;
  for (let i = start; i < last; i++) {
    const byte = bytes[i] as number;
    if (byte === 0) source.fail(i, 'text has a NUL inside');
    high |= byte;
  }
  if (high < 0x80) return source.text.toString('latin1', start, last);
  return decodeUtf8(bytes.subarray(start, last)) ?? source.fail(start, 'text is not UTF-8');
}

/** Shared, because an object per empty byte string would cost a hundred times the byte that announces it. */
const NO_BYTES: Uint8Array = new Uint8Array(0);

const readBytes: Read = (source, start, end) => (start === end ? NO_BYTES : new Uint8Array(source.bytes.buffer, source.bytes.byteOffset + start, end - start));

const readUnit: Read = (source, start, end) => {
  if (end - start !== 1 || source.bytes[start] !== 0) source.fail(start, 'not a unit tuple');
  return [];
};

function readVariant(lookup: ReadLookup): Read {
  return (source, start, end, depth) => {
    const { bytes } = source;
    let split = end - 1;
    while (split >= start && bytes[split] !== 0) split--;
    if (split < start) source.fail(start, 'variant has no type');
    const { type, read } = lookup(source.text.toString('latin1', split + 1, end));
    if (depth + type.height > MAX_DEPTH) throw gvariantError('GVARIANT_TOO_DEEP', `Cannot decode GVariant: nested deeper than ${MAX_DEPTH} levels`);
    return new Variant(type.text, read(source, start, split, depth + 1));
  };
}

function readMaybe(type: VariantType & { kind: 'maybe' | 'array' }, read: Read): Read {
  const nested = type.item.kind === 'maybe';
  const mark = type.item.fixedSize > 0 ? 0 : 1;
  return (source, start, end, depth) => {
    if (start === end) return undefined;
    if (mark === 1 && source.bytes[end - 1] !== 0) source.fail(end - 1, 'maybe has no zero at its end');
    const value = read(source, start, end - mark, depth + 1);
    return nested ? new Just(value) : value;
  };
}

function readFixedArray(type: VariantType & { kind: 'maybe' | 'array' }, read: Read): Read {
  const size = type.item.fixedSize;
  return (source, start, end, depth) => {
    if ((end - start) % size !== 0) source.fail(start, `array length is not a multiple of ${size}`);
    const values: unknown[] = [];
    for (let at = start; at < end; at += size) values.push(read(source, at, at + size, depth + 1));
    return values;
  };
}

function readArray(type: VariantType & { kind: 'maybe' | 'array' }, read: Read): Read {
  const { align } = type.item;
  return (source, start, end, depth) => {
    const values: unknown[] = [];
    const total = end - start;
    if (total === 0) return values;
    const size = offsetSizeOf(total);
    const body = source.offset(end - size, size);
    const count = (total - body) / size;
    if (body > total - size || !Number.isInteger(count)) source.fail(end - size, 'array offsets do not fit');
    if (offsetSizeFor(body, count) !== size) source.fail(start, 'array offsets are wider than needed');
    const limit = start + body;
    let at = start;
    for (let i = 0; i < count; i++) {
      const from = align === 0 ? at : source.align(at, align, limit);
      at = start + source.offset(limit + i * size, size);
      if (at < from || at > limit) source.fail(limit + i * size, 'array offsets are not in order');
      values.push(read(source, from, at, depth + 1));
    }
    return values;
  };
}

function readFixedStructure(type: VariantType & { kind: 'tuple' | 'entry' }, reads: readonly Read[]): Read {
  const { fixedSize, items } = type;
  const count = reads.length;
  return (source, start, end, depth) => {
    if (end - start !== fixedSize) source.fail(start, `${fixedSize} bytes expected, ${end - start} found`);
    const values: unknown[] = [];
    let at = start;
    for (let i = 0; i < count; i++) {
      const item = items[i] as VariantType;
      const from = source.align(at, item.align, end);
      at = from + item.fixedSize;
      values.push((reads[i] as Read)(source, from, at, depth + 1));
    }
    source.align(at, type.align, end);
    return values;
  };
}

function readStructure(type: VariantType & { kind: 'tuple' | 'entry' }, reads: readonly Read[]): Read {
  const count = reads.length;
  const aligns = type.items.map((item) => item.align);
  const sizes = type.items.map((item) => item.fixedSize);
  const framedCount = type.items.filter((item, i) => item.fixedSize === 0 && i < count - 1).length;
  return (source, start, end, depth) => {
    const total = end - start;
    const size = offsetSizeOf(total);
    const limit = end - size * framedCount;
    if (limit < start || (total === 0 && framedCount > 0)) source.fail(start, 'tuple is shorter than its offsets');
    if (framedCount > 0 && offsetSizeFor(limit - start, framedCount) !== size) source.fail(start, 'tuple offsets are wider than needed');
    const values: unknown[] = [];
    let at = start;
    let tail = end;
    for (let i = 0; i < count; i++) {
      const align = aligns[i] as number;
      const from = align === 0 ? at : source.align(at, align, limit);
      const fixed = sizes[i] as number;
      if (fixed > 0) at = from + fixed;
      else if (i === count - 1) at = limit;
      else {
        tail -= size;
        at = start + source.offset(tail, size);
      }
      if (at < from || at > limit) source.fail(from, 'tuple member leads past the end');
      values.push((reads[i] as Read)(source, from, at, depth + 1));
    }
    if (at !== limit) source.fail(at, 'tuple has bytes after its last member');
    return values;
  };
}
