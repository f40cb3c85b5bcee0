/**
 * Superblocks of static deltas: `(a{sv}tayay(a{sv}aya(say)sstayay)aya(uayttay)a(yaytt))`, bare or inside a signed one,
 * `(taya{sv})`. Source: libostree `ostree-repo-static-delta-private.h`; `docs/formats/ostree-deltas.md`.
 */
import type { Checksum } from '@cambium/base';
import { type Codec, codec, u32Swap, u64Swap, Variant } from '@cambium/gvariant';
import { ostreeError } from '../errors.ts';
import { metadataValue, parseMetadata } from '../format/commit-format.ts';
import { deltaPath } from '../format/delta-path.ts';
import { asBuffer, offsetSize } from '../format/framing.ts';
import type { ObjectName } from '../format/object-set.ts';
import type { Metadata, ObjectType } from '../format/types.ts';
import { corruptDelta, inDelta } from './problems.ts';

export type Endianness = 'little' | 'big';

export interface DeltaPartHeader {
  checksum: Checksum;
  /** Of the part file: compression byte and data. */
  sizeBytes: number;
  /** Of the objects it makes. */
  usizeBytes: number;
  /** 33 bytes for each; {@link partObjects} gives them. */
  objects: Uint8Array;
}

export interface DeltaFallback extends ObjectName {
  /** As stored in an archive repository. */
  sizeBytes: number;
  usizeBytes: number;
}

export interface DeltaSuperblock {
  /** Of the delta, in stored order, inline parts and all. */
  metadata: Metadata;
  endianness: Endianness;
  /** False: the delta does not say; it was found out from the sizes. */
  endiannessDeclared: boolean;
  /** Seconds since 1970. */
  timestamp: bigint;
  from: Checksum | undefined;
  to: Checksum;
  /** The commit object itself; `to` is not checked against it before {@link applyDelta}. */
  commitBytes: Uint8Array;
  /** Pairs of checksums of deltas to apply first: always empty. */
  parentCount: number;
  parts: readonly DeltaPartHeader[];
  /** Objects to fetch singly. */
  fallbacks: readonly DeltaFallback[];
  /** Part files that are inside the superblock, by index. */
  inlineParts: ReadonlyMap<number, Uint8Array>;
  /** The commit's detached metadata: signatures. */
  detached: Metadata | undefined;
  /** The signatures over {@link signedBytes}, where the superblock came in a signed envelope. */
  signatures: Metadata | undefined;
  /** The bare superblock: what is signed. */
  signedBytes: Uint8Array;
}

type Tuple = [
  metadata: Metadata,
  timestamp: bigint,
  from: Uint8Array,
  to: Uint8Array,
  commit: unknown,
  parents: Uint8Array,
  parts: ReadonlyArray<readonly [version: number, checksum: Uint8Array, size: bigint, usize: bigint, objects: Uint8Array]>,
  fallbacks: ReadonlyArray<readonly [type: number, checksum: Uint8Array, size: bigint, usize: bigint]>,
];

const commitCodec: Codec<unknown> = codec('(a{sv}aya(say)sstayay)');
const superblockCodec: Codec<Tuple> = codec('(a{sv}tayay(a{sv}aya(say)sstayay)aya(uayttay)a(yaytt))');
const signedCodec: Codec<[magic: bigint, superblock: Uint8Array, signatures: Metadata]> = codec('(taya{sv})');
const entryCodec: Codec<[string, Variant]> = codec('{sv}');
const partsCodec: Codec<Tuple[6]> = codec('a(uayttay)');
const fallbacksCodec: Codec<Tuple[7]> = codec('a(yaytt)');
const inlineCodec: Codec<[compression: number, data: Uint8Array]> = codec('(yay)');

