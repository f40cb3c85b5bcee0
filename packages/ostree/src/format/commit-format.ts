/** Bytes of commits `(a{sv}aya(say)sstayay)` and of detached metadata `a{sv}`. Source: libostree `ostree-core.h`, OSTREE_COMMIT_GVARIANT_FORMAT. */
import type { Checksum } from '@cambium/base';
import { type Codec, codec, u64Swap, type Variant } from '@cambium/gvariant';
import { ostreeError } from '../errors.ts';
import { asBuffer, corrupt } from './framing.ts';
import { MAX_METADATA_BYTES } from './object-format.ts';
import type { Commit, Metadata } from './types.ts';

type CommitTuple = [
  metadata: Metadata,
  parent: Uint8Array,
  related: ReadonlyArray<readonly [string, Uint8Array]>,
  subject: string,
  body: string,
  timestamp: bigint,
  tree: Uint8Array,
  meta: Uint8Array,
];

const commitCodec: Codec<CommitTuple> = codec('(a{sv}aya(say)sstayay)');
const metadataCodec: Codec<Metadata> = codec('a{sv}');

/** Returns the bytes of a commit. @throws OSTREE_OBJECT_CORRUPT for empty metadata keys, GVARIANT_VALUE_INVALID */
export function encodeCommit(commit: Commit): Uint8Array {
  checkKeys(commit.metadata, 'commit');
  return commitCodec.encode([
    commit.metadata,
    commit.parent === undefined ? new Uint8Array(0) : Buffer.from(commit.parent, 'hex'),
    commit.related.map(([name, checksum]) => [name, Buffer.from(checksum, 'hex')] as const),
    commit.subject,
    commit.body,
    u64Swap(BigInt.asUintN(64, commit.timestamp)),
    Buffer.from(commit.root.tree, 'hex'),
    Buffer.from(commit.root.meta, 'hex'),
  ]);
}

/** Returns the commit in `bytes`; byte strings in its metadata are views of them. @throws OSTREE_OBJECT_CORRUPT */
export function parseCommit(bytes: Uint8Array, what = 'commit'): Commit {
  const [metadata, parent, related, subject, body, timestamp, tree, meta] = decodeAs(commitCodec, bytes, what);
  checkKeys(metadata, what);
  return {
    metadata,
    parent: parent.byteLength === 0 ? undefined : hex(parent, what),
    related: related.map(([name, checksum]) => [name, hex(checksum, what)] as const),
    subject,
    body,
    timestamp: u64Swap(timestamp),
    root: { tree: hex(tree, what), meta: hex(meta, what) },
  };
}

/** Returns the bytes of an `a{sv}` in the order given. */
export function encodeMetadata(metadata: Metadata): Uint8Array {
  return metadataCodec.encode(metadata);
}

/** Returns the entries of an `a{sv}` in stored order. @throws OSTREE_OBJECT_CORRUPT */
export function parseMetadata(bytes: Uint8Array, what = 'metadata'): Metadata {
  return decodeAs(metadataCodec, bytes, what);
}

/** Returns the value of a key: the first, as libostree looks it up; undefined also when it has another type. */
export function metadataValue<T>(metadata: Metadata, key: string, type: string): T | undefined {
  const found: Variant | undefined = metadata.find(([name]) => name === key)?.[1];
  return found?.type === type ? (found.value as T) : undefined;
}

function decodeAs<T>(as: Codec<T>, bytes: Uint8Array, what: string): T {
  if (bytes.byteLength > MAX_METADATA_BYTES) throw ostreeError('OSTREE_OBJECT_TOO_LARGE', `Cannot parse ${what}: over ${MAX_METADATA_BYTES} bytes`);
  try {
    return as.decode(bytes);
  } catch (cause) {
    throw ostreeError('OSTREE_OBJECT_CORRUPT', `Cannot parse ${what}: ${cause instanceof Error ? cause.message : 'bad GVariant'}`, { cause });
  }
}

function checkKeys(metadata: Metadata, what: string): void {
  if (metadata.some(([key]) => key === '')) throw corrupt(what, 'an empty metadata key');
}

function hex(bytes: Uint8Array, what: string): Checksum {
  if (bytes.byteLength !== 32) throw corrupt(what, `a checksum of ${bytes.byteLength} bytes`);
  return asBuffer(bytes).toString('hex') as Checksum;
}
