/**
 * Bytes of a repository's `summary`: its refs and what else a client wants to know in one file.
 * Source: libostree `ostree-core.h`, OSTREE_SUMMARY_GVARIANT_FORMAT `(a(s(taya{sv}))a{sv})`; `docs/formats/ostree-repo.md`.
 */
import { type Checksum, compareUtf8, isChecksum } from '@cambium/base';
import { type Codec, codec, u64Swap, Variant } from '@cambium/gvariant';
import { ostreeError } from '../errors.ts';
import { metadataValue } from './commit-format.ts';
import { asBuffer } from './framing.ts';
import { MAX_METADATA_BYTES } from './object-format.ts';
import { repoModeOf } from './repo-mode.ts';
import type { Metadata, RepoMode } from './types.ts';

/** libostree reads no larger one. */
export const MAX_SUMMARY_BYTES: number = MAX_METADATA_BYTES;

export interface SummaryRef {
  ref: string;
  /** Size of the commit object. */
  commitBytes: bigint;
  checksum: Checksum;
  /** `ostree.commit.timestamp` (t, big-endian), `ostree.commit.version` (s), and what others add. */
  metadata: Metadata;
}

export interface Summary {
  /** The repository's own refs, sorted by their bytes. */
  refs: readonly SummaryRef[];
  /** The repository's own collection; a view of `metadata`. */
  collectionId: string | undefined;
  /** Refs of other collections; a view of `metadata`. */
  collections: ReadonlyMap<string, readonly SummaryRef[]>;
  /** Everything apart from the refs, in stored order. */
  metadata: Metadata;
}

type RefTuple = readonly [ref: string, entry: readonly [commitBytes: bigint, checksum: Uint8Array, metadata: Metadata]];

const summaryCodec: Codec<[refs: readonly RefTuple[], metadata: Metadata]> = codec('(a(s(taya{sv}))a{sv})');
const COLLECTION_MAP = 'a{sa(s(taya{sv}))}';

export const SUMMARY_KEYS = {
  lastModified: 'ostree.summary.last-modified',
  expires: 'ostree.summary.expires',
  mode: 'ostree.summary.mode',
  tombstones: 'ostree.summary.tombstone-commits',
  indexedDeltas: 'ostree.summary.indexed-deltas',
  deltas: 'ostree.static-deltas',
  collectionId: 'ostree.summary.collection-id',
  collectionMap: 'ostree.summary.collection-map',
} as const;

export const COMMIT_TIMESTAMP_KEY = 'ostree.commit.timestamp';
export const COMMIT_VERSION_KEY = 'ostree.commit.version';

/**
 * Returns the summary in `bytes`. Ref names are not checked against the grammar: `Refs` does it before any gets a file.
 * @throws OSTREE_SUMMARY_INVALID
 */
export function parseSummary(bytes: Uint8Array, what = 'summary'): Summary {
  if (bytes.byteLength > MAX_SUMMARY_BYTES) throw invalid(what, `${bytes.byteLength} bytes, over the limit of ${MAX_SUMMARY_BYTES}`);
  let decoded: [readonly RefTuple[], Metadata];
  try {
    decoded = summaryCodec.decode(bytes);
  } catch (cause) {
    throw invalid(what, cause instanceof Error ? cause.message : 'bad GVariant', cause);
  }
  const [refs, metadata] = decoded;
  const own = metadataValue<string>(metadata, SUMMARY_KEYS.collectionId, 's');
  const collections = new Map<string, readonly SummaryRef[]>();
  for (const [collection, list] of metadataValue<[string, RefTuple[]][]>(metadata, SUMMARY_KEYS.collectionMap, COLLECTION_MAP) ?? []) {
    if (collections.has(collection)) throw invalid(what, `collection "${collection.slice(0, 300)}" stands twice`);
    collections.set(collection, refsOf(list, what));
  }
  return { refs: refsOf(refs, what), collectionId: own, collections, metadata };
}