/** Begins a signed superblock. */
const MAGIC: Buffer = Buffer.from('OSTSGNDT', 'latin1');
const LITTLE = 0x6c;
const BIG = 0x42;
const OBJECT_BYTES = 33;
/** What offsets of four bytes reach. */
const MAX_SUPERBLOCK_BYTES = 0xffff_ffff;
const NOTHING: Uint8Array = new Uint8Array(0);
const TYPES: readonly (ObjectType | undefined)[] = [undefined, 'file', 'dirtree', 'dirmeta', 'commit'];
const CODES: Readonly<Record<ObjectType, number>> = { file: 1, dirtree: 2, dirmeta: 3, commit: 4 };

/** Yields the objects of a part in the order in which its operations make them. */
export function* partObjects(part: DeltaPartHeader): Generator<ObjectName> {
  const list = asBuffer(part.objects);
  for (let at = 0; at < list.byteLength; at += OBJECT_BYTES) {
    yield { type: TYPES[list[at] as number] as ObjectType, checksum: list.toString('hex', at + 1, at + OBJECT_BYTES) as Checksum };
  }
}

export function encodeObjectList(objects: readonly ObjectName[]): Uint8Array {
  const list = Buffer.alloc(objects.length * OBJECT_BYTES);
  for (const [i, { type, checksum }] of objects.entries()) {
    list[i * OBJECT_BYTES] = CODES[type];
    list.write(checksum, i * OBJECT_BYTES + 1, 32, 'hex');
  }
  return list;
}

function isSignedSuperblock(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, MAGIC.byteLength));
}

/**
 * Returns the superblock in `bytes`, of which it holds views. Signatures are not verified here, nor is anything checked that
 * needs the parts. @throws OSTREE_DELTA_CORRUPT
 */
export function parseSuperblock(bytes: Uint8Array): DeltaSuperblock {
  if (!isSignedSuperblock(bytes)) return parseBare(bytes, undefined);
  const [, inner, signatures] = inDelta('signed superblock', () => signedCodec.decode(bytes));
  if (isSignedSuperblock(inner)) throw corruptDelta('a signed superblock in a signed one');
  return parseBare(inner, signatures);
}

function parseBare(bytes: Uint8Array, signatures: Metadata | undefined): DeltaSuperblock {
  const [metadata, timestamp, from, to, commit, parents, partTuples, fallbackTuples] = inDelta('superblock', () => superblockCodec.decode(bytes));
  const declared = metadataValue<number>(metadata, 'ostree.endianness', 'y');
  if (declared !== undefined && declared !== LITTLE && declared !== BIG) throw corruptDelta(`unknown endianness ${declared}`);
  const endiannessDeclared = declared !== undefined;
  const swapped = endiannessDeclared ? declared === BIG : looksSwapped(partTuples);
  const number = (value: bigint): number => {
    const size = swapped ? u64Swap(value) : value;
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw corruptDelta('an impossible size');
    return Number(size);
  };
  const ends = { from: from.byteLength === 0 ? undefined : checksumIn(from), to: checksumIn(to) };
  if (parents.byteLength % 64 !== 0) throw corruptDelta('a bad list of deltas to apply first');
  const parts = partTuples.map(([version, checksum, size, usize, objects]): DeltaPartHeader => {
    if (version !== 0) throw corruptDelta(`parts of version ${swapped ? u32Swap(version) : version}`);
    checkObjectList(objects);
    return { checksum: checksumIn(checksum), sizeBytes: number(size), usizeBytes: number(usize), objects };
  });
  const fallbacks = fallbackTuples.map(([code, checksum, size, usize]): DeltaFallback => {
    const type = TYPES[code];
    if (type === undefined) throw corruptDelta(`unknown type of object ${code}`);
    return { type, checksum: checksumIn(checksum), sizeBytes: number(size), usizeBytes: number(usize) };
  });
  const directory = deltaPath(ends);
  return {
    metadata,
    endianness: swapped ? 'big' : 'little',
    endiannessDeclared,
    timestamp: u64Swap(timestamp),
    ...ends,
    commitBytes: commitCodec.encode(commit),
    parentCount: parents.byteLength / 64,
    parts,
    fallbacks,
    inlineParts: inlinePartsIn(metadata, directory, parts.length),
    detached: metadataValue<Metadata>(metadata, `${directory}/commitmeta`, 'a{sv}'),
    signatures,
    signedBytes: bytes,
  };
}

