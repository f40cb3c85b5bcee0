/**
 * GVariant values as bytes, little-endian.
 *
 * | type | value |
 * |---|---|
 * | `y n q i u h d` | number |
 * | `x t` | bigint |
 * | `b` | boolean |
 * | `s o g` | string |
 * | `v` | {@link Variant} |
 * | `ay` | Uint8Array; decoded ones are views of the input |
 * | other arrays | array; `a{…}` an array of `[key, value]` in stored order |
 * | tuples, dict entries | array |
 * | `mT` | value or undefined; {@link Just} or undefined when T is a maybe too |
 */
import { compileRead, type Read, Source } from './decode.ts';
import { compileWrite, type Write } from './encode.ts';
import { parseType, type VariantType } from './type.ts';
import { Writer } from './writer.ts';

export interface Codec<T = unknown> {
  readonly type: string;
  /** @throws GVARIANT_VALUE_INVALID, GVARIANT_TYPE_INVALID (of a variant inside), GVARIANT_TOO_DEEP, GVARIANT_TOO_LARGE */
  encode(value: T): Uint8Array<ArrayBuffer>;
  /**
   * Decodes normal form only; byte strings in the result are views of `bytes`.
   * @throws GVARIANT_NOT_NORMAL, GVARIANT_TYPE_INVALID (of a variant inside), GVARIANT_TOO_DEEP, GVARIANT_TOO_LARGE
   */
  decode(bytes: Uint8Array): T;
}

interface Compiled {
  type: VariantType;
  read: Read;
  write: Write;
  codec: Codec<unknown>;
}

/** Types are few in practice; hostile data may bring many, which must not stay in memory. */
const MAX_CACHED_TYPES = 512;
const MAX_CACHED_LENGTH = 256;
const cache = new Map<string, Compiled>();

const lookup = (text: string): Compiled => cache.get(text) ?? compile(text);

let idle: Writer | undefined = new Writer();

function compile(text: string): Compiled {
  const type = parseType(text);
  const read = compileRead(type, lookup);
  const write = compileWrite(type, lookup);
  const codec: Codec<unknown> = {
    type: text,
    encode(value) {
      const out = idle ?? new Writer();
      idle = undefined; // a getter in `value` may encode too
      try {
        write(out, value, 1);
        return out.finish();
      } finally {
        out.reset();
        idle = out;
      }
    },
    decode(bytes) {
      return read(new Source(bytes, text), 0, bytes.byteLength, 1);
    },
  };
  const compiled: Compiled = { type, read, write, codec };
  if (text.length <= MAX_CACHED_LENGTH) {
    if (cache.size >= MAX_CACHED_TYPES) cache.clear();
    cache.set(text, compiled);
  }
  return compiled;
}

/**
 * Returns the encoder and decoder of a type; compiled once, so keep it where many values pass.
 *
 * `T` is the caller's word for the shape of the values; see the table above.
 *
 * @throws GVARIANT_TYPE_INVALID, GVARIANT_TOO_DEEP
 * @example
 * const dirtree = codec<[files: [name: string, checksum: Uint8Array][], dirs: [string, Uint8Array, Uint8Array][]]>('(a(say)a(sayay))');
 * dirtree.decode(dirtree.encode([[], []])); // [[], []]
 */
export function codec<T = unknown>(type: string): Codec<T> {
  return lookup(type).codec as unknown as Codec<T>;
}

/** Returns the bytes of `value`. @throws see {@link Codec.encode} */
export function encode(type: string, value: unknown): Uint8Array<ArrayBuffer> {
  return codec(type).encode(value);
}

/** Returns the value in `bytes`. @throws see {@link Codec.decode} */
export function decode(type: string, bytes: Uint8Array): unknown {
  return codec(type).decode(bytes);
}
