/** Numbers and sums of tar header blocks. Source: POSIX.1-2018 pax "ustar Interchange Format"; GNU tar manual, "Extensions to tar". */

/**
 * Returns the number in a header field: octal digits after optional spaces, ended by a space, a NUL or the field's end,
 * or GNU base-256 (first bit set, two's complement). An empty field is 0. NaN when it is neither, or beyond ±2^53.
 */
export function parseNumber(block: Uint8Array, at: number, length: number): number {
  const end = at + length;
  const first = block[at] as number;
  if (first >= 0x80) return parseBase256(block, at, end);
  let i = at;
  // Leading NULs: some writers leave a field half filled; Go's and libarchive's readers skip them as well.
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  let value = 0;
  for (; i < end; i++) {
    const digit = (block[i] as number) - 0x30;
    if (digit >= 0 && digit <= 7) value = value * 8 + digit;
    else if (digit === -0x10 || digit === -0x30) break;
    else return Number.NaN;
  }
  // 12 octal digits are 36 bits: always exact.
  return value;
}

function parseBase256(block: Uint8Array, at: number, end: number): number {
  const negative = ((block[at] as number) & 0x40) !== 0;
  // Two's complement of 8·length−1 bits: for a negative number, add up the inverted bits and negate.
  const flip = negative ? 0xff : 0;
  let value = ((block[at] as number) ^ flip) & 0x7f;
  for (let i = at + 1; i < end; i++) {
    value = value * 256 + ((block[i] as number) ^ flip);
    if (value > Number.MAX_SAFE_INTEGER) return Number.NaN;
  }
  return negative ? -value - 1 : value;
}

/** Returns the sum of the block's bytes as unsigned values. */
export function sumBytes(block: Uint8Array, at: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let i = at, end = at + 512; i < end; i += 4) {
    a += block[i] as number;
    b += block[i + 1] as number;
    c += block[i + 2] as number;
    d += block[i + 3] as number;
  }
  return a + b + c + d;
}

/**
 * Returns whether the checksum field of a header matches. `sum` is {@link sumBytes} of it.
 * Historic writers added up signed bytes: that sum is as good.
 */
export function checksumMatches(block: Uint8Array, at: number, sum: number): boolean {
  const stored = parseNumber(block, at + 148, 8);
  let field = 0;
  for (let i = at + 148; i < at + 156; i++) field += block[i] as number;
  // The field itself counts as eight spaces.
  if (sum - field + 256 === stored) return true;
  let signed = 256;
  for (let i = at; i < at + 512; i++) {
    if (i < at + 148 || i >= at + 156) signed += ((block[i] as number) << 24) >> 24;
  }
  return signed === stored;
}

/** Returns the decimal number in `bytes[at…end)`: digits only, at most 2^53. NaN otherwise. */
export function parseDecimal(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return Number.NaN;
  let value = 0;
  for (let i = at; i < end; i++) {
    const digit = (bytes[i] as number) - 0x30;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
    if (value > Number.MAX_SAFE_INTEGER) return Number.NaN;
  }
  return value;
}
