/** Splits OpenPGP data into its packets, without looking into them. Source: RFC 4880, section 4.2. */
import { trustError } from './errors.ts';

export const SIGNATURE_TAG = 2;

export interface Packet {
  tag: number;
  /** The packet with its header. */
  bytes: Uint8Array;
}

/**
 * Returns the packets of `bytes`, as views, in order. Partial and indeterminate lengths are refused: no signature has them.
 *
 * @throws TRUST_SIGNATURE_INVALID
 */
export function splitPackets(bytes: Uint8Array): Packet[] {
  const packets: Packet[] = [];
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at] as number;
    if ((first & 0x80) === 0) throw invalid(at, 'not a packet');
    const newFormat = (first & 0x40) !== 0;
    const [headerBytes, bodyBytes] = newFormat ? newLength(bytes, at) : oldLength(bytes, at);
    const end = at + headerBytes + bodyBytes;
    if (end > bytes.length) throw invalid(at, 'packet is longer than the data');
    packets.push({ tag: newFormat ? first & 0x3f : (first >> 2) & 0x0f, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return packets;
}

function newLength(bytes: Uint8Array, at: number): [headerBytes: number, bodyBytes: number] {
  const first = byteAt(bytes, at + 1);
  if (first < 192) return [2, first];
  if (first < 224) return [3, ((first - 192) << 8) + byteAt(bytes, at + 2) + 192];
  if (first < 255) throw invalid(at, 'partial length');
  return [6, numberAt(bytes, at + 2, 4)];
}

function oldLength(bytes: Uint8Array, at: number): [headerBytes: number, bodyBytes: number] {
  const kind = (bytes[at] as number) & 3;
  if (kind === 3) throw invalid(at, 'no length');
  const size = 1 << kind;
  return [1 + size, numberAt(bytes, at + 1, size)];
}

function numberAt(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + byteAt(bytes, at + i);
  return value;
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? raise(at);
}

function raise(at: number): never {
  throw invalid(at, 'data ends inside a packet header');
}

function invalid(at: number, why: string): Error {
  return trustError('TRUST_SIGNATURE_INVALID', `Cannot read OpenPGP signature: ${why} (offset ${at})`, { data: { offset: at } });
}
