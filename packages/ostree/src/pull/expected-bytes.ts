/** How much a pull will bring, before its trees are known: from deltas, and from what commits record of their objects. */
import { isKnownError } from '@cambium/base';
import type { DeltaSuperblock } from '../delta/superblock.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { Commit } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { type ObjectSize, parseSizes } from '../show/show.ts';

/** Objects looked for in one turn: some milliseconds. */
const OBJECTS_PER_TURN = 1024;

export class ExpectedBytes {
  #bytes: number | undefined;
  readonly #seen = new ObjectSet();

  /** Bodies of all that is asked for, what has come before included; undefined while nobody has told. */
  get bytes(): number | undefined {
    return this.#bytes;
  }

  /** @param transferredBytes what has come by now, the superblock included */
  addDelta({ parts, inlineParts, fallbacks }: DeltaSuperblock, transferredBytes: number): void {
    let bytes = this.#bytes ?? transferredBytes;
    for (const [index, { sizeBytes }] of parts.entries()) if (!inlineParts.has(index)) bytes += sizeBytes;
    for (const { sizeBytes } of fallbacks) bytes += sizeBytes;
    this.#bytes = bytes;
  }

  /**
   * Adds what of a commit's recorded objects is not here; nothing when it records none. Costs a look for each, so it is for who shows totals.
   * Must end before the first of them is fetched.
   */
  async addCommit(repo: Repo, commit: Commit, transferredBytes: number, signal: AbortSignal): Promise<void> {
    let bytes = 0;
    for (const [index, { type, checksum, archivedBytes }] of recordedSizes(commit).entries()) {
      if (index % OBJECTS_PER_TURN === OBJECTS_PER_TURN - 1) {
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      if (this.#seen.add(type, checksum) && !repo.hasObject(type, checksum)) bytes += archivedBytes;
    }
    if (bytes > 0) this.#bytes = (this.#bytes ?? transferredBytes) + bytes;
  }
}

function recordedSizes(commit: Commit): readonly ObjectSize[] {
  try {
    return parseSizes(commit) ?? [];
  } catch (error) {
    // The objects are what counts, and they have checksums of their own.
    if (isKnownError(error, 'OSTREE_OBJECT_CORRUPT')) return [];
    throw error;
  }
}
