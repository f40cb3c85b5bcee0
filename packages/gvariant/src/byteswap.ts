/** Values with all their integers and doubles in the other byte order, as GLib's `g_variant_byteswap`. */
import { encode } from './codec.ts';
import { u32Swap, u64Swap } from './swap.ts';
import { type BasicCode, parseType, type VariantType } from './type.ts';
import { Just, Variant } from './variant.ts';

/**
 * Returns a value of the same type with every number of two, four or eight bytes swapped, also inside variants. This is
 * how `ostree show --raw` shows big-endian objects; it swaps what was little-endian too.
 *
 * @throws GVARIANT_VALUE_INVALID, GVARIANT_TYPE_INVALID, GVARIANT_TOO_DEEP
 */
export function byteswapped(type: string, value: unknown): unknown {
  encode(type, value); // every check of the value in one place, its depth included
  return swap(parseType(type), value);
}

function swap(type: VariantType, value: unknown): unknown {
  switch (type.kind) {
    case 'basic':
      return swapBasic(type.code, value);
    case 'variant': {
      const held = value as Variant;
      return new Variant(held.type, swap(parseType(held.type), held.value));
    }
    case 'maybe':
      if (value === undefined) return undefined;
      return value instanceof Just ? new Just(swap(type.item, value.value)) : swap(type.item, value);
    case 'array':
      return value instanceof Uint8Array ? value : (value as readonly unknown[]).map((item) => swap(type.item, item));
    default:
      return (value as readonly unknown[]).map((item, i) => swap(type.items[i] as VariantType, item));
  }
}

const scratch = new DataView(new ArrayBuffer(8));

function swapBasic(code: BasicCode, value: unknown): unknown {
  switch (code) {
    case 'n':
      scratch.setInt16(0, value as number, true);
      return scratch.getInt16(0, false);
    case 'q':
      scratch.setUint16(0, value as number, true);
      return scratch.getUint16(0, false);
    case 'i':
    case 'h':
      return u32Swap(value as number) | 0;
    case 'u':
      return u32Swap(value as number);
    case 'x':
      return BigInt.asIntN(64, u64Swap(value as bigint));
    case 't':
      return u64Swap(value as bigint);
    case 'd':
      scratch.setFloat64(0, value as number, true);
      return scratch.getFloat64(0, false);
    default:
      return value;
  }
}
