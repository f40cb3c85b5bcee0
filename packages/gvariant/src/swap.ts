/** OSTree stores big-endian numbers in GVariants that are little-endian: swapped by hand, before encoding and after decoding. */

/** Returns the unsigned 32-bit number with its bytes in the other order. */
export function u32Swap(value: number): number {
  return (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

const scratch = new DataView(new ArrayBuffer(8));

/** Returns the unsigned 64-bit number with its bytes in the other order. */
export function u64Swap(value: bigint): bigint {
  scratch.setBigUint64(0, value, true);
  return scratch.getBigUint64(0, false);
}