function inlinePartsIn(metadata: Metadata, directory: string, count: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (const [key, variant] of metadata) {
    const text = key.startsWith(`${directory}/`) ? key.slice(directory.length + 1) : '';
    if (variant.type !== inlineCodec.type || !/^(?:0|[1-9]\d{0,9})$/.test(text)) continue;
    const index = Number(text);
    if (index < count && !found.has(index)) found.set(index, inlineCodec.encode(variant.value as [number, Uint8Array]));
  }
  return found;
}

/** Deltas of before 2016 do not say; sizes in the wrong order are absurd. The reader is taken to be little-endian. */
function looksSwapped(parts: Tuple[6]): boolean {
  let total = 0n;
  let count = 0n;
  for (const [, , size, usize, objects] of parts) {
    // Compressed data is hardly longer than what it was.
    if (size > usize + usize / 5n) return true;
    total += usize;
    count += BigInt(Math.floor(objects.byteLength / OBJECT_BYTES));
  }
  return count > 0n && total / count > 0xffff_ffffn;
}

function checkObjectList(objects: Uint8Array): void {
  if (objects.byteLength % OBJECT_BYTES !== 0) throw corruptDelta('a bad list of objects');
  for (let at = 0; at < objects.byteLength; at += OBJECT_BYTES) {
    if (TYPES[objects[at] as number] === undefined) throw corruptDelta(`unknown type of object ${objects[at]}`);
  }
}

function checksumIn(bytes: Uint8Array): Checksum {
  if (bytes.byteLength !== 32) throw corruptDelta(`a checksum of ${bytes.byteLength} bytes`);
  return asBuffer(bytes).toString('hex') as Checksum;
}

/** @template T what stands for an inline part */
export interface SuperblockInit<T = Uint8Array> {
  /** Comes first in the delta's metadata. */
  metadata?: Metadata;
  endianness: Endianness;
  timestamp: bigint;
  from: Checksum | undefined;
  to: Checksum;
  commitBytes: Uint8Array;
  parts: readonly DeltaPartHeader[];
  fallbacks: readonly DeltaFallback[];
  inlineParts?: ReadonlyMap<number, T>;
  /** Bytes of an `a{sv}`. */
  detached?: Uint8Array | undefined;
}

/** Returns the bytes of a bare superblock. @throws GVARIANT_NOT_NORMAL unless `commitBytes` is a commit */
export function encodeSuperblock(init: SuperblockInit): Uint8Array {
  return Buffer.concat(layoutSuperblock(init));
}

/**
 * Returns the pieces of a bare superblock, in order; with inline parts that are not bytes but what `T` names, they come as they are.
 * Framed by hand, so that the parts need not be in memory. @throws GVARIANT_NOT_NORMAL unless `commitBytes` is a commit
 */
