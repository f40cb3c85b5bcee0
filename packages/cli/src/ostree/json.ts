/** What `--json` prints of the things that several verbs show. The shapes are documented with the verbs: `docs/commands.md`. */
import { type Checksum, decodeUtf8 } from '@cambium/base';
import {
  type Commit,
  type DeltaDescription,
  deltaName,
  formatMetadataValue,
  type ListEntry,
  type Metadata,
  metadataValue,
  type SignatureReport,
  type Summary,
  type SummaryRef,
} from '@cambium/ostree';

/** Lazily: a tree may have more entries than memory has room for. */
export function* mapped<T>(items: Iterable<T>, change: (item: T) => object): Generator<object, void, undefined> {
  for (const item of items) yield change(item);
}

type Xattrs = ListEntry['xattrs'];

/** As text, a byte of a value is up to six; a commit may have 100 MB of them. */
const MAX_VALUE_WEIGHT: number = 64 * 1024;

/** Values as `--print-metadata-key` prints them: GVariant text, from which nothing is lost. Large ones are null: they are to be asked for singly. */
export function metadataJson(metadata: Metadata): Record<string, string | null> {
  return Object.fromEntries(metadata.map(([key, value]) => [key, weigh(value) > MAX_VALUE_WEIGHT ? null : formatMetadataValue(value)]));
}

/** Returns about how much text a value makes, or more than the limit; it is not looked at further then. */
function weigh(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (value instanceof Uint8Array) return value.byteLength;
  if (typeof value !== 'object' || value === null) return 8;
  let weight = 2;
  for (const each of Object.values(value)) {
    weight += weigh(each);
    if (weight > MAX_VALUE_WEIGHT) break;
  }
  return weight;
}

/** A date in ISO 8601 where the calendar has it, and always the number. */
function timeJson(seconds: bigint): { timestamp: bigint; date?: string } {
  const date = new Date(Number(seconds) * 1000);
  return { timestamp: seconds, ...(Number.isNaN(date.getTime()) ? {} : { date: date.toISOString() }) };
}

export const COMMIT_SHAPE = '{ commit, parent?, timestamp, date, version?, subject, body, tree, meta, metadata: { KEY: GVARIANT|null } }';

export function commitJson(checksum: Checksum, { parent, timestamp, subject, body, root, metadata }: Commit): object {
  const version = metadataValue<string>(metadata, 'version', 's');
  return { commit: checksum, parent, ...timeJson(timestamp), version, subject, body, tree: root.tree, meta: root.meta, metadata: metadataJson(metadata) };
}

/** Names are bytes, and so are values: those that are no text are `base64:…`. */
export function xattrsJson(xattrs: Xattrs): Record<string, string> {
  return Object.fromEntries(xattrs.map(([name, value]) => [textOf(name), textOf(value)]));
}

function textOf(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  return text === undefined || text.startsWith('base64:') || text.includes('\0') ? `base64:${Buffer.from(bytes).toString('base64')}` : text;
}

export const ENTRY_SHAPE = '{ path, kind: file|symlink|directory, mode, uid, gid, sizeBytes, target?, xattrs, checksum?, tree?, meta? }';

/** `mode` is that of `stat`, in octal digits. */
export function entryJson({ path, kind, mode, uid, gid, sizeBytes, target, xattrs, checksum, tree, meta }: ListEntry): object {
  const link = kind === 'symlink' ? target : undefined;
  return { path, kind, mode: mode.toString(8), uid, gid, sizeBytes, target: link, xattrs: xattrsJson(xattrs), checksum, tree, meta };
}

export const SUMMARY_SHAPE = '{ collection?, refs: [{ collection?, ref, commit, commitBytes, metadata }], metadata: { KEY: GVARIANT|null } }';

export function summaryJson({ collectionId, refs, collections, metadata }: Summary): object {
  const rows = (of: readonly SummaryRef[], collection: string | undefined): object[] =>
    of.map((each) => ({ collection, ref: each.ref, commit: each.checksum, commitBytes: each.commitBytes, metadata: metadataJson(each.metadata) }));
  const all = [...rows(refs, collectionId), ...[...collections].flatMap(([collection, theirs]) => rows(theirs, collection))];
  return { collection: collectionId, refs: all, metadata: metadataJson(metadata) };
}

export const SIGNATURE_SHAPE = '{ engine, valid, problem?, key?, signer?, source?, created?, expires? }';

export function signatureJson({ engine, valid, problem, key, signer, source, created, expires }: SignatureReport): object {
  return { engine, valid, problem, key, signer, source, created, expires };
}

export const DELTA_SHAPE =
  '{ name, from?, to, endianness, timestamp, date, inlineParts, parts: [{ objects, sizeBytes, usizeBytes, … }], fallbacks: [{ type, checksum, sizeBytes, usizeBytes }] }';

export function deltaJson({ superblock, parts }: DeltaDescription): object {
  const { from, to, endianness, timestamp, fallbacks, inlineParts } = superblock;
  return { name: deltaName(superblock), from, to, endianness, ...timeJson(timestamp), inlineParts: inlineParts.size, parts, fallbacks };
}
