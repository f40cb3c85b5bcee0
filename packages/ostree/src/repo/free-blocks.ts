/** The room that content may take on the volume: what is free beyond the reserve that the config asks for. */
import { freeSpace } from '@cambium/system';
import { ostreeError } from '../errors.ts';
import type { RepoSettings } from './repo-config.ts';

/** Plain data that all threads of a transaction share. */
export interface FreeBlocksState {
  /** One 64-bit counter: blocks that may still be taken. */
  counter: SharedArrayBuffer;
  blockBytes: number;
  rule: string;
}

/** Returns the state at the start of a transaction, or undefined when there is no reserve to keep. */
export function measureFreeBlocks(path: string, rule: RepoSettings['minFreeSpace']): FreeBlocksState | undefined {
  if ('percent' in rule ? rule.percent === 0 : rule.bytes === 0) return undefined;
  const space = freeSpace(path);
  const { blockBytes, totalBlocks, freeBlocks } = space;
  // As libostree counts: blocks kept for root are free too.
  const reserve = 'percent' in rule ? Math.floor((totalBlocks * rule.percent) / 100) : Math.floor(rule.bytes / blockBytes);
  const counter = new SharedArrayBuffer(8);
  new BigInt64Array(counter)[0] = BigInt(Math.max(0, freeBlocks - reserve));
  const text = 'percent' in rule ? `min-free-space-percent '${rule.percent}%'` : `min-free-space-size ${rule.bytes / 2 ** 20}MB`;
  return { counter, blockBytes, rule: text };
}

/** Taken at once for a file that grows: the counter is shared, and asked this seldom. */
const GROWTH_BYTES: number = 1024 * 1024;

export class FreeBlocks {
  readonly #state: FreeBlocksState;
  readonly #counter: BigInt64Array;

  constructor(state: FreeBlocksState) {
    this.#state = state;
    this.#counter = new BigInt64Array(state.counter);
  }

  /** Takes room for a content object; metadata is exempt, so that a commit can always be ended. @throws OSTREE_SPACE_RESERVED */
  take(sizeBytes: number): void {
    const blocks = this.#blocks(sizeBytes);
    if (Atomics.sub(this.#counter, 0, blocks) >= blocks) return;
    Atomics.add(this.#counter, 0, blocks);
    throw this.#exceeded(sizeBytes);
  }

  /** Takes nothing, and refuses what could never be taken. @throws OSTREE_SPACE_RESERVED */
  check(sizeBytes: number): void {
    if (Atomics.load(this.#counter, 0) < this.#blocks(sizeBytes)) throw this.#exceeded(sizeBytes);
  }

  /** Returns room for a file that grows: it takes what is written, whatever was announced. */
  growing(): GrowingRoom {
    let taken = 0n;
    const giveBackTo = (blocks: bigint): void => {
      if (taken > blocks) Atomics.add(this.#counter, 0, taken - blocks);
      taken = taken < blocks ? taken : blocks;
    };
    return {
      grow: (bytes) => {
        const wanted = this.#blocks(bytes);
        if (wanted <= taken) return;
        const step = BigInt(Math.ceil(GROWTH_BYTES / this.#state.blockBytes));
        const more = wanted - taken > step ? wanted - taken : step;
        if (Atomics.sub(this.#counter, 0, more) < more) {
          Atomics.add(this.#counter, 0, more);
          throw this.#exceeded(bytes);
        }
        taken += more;
      },
      settle: (bytes) => giveBackTo(this.#blocks(bytes)),
      giveBack: () => giveBackTo(0n),
    };
  }

  #blocks(sizeBytes: number): bigint {
    return BigInt(Math.floor(sizeBytes / this.#state.blockBytes) + 1);
  }

  #exceeded(sizeBytes: number): Error {
    return ostreeError('OSTREE_SPACE_RESERVED', `${this.#state.rule} would be exceeded, at least ${sizeBytes} bytes requested`, {
      hint: 'Free some space on the volume, or lower core.min-free-space-percent or core.min-free-space-size in the repository config',
      data: { sizeBytes },
    });
  }
}

export interface GrowingRoom {
  /** Before the file becomes so long. @throws OSTREE_SPACE_RESERVED */
  grow(bytes: number): void;
  /** When the file is whole. */
  settle(bytes: number): void;
  /** When the file has gone. */
  giveBack(): void;
}
