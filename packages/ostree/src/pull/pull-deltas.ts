/** Static deltas in a pull: which one to take, and its parts on their way. Source: libostree 2022.7, `ostree-repo-pull.c`. */
import type { Checksum } from '@cambium/base';
import { applyDelta } from '../delta/apply.ts';
import { type DeltaSuperblock, parseSuperblock } from '../delta/superblock.ts';
import { ostreeError } from '../errors.ts';
import { metadataValue, parseMetadata } from '../format/commit-format.ts';
import { deltaIndexPath, deltaName, deltaPath } from '../format/delta-path.ts';
import { checksumOf, MAX_METADATA_BYTES } from '../format/object-format.ts';
import { SUMMARY_KEYS, type Summary, summaryDeltas, summaryHasDeltaIndexes } from '../format/summary.ts';
import type { Repo } from '../repo/repo.ts';
import type { Transaction } from '../write/transaction.ts';
import { missingFile } from './http-source.ts';
import type { ObjectFetcher } from './object-fetcher.ts';
import type { DeltaTotals, PullEvent, PullOptions } from './pull-types.ts';
import type { RemoteSource } from './remote-source.ts';

/**
 * A part is fetched into memory, and its size is only what the remote says. libostree begins a new part at 32 MB, so this much has
 * only the part of one huge file that was kept from being a fallback.
 */
export const MAX_PART_FILE_BYTES: number = 256 * 1024 * 1024;
/** A larger part is not fetched while the one before it is still here. */
const MAX_AHEAD_BYTES: number = 32 * 1024 * 1024;

export class DeltaPuller {
  readonly totals: DeltaTotals = { parts: 0, partsFetched: 0, bytes: 0, usizeBytes: 0 };
  /** For indexes and superblocks. */
  requests = 0;
  readonly #source: RemoteSource;
  readonly #transaction: Transaction;
  readonly #repo: Repo;
  readonly #fetcher: ObjectFetcher;
  readonly #summary: Summary | undefined;
  readonly #options: PullOptions;
  readonly #on: (event: PullEvent) => void;

  constructor(
    source: RemoteSource,
    transaction: Transaction,
    fetcher: ObjectFetcher,
    summary: Summary | undefined,
    options: PullOptions,
    on: (event: PullEvent) => void,
  ) {
    this.#source = source;
    this.#transaction = transaction;
    this.#repo = transaction.repo;
    this.#fetcher = fetcher;
    this.#summary = summary;
    this.#options = options;
    this.#on = on;
  }

  /** Returns the delta to take for a commit, or undefined for none. @throws OSTREE_DELTA_* */
  async find(to: Checksum, current: Checksum | undefined, ref: string | undefined): Promise<DeltaSuperblock | undefined> {
    const { staticDeltas = 'use', subpaths } = this.#options;
    const required = staticDeltas === 'required';
    // An archive repository would unpack and pack again; a remote on this machine is copied faster.
    const useless = this.#repo.mode === 'archive' || this.#source.repo !== undefined || (subpaths?.length ?? 0) > 0;
    if (staticDeltas === 'never' || (useless && !required)) return undefined;
    if (required && (this.#summary === undefined || !saysDeltas(this.#summary))) {
      throw ostreeError('OSTREE_REMOTE_FILE_MISSING', 'Fetch configured to require static deltas, but no summary deltas or delta index found');
    }
    const superblock = await this.#superblock(to, current);
    if (superblock === undefined) {
      if (required) throw ostreeError('OSTREE_REMOTE_FILE_MISSING', `Static deltas required, but none found for ${ref ?? '(none)'} to ${to}`);
      return undefined;
    }
    const huge = superblock.parts.findIndex((part, index) => part.sizeBytes > MAX_PART_FILE_BYTES && !superblock.inlineParts.has(index));
    if (huge >= 0) {
      // Its objects can be had singly.
      if (!required) return undefined;
      throw ostreeError('OSTREE_OBJECT_TOO_LARGE', `Part ${huge} of static delta ${deltaName(superblock)} is over the limit of ${MAX_PART_FILE_BYTES} bytes`, {
        data: { part: huge, sizeBytes: superblock.parts[huge]?.sizeBytes, limitBytes: MAX_PART_FILE_BYTES },
        hint: 'Pull without the requirement of static deltas',
      });
    }
    const bytes = superblock.parts.reduce((sum, part) => sum + part.sizeBytes, 0) + superblock.fallbacks.reduce((sum, each) => sum + each.sizeBytes, 0);
    const usizeBytes = superblock.parts.reduce((sum, part) => sum + part.usizeBytes, 0) + superblock.fallbacks.reduce((sum, each) => sum + each.usizeBytes, 0);
    this.totals.parts += superblock.parts.length;
    this.totals.bytes += bytes;
    this.totals.usizeBytes += usizeBytes;
    this.#on({ type: 'delta', name: deltaName(superblock), parts: superblock.parts.length, bytes, usizeBytes });
    return superblock;
  }

  /** Makes the objects of a delta whose commit is in the transaction. */
  async apply(superblock: DeltaSuperblock): Promise<void> {
    const { signal } = this.#fetcher;
    const directory = deltaPath(superblock);
    const ahead = new Map<number, Promise<Uint8Array>>();
    const sizeOf = (index: number): number => superblock.parts[index]?.sizeBytes ?? 0;
    const start = (index: number): Promise<Uint8Array> => {
      const part = this.#part(`${directory}/${index}`, sizeOf(index));
      part.catch(() => undefined);
      ahead.set(index, part);
      return part;
    };
    await applyDelta(
      this.#transaction,
      superblock,
      {
        part: async (index, next) => {
          const wanted = ahead.get(index) ?? start(index);
          ahead.delete(index);
          // The next comes while this one is worked on.
          const isFile = next !== undefined && !superblock.inlineParts.has(next);
          if (isFile && !ahead.has(next) && sizeOf(next) <= MAX_AHEAD_BYTES) start(next);
          return wanted;
        },
        fallback: (type, checksum) => this.#fetcher.fetchNow(type, checksum),
      },
      signal,
    );
    await this.#transaction.content().flush();
    this.totals.partsFetched += superblock.parts.length;
  }

  async #part(path: string, sizeBytes: number): Promise<Uint8Array> {
    const file = await this.#source.get(path, { limitBytes: sizeBytes, place: 'content' }, this.#fetcher.signal);
    if (file === undefined || file === 'unchanged') throw missingFile(path);
    return file.bytes;
  }