export function layoutSuperblock<T extends { byteLength: number }>(init: SuperblockInit<T>): (Uint8Array | T)[] {
  const { from, to, endianness } = init;
  const directory = deltaPath({ from, to });
  const number = (value: number): bigint => (endianness === 'big' ? u64Swap(BigInt(value)) : BigInt(value));
  const bytesOf = (checksum: Checksum): Uint8Array => Buffer.from(checksum, 'hex');
  commitCodec.decode(init.commitBytes);
  const entry = (key: string, value: Variant): Pieces<T> => [entryCodec.encode([key, value])];
  const metadata: Pieces<T>[] = [
    ...(init.metadata ?? []).map(([key, value]) => entry(key, value)),
    entry('ostree.endianness', new Variant('y', endianness === 'big' ? BIG : LITTLE)),
    ...(init.inlineParts ?? new Map<number, T>()).entries().map(([index, part]) => inlineEntry(`${directory}/${index}`, part)),
    ...(init.detached === undefined ? [] : [entry(`${directory}/commitmeta`, new Variant('a{sv}', parseMetadata(init.detached)))]),
  ];
  const timestamp = Buffer.alloc(8);
  timestamp.writeBigUInt64BE(init.timestamp);
  const parts = init.parts.map((part) => [0, bytesOf(part.checksum), number(part.sizeBytes), number(part.usizeBytes), part.objects] as const);
  const fallbacks = init.fallbacks.map((one) => [CODES[one.type], bytesOf(one.checksum), number(one.sizeBytes), number(one.usizeBytes)] as const);
  return frameTuple<T>([
    { pieces: frameArray(metadata), align: 8 },
    { pieces: [timestamp], align: 8, fixed: true },
    { pieces: [from === undefined ? NOTHING : bytesOf(from)], align: 1 },
    { pieces: [bytesOf(to)], align: 1 },
    { pieces: [init.commitBytes], align: 8 },
    { pieces: [NOTHING], align: 1 },
    { pieces: [partsCodec.encode(parts)], align: 8 },
    { pieces: [fallbacksCodec.encode(fallbacks)], align: 8 },
  ]);
}

type Pieces<T> = (Uint8Array | T)[];

function lengthOf(pieces: ReadonlyArray<{ byteLength: number }>): number {
  return pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** An entry of an `a{sv}` with a part. */
function inlineEntry<T extends { byteLength: number }>(key: string, part: T): Pieces<T> {
  const name = Buffer.from(`${key}\0`);
  const pieces: Pieces<T> = [name, padding(name.byteLength, 8), part, Buffer.from(`\0${inlineCodec.type}`)];
  return [...pieces, encodeOffsets([name.byteLength], lengthOf(pieces))];
}

/** An array of elements of variable size, aligned to 8 bytes. */
function frameArray<T extends { byteLength: number }>(elements: readonly Pieces<T>[]): Pieces<T> {
  const pieces: Pieces<T> = [];
  const ends: number[] = [];
  let at = 0;
  for (const element of elements) {
    const gap = padding(at, 8);
    pieces.push(gap, ...element);
    at += gap.byteLength + lengthOf(element);
    ends.push(at);
  }
  return [...pieces, encodeOffsets(ends, at)];
}

/** A tuple; the ends of its members are at its end, the last one first, without that of the last member. */
function frameTuple<T extends { byteLength: number }>(members: readonly { pieces: Pieces<T>; align: number; fixed?: boolean }[]): Pieces<T> {
  const pieces: Pieces<T> = [];
  const ends: number[] = [];
  let at = 0;
  for (const { pieces: member, align, fixed } of members) {
    const gap = padding(at, align);
    pieces.push(gap, ...member);
    at += gap.byteLength + lengthOf(member);
    if (fixed !== true) ends.push(at);
  }
  return [...pieces, encodeOffsets(ends.slice(0, -1).reverse(), at)];
}

function padding(at: number, align: number): Uint8Array {
  return new Uint8Array((align - (at % align)) % align);
}

/** @throws OSTREE_OBJECT_TOO_LARGE */
function encodeOffsets(ends: readonly number[], bodyBytes: number): Uint8Array {
  const size = offsetSize(bodyBytes, ends.length);
  if (bodyBytes + ends.length * size > MAX_SUPERBLOCK_BYTES) {
    throw ostreeError('OSTREE_OBJECT_TOO_LARGE', 'Cannot write static delta: its superblock has over 4 GB', {
      hint: 'Have the parts written beside it: leave out --inline',
    });
  }
  const bytes = Buffer.alloc(ends.length * size);
  for (const [i, end] of ends.entries()) bytes.writeUIntLE(end, i * size, size);
  return bytes;
}

/** Returns a superblock in its signed envelope. @param signatures `ostree.sign.TYPE`: `aay` */
export function encodeSignedSuperblock(superblock: Uint8Array, signatures: Metadata): Uint8Array {
  return signedCodec.encode([MAGIC.readBigUInt64LE(), superblock, signatures]);
}
