/**
 * Finds where Zstandard frames end. Node's decompressor stops at the first end and ignores the rest of that write,
 * but takes the next frame when a write begins with it; and it does not say when a later frame is cut short.
 * Images in "zstd:chunked" form and files of parallel compressors have many frames.
 * Source: RFC 8878 section 3.1.
 */
import type { Bytes } from '@cambium/base';
import { archiveError } from './errors.ts';

/**
 * Passes `source` through in pieces none of which goes beyond the end of a frame.
 *
 * @throws ARCHIVE_DECOMPRESS_CORRUPT when something else stands between frames, ARCHIVE_DECOMPRESS_TRUNCATED
 */
export async function* zstdFrames(source: Bytes): Bytes {
  const scan = new FrameScanner();
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; ) {
      const end = scan.advance(chunk, at);
      yield end - at === chunk.length ? chunk : chunk.subarray(at, end);
      at = end;
    }
  }
  if (!scan.complete) throw archiveError('ARCHIVE_DECOMPRESS_TRUNCATED', 'Cannot decompress zstd: the data ends inside a frame');
}

type Step = 'magic' | 'skippable' | 'descriptor' | 'block';
const STEP_BYTES: Record<Step, number> = { magic: 4, skippable: 4, descriptor: 1, block: 3 };

class FrameScanner {
  #step: Step = 'magic';
  /** The little-endian number being gathered, and how many bytes of it. */
  #number = 0;
  #gathered = 0;
  /** Bytes to pass before the next step. */
  #skip = 0;
  #endAfterSkip = false;
  #checksum = false;
  #frames = 0;

  /** True between frames, when there was one. */
  get complete(): boolean {
    return this.#frames > 0 && this.#step === 'magic' && this.#gathered === 0 && this.#skip === 0 && !this.#endAfterSkip;
  }

  /** Returns how far the frame at hand goes in `chunk` from `at`. */
  advance(chunk: Uint8Array, at: number): number {
    let i = at;
    while (i < chunk.length) {
      if (this.#skip > 0) {
        const take = Math.min(this.#skip, chunk.length - i);
        this.#skip -= take;
        i += take;
      } else {
        this.#number += (chunk[i++] as number) * 2 ** (8 * this.#gathered);
        if (++this.#gathered < STEP_BYTES[this.#step]) continue;
        const number = this.#number;
        this.#number = 0;
        this.#gathered = 0;
        this.#take(number);
      }
      if (this.#skip === 0 && this.#endAfterSkip) {
        this.#endAfterSkip = false;
        this.#step = 'magic';
        this.#frames++;
        return i;
      }
    }
    return i;
  }

  #take(number: number): void {
    switch (this.#step) {
      case 'magic':
        if (number === 0xfd2fb528) this.#step = 'descriptor';
        else if (Math.floor(number / 16) === 0x184d2a5) this.#step = 'skippable';
        else throw archiveError('ARCHIVE_DECOMPRESS_CORRUPT', 'Cannot decompress zstd: no frame where one should begin');
        return;
      case 'skippable':
        this.#skip = number;
        this.#endAfterSkip = true;
        return;
      case 'descriptor': {
        const sizeFlag = number >> 6;
        const single = (number >> 5) & 1;
        this.#checksum = (number & 4) !== 0;
        this.#skip = 1 - single + ([0, 1, 2, 4][number & 3] as number) + (sizeFlag === 0 ? single : 1 << sizeFlag);
        this.#step = 'block';
        return;
      }
      case 'block': {
        const kind = (number >> 1) & 3;
        if (kind === 3) throw archiveError('ARCHIVE_DECOMPRESS_CORRUPT', 'Cannot decompress zstd: a block of the reserved kind');
        // A run-length block states what it expands to, and has one byte.
        this.#skip = kind === 1 ? 1 : number >> 3;
        if ((number & 1) === 0) return;
        this.#endAfterSkip = true;
        if (this.#checksum) this.#skip += 4;
      }
    }
  }
}
