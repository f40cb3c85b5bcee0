/**
 * The digest by which the kernel's fs-verity knows a file, computed from its bytes: SHA-256 over a Merkle tree of 4 KiB
 * blocks, no salt. Source: Linux `Documentation/filesystems/fsverity.rst`, "Merkle tree" and "fs-verity descriptor".
 */
import { hash } from 'node:crypto';

const BLOCK_BYTES = 4096;

const DESCRIPTOR_BYTES = 256;
const DESCRIPTOR_VERSION = 1;
const HASH_SHA256 = 1;
const LOG_BLOCK_BYTES = 12;

/** Takes a file's bytes in pieces of any size; used for one file after another. Memory: a block for each level of the tree. */
export class FsVerityHasher {
  /** What is not hashed yet, one block for each level, the file's own bytes first. A full block waits: if nothing follows it is the root. */
  readonly #levels: Level[] = [{ block: Buffer.allocUnsafeSlow(BLOCK_BYTES), used: 0 }];
  /** Levels that this file has. */
  #height = 1;
  #sizeBytes = 0;

  update(piece: Uint8Array): void {
    this.#sizeBytes += piece.byteLength;
    const first = this.#level(0);
    let at = 0;
    while (at < piece.byteLength) {
      if (first.used === BLOCK_BYTES) this.#flush(0);
      if (first.used === 0 && piece.byteLength - at > BLOCK_BYTES) {
        // Whole blocks in the middle of a piece are hashed where they lie.
        this.#addHash(1, blockHash(piece.subarray(at, at + BLOCK_BYTES)));
        at += BLOCK_BYTES;
        continue;
      }
      const count = Math.min(BLOCK_BYTES - first.used, piece.byteLength - at);
      first.block.set(piece.subarray(at, at + count), first.used);
      first.used += count;
      at += count;
    }
  }

  /** Returns the 32 bytes, and begins anew. */
  digest(): Buffer {
    const descriptor = Buffer.alloc(DESCRIPTOR_BYTES);
    descriptor[0] = DESCRIPTOR_VERSION;
    descriptor[1] = HASH_SHA256;
    descriptor[2] = LOG_BLOCK_BYTES;
    descriptor.writeBigUInt64LE(BigInt(this.#sizeBytes), 8);
    // The kernel's rule: an empty file has no tree, and zeros for its root.
    if (this.#sizeBytes > 0) descriptor.write(this.#root(), 16, 'latin1');
    for (const level of this.#levels) level.used = 0;
    this.#height = 1;
    this.#sizeBytes = 0;
    return Buffer.from(blockHash(descriptor), 'latin1');
  }

  #root(): string {
    for (let level = 0; ; level++) {
      const { block, used } = this.#level(level);
      block.fill(0, used);
      if (level === this.#height - 1) return blockHash(block);
      this.#flush(level);
    }
  }

  #level(level: number): Level {
    let found = this.#levels[level];
    if (found === undefined) {
      found = { block: Buffer.allocUnsafeSlow(BLOCK_BYTES), used: 0 };
      this.#levels.push(found);
    }
    this.#height = Math.max(this.#height, level + 1);
    return found;
  }

  #addHash(level: number, hashed: string): void {
    const state = this.#level(level);
    if (state.used === BLOCK_BYTES) this.#flush(level);
    state.used += state.block.write(hashed, state.used, 'latin1');
  }

  #flush(level: number): void {
    const state = this.#level(level);
    state.used = 0;
    this.#addHash(level + 1, blockHash(state.block));
  }
}

interface Level {
  block: Buffer;
  used: number;
}

/** As text of 32 characters: a buffer for each block is memory outside of the heap that is given back late. */
function blockHash(block: Uint8Array): string {
  return hash('sha256', block, 'binary');
}