/** Returns the bytes of a summary: of its `refs` and `metadata`. @throws OSTREE_SUMMARY_INVALID when refs are out of order or stand twice */
export function encodeSummary(summary: Pick<Summary, 'refs' | 'metadata'>): Uint8Array<ArrayBuffer> {
  return summaryCodec.encode([tuplesOf(summary.refs), summary.metadata]);
}

/** Returns the value of `ostree.summary.collection-map`. Both levels are sorted by their bytes. */
export function encodeCollectionMap(collections: ReadonlyMap<string, readonly SummaryRef[]>): Variant {
  const sorted = [...collections].sort(([a], [b]) => compareUtf8(a, b));
  return new Variant(
    COLLECTION_MAP,
    sorted.map(([collection, refs]) => [collection, tuplesOf(refs)]),
  );
}

/** A delta in a summary or delta index: `FROM-TO`, or `TO` for one from nothing. */
export type DeltaId = string;

/**
 * Returns the sha256 of the superblock of each static delta; empty also when they are listed in delta indexes only.
 * @throws OSTREE_SUMMARY_INVALID
 */
export function summaryDeltas(summary: Pick<Summary, 'metadata'>): ReadonlyMap<DeltaId, string> {
  const found = new Map<DeltaId, string>();
  for (const [name, value] of metadataValue<Metadata>(summary.metadata, SUMMARY_KEYS.deltas, 'a{sv}') ?? []) {
    const ends = name.split('-');
    if (ends.length > 2 || !ends.every(isChecksum)) throw invalid('summary', `"${name.slice(0, 200)}" is not the name of a static delta`);
    if (value.type !== 'ay' || (value.value as Uint8Array).byteLength !== 32) throw invalid('summary', `static delta ${name} has no checksum`);
    found.set(name, asBuffer(value.value as Uint8Array).toString('hex'));
  }
  return found;
}

/** Returns the mode of the repository, when the summary says one that is known. */
export function summaryMode(summary: Pick<Summary, 'metadata'>): RepoMode | undefined {
  return repoModeOf(metadataValue<string>(summary.metadata, SUMMARY_KEYS.mode, 's') ?? '');
}

/** Returns whether the repository has `delta-indexes/`. */
export function summaryHasDeltaIndexes(summary: Pick<Summary, 'metadata'>): boolean {
  return metadataValue<boolean>(summary.metadata, SUMMARY_KEYS.indexedDeltas, 'b') ?? false;
}

/** Returns the time of a big-endian `t` of a summary or one of its refs, in seconds since 1970; undefined when it has none. */
export function summaryTime(metadata: Metadata, key: string): bigint | undefined {
  const stored = metadataValue<bigint>(metadata, key, 't');
  return stored === undefined ? undefined : u64Swap(stored);
}

function refsOf(tuples: readonly RefTuple[], what: string): SummaryRef[] {
  let previous: string | undefined;
  return tuples.map(([ref, [commitBytes, checksum, metadata]]) => {
    // libostree finds a ref by halving: where one is out of order, others cannot be found.
    if (previous !== undefined && compareUtf8(previous, ref) >= 0) throw invalid(what, `refs not sorted at "${ref.slice(0, 300)}"`);
    previous = ref;
    if (checksum.byteLength !== 32) throw invalid(what, `ref "${ref.slice(0, 300)}" has a checksum of ${checksum.byteLength} bytes`);
    return { ref, commitBytes, checksum: asBuffer(checksum).toString('hex') as Checksum, metadata };
  });
}

function tuplesOf(refs: readonly SummaryRef[]): RefTuple[] {
  const tuples = refs.map(({ ref, commitBytes, checksum, metadata }): RefTuple => [ref, [commitBytes, Buffer.from(checksum, 'hex'), metadata]]);
  refsOf(tuples, 'summary');
  return tuples;
}

function invalid(what: string, why: string, cause?: unknown): Error {
  return ostreeError('OSTREE_SUMMARY_INVALID', `Cannot use ${what}: ${why}`, { cause, hint: 'The publisher can write it anew with: ostree summary --update' });
}
