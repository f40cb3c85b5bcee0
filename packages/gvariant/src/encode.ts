/** Compiles a type into a function that writes its values. Source: GVariant specification, section 2.4 "Serialised form". */
import { gvariantError } from './errors.ts';
import { isObjectPath, isSignature } from './strings.ts';
import { type BasicCode, MAX_DEPTH, type VariantType } from './type.ts';
import { Just, Variant } from './variant.ts';
import { offsetSizeFor, type Writer } from './writer.ts';

export type Write = (out: Writer, value: unknown, depth: number) => void;

/** Returns the writer for a type held in a variant; given by the codec cache, so that repeated types compile once. */
export type WriteLookup = (type: string) => { type: VariantType; write: Write };

export function compileWrite(type: VariantType, lookup: WriteLookup): Write {
  switch (type.kind) {
    case 'basic':
      return writeBasic(type.code);
    case 'variant':
      return writeVariant(lookup);
    case 'maybe':
      return writeMaybe(type, compileWrite(type.item, lookup));
    case 'array':
      return type.item.text === 'y' ? writeBytes : writeArray(type, compileWrite(type.item, lookup));
    default:
      return writeStructure(
        type,
        type.items.map((item) => compileWrite(item, lookup)),
      );
  }
}

function wrong(type: string, value: unknown): Error {
  const what = typeof value === 'object' && value !== null ? (Array.isArray(value) ? `an array of ${value.length}` : value.constructor?.name) : String(value);
  return gvariantError('GVARIANT_VALUE_INVALID', `Cannot encode ${String(what).slice(0, 80)} as GVariant type "${type}"`);
}

function integer(code: BasicCode, value: unknown, low: number, high: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) throw wrong(code, value);
  return value;
}

function long(code: BasicCode, value: unknown, low: bigint, high: bigint): bigint {
  if (typeof value !== 'bigint' || value < low || value > high) throw wrong(code, value);
  return value;
}

function writeBasic(code: BasicCode): Write {
  switch (code) {
    case 'b':
      return (out, value) => {
        if (typeof value !== 'boolean') throw wrong(code, value);
        const at = out.advance(1);
        out.bytes[at] = value ? 1 : 0;
      };
    case 'y':
      return (out, value) => {
        const byte = integer(code, value, 0, 0xff);
        const at = out.advance(1);
        out.bytes[at] = byte;
      };
    case 'n':
      return (out, value) => {
        const at = out.advance(2);
        out.view.setInt16(at, integer(code, value, -0x8000, 0x7fff), true);
      };
    case 'q':
      return (out, value) => {
        const at = out.advance(2);
        out.view.setUint16(at, integer(code, value, 0, 0xffff), true);
      };
    case 'i':
    case 'h':
      return (out, value) => {
        const at = out.advance(4);
        out.view.setInt32(at, integer(code, value, -0x8000_0000, 0x7fff_ffff), true);
      };
    case 'u':
      return (out, value) => {
        const at = out.advance(4);
        out.view.setUint32(at, integer(code, value, 0, 0xffff_ffff), true);
      };
    case 'x':
      return (out, value) => {
        const at = out.advance(8);
        out.view.setBigInt64(at, long(code, value, -0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn), true);
      };
    case 't':
      return (out, value) => {
        const at = out.advance(8);
        out.view.setBigUint64(at, long(code, value, 0n, 0xffff_ffff_ffff_ffffn), true);
      };
    case 'd':
      return (out, value) => {
        if (typeof value !== 'number') throw wrong(code, value);
        const at = out.advance(8);
        out.view.setFloat64(at, value, true);
      };
    case 's':
      return writeText;
    case 'o':
      return (out, value, depth) => {
        if (typeof value !== 'string' || !isObjectPath(value)) throw wrong(code, value);
        writeText(out, value, depth);
      };
    case 'g':
      return (out, value, depth) => {
        if (typeof value !== 'string' || !isSignature(value)) throw wrong(code, value);
        writeText(out, value, depth);
      };
  }
}

/** Up to here a loop in JavaScript beats the call into native code. */
const SHORT_TEXT = 48;

