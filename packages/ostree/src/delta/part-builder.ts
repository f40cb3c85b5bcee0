/** The operations of a part of a static delta in the making; its payload goes on as it comes. */
import type { Checksum } from '@cambium/base';
import type { ObjectName } from '../format/object-set.ts';
import { OperationWriter } from './operations.ts';
import type { Region } from './rollsum.ts';
import { encodeObjectList } from './superblock.ts';

/** Indexes into the tables of a part. */
export interface HeaderIndexes {
  mode: number;
  xattrs: number;
}

/** Puts bytes that are valid during the call. */
export type TakePayload = (bytes: Uint8Array) => void;

export class PartBuilder {
  readonly #objects: ObjectName[] = [];
  readonly #operations = new OperationWriter();
  readonly #take: TakePayload;
  #payloadBytes = 0;
  #usizeBytes = 0;

  constructor(take: TakePayload) {
    this.#take = take;
  }

  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  get objectCount(): number {
    return this.#objects.length;
  }

  /** Of the objects it makes; symlinks count nothing. */
  get usizeBytes(): number {
    return this.#usizeBytes;
  }

  get objects(): Uint8Array {
    return encodeObjectList(this.#objects);
  }

  finishOperations(): Uint8Array {
    return this.#operations.finish();
  }

  /** Adds to the payload; what comes after {@link addMetadata} and the like with a length is theirs. */
  put(bytes: Uint8Array): number {
    const at = this.#payloadBytes;
    if (bytes.byteLength > 0) this.#take(bytes);
    this.#payloadBytes += bytes.byteLength;
    return at;
  }

  addMetadata(object: ObjectName, bytes: Uint8Array): void {
    this.#operations.spliceMetadata(bytes.byteLength, this.put(bytes));
    this.#count(object, bytes.byteLength);
  }

  addSymlink(object: ObjectName, { mode, xattrs }: HeaderIndexes, target: string): void {
    const bytes = Buffer.from(target);
    this.#operations.spliceContent(mode, xattrs, bytes.byteLength, this.put(bytes));
    this.#count(object, 0);
  }

  /** Adds a content object of which the caller {@link put}s the content now. */
  addContent(object: ObjectName, { mode, xattrs }: HeaderIndexes, sizeBytes: number): void {
    this.#operations.spliceContent(mode, xattrs, sizeBytes, this.#payloadBytes);
    this.#count(object, sizeBytes);
  }

  /** Adds a content object that is partly copied from another; the caller {@link put}s the regions that are not, now. */
  addCopied(object: ObjectName, { mode, xattrs }: HeaderIndexes, sizeBytes: number, source: Checksum, regions: readonly Region[]): void {
    const sourceAt = this.put(Buffer.from(source, 'hex'));
    let payloadAt = this.#payloadBytes;
    this.#operations.open(mode, xattrs, sizeBytes);
    let reading = false;
    for (const { copied, offset, length } of regions) {
      if (copied !== reading) {
        if (copied) this.#operations.setReadSource(sourceAt);
        else this.#operations.unsetReadSource();
        reading = copied;
      }
      this.#operations.write(length, copied ? offset : payloadAt);
      if (!copied) payloadAt += length;
    }
    // libostree's own deltas never rely on the end of an object to unset it.
    if (reading) this.#operations.unsetReadSource();
    this.#operations.close();
    this.#count(object, sizeBytes);
  }

  /** Adds a content object as a patch against another; the caller {@link put}s the patch now. */
  addPatched(object: ObjectName, { mode, xattrs }: HeaderIndexes, sizeBytes: number, source: Checksum, patchBytes: number): void {
    this.#operations.setReadSource(this.put(Buffer.from(source, 'hex')));
    this.#operations.open(mode, xattrs, sizeBytes);
    this.#operations.bspatch(this.#payloadBytes, patchBytes);
    this.#operations.close();
    this.#operations.unsetReadSource();
    this.#count(object, sizeBytes);
  }

  #count({ type, checksum }: ObjectName, sizeBytes: number): void {
    this.#objects.push({ type, checksum });
    this.#usizeBytes += sizeBytes;
  }
}
