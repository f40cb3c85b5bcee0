/** Streams through gzip and Zstandard, on Node's thread pool. */
import type { Transform } from 'node:stream';
import { constants, createGunzip, createGzip, createZstdCompress, createZstdDecompress } from 'node:zlib';
import type { Bytes } from '@cambium/base';
import type { Compression } from './detect-compression.ts';
import { archiveError } from './errors.ts';
import { zstdFrames } from './zstd-frames.ts';

/** Output of one decompression: far above any layer, below what fills a volume unnoticed. */
export const MAX_DECOMPRESSED_BYTES: number = 256 * 2 ** 30;
/** gzip cannot do better than 1032 to 1, Zstandard can do 30000 to 1: a bomb of one megabyte would give thirty gigabytes. */
export const MAX_RATIO = 2000;
/** Output below this needs no ratio: zeros of real disk images compress without bound, and a second of work is no attack. */
export const RATIO_FREE_BYTES: number = 1 << 30;

/** Output per turn on the thread pool: each turn costs 50 to 200 µs, which at 16 KiB (the default of Node) is half the time. */
const CHUNK_BYTES = 1024 * 1024;
/** Input per turn. */
const GATHER_BYTES = 512 * 1024;

export interface DecompressOptions {
  /** Most bytes to give out. Default {@link MAX_DECOMPRESSED_BYTES}. */
  limitBytes?: number;
  /** Most bytes given out for each one taken in, once {@link ratioFreeBytes} are out. Default {@link MAX_RATIO}. */
  maxRatio?: number;
  /** Default {@link RATIO_FREE_BYTES}. */
  ratioFreeBytes?: number;
  signal?: AbortSignal;
}

/**
 * Returns what `source` holds. Files of several gzip members or Zstandard frames are read to the end;
 * zero padding after gzip is ignored as by gzip, anything else there is an error.
 * Leaving the loop early frees the decompressor and closes `source`.
 *
 * @throws ARCHIVE_DECOMPRESS_CORRUPT, ARCHIVE_DECOMPRESS_TRUNCATED, ARCHIVE_DECOMPRESS_TOO_LARGE, ARCHIVE_COMPRESSION_UNSUPPORTED
 */
export async function* decompress(source: Bytes, kind: Compression, options: DecompressOptions = {}): Bytes {
  const { limitBytes = MAX_DECOMPRESSED_BYTES, maxRatio = MAX_RATIO, ratioFreeBytes = RATIO_FREE_BYTES, signal } = options;
  const counted = { bytes: 0 };
  let seen = 0;
  for await (const chunk of plain(count(source, counted, signal), kind)) {
    seen += chunk.byteLength;
    if (seen > limitBytes) {
      throw archiveError('ARCHIVE_DECOMPRESS_TOO_LARGE', `Cannot decompress ${kind}: over ${limitBytes} bytes`, { data: { limitBytes } });
    }
    if (kind !== 'none' && seen > ratioFreeBytes && seen > counted.bytes * maxRatio) {
      throw archiveError('ARCHIVE_DECOMPRESS_TOO_LARGE', `Cannot decompress ${kind}: it expands over ${maxRatio} times`, {
        data: { maxRatio, compressedBytes: counted.bytes },
      });
    }
    yield chunk;
  }
}

function plain(source: Bytes, kind: Compression): Bytes {
  switch (kind) {
    case 'none':
      return source;
    case 'gzip':
      return explained(through(createGunzip({ chunkSize: CHUNK_BYTES }), gathered(source)), kind);
    case 'zstd':
      // Node's window limit, 128 MiB, is what `zstd` itself takes without asking.
      return explained(through(createZstdDecompress({ chunkSize: CHUNK_BYTES }), zstdFrames(gathered(source))), kind);
    default:
      throw archiveError('ARCHIVE_COMPRESSION_UNSUPPORTED', `Cannot decompress ${kind}: not supported yet`, {
        hint: `Recompress the file with gzip or zstd`,
        data: { kind },
      });
  }
}

export interface CompressOptions {
  /** gzip: 0…9, default 6. zstd: 1…19, default 3. */
  level?: number;
  signal?: AbortSignal;
}

/** Returns `source` compressed; equal input and level give equal bytes for one version of Node, however the input is cut. */
export function compress(source: Bytes, kind: 'gzip' | 'zstd', options: CompressOptions = {}): Bytes {
  const { level, signal } = options;
  const stream =
    kind === 'gzip'
      ? createGzip({ chunkSize: CHUNK_BYTES, level: level ?? 6 })
      : createZstdCompress({
          chunkSize: CHUNK_BYTES,
          params: { [constants.ZSTD_c_compressionLevel]: level ?? 3, [constants.ZSTD_c_checksumFlag]: 1 },
        });
  return through(stream, gathered(count(source, { bytes: 0 }, signal)));
}

