/**
 * Writes an `.xz` stream of one block as its content comes. Source: The .xz File Format 1.2.1; `docs/formats/ostree-deltas.md`.
 *
 * The frame is written here, around raw LZMA2: it is the only way to a dictionary smaller than that of the preset, and memory for
 * the encoder is twelve times the dictionary.
 */
import { crc32 } from 'node:zlib';
import { Lzma2Compressor } from '@napi-rs/lzma';

const PRESET = 6;
/** A quarter of the preset's own costs 2 % of size on programs and texts, and takes 30 MB instead of 95. */
const DICTIONARY_BITS = 21;
/** Content up to this size is gathered first, and gets a dictionary of its size. */
const SMALL_BITS = 20;
/** Small pieces are joined: each call into the encoder costs as much as some hundred bytes. */
const PIECE_BYTES: number = 256 * 1024;
const MAGIC: Buffer = Buffer.from('fd377a585a00', 'hex');
const FOOTER_MAGIC: Buffer = Buffer.from('YZ', 'latin1');
/** CRC32: there is a fast one at hand. */
const STREAM_FLAGS: Buffer = Buffer.from([0, 1]);
const CHECK_BYTES = 4;
const LZMA2 = 0x21;

export class XzWriter {
  readonly #take: (bytes: Uint8Array) => void;
  #gathered: Buffer = Buffer.allocUnsafe(PIECE_BYTES);
  #gatheredBytes = 0;
  #encoder: Lzma2Compressor | undefined;
  #headerBytes = 0;
  #contentBytes = 0;
  #packedBytes = 0;
  #check = 0;
  #heldBytes = 0;

  /** @param take gets the stream piece by piece; it must be done with a piece when it returns */
  constructor(take: (bytes: Uint8Array) => void) {
    this.#take = take;
  }

  /** Memory of the encoder, which goes only with the thread: the binding does not let go of it before. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Adds content; the bytes are copied before the call returns. */
  write(bytes: Uint8Array): void {
    this.#check = crc32(bytes, this.#check);
    this.#contentBytes += bytes.byteLength;
    for (let at = 0; at < bytes.byteLength; ) {
      const piece = bytes.subarray(at, at + this.#room());
      this.#gathered.set(piece, this.#gatheredBytes);
      this.#gatheredBytes += piece.byteLength;
      at += piece.byteLength;
    }
  }

  /** Ends the stream. */
  async finish(): Promise<void> {
    this.#encode();
    this.#give(await this.#begun(SMALL_BITS).finish());
    const unpadded = this.#headerBytes + this.#packedBytes + CHECK_BYTES;
    this.#take(Buffer.alloc(-this.#packedBytes & 3));
    this.#take(u32le(this.#check));
    const records = [0, ...integer(1), ...integer(unpadded), ...integer(this.#contentBytes)];
    const index = Buffer.from([...records, ...new Uint8Array(-records.length & 3)]);
    this.#take(index);
    this.#take(u32le(crc32(index)));
    const backward = Buffer.concat([u32le((index.byteLength + 4) / 4 - 1), STREAM_FLAGS]);
    this.#take(Buffer.concat([u32le(crc32(backward)), backward, FOOTER_MAGIC]));
  }

  /** Returns how many bytes may be gathered next, at least one. */
  #room(): number {
    if (this.#gatheredBytes < this.#gathered.byteLength) return this.#gathered.byteLength - this.#gatheredBytes;
    if (this.#encoder === undefined && this.#gatheredBytes < 2 ** SMALL_BITS) {
      const larger = Buffer.allocUnsafe(2 ** SMALL_BITS);
      larger.set(this.#gathered);
      this.#gathered = larger;
    } else {
      this.#begun(DICTIONARY_BITS);
      this.#encode();
    }
    return this.#gathered.byteLength - this.#gatheredBytes;
  }

  #encode(): void {
    const encoder = this.#begun(SMALL_BITS);
    for (let at = 0; at < this.#gatheredBytes; at += PIECE_BYTES) {
      this.#give(encoder.update(this.#gathered.subarray(at, Math.min(at + PIECE_BYTES, this.#gatheredBytes))));
    }
    this.#gatheredBytes = 0;
  }

  #begun(dictionaryBits: number): Lzma2Compressor {
    if (this.#encoder !== undefined) return this.#encoder;
    const dictSize = 2 ** dictionaryBits;
    this.#encoder = new Lzma2Compressor({ preset: PRESET, dictSize });
    this.#heldBytes = 12 * dictSize;
    const flags = [LZMA2, 1, 2 * (dictionaryBits - 12), 0, 0, 0];
    const header = Buffer.from([2, 0, ...flags]);
    this.#headerBytes = header.byteLength + 4;
    this.#take(Buffer.concat([MAGIC, STREAM_FLAGS, u32le(crc32(STREAM_FLAGS)), header, u32le(crc32(header))]));
    return this.#encoder;
  }

  #give(packed: Uint8Array): void {
    this.#packedBytes += packed.byteLength;
    if (packed.byteLength > 0) this.#take(packed);
  }
}

function u32le(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** As the format writes numbers: seven bits a byte, the lowest first. */
function integer(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return bytes;
}
