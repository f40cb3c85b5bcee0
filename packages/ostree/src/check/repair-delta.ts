/**
 * Static deltas as a source: what they make is made again, aside, from what they carry and from objects of the damaged
 * repository. A part whose other objects cannot be made, because what they copy from is bad too, still gives the rest.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, isKnownError } from '@cambium/base';
import { applyDeltaPart } from '../delta/apply.ts';
import { openRepoDelta } from '../delta/open-delta.ts';
import { type DeltaSuperblock, partObjects } from '../delta/superblock.ts';
import { listDeltas } from '../format/delta-path.ts';
import type { MetadataType, ObjectType } from '../format/types.ts';
import { Repo } from '../repo/repo.ts';
import { Transaction } from '../write/transaction.ts';
import { isSourceFailure, type RepairSource, type WantedFile } from './repair-source.ts';

/** As much of a delta as it takes to make its objects: one that is opened from disk is, and so is one of a remote. */
export interface DeltaAtHand {
  superblock: DeltaSuperblock;
  readPart(index: number, signal?: AbortSignal): Uint8Array | Promise<Uint8Array>;
}

/** Deltas are opened when they are asked: one may be a gigabyte. */
export type DeltaOpener = (signal?: AbortSignal) => DeltaAtHand | Promise<DeltaAtHand>;

type DeltaList = (signal?: AbortSignal) => readonly DeltaOpener[] | Promise<readonly DeltaOpener[]>;

/** Static deltas wherever they are. @param repo the damaged repository @param name for people @param deltas or how to find out which there are */
export function deltaSource(repo: Repo, name: string, deltas: readonly DeltaOpener[] | DeltaList): RepairSource {
  return new DeltaSource(repo, name, typeof deltas === 'function' ? deltas : () => deltas);
}

/** The deltas that lie in a repository: the damaged one itself, or another. */
export function repoDeltaSource(repo: Repo, holder: Repo = repo): RepairSource {
  const openers = (): DeltaOpener[] => Array.from(listDeltas(holder.path), (ends) => () => openRepoDelta(holder, ends));
  return new DeltaSource(repo, `static deltas of ${holder.path}`, openers);
}

interface Place {
  open: DeltaOpener;
  part: number;
}

class DeltaSource implements RepairSource {
  readonly name: string;
  readonly #repo: Repo;
  readonly #list: DeltaList;
  #deltas: readonly DeltaOpener[] | undefined;
  #metadata: Map<string, Place[]> | undefined;
  #files = new Map<string, Place[]>();
  readonly #commits = new Map<Checksum, Uint8Array>();
  /** A repository for what has been made. */
  #aside: { repo: Repo; path: string } | undefined;

  constructor(repo: Repo, name: string, list: DeltaList) {
    this.#repo = repo;
    this.name = name;
    this.#list = list;
  }

  async metadata(type: MetadataType, checksum: Checksum, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    this.#metadata ??= await this.#index((object) => object !== 'file', signal);
    if (type === 'commit' && this.#commits.has(checksum)) return this.#commits.get(checksum);
    // Where one is missing its neighbours often are: all of a part's are made at once.
    const made = await this.#make(this.#metadata, type, checksum, (other) => other !== 'file', signal);
    return made?.readMetadata(type, checksum);
  }

  async prepare(wanted: readonly WantedFile[], signal?: AbortSignal): Promise<void> {
    const checksums = new Set(wanted.map(({ checksum }) => checksum));
    this.#files = await this.#index((type, checksum) => type === 'file' && checksums.has(checksum), signal);
  }

  async file({ checksum }: WantedFile, sink: Parameters<RepairSource['file']>[1], signal?: AbortSignal): Promise<boolean> {
    const made = await this.#make(this.#files, 'file', checksum, (type, other) => this.#files.has(`${other}.${type}`), signal);
    if (made === undefined) return false;
    const { header, sizeBytes } = made.readFileHeader(checksum);
    await sink(header, sizeBytes, made.openFile(checksum, signal));
    return true;
  }

  close(): Promise<void> {
    if (this.#aside !== undefined) rmSync(this.#aside.path, { recursive: true, force: true });
    this.#aside = undefined;
    return Promise.resolve();
  }

  /** Returns which parts make the objects that are asked for. Deltas that cannot be read make nothing. */
  async #index(wants: (type: ObjectType, checksum: Checksum) => boolean, signal: AbortSignal | undefined): Promise<Map<string, Place[]>> {
    const index = new Map<string, Place[]>();
    this.#deltas ??= await this.#list(signal);
    for (const open of this.#deltas) {
      const superblock = await readable(open, signal);
      if (superblock === undefined) continue;
      this.#commits.set(superblock.to, superblock.commitBytes);
      for (const [part, header] of superblock.parts.entries()) {
        for (const { type, checksum } of partObjects(header)) {
          if (!wants(type, checksum)) continue;
          const key = `${checksum}.${type}`;
          const places = index.get(key);
          if (places === undefined) index.set(key, [{ open, part }]);
          else places.push({ open, part });
        }
      }
    }
    return index;
  }

  /**
   * Makes an object, and others of the same part that `also` names; returns where it is, or undefined when no delta brings it.
   * @throws why the last part that should make it did not
   */
  async #make(
    index: ReadonlyMap<string, readonly Place[]>,
    type: ObjectType,
    checksum: Checksum,
    also: (type: ObjectType, checksum: Checksum) => boolean,
    signal: AbortSignal | undefined,
  ): Promise<Repo | undefined> {
    const places = index.get(`${checksum}.${type}`) ?? [];
    if (places.length === 0) return undefined;
    const repo = await this.#openAside();
    let failure: unknown;
    for (const { open, part } of places) {
      for (const all of [true, false]) {
        if (repo.hasObject(type, checksum)) return repo;
        try {
          const wants = (otherType: ObjectType, other: Checksum): boolean =>
            ((otherType === type && other === checksum) || (all && also(otherType, other))) && !repo.hasObject(otherType, other);
          const delta = await open(signal);
          await using transaction = await Transaction.begin(repo, { signal, fsync: false, workers: 0 });
          await applyDeltaPart(transaction, delta.superblock, part, async (at) => delta.readPart(at, signal), { wants, sources: this.#repo }, signal);
          await transaction.commit();
        } catch (error) {
          signal?.throwIfAborted();
          if (!isSourceFailure(error)) throw error;
          failure = error;
        }
      }
    }
    if (repo.hasObject(type, checksum)) return repo;
    if (failure !== undefined) throw failure;
    return undefined;
  }

  async #openAside(): Promise<Repo> {
    if (this.#aside === undefined) {
      // On the damaged repository's file system; one that a kill leaves goes with other old things in tmp.
      const path = mkdtempSync(join(this.#repo.path, 'tmp', 'repair-delta-'));
      // Only an archive keeps owners and attributes whoever writes it.
      this.#aside = { path, repo: await Repo.init(join(path, 'repo'), { mode: 'archive' }) };
    }
    return this.#aside.repo;
  }
}

async function readable(open: DeltaOpener, signal: AbortSignal | undefined): Promise<DeltaSuperblock | undefined> {
  try {
    return (await open(signal)).superblock;
  } catch (error) {
    signal?.throwIfAborted();
    if (isKnownError(error)) return undefined;
    throw error;
  }
}
