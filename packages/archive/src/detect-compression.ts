/** What a stream is compressed with, by its first bytes. */

export type Compression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

/** Bytes of a stream's head that {@link detectCompression} wants. */
export const COMPRESSION_HEAD_BYTES = 6;

const MAGICS: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b, 0x08]], // RFC 1952
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]], // RFC 8878 section 3.1.1
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** Returns the compression of data that begins with `head`, of {@link COMPRESSION_HEAD_BYTES} or more; `none` when it is no known one. */
export function detectCompression(head: Uint8Array): Compression {
  for (const [kind, magic] of MAGICS) if (head.length >= magic.length && magic.every((byte, i) => head[i] === byte)) return kind;
  // Zstandard streams may begin with a skippable frame: 0x184D2A5?, little-endian (RFC 8878 section 3.1.2).
  if (head.length >= 4 && ((head[0] as number) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18) return 'zstd';
  return 'none';
}
