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

export class FreeBlocks {
  readonly #state: FreeBlocksState;
  readonly #counter: BigInt64Array;

  constructor(state: FreeBlocksState) {
    this.#state = state;
    this.#counter = new BigInt64Array(state.counter);
  }

  /** Takes room for a content object; metadata is exempt, so that a commit can always be ended. @throws OSTREE_SPACE_RESERVED */
  take(sizeBytes: number): void {
    const blocks = BigInt(Math.floor(sizeBytes / this.#state.blockBytes) + 1);
    if (Atomics.sub(this.#counter, 0, blocks) >= blocks) return;
    Atomics.add(this.#counter, 0, blocks);
    throw ostreeError('OSTREE_SPACE_RESERVED', `${this.#state.rule} would be exceeded, at least ${sizeBytes} bytes requested`, {
      hint: 'Free some space on the volume, or lower core.min-free-space-percent or core.min-free-space-size in the repository config',
      data: { sizeBytes },
    });
  }
}