const writeText: Write = (out, value) => {
  if (typeof value !== 'string') throw wrong('s', value);
  const length = value.length;
  const start = out.advance(length + 1);
  const { bytes } = out;
  if (length <= SHORT_TEXT) {
    let i = 0;
    for (; i < length; i++) {
      const unit = value.charCodeAt(i);
      if (unit === 0 || unit > 0x7f) break;
      bytes[start + i] = unit;
    }
    if (i === length) {
      bytes[start + length] = 0;
      return;
    }
  }
  if (!value.isWellFormed() || value.includes('\0')) throw wrong('s', value);
  const size = Buffer.byteLength(value, 'utf8');
  out.at = start;
  out.advance(size + 1);
  Buffer.from(out.bytes.buffer, start, size).write(value, 'utf8');
  out.bytes[start + size] = 0;
};

const writeBytes: Write = (out, value) => {
  if (!(value instanceof Uint8Array)) throw wrong('ay', value);
  const at = out.advance(value.length);
  out.bytes.set(value, at);
};

function writeVariant(lookup: WriteLookup): Write {
  return (out, value, depth) => {
    if (!(value instanceof Variant)) throw wrong('v', value);
    const { type, write } = lookup(value.type);
    if (depth + type.height > MAX_DEPTH) throw gvariantError('GVARIANT_TOO_DEEP', `Cannot encode GVariant: nested deeper than ${MAX_DEPTH} levels`);
    write(out, value.value, depth + 1);
    const { text } = type;
    const at = out.advance(text.length + 1);
    out.bytes[at] = 0;
    for (let i = 0; i < text.length; i++) out.bytes[at + 1 + i] = text.charCodeAt(i);
  };
}

function writeMaybe(type: VariantType & { kind: 'maybe' | 'array' }, write: Write): Write {
  const nested = type.item.kind === 'maybe';
  const fixed = type.item.fixedSize > 0;
  return (out, value, depth) => {
    if (value === undefined) return;
    if (nested && !(value instanceof Just)) throw wrong(type.text, value);
    write(out, nested ? (value as Just).value : value, depth + 1);
    if (fixed) return;
    const at = out.advance(1);
    out.bytes[at] = 0;
  };
}

function writeArray(type: VariantType & { kind: 'maybe' | 'array' }, write: Write): Write {
  const { align } = type.item;
  if (type.item.fixedSize > 0) {
    return (out, value, depth) => {
      if (!Array.isArray(value)) throw wrong(type.text, value);
      for (let i = 0; i < value.length; i++) write(out, value[i], depth + 1);
    };
  }
  return (out, value, depth) => {
    if (!Array.isArray(value)) throw wrong(type.text, value);
    const start = out.at;
    const mark = out.top;
    const count = value.length;
    for (let i = 0; i < count; i++) {
      out.align(align);
      write(out, value[i], depth + 1);
      out.ends[out.top++] = out.at - start;
    }
    const size = offsetSizeFor(out.at - start, count);
    for (let i = mark; i < mark + count; i++) out.offset(out.ends[i] as number, size);
    out.top = mark;
  };
}

function writeStructure(type: VariantType & { kind: 'tuple' | 'entry' }, writes: readonly Write[]): Write {
  const count = writes.length;
  if (count === 0) {
    return (out, value) => {
      if (!Array.isArray(value) || value.length !== 0) throw wrong(type.text, value);
      const at = out.advance(1);
      out.bytes[at] = 0;
    };
  }
  const aligns = type.items.map((item) => item.align);
  const framed = type.items.map((item, i) => item.fixedSize === 0 && i < count - 1);
  const fixedAlign = type.fixedSize > 0 ? type.align : 0;
  return (out, value, depth) => {
    if (!Array.isArray(value) || value.length !== count) throw wrong(type.text, value);
    const start = out.at;
    const mark = out.top;
    for (let i = 0; i < count; i++) {
      const align = aligns[i] as number;
      if (align !== 0) out.align(align);
      (writes[i] as Write)(out, value[i], depth + 1);
      if (framed[i]) out.ends[out.top++] = out.at - start;
    }
    if (fixedAlign !== 0) out.align(fixedAlign);
    if (out.top === mark) return;
    const size = offsetSizeFor(out.at - start, out.top - mark);
    // The offset of the first member stands last.
    for (let i = out.top - 1; i >= mark; i--) out.offset(out.ends[i] as number, size);
    out.top = mark;
  };
}
