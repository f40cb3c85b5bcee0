/**
 * Values with every integer in the other byte order, as `ostree show --raw` prints them: OSTree puts big-endian numbers
 * into little-endian containers, by convention and not by type, so the swap is for the whole value or not at all.
 */
import { Just, parseType, u32Swap, u64Swap, Variant, type VariantType } from '@cambium/gvariant';

/** Returns a copy of `value` in which the integers and doubles at every depth have their bytes reversed, as `g_variant_byteswap` does. */
export function byteswap(value: Variant): Variant {
  return new Variant(value.type, swap(parseType(value.type), value.value));
}

function swap(type: VariantType, value: unknown): unknown {
  switch (type.kind) {
    case 'variant':
      return byteswap(value as Variant);
    case 'maybe':
      if (value === undefined) return undefined;
      return value instanceof Just ? new Just(swap(type.item, value.value)) : swap(type.item, value);
    case 'array':
      return value instanceof Uint8Array ? value : (value as unknown[]).map((item) => swap(type.item, item));
    case 'tuple':
    case 'entry':
      return (value as unknown[]).map((item, i) => swap(type.items[i] as VariantType, item));
    default:
      return swapBasic(type.code, value);
  }
}

function swapBasic(code: string, value: unknown): unknown {
  const bytes = new DataView(new ArrayBuffer(8));
  switch (code) {
    case 'n':
      bytes.setInt16(0, value as number, true);
      return bytes.getInt16(0);
    case 'q':
      bytes.setUint16(0, value as number, true);
      return bytes.getUint16(0);
    case 'i':
    case 'h':
      return u32Swap((value as number) >>> 0) | 0;
    case 'u':
      return u32Swap(value as number);
    case 'x':
      return BigInt.asIntN(64, u64Swap(BigInt.asUintN(64, value as bigint)));
    case 't':
      return u64Swap(value as bigint);
    case 'd':
      bytes.setFloat64(0, value as number, true);
      return bytes.getFloat64(0);
    default:
      return value;
  }
}