  async #superblock(to: Checksum, current: Checksum | undefined): Promise<DeltaSuperblock | undefined> {
    const known = await this.#known(to);
    if (known === undefined) {
      // Nobody says what there is: the likely one is asked for.
      return this.#read({ from: current, to }, undefined);
    }
    const ends = this.#choose(known, to, current);
    return ends === undefined ? undefined : this.#read(ends, known.get(deltaName(ends)));
  }

  /** Returns the deltas to a commit with the sha256 of each superblock; undefined when the remote does not say. */
  async #known(to: Checksum): Promise<ReadonlyMap<string, string> | undefined> {
    if (this.#summary === undefined) return undefined;
    if (summaryHasDeltaIndexes(this.#summary)) {
      this.requests++;
      const path = deltaIndexPath(to);
      const file = await this.#source.get(path, { limitBytes: MAX_METADATA_BYTES }, this.#fetcher.signal);
      if (file === undefined || file === 'unchanged') return new Map();
      return summaryDeltas({ metadata: parseMetadata(file.bytes, path) });
    }
    // Summaries of publishers that leave deltas out say nothing.
    return saysDeltas(this.#summary) ? summaryDeltas(this.#summary) : undefined;
  }

  /** The newest complete commit that is here; the delta from nothing only when the ref is not here yet. */
  #choose(known: ReadonlyMap<string, string>, to: Checksum, current: Checksum | undefined): { from: Checksum | undefined; to: Checksum } | undefined {
    let best: { from: Checksum; timestamp: bigint } | undefined;
    for (const name of known.keys()) {
      const [from, end] = name.split('-') as [Checksum, Checksum | undefined];
      if (end !== to || !this.#repo.hasObject('commit', from) || this.#repo.isPartial(from)) continue;
      const { timestamp } = this.#repo.readCommit(from);
      if (best === undefined || timestamp > best.timestamp) best = { from, timestamp };
    }
    if (best !== undefined) return { from: best.from, to };
    return current === undefined && known.has(to) ? { from: undefined, to } : undefined;
  }

  async #read(ends: { from: Checksum | undefined; to: Checksum }, sha256: string | undefined): Promise<DeltaSuperblock | undefined> {
    this.requests++;
    const path = `${deltaPath(ends)}/superblock`;
    const file = await this.#source.get(path, { limitBytes: MAX_METADATA_BYTES }, this.#fetcher.signal);
    if (file === undefined || file === 'unchanged') {
      if (sha256 !== undefined) throw missingFile(path);
      return undefined;
    }
    const actual = checksumOf(file.bytes);
    if (sha256 !== undefined && actual !== sha256) {
      throw ostreeError('OSTREE_OBJECT_CORRUPT', `Invalid checksum for static delta ${deltaName(ends)}`, { data: { actual, sha256 } });
    }
    const superblock = parseSuperblock(file.bytes);
    if (superblock.to !== ends.to || superblock.from !== ends.from || checksumOf(superblock.commitBytes) !== ends.to) {
      throw ostreeError('OSTREE_OBJECT_CORRUPT', `Static delta ${deltaName(ends)} is another one than its name says`, {
        data: { from: superblock.from, to: superblock.to },
      });
    }
    return superblock;
  }
}

/** Whether a summary lists deltas, or says that each commit has a list of its own. */
function saysDeltas(summary: Summary): boolean {
  return summaryHasDeltaIndexes(summary) || metadataValue(summary.metadata, SUMMARY_KEYS.deltas, 'a{sv}') !== undefined;
}
