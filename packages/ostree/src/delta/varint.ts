/** LEB128 as in the operations of static deltas: seven bits a byte, the lowest first. Source: libostree `_ostree_read_varuint64`. */
import type { Cursor } from '@cambium/base';
import { corruptDelta } from './problems.ts';

/** Reads one number; what is over 2^53 - 1 points at nothing that could exist. @throws OSTREE_DELTA_CORRUPT BYTES_TRUNCATED */
export function readVarint(cursor: Cursor): number {
  let value = 0;
  for (let i = 0, scale = 1; i < 10; i++, scale *= 128) {
    const byte = cursor.u8();
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      if (!Number.isSafeInteger(value)) break;
      return value;
    }
  }
  throw corruptDelta('a number in its operations is too large');
}

/** Appends one number to `out`. */
export function writeVarint(out: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
}
