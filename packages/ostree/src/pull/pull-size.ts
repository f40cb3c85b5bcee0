/**
 * What a pull from one commit to another moves and writes: set arithmetic over names of objects and their known sizes.
 * Nothing is fetched and no content is read. Sizes are those of objects; requests have headers besides, and directories grow.
 */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import type { Checksum } from '@cambium/base';
import { parseSuperblock } from '../delta/superblock.ts';
import { ostreeError } from '../errors.ts';
import { deltaPath, listDeltas } from '../format/delta-path.ts';
import { isSymlink, MAX_METADATA_BYTES } from '../format/object-format.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { ObjectType } from '../format/types.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { partialReason } from '../repo/commit-markers.ts';
import type { Repo } from '../repo/repo.ts';
import { traverse } from '../repo/traverse.ts';
import { parseSizes } from '../show/show.ts';

export interface KindSize {
  objects: number;
  /** As served by an archive repository: what crosses the wire. Undefined where neither such a repository nor `ostree.sizes` tells. */
  archivedBytes: number | undefined;
  unpackedBytes: number;
}

export type TargetMode = 'archive' | 'bare' | 'bare-user' | 'bare-user-only';

export interface WriteSize {
  /** Sum of the sizes of the new files. */
  bytes: number;
  /** In blocks of 4 KiB. */
  diskBytes: number;
  /** `diskBytes`, and the largest downloads that can lie beside them as files: libostree keeps eight at once, but where they become the objects. */
  peakBytes: number | undefined;
}

/** A static delta of the repository that makes `to`. */
export interface DeltaSize {
  /** Undefined: the delta needs no other commit. */
  from: Checksum | undefined;
  parts: number;
  /** Objects that are fetched singly beside it. */
  fallbacks: number;
  /** Superblock, parts and fallbacks. */
  wireBytes: number;
  /** The largest part, which lies on disk or in memory while it is applied, in blocks of 4 KiB. */
  largestPartBytes: number;
}

export interface PullSize {
  /** Undefined: from nothing. */
  from: Checksum | undefined;
  to: Checksum;
  /** What `to` has and `from` has not, the commit with its detached metadata included. */
  kinds: Record<ObjectType, KindSize>;
  total: KindSize;
  /** What `from` has and `to` has not: a prune after the update can free it, when no other commit needs it. */
  dropped: { objects: number };
  writes: Partial<Record<TargetMode, WriteSize>>;
  /** The delta from `from`, and the one from nothing, where they are there. What is written in the end is the same. */
  deltas: DeltaSize[];
  /** Where the sizes come from: the files of an archive repository, what the commit records, or the contents of another mode. */
  known: 'archive' | 'ostree.sizes' | 'contents';
}

interface SizedObject {
  type: ObjectType;
  checksum: Checksum;
  archivedBytes: number | undefined;
  unpackedBytes: number;
  link: boolean;
}

const BLOCK_BYTES = 4096;
/** Targets below this lie in the inode of ext4 and take no block. */
const INLINE_LINK_BYTES = 60;
/** libostree's limit on fetches under way (_OSTREE_MAX_OUTSTANDING_FETCHER_REQUESTS). */
const DOWNLOADS = 8;

/**
 * Returns what a pull of `to` (without parents) moves to a repository that has `from`.
 * A partial commit is enough on either side when it records `ostree.sizes`.
 * @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT
 */
export function pullSize(repo: Repo, from: Checksum | undefined, to: Checksum, signal?: AbortSignal): PullSize {
  const before = from === undefined ? new ObjectSet() : objectsOf(repo, from);
  const after = objectsOf(repo, to);
  const recorded = new Map((parseSizes(repo.readCommit(to)) ?? []).map((size) => [size.checksum, size]));
  const known = isWhole(repo, to) ? (repo.mode === 'archive' ? 'archive' : recorded.size > 0 ? 'ostree.sizes' : 'contents') : 'ostree.sizes';
  const sum = new Sum();
  let count = 0;
  for (const { type, checksum } of after) {
    if (before.has(type, checksum)) continue;
    if ((count++ & 1023) === 0) signal?.throwIfAborted();
    const size = recorded.get(checksum);
    // What an archive repository serves is what it has, whatever a commit says of the repository where it was made.
    if (size !== undefined && (known === 'ostree.sizes' || repo.findObject(type, checksum) === undefined)) sum.add({ ...size, link: isLink(repo, size) });
    else sum.add(measure(repo, type, checksum));
  }
  const detached = from === to ? undefined : repo.findObject('commitmeta', to);
  if (detached !== undefined) sum.addDetached(lstatSync(detached).size);
  let dropped = 0;
  for (const { type, checksum } of before) if (!after.has(type, checksum)) dropped++;
  return { from, to, ...sum.result(), dropped: { objects: dropped }, deltas: deltaSizes(repo, from, to), known };
}

function deltaSizes(repo: Repo, from: Checksum | undefined, to: Checksum): DeltaSize[] {
  const found: DeltaSize[] = [];
  for (const delta of listDeltas(repo.path)) {
    if (delta.to !== to || (delta.from !== undefined && delta.from !== from)) continue;
    const bytes = readBounded(join(repo.path, deltaPath(delta), 'superblock'), MAX_METADATA_BYTES, () =>
      ostreeError('OSTREE_OBJECT_TOO_LARGE', `Cannot read superblock of the delta to ${to}: no regular file of at most ${MAX_METADATA_BYTES} bytes`),
    );
    const { parts, fallbacks, inlineParts } = parseSuperblock(bytes);
    // Those inside the superblock are in its size already.
    const fetched = parts.filter((_part, index) => !inlineParts.has(index));
    found.push({
      from: delta.from,
      parts: parts.length,
      fallbacks: fallbacks.length,
      wireBytes: [...fetched, ...fallbacks].reduce((sum, { sizeBytes }) => sum + sizeBytes, bytes.byteLength),
      largestPartBytes: inBlocks(Math.max(0, ...fetched.map(({ sizeBytes }) => sizeBytes))),
    });
  }
  return found;
}

