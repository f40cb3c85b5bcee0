/**
 * One `.xz` stream at a time, in memory: the parts of static deltas.
 *
 * The format says in front of each 2 MiB of output how long it will be, so the size of the whole is known, exactly, before
 * anything is decompressed. Source: The .xz File Format 1.2.1; LZMA2 chunk headers as in XZ Embedded.
 */
import { Cursor, isKnownError } from '@cambium/base';
import { xz } from '@napi-rs/lzma';
import { archiveError } from './errors.ts';
import { XzWriter } from './xz-writer.ts';

/** That of `xz -9`; the decoder takes this much memory before its first byte. */
const MAX_DICTIONARY_BYTES = 64 * 1024 * 1024;
const MAGIC: Buffer = Buffer.from('fd377a585a00', 'hex');
/** By type of check. */
const CHECK_BYTES: readonly number[] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
const LZMA2 = 0x21;

/** Returns `bytes` as an `.xz` stream. */
export async function compressXz(bytes: Uint8Array): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const writer = new XzWriter((part) => parts.push(Buffer.from(part)));
  writer.write(bytes);
  await writer.finish();
  return Buffer.concat(parts);
}

/**
 * Returns what an `.xz` file of one stream holds.
 * @throws ARCHIVE_DECOMPRESS_TOO_LARGE before decompressing, ARCHIVE_DECOMPRESS_CORRUPT
 */
export function decompressXz(bytes: Uint8Array, limitBytes: number): Uint8Array {
  const sizeBytes = measureXz(bytes, limitBytes);
  try {
    return ofSize(xz.decompressSync(bytes), sizeBytes);
  } catch (cause) {
    throw isKnownError(cause) ? cause : corrupt(cause instanceof Error ? cause.message : 'bad data', cause);
  }
}

/** As {@link decompressXz}, in a thread of the system's; the bytes must not change meanwhile. */
export async function decompressXzAside(bytes: Uint8Array, limitBytes: number): Promise<Uint8Array> {
  const sizeBytes = measureXz(bytes, limitBytes);
  try {
    return ofSize(await xz.decompress(bytes), sizeBytes);
  } catch (cause) {
    throw isKnownError(cause) ? cause : corrupt(cause instanceof Error ? cause.message : 'bad data', cause);
  }
}

function ofSize(output: Uint8Array, sizeBytes: number): Uint8Array {
  if (output.byteLength !== sizeBytes) throw corrupt(`${output.byteLength} bytes came, and ${sizeBytes} were announced`);
  return output;
}

function corrupt(why: string, cause?: unknown): Error {
  return archiveError('ARCHIVE_DECOMPRESS_CORRUPT', `Cannot decompress xz: ${why}`, { cause });
}

/** Returns the size of the output, from the headers of all chunks. @throws as {@link decompressXz} */
function measureXz(bytes: Uint8Array, limitBytes: number): number {
  try {
    return measureStream(new Cursor(bytes, 'xz'), limitBytes);
  } catch (error) {
    if (isKnownError(error, 'BYTES_TRUNCATED')) throw corrupt('the data ends early', error);
    throw error;
  }
}

function measureStream(cursor: Cursor, limitBytes: number): number {
  if (!MAGIC.equals(cursor.take(6))) throw corrupt('not in xz format');
  const flags = cursor.take(2);
  const checkBytes = CHECK_BYTES[flags[1] as number];
  if (flags[0] !== 0 || checkBytes === undefined) throw corrupt('unknown stream flags');
  cursor.take(4);
  let sizeBytes = 0;
  for (let headerSize = cursor.u8(); headerSize !== 0; headerSize = cursor.u8()) {
    skipBlockHeader(cursor, (headerSize + 1) * 4 - 1);
    const start = cursor.offset;
    for (let chunk = takeChunk(cursor); chunk > 0; chunk = takeChunk(cursor)) {
      sizeBytes += chunk;
      if (sizeBytes > limitBytes)
        throw archiveError('ARCHIVE_DECOMPRESS_TOO_LARGE', `Cannot decompress xz: over ${limitBytes} bytes`, { data: { limitBytes } });
    }
    cursor.take((-(cursor.offset - start) & 3) + checkBytes);
  }
  skipIndex(cursor);
  if (cursor.remaining !== 0) throw corrupt('data after the end of the stream');
  return sizeBytes;
}

/** Checks that the decoder will want LZMA2 alone, and a dictionary of bounded size. */
function skipBlockHeader(cursor: Cursor, lengthBytes: number): void {
  const header = new Cursor(cursor.take(lengthBytes), 'xz block header');
  const flags = header.u8();
  if ((flags & 0x3f) !== 0) throw corrupt('a filter other than LZMA2');
  if ((flags & 0x40) !== 0) takeInteger(header);
  if ((flags & 0x80) !== 0) takeInteger(header);
  if (takeInteger(header) !== LZMA2 || takeInteger(header) !== 1) throw corrupt('a filter other than LZMA2');
  const dictionary = header.u8();
  if (dictionary > 40 || (2 + (dictionary & 1)) * 2 ** ((dictionary >> 1) + 11) > MAX_DICTIONARY_BYTES) {
    throw archiveError('ARCHIVE_DECOMPRESS_TOO_LARGE', `Cannot decompress xz: a dictionary of over ${MAX_DICTIONARY_BYTES} bytes`);
  }
}

/** Passes one LZMA2 chunk; returns the size of its output, 0 at the end of the block. */
function takeChunk(cursor: Cursor): number {
  const control = cursor.u8();
  if (control === 0) return 0;
  if (control < 0x80) {
    if (control > 2) throw corrupt('unknown kind of chunk');
    const size = cursor.u16be() + 1;
    cursor.take(size);
    return size;
  }
  const size = (control & 0x1f) * 0x10000 + cursor.u16be() + 1;
  const compressed = cursor.u16be() + 1;
  cursor.take(compressed + (control >= 0xc0 ? 1 : 0));
  return size;
}

/** The index, of which the first byte is read, and the footer. */
function skipIndex(cursor: Cursor): void {
  const start = cursor.offset - 1;
  const count = takeInteger(cursor);
  for (let i = 0; i < count; i++) {
    takeInteger(cursor);
    takeInteger(cursor);
  }
  cursor.take((-(cursor.offset - start) & 3) + 4 + 12);
}

function takeInteger(cursor: Cursor): number {
  let value = 0;
  for (let scale = 1, i = 0; i < 9; i++, scale *= 128) {
    const byte = cursor.u8();
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
  }
  throw corrupt('a number that does not end');
}
