/**
 * The digest by which the kernel's fs-verity knows a file, computed from its bytes: SHA-256 over a Merkle tree of 4 KiB
 * blocks, no salt. Source: Linux `Documentation/filesystems/fsverity.rst`, "Merkle tree" and "fs-verity descriptor".
 */
import { hash } from 'node:crypto';

const BLOCK_BYTES = 4096;
const HASH_BYTES = 32;

const DESCRIPTOR_BYTES = 256;
const DESCRIPTOR_VERSION = 1;
const HASH_SHA256 = 1;
const LOG_BLOCK_BYTES = 12;

/** Takes a file's bytes in pieces of any size; used for one file. Memory: a block for each level of the tree. */
export class FsVerityHasher {
  /** What is not hashed yet, one block for each level, the file's own bytes first. A full block waits: if nothing follows it is the root. */
  readonly #levels: { block: Buffer; used: number }[] = [];
  #sizeBytes = 0;

  update(piece: Uint8Array): void {
    this.#sizeBytes += piece.byteLength;
    let at = 0;
    // Whole blocks in the middle of a piece are hashed where they lie.
    const first = this.#level(0);
    while (piece.byteLength - at > BLOCK_BYTES && (first.used === 0 || first.used === BLOCK_BYTES)) {
      if (first.used === BLOCK_BYTES) this.#flush(0);
      this.#add(1, blockHash(piece.subarray(at, at + BLOCK_BYTES)));
      at += BLOCK_BYTES;
    }
    this.#add(0, piece.subarray(at));
  }

  /** Returns the 32 bytes; nothing can be added after it. */
  digest(): Buffer {
    // The kernel's rule: the root hash of an empty file is all zeros, and its tree has no levels.
    const root = this.#sizeBytes === 0 ? Buffer.alloc(HASH_BYTES) : this.#root();
    const descriptor = Buffer.alloc(DESCRIPTOR_BYTES);
    descriptor[0] = DESCRIPTOR_VERSION;
    descriptor[1] = HASH_SHA256;
    descriptor[2] = LOG_BLOCK_BYTES;
    descriptor.writeBigUInt64LE(BigInt(this.#sizeBytes), 8);
    root.copy(descriptor, 16);
    return hash('sha256', descriptor, 'buffer');
  }

  #root(): Buffer {
    for (let level = 0; ; level++) {
      const { block, used } = this.#level(level);
      block.fill(0, used);
      if (level === this.#levels.length - 1) return blockHash(block);
      this.#flush(level);
    }
  }

  #level(level: number): { block: Buffer; used: number } {
    let found = this.#levels[level];
    if (found === undefined) {
      found = { block: Buffer.allocUnsafeSlow(BLOCK_BYTES), used: 0 };
      this.#levels.push(found);
    }
    return found;
  }

  #add(level: number, bytes: Uint8Array): void {
    const state = this.#level(level);
    for (let at = 0; at < bytes.byteLength; ) {
      if (state.used === BLOCK_BYTES) this.#flush(level);
      const count = Math.min(BLOCK_BYTES - state.used, bytes.byteLength - at);
      state.block.set(bytes.subarray(at, at + count), state.used);
      state.used += count;
      at += count;
    }
  }

  #flush(level: number): void {
    const state = this.#level(level);
    const hashed = blockHash(state.block);
    state.used = 0;
    this.#add(level + 1, hashed);
  }
}

function blockHash(block: Uint8Array): Buffer {
  return hash('sha256', block, 'buffer');
}

/** Returns the digest of a file that is at hand. */
export function fsVerityDigest(bytes: Uint8Array): Buffer {
  const hasher = new FsVerityHasher();
  hasher.update(bytes);
  return hasher.digest();
}
