/** Makes one part of a static delta, in whatever thread it runs: objects are read, compared and compressed one after the other. */
import { createHash } from 'node:crypto';
import { closeSync, fdatasyncSync, lstatSync, openSync, writeSync } from 'node:fs';
import { XzWriter } from '@cambium/archive';
import type { Checksum } from '@cambium/base';
import type { MetadataType, ObjectType } from '../format/types.ts';
import { Repo } from '../repo/repo.ts';
import { type Match, matchContents, patchLength, patchPieces } from './bsdiff.ts';
import { encodePartEnd, encodePartTables, type FileMode, XZ } from './part.ts';
import { PartBuilder } from './part-builder.ts';
import { matchStreams, type Region } from './rollsum.ts';

/** An object of a part. */
export interface PlannedObject {
  type: ObjectType;
  checksum: Checksum;
  sizeBytes: number;
  /** Indexes into the part's tables; 0 for metadata. */
  mode: number;
  xattrs: number;
  /** Of a symlink. */
  target?: string;
  /** A file it may have come from. */
  source?: PlannedSource;
}

export interface PlannedSource {
  checksum: Checksum;
  sizeBytes: number;
}

/** All that it takes to make a part; plain data. */
export interface PartTask {
  repo: string;
  /** Of the transaction that is open in the repository, if one is. */
  staging: string | undefined;
  /** The part file to be made. */
  path: string;
  sync: boolean;
  modes: readonly FileMode[];
  /** Each an encoded `a(ayay)`. */
  xattrs: readonly Uint8Array[];
  objects: readonly PlannedObject[];
  /** Old and new content together, at most, for a patch; 0: none. */
  maxPatchBytes: number;
  /** Larger ones that are not like their source are left out; 0: none. */
  minFallbackBytes: number;
}

export interface MadePart {
  checksum: Checksum;
  sizeBytes: number;
  usizeBytes: number;
  objects: Uint8Array;
  objectCount: number;
  /** Stored size of the objects that are in it whole. */
  looseBytes: number;
  copied: readonly { from: Checksum; to: Checksum; copiedBytes: number }[];
  patched: number;
  /** Objects left out, with their stored size. */
  leftOut: readonly { checksum: Checksum; sizeBytes: number; storedBytes: number }[];
  /** Memory that stays with the thread. */
  heldBytes: number;
}

/** Old and new content together up to this size are compared in memory; larger ones as they are read. */
export const MAX_COMPARED_BYTES: number = 48 * 1024 * 1024;
/** Contents up to this size are read in one piece. */
const WHOLE_BYTES = 1024 * 1024;
/** Of the new content: copies that pay for chunks, and unpredicted bytes that make a comparison useless. */
const COPY_SHARE = 0.5;
const NOVEL_SHARE = 0.8;
/** What an operation on a piece takes in the part, and how zeros shrink: rough, and enough to choose by. */
const REGION_COST = 10;
/** A copy is made faster than a patch, and needs less of everything. */
const COPY_BONUS = 1.25;
/** libostree finds no chunk to copy in files shorter than this. */
const CHUNK_BYTES = 4096;
const ZEROS_SHRINK = 1000;