function isWhole(repo: Repo, commit: Checksum): boolean {
  return partialReason(repo, commit) === undefined && !repo.isPartial(commit);
}

function objectsOf(repo: Repo, commit: Checksum): ObjectSet {
  if (isWhole(repo, commit)) return traverse(repo, [commit], { depth: 0 });
  const sizes = parseSizes(repo.readCommit(commit));
  // Says which object is missing.
  if (sizes === undefined) return traverse(repo, [commit], { depth: 0, onBad: rethrow });
  const objects = new ObjectSet(sizes.length + 1);
  objects.add('commit', commit);
  for (const { type, checksum } of sizes) objects.add(type, checksum);
  return objects;
}

function rethrow(_type: ObjectType, _checksum: Checksum, error: unknown): never {
  throw error;
}

function measure(repo: Repo, type: ObjectType, checksum: Checksum): SizedObject {
  if (type !== 'file') {
    const path = repo.findObject(type, checksum);
    const bytes = path === undefined ? repo.readMetadata(type, checksum).byteLength : lstatSync(path).size;
    return { type, checksum, archivedBytes: bytes, unpackedBytes: bytes, link: false };
  }
  const { header, sizeBytes } = repo.readFileHeader(checksum);
  const path = repo.findObject(type, checksum);
  const link = isSymlink(header);
  const archived = repo.mode === 'archive' && path?.endsWith('.filez') === true ? lstatSync(path).size : undefined;
  return { type, checksum, archivedBytes: archived, unpackedBytes: link ? Buffer.byteLength(header.target) : sizeBytes, link };
}

/** Recorded sizes do not tell links from files; the object does, where it is here. */
function isLink(repo: Repo, { type, checksum }: { type: ObjectType; checksum: Checksum }): boolean {
  return type === 'file' && repo.hasObject(type, checksum) && isSymlink(repo.readFileHeader(checksum).header);
}

class Sum {
  readonly #kinds: Record<ObjectType, KindSize> = { file: nothing(), dirtree: nothing(), dirmeta: nothing(), commit: nothing() };
  readonly #writes: Record<TargetMode, { bytes: number; diskBytes: number }> = {
    archive: { bytes: 0, diskBytes: 0 },
    bare: { bytes: 0, diskBytes: 0 },
    'bare-user': { bytes: 0, diskBytes: 0 },
    'bare-user-only': { bytes: 0, diskBytes: 0 },
  };
  /** The largest contents as downloaded, in blocks, largest first. */
  #largest: number[] = [];

  add({ type, archivedBytes, unpackedBytes, link }: SizedObject): void {
    const kind = this.#kinds[type];
    kind.objects++;
    kind.archivedBytes = archivedBytes === undefined || kind.archivedBytes === undefined ? undefined : kind.archivedBytes + archivedBytes;
    kind.unpackedBytes += unpackedBytes;
    this.#write('archive', archivedBytes ?? 0);
    this.#write('bare-user', type === 'file' && link ? unpackedBytes + 1 : unpackedBytes);
    for (const mode of ['bare', 'bare-user-only'] as const) this.#write(mode, unpackedBytes, link && unpackedBytes < INLINE_LINK_BYTES);
    if (type !== 'file' || archivedBytes === undefined) return;
    const blocks = inBlocks(archivedBytes);
    if (this.#largest.length === DOWNLOADS && blocks <= (this.#largest.at(-1) as number)) return;
    this.#largest = [...this.#largest, blocks].sort((a, b) => b - a).slice(0, DOWNLOADS);
  }

  addDetached(bytes: number): void {
    const { commit } = this.#kinds;
    commit.archivedBytes = (commit.archivedBytes ?? 0) + bytes;
    commit.unpackedBytes += bytes;
    for (const mode of Object.keys(this.#writes) as TargetMode[]) this.#write(mode, bytes);
  }

  result(): Pick<PullSize, 'kinds' | 'total' | 'writes'> {
    const total = nothing();
    for (const kind of Object.values(this.#kinds)) {
      total.objects += kind.objects;
      total.archivedBytes = kind.archivedBytes === undefined || total.archivedBytes === undefined ? undefined : total.archivedBytes + kind.archivedBytes;
      total.unpackedBytes += kind.unpackedBytes;
    }
    const writes: PullSize['writes'] = {};
    const beside = total.archivedBytes === undefined ? undefined : this.#largest.reduce((sum, bytes) => sum + bytes, 0);
    for (const [mode, size] of Object.entries(this.#writes) as [TargetMode, { bytes: number; diskBytes: number }][]) {
      // How well content compresses is not known without doing it.
      if (mode === 'archive' && beside === undefined) continue;
      const besides = mode === 'archive' ? 0 : beside;
      writes[mode] = { ...size, peakBytes: besides === undefined ? undefined : size.diskBytes + besides };
    }
    return { kinds: this.#kinds, total, writes };
  }

  #write(mode: TargetMode, bytes: number, inline = false): void {
    const size = this.#writes[mode];
    size.bytes += bytes;
    if (!inline) size.diskBytes += inBlocks(bytes);
  }
}

function nothing(): KindSize {
  return { objects: 0, archivedBytes: 0, unpackedBytes: 0 };
}

function inBlocks(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}