async function* count(source: Bytes, counted: { bytes: number }, signal: AbortSignal | undefined): Bytes {
  signal?.throwIfAborted();
  for await (const chunk of source) {
    signal?.throwIfAborted();
    counted.bytes += chunk.byteLength;
    yield chunk;
  }
}

/** Joins small chunks: what a socket gives in pieces of 16 KiB would halve the speed, see {@link CHUNK_BYTES}. */
async function* gathered(source: Bytes): Bytes {
  let buffer: Uint8Array | undefined;
  let filled = 0;
  for await (const chunk of source) {
    if (filled + chunk.length > GATHER_BYTES) {
      if (buffer !== undefined && filled > 0) yield buffer.subarray(0, filled);
      filled = 0;
    }
    if (chunk.length > GATHER_BYTES / 2) {
      if (buffer !== undefined && filled > 0) yield buffer.subarray(0, filled);
      filled = 0;
      yield chunk;
    } else {
      // One buffer serves all: who asks for the next chunk is done with the last.
      buffer ??= new Uint8Array(GATHER_BYTES);
      buffer.set(chunk, filled);
      filled += chunk.length;
    }
  }
  if (buffer !== undefined && filled > 0) yield buffer.subarray(0, filled);
}

interface ZlibStream extends Transform {
  /** Bytes the engine took. */
  readonly bytesWritten: number;
}

/**
 * Passes `source` through a zlib stream. The next chunk is asked for while the consumer works on what came out,
 * but only when the engine is done with the one before, because that is as long as a chunk is valid.
 */
async function* through(stream: ZlibStream, source: Bytes): Bytes {
  /** The engine takes no more: it met padding. */
  let finished = false;
  let closed = false;
  let wake: (() => void) | undefined;
  stream.once('close', () => {
    closed = true;
    wake?.();
  });
  // The iterator below throws what 'error' says; the listener covers the time before and after it.
  stream.on('error', () => undefined);

  const feed = async (): Promise<void> => {
    for await (const chunk of source) {
      let taken = 0;
      if (!finished) {
        const before = stream.bytesWritten;
        await new Promise<void>((resolve) => {
          wake = resolve;
          stream.write(chunk, () => resolve());
        });
        if (closed) return;
        taken = stream.bytesWritten - before;
        finished = taken < chunk.length;
      }
      // gzip ends at its padding; what is left may only be more of it.
      for (let i = taken; i < chunk.length; i++) {
        if (chunk[i] !== 0) throw archiveError('ARCHIVE_DECOMPRESS_CORRUPT', 'Cannot decompress: data after the padding');
      }
    }
    if (!finished) stream.end();
  };
  let failure: { error: unknown } | undefined;
  const feeding = feed().catch((error: unknown) => {
    failure = { error };
    stream.destroy();
  });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer<ArrayBuffer>>) {
      yield chunk;
      release(chunk);
    }
    await feeding;
  } catch (error) {
    // A source that fails destroys the stream, whose own complaint about that says nothing.
    await settle(stream, feeding);
    throw failure === undefined ? error : failure.error;
  } finally {
    await settle(stream, feeding);
  }
  if (failure !== undefined) throw (failure as { error: unknown }).error;
}

/**
 * Gives an output buffer back once it is used up, which a chunk that reaches its end says. Left to the garbage collector
 * hundreds of them gather: on a container layer that costs 15 % more time, and memory.
 */
function release(chunk: Buffer<ArrayBuffer>): void {
  const { buffer, byteOffset, byteLength } = chunk;
  if (buffer.byteLength === CHUNK_BYTES && byteOffset + byteLength === CHUNK_BYTES) buffer.transfer(0);
}

async function settle(stream: ZlibStream, feeding: Promise<void>): Promise<void> {
  stream.destroy();
  await feeding;
}

/** Turns what zlib says into codes; failures of the source pass. */
async function* explained(output: Bytes, kind: Compression): Bytes {
  try {
    yield* output;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'Z_BUF_ERROR') throw archiveError('ARCHIVE_DECOMPRESS_TRUNCATED', `Cannot decompress ${kind}: the data ends early`, { cause: error });
    if (code === 'Z_MEM_ERROR' || !/^(?:Z_|ZSTD_|ERR_ZSTD|ERR_ZLIB)/.test(code)) throw error;
    throw archiveError('ARCHIVE_DECOMPRESS_CORRUPT', `Cannot decompress ${kind}: ${(error as Error).message}`, { cause: error });
  }
}
