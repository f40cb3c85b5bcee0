/** Finding what is missing below directories that are here, as a pull does for all that a new commit shares with older ones. */
import { isUtf8 } from 'node:buffer';
import { type Checksum, errnoOf } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { asBuffer } from '../format/framing.ts';
import { checksumOf, MAX_METADATA_BYTES, scanDirTree } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import { type ObjectName, ObjectSet } from '../format/object-set.ts';
import type { ObjectType } from '../format/types.ts';
import { readBounded } from './bounded-file.ts';
import { type ObjectPlace, PresentObjects } from './present-objects.ts';

export interface Gaps {
  /** What directories that are here need and is not: a byte for the kind and 32 of checksum each. */
  missing: Uint8Array;
  /** Directories that are here and have not been looked at yet: 32 bytes each. */
  rest: Uint8Array;
}

const KINDS: readonly ['file', 'dirtree', 'dirmeta'] = ['file', 'dirtree', 'dirmeta'];
const RECORD_BYTES = 33;

/** Looks at each object once; those of a directory that is missing are its finder's. */
export class TreeGaps {
  readonly #places: readonly ObjectPlace[];
  readonly #present: PresentObjects;
  readonly #seen = new ObjectSet();

  /** @param places where an object may be; a place that comes first is asked first */
  constructor(places: readonly ObjectPlace[]) {
    this.#places = places;
    this.#present = new PresentObjects(places);
    this.#present.refresh();
  }

  /**
   * Looks through directories that are here, and those below them, at most `limit` of them.
   * @param trees 32 bytes of checksum each
   * @throws OSTREE_OBJECT_CORRUPT OSTREE_OBJECT_TOO_LARGE, and OSTREE_OBJECT_MISSING for one that is gone meanwhile
   */
  look(trees: Uint8Array, limit: number): Gaps {
    const todo = checksumsIn(trees);
    const missing: ObjectName[] = [];
    let bytes: Buffer = asBuffer(trees);
    /** Returns whether an object is here and has not been seen before. */
    const isNewHere = (type: ObjectType, at: number): boolean => {
      if (!this.#seen.addBytes(type, bytes, at)) return false;
      if (this.#present.hasBytes(type, bytes, at)) return true;
      missing.push({ type, checksum: checksumAt(bytes, at) });
      return false;
    };
    for (let count = 0; count < limit; count++) {
      const next = todo.pop();
      if (next === undefined) break;
      bytes = this.#read(next);
      scanDirTree(
        bytes,
        `dirtree ${next}`,
        (start, end) => {
          checkName(bytes, start, end, next);
          isNewHere('file', end);
        },
        (start, end) => {
          checkName(bytes, start, end, next);
          isNewHere('dirmeta', end + 32);
          if (isNewHere('dirtree', end)) todo.push(checksumAt(bytes, end));
        },
      );
    }
    return { missing: encodeNames(missing), rest: encodeChecksums(todo) };
  }

  #read(checksum: Checksum): Buffer {
    for (const { objects, mode } of this.#places) {
      try {
        const bytes = readBounded(`${objects}/${loosePath('dirtree', checksum, mode)}`, MAX_METADATA_BYTES, (why) =>
          why === 'irregular' ? corrupt(checksum, 'is no regular file') : tooLarge(checksum),
        );
        if (checksumOf(bytes) !== checksum) throw corrupt(checksum, 'does not match its checksum');
        return bytes;
      } catch (error) {
        const code = errnoOf(error);
        // A link in circles, a socket.
        if (code === 'ELOOP' || code === 'ENXIO') throw corrupt(checksum, 'is no regular file', error);
        if (code !== 'ENOENT') throw error;
      }
    }
    throw ostreeError('OSTREE_OBJECT_MISSING', `No such metadata object ${checksum}.dirtree`, { data: { checksum, type: 'dirtree' } });
  }
}

/** Returns checksums as {@link TreeGaps.look} takes them. */
export function encodeChecksums(checksums: readonly Checksum[]): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(checksums.length * 32);
  for (const [i, checksum] of checksums.entries()) bytes.write(checksum, i * 32, 32, 'hex');
  return bytes;
}

/** Yields the objects that {@link Gaps} name. */
export function* missingIn({ missing }: Gaps): Generator<{ type: (typeof KINDS)[number]; checksum: Checksum }> {
  const bytes = asBuffer(missing);
  for (let at = 0; at < bytes.byteLength; at += RECORD_BYTES) {
    yield { type: KINDS[bytes[at] as number] ?? 'file', checksum: bytes.toString('hex', at + 1, at + RECORD_BYTES) as Checksum };
  }
}

/** The other way round. */
export function checksumsIn(bytes: Uint8Array): Checksum[] {
  const hex = asBuffer(bytes).toString('hex');
  return Array.from({ length: bytes.byteLength / 32 }, (_, i) => hex.slice(i * 64, i * 64 + 64) as Checksum);
}

function checksumAt(bytes: Buffer, at: number): Checksum {
  return bytes.toString('hex', at, at + 32) as Checksum;
}

const SLASH = 0x2f;
const DOT = 0x2e;

/** What libostree looks at when it goes through a tree: a name that could lead elsewhere. @param end behind its NUL */
function checkName(bytes: Buffer, start: number, end: number, tree: Checksum): void {
  const length = end - 1 - start;
  let isText = true;
  for (let at = start; at < end - 1; at++) {
    const byte = bytes[at] as number;
    if (byte === SLASH || byte === 0) throw corrupt(tree, 'has an invalid name');
    if (byte >= 0x80) isText = false;
  }
  if (bytes[start] === DOT && (length === 1 || (length === 2 && bytes[start + 1] === DOT))) throw corrupt(tree, 'has an invalid name');
  if (!isText && !isUtf8(bytes.subarray(start, end - 1))) throw corrupt(tree, 'has a name that is not UTF-8');
}

function encodeNames(names: readonly ObjectName[]): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(names.length * RECORD_BYTES);
  for (const [i, { type, checksum }] of names.entries()) {
    bytes[i * RECORD_BYTES] = KINDS.findIndex((kind) => kind === type);
    bytes.write(checksum, i * RECORD_BYTES + 1, 32, 'hex');
  }
  return bytes;
}

function corrupt(checksum: Checksum, why: string, cause?: unknown): Error {
  return ostreeError('OSTREE_OBJECT_CORRUPT', `Object ${checksum}.dirtree ${why}`, { data: { checksum, type: 'dirtree' }, cause });
}

function tooLarge(checksum: Checksum): Error {
  return ostreeError('OSTREE_OBJECT_TOO_LARGE', `Cannot read dirtree ${checksum}: over ${MAX_METADATA_BYTES} bytes`, {
    data: { checksum, type: 'dirtree' },
  });
}
