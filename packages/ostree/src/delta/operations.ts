/** The program of a part: opcodes and numbers. Source: libostree `ostree-repo-static-delta-processing.c`. */
import { Cursor } from '@cambium/base';
import type { ObjectName } from '../format/object-set.ts';
import { corruptDelta, inDelta } from './problems.ts';
import { readVarint, writeVarint } from './varint.ts';

export type DeltaOperation =
  /** A whole object from the payload; the indexes are for content objects, 0 otherwise. */
  | { op: 'splice'; object: ObjectName; mode: number; xattrs: number; length: number; offset: number }
  /** Begins a regular file. */
  | { op: 'open'; object: ObjectName; mode: number; xattrs: number; length: number }
  /** Appends from the read source if one is set, from the payload otherwise. */
  | { op: 'write'; length: number; offset: number }
  /** The payload has the checksum of the object at `offset`. */
  | { op: 'set-read-source'; offset: number }
  | { op: 'unset-read-source' }
  | { op: 'bspatch'; offset: number; length: number }
  | { op: 'close' };

const CODE = { splice: 0x53, open: 0x6f, write: 0x77, setReadSource: 0x72, unsetReadSource: 0x52, close: 0x63, bspatch: 0x42 } as const;

/**
 * Yields the operations; each object is named by the one that begins it.
 * @throws OSTREE_DELTA_CORRUPT also for an object that is begun inside another, or not ended
 */
export function* parseOperations(bytes: Uint8Array, objects: Iterator<ObjectName>): Generator<DeltaOperation> {
  const cursor = new Cursor(bytes, 'operations');
  let open = false;
  const nextObject = (): ObjectName => {
    const next = objects.next();
    if (next.done === true) throw corruptDelta('more operations than objects');
    if (open) throw corruptDelta('an object begun inside another');
    return next.value;
  };
  const mustBeOpen = (): void => {
    if (!open) throw corruptDelta('an operation outside an object');
  };
  while (cursor.remaining > 0) {
    const operation = inDelta('operations', (): DeltaOperation => {
      const opcode = cursor.u8();
      switch (opcode) {
        case CODE.splice: {
          const object = nextObject();
          const content = object.type === 'file';
          const mode = content ? readVarint(cursor) : 0;
          const xattrs = content ? readVarint(cursor) : 0;
          return { op: 'splice', object, mode, xattrs, length: readVarint(cursor), offset: readVarint(cursor) };
        }
        case CODE.open: {
          const object = nextObject();
          if (object.type !== 'file') throw corruptDelta(`a ${object.type} object opened for writing`);
          open = true;
          return { op: 'open', object, mode: readVarint(cursor), xattrs: readVarint(cursor), length: readVarint(cursor) };
        }
        case CODE.write:
          mustBeOpen();
          return { op: 'write', length: readVarint(cursor), offset: readVarint(cursor) };
        case CODE.setReadSource:
          return { op: 'set-read-source', offset: readVarint(cursor) };
        case CODE.unsetReadSource:
          return { op: 'unset-read-source' };
        case CODE.bspatch:
          mustBeOpen();
          return { op: 'bspatch', offset: readVarint(cursor), length: readVarint(cursor) };
        case CODE.close:
          mustBeOpen();
          open = false;
          return { op: 'close' };
        default:
          throw corruptDelta(`unknown operation ${opcode}`);
      }
    });
    yield operation;
  }
  if (open) throw corruptDelta('an object that is not ended');
  if (objects.next().done !== true) throw corruptDelta('fewer operations than objects');
}

/** Gathers the operations of a part. */
export class OperationWriter {
  readonly #bytes: number[] = [];

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  finish(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  spliceMetadata(length: number, offset: number): void {
    this.#put(CODE.splice, length, offset);
  }

  spliceContent(mode: number, xattrs: number, length: number, offset: number): void {
    this.#put(CODE.splice, mode, xattrs, length, offset);
  }

  open(mode: number, xattrs: number, length: number): void {
    this.#put(CODE.open, mode, xattrs, length);
  }

  write(length: number, offset: number): void {
    this.#put(CODE.write, length, offset);
  }

  setReadSource(offset: number): void {
    this.#put(CODE.setReadSource, offset);
  }

  unsetReadSource(): void {
    this.#put(CODE.unsetReadSource);
  }

  bspatch(offset: number, length: number): void {
    this.#put(CODE.bspatch, offset, length);
  }

  close(): void {
    this.#put(CODE.close);
  }

  #put(opcode: number, ...numbers: number[]): void {
    this.#bytes.push(opcode);
    for (const number of numbers) writeVarint(this.#bytes, number);
  }
}