/** @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
export async function makePart(task: PartTask): Promise<MadePart> {
  const repo = Repo.openSync(task.repo);
  repo.staging = task.staging;
  const file = new PartFile(task.path);
  try {
    const maker = new PartMaker(repo, task, new XzWriter((bytes) => file.write(bytes)));
    file.write(Uint8Array.of(XZ));
    for (const object of task.objects) await maker.add(object);
    return { ...(await maker.finish()), ...file.finish(task.sync) };
  } finally {
    file.close();
  }
}

class PartFile {
  readonly #fd: number;
  readonly #hash = createHash('sha256');
  #sizeBytes = 0;

  constructor(path: string) {
    this.#fd = openSync(path, 'wx', 0o644);
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; ) at += writeSync(this.#fd, bytes, at);
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.byteLength;
  }

  finish(sync: boolean): { checksum: Checksum; sizeBytes: number } {
    if (sync) fdatasyncSync(this.#fd);
    return { checksum: this.#hash.digest('hex') as Checksum, sizeBytes: this.#sizeBytes };
  }

  close(): void {
    closeSync(this.#fd);
  }
}

class PartMaker {
  readonly #repo: Repo;
  readonly #task: PartTask;
  readonly #xz: XzWriter;
  readonly #tableBytes: number;
  readonly #builder: PartBuilder;
  readonly #oldScratch: Buffer = Buffer.allocUnsafeSlow(WHOLE_BYTES);
  readonly #scratch: Buffer = Buffer.allocUnsafeSlow(WHOLE_BYTES);
  readonly #copied: { from: Checksum; to: Checksum; copiedBytes: number }[] = [];
  readonly #leftOut: { checksum: Checksum; sizeBytes: number; storedBytes: number }[] = [];
  #patched = 0;
  #looseBytes = 0;

  constructor(repo: Repo, task: PartTask, xz: XzWriter) {
    this.#repo = repo;
    this.#task = task;
    this.#xz = xz;
    const tables = encodePartTables(task.modes, task.xattrs);
    this.#tableBytes = tables.byteLength;
    xz.write(tables);
    this.#builder = new PartBuilder((bytes) => xz.write(bytes));
  }

  async add(object: PlannedObject): Promise<void> {
    if (object.type !== 'file') {
      this.#looseBytes += this.#storedBytes(object);
      this.#builder.addMetadata(object, this.#repo.readMetadata(object.type as MetadataType, object.checksum));
    } else if (object.target !== undefined) {
      this.#looseBytes += this.#storedBytes(object);
      this.#builder.addSymlink(object, object, object.target);
    } else if (object.source === undefined || !(await this.#addLike(object, object.source))) await this.#addWhole(object);
  }

  async finish(): Promise<Omit<MadePart, 'checksum' | 'sizeBytes'>> {
    const { objects, objectCount, usizeBytes, payloadBytes } = this.#builder;
    this.#xz.write(encodePartEnd(this.#task.modes.length, this.#tableBytes, payloadBytes, this.#builder.finishOperations()));
    await this.#xz.finish();
    return {
      usizeBytes,
      objects,
      objectCount,
      looseBytes: this.#looseBytes,
      copied: this.#copied,
      patched: this.#patched,
      leftOut: this.#leftOut,
      heldBytes: this.#xz.heldBytes,
    };
  }

  async #addWhole(object: PlannedObject): Promise<void> {
    const { checksum, sizeBytes } = object;
    const storedBytes = this.#storedBytes(object);
    const { minFallbackBytes } = this.#task;
    if (minFallbackBytes > 0 && sizeBytes > minFallbackBytes) {
      this.#leftOut.push({ checksum, sizeBytes, storedBytes });
      return;
    }
    this.#looseBytes += storedBytes;
    this.#builder.addContent(object, object, sizeBytes);
    if (sizeBytes <= WHOLE_BYTES) this.#builder.put(this.#repo.loadFile(checksum, WHOLE_BYTES, this.#scratch).content);
    else for await (const piece of this.#repo.openFile(checksum)) this.#builder.put(piece);
  }

  /** Returns whether it pays to make it of another one, and then it is added. */
  async #addLike(object: PlannedObject, source: PlannedSource): Promise<boolean> {
    return object.sizeBytes + source.sizeBytes <= MAX_COMPARED_BYTES ? this.#compareWhole(object, source) : this.#compareStreams(object, source);
  }

  #compareWhole(object: PlannedObject, source: PlannedSource): boolean {
    const { checksum, sizeBytes } = object;
    const old = this.#repo.loadFile(source.checksum, MAX_COMPARED_BYTES, this.#oldScratch).content;
    const next = this.#repo.loadFile(checksum, MAX_COMPARED_BYTES, this.#scratch).content;
    const match = matchContents(old, next);
    const { regions } = match;
    const mayPatch = old.byteLength + next.byteLength <= this.#task.maxPatchBytes;
    const patch = patchCost(match, next.byteLength, mayPatch);
    const copy = copyCost(match, next.byteLength);
    if (Math.min(patch, copy) > next.byteLength * NOVEL_SHARE) return false;
    if (regions !== undefined && copy <= patch * COPY_BONUS) {
      this.#builder.addCopied(object, object, sizeBytes, source.checksum, regions);
      for (const { copied, offset, length } of regions) if (!copied) this.#builder.put(next.subarray(offset, offset + length));
      // The figures are libostree's: what is shorter than its chunks it patches, and counts so.
      if (mayPatch && sizeBytes < CHUNK_BYTES) this.#patched++;
      else this.#copied.push({ from: source.checksum, to: checksum, copiedBytes: match.copiedBytes });
    } else {
      this.#builder.addPatched(object, object, sizeBytes, source.checksum, patchLength(next.byteLength, match.stretches));
      for (const piece of patchPieces(old, next, match.stretches)) this.#builder.put(piece);
      this.#patched++;
    }
    return true;
  }

  async #compareStreams(object: PlannedObject, source: PlannedSource): Promise<boolean> {
    const { checksum, sizeBytes } = object;
    const { regions, copiedBytes } = await matchStreams(this.#repo.openFile(source.checksum), this.#repo.openFile(checksum));
    if (copiedBytes < sizeBytes * COPY_SHARE) return false;
    this.#builder.addCopied(object, object, sizeBytes, source.checksum, regions);
    await this.#putNew(checksum, regions);
    this.#copied.push({ from: source.checksum, to: checksum, copiedBytes });
    return true;
  }

  /** Puts the regions that are not copied, in a second pass over the content. */
  async #putNew(checksum: Checksum, regions: readonly Region[]): Promise<void> {
    const wanted = regions.filter(({ copied }) => !copied).values();
    let next = wanted.next();
    let at = 0;
    for await (const piece of this.#repo.openFile(checksum)) {
      const end = at + piece.byteLength;
      while (next.done !== true && next.value.offset < end) {
        const { offset, length } = next.value;
        this.#builder.put(piece.subarray(Math.max(offset - at, 0), Math.min(offset + length - at, piece.byteLength)));
        if (offset + length > end) break;
        next = wanted.next();
      }
      at = end;
      if (next.done === true) break;
    }
  }

  #storedBytes({ type, checksum }: PlannedObject): number {
    const path = this.#repo.findObject(type, checksum);
    return path === undefined ? 0 : lstatSync(path).size;
  }
}

function patchCost({ novelBytes }: Match, sizeBytes: number, allowed: boolean): number {
  return allowed ? novelBytes + sizeBytes / ZEROS_SHRINK : Number.POSITIVE_INFINITY;
}

function copyCost({ regions, copiedBytes }: Match, sizeBytes: number): number {
  return regions === undefined || copiedBytes === 0 ? Number.POSITIVE_INFINITY : sizeBytes - copiedBytes + regions.length * REGION_COST;
}
