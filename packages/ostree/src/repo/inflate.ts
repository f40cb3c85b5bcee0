/**
 * Raw deflate streams, decompressed in this turn into memory of the caller's.
 *
 * `inflateRawSync` makes a stream object, its native state and a buffer for the output, each time: over the 40,000 objects
 * of a system image that is a third of the time, most of it in the garbage collector. Node has no public call that does
 * without. So one stream serves each thread, through the two fields that all versions of Node have; a trial shows whether
 * this one has them too, and the callers have another way where not.
 */
import { constants, createInflateRaw, deflateRawSync, type InflateRaw } from 'node:zlib';

interface Internals {
  _handle: {
    writeSync(flush: number, input: Uint8Array, inputAt: number, inputBytes: number, output: Uint8Array, outputAt: number, outputBytes: number): void;
  };
  /** Bytes left of the output and of the input. */
  _writeState: Uint32Array;
}

export class Inflater {
  /** What the last {@link step} took and gave. */
  consumed = 0;
  produced = 0;
  #stream: (InflateRaw & Internals) | undefined;

  /** Starts another stream. The one before need not have ended. */
  begin(): void {
    if (this.#stream === undefined) {
      this.#stream = createInflateRaw() as InflateRaw & Internals;
      // It is thrown where it happens; the event comes later.
      this.#stream.on('error', () => undefined);
    } else this.#stream.reset();
  }

  /**
   * Decompresses until `input` is used up, `output` full, or the stream at its end, what follows it being left.
   * @param isLast no more input follows: it is an error if the stream has not ended, unless `output` is full
   * @throws Error with zlib's code
   */
  step(input: Uint8Array, output: Uint8Array, isLast: boolean): void {
    const stream = this.#stream;
    if (stream === undefined) throw new TypeError('No stream has begun');
    stream._handle.writeSync(isLast ? constants.Z_FINISH : constants.Z_NO_FLUSH, input, 0, input.byteLength, output, 0, output.byteLength);
    if (stream.errored !== null) {
      this.#stream = undefined;
      throw stream.errored;
    }
    const { 0: outputLeft = 0, 1: inputLeft = 0 } = stream._writeState;
    this.produced = output.byteLength - outputLeft;
    this.consumed = input.byteLength - inputLeft;
  }

  /** Decompresses a whole stream; returns its length, or that of `output` when it is longer. @throws as {@link step} */
  whole(input: Uint8Array, output: Uint8Array): number {
    this.begin();
    this.step(input, output, true);
    return this.produced;
  }
}

let tried: { inflater: Inflater | undefined } | undefined;

/** Returns the thread's own, for one stream at a time, or undefined where this version of Node has none. */
export function threadInflater(): Inflater | undefined {
  tried ??= { inflater: tryOut() };
  return tried.inflater;
}

function tryOut(): Inflater | undefined {
  const content = Buffer.from('abcabcabcabcabc');
  const output = Buffer.alloc(content.byteLength + 1);
  try {
    const inflater = new Inflater();
    // Twice: the second time it is used again.
    for (let i = 0; i < 2; i++) if (inflater.whole(deflateRawSync(content), output) !== content.byteLength) return undefined;
    return output.subarray(0, content.byteLength).equals(content) ? inflater : undefined;
  } catch {
    return undefined;
  }
}
