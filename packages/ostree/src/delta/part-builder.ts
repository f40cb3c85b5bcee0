/** A part of a static delta in the making: tables, payload and operations grow together. */
import type { Checksum } from '@cambium/base';
import { encodeXattrList } from '../format/framing.ts';
import { isSymlink } from '../format/object-format.ts';
import type { ObjectName } from '../format/object-set.ts';
import type { FileHeader } from '../format/types.ts';
import { OperationWriter } from './operations.ts';
import { encodePart, type FileMode } from './part.ts';
import type { Region } from './rollsum.ts';
import { encodeObjectList } from './superblock.ts';

export class PartBuilder {
  readonly #objects: ObjectName[] = [];
  readonly #modes = new Map<string, { index: number; mode: FileMode }>();
  readonly #xattrs = new Map<string, { index: number; list: FileHeader['xattrs'] }>();
  readonly #payload: Uint8Array[] = [];
  readonly #operations = new OperationWriter();
  #payloadBytes = 0;
  #usizeBytes = 0;

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

  addMetadata(object: ObjectName, bytes: Uint8Array): void {
    this.#operations.spliceMetadata(bytes.byteLength, this.#put(bytes));
    this.#count(object, bytes.byteLength);
  }

  /** Adds a content object whole. */
  addContent(object: ObjectName, header: FileHeader, content: Uint8Array): void {
    const bytes = isSymlink(header) ? Buffer.from(header.target) : content;
    this.#operations.spliceContent(this.#mode(header), this.#xattrList(header), bytes.byteLength, this.#put(bytes));
    this.#count(object, content.byteLength);
  }

  /** Adds a content object that is partly copied from another. */
  addCopied(object: ObjectName, header: FileHeader, content: Uint8Array, source: Checksum, regions: readonly Region[]): void {
    const sourceAt = this.#put(Buffer.from(source, 'hex'));
    this.#operations.open(this.#mode(header), this.#xattrList(header), content.byteLength);
    let reading = false;
    for (const { copied, offset, length } of regions) {
      if (copied !== reading) {
        if (copied) this.#operations.setReadSource(sourceAt);
        else this.#operations.unsetReadSource();
        reading = copied;
      }
      this.#operations.write(length, copied ? offset : this.#put(content.subarray(offset, offset + length)));
    }
    // libostree's own deltas never rely on the end of an object to unset it.
    if (reading) this.#operations.unsetReadSource();
    this.#operations.close();
    this.#count(object, content.byteLength);
  }

  /** Adds a content object as a patch against another. */
  addPatched(object: ObjectName, header: FileHeader, sizeBytes: number, source: Checksum, patch: Uint8Array): void {
    this.#operations.setReadSource(this.#put(Buffer.from(source, 'hex')));
    this.#operations.open(this.#mode(header), this.#xattrList(header), sizeBytes);
    this.#operations.bspatch(this.#put(patch), patch.byteLength);
    this.#operations.close();
    this.#operations.unsetReadSource();
    this.#count(object, sizeBytes);
  }

  /** Returns the bytes of the part, not yet compressed. */
  encode(): Uint8Array {
    return encodePart({
      modes: [...this.#modes.values()].map(({ mode }) => mode),
      xattrs: [...this.#xattrs.values()].map(({ list }) => list),
      payload: this.#payload,
      operations: this.#operations.finish(),
    });
  }

  #count(object: ObjectName, sizeBytes: number): void {
    this.#objects.push(object);
    this.#usizeBytes += sizeBytes;
  }

  #put(bytes: Uint8Array): number {
    const at = this.#payloadBytes;
    this.#payload.push(bytes);
    this.#payloadBytes += bytes.byteLength;
    return at;
  }

  #mode({ uid, gid, mode }: FileHeader): number {
    const key = `${uid}:${gid}:${mode}`;
    const known = this.#modes.get(key) ?? { index: this.#modes.size, mode: { uid, gid, mode } };
    this.#modes.set(key, known);
    return known.index;
  }

  #xattrList({ xattrs }: FileHeader): number {
    const key = xattrs.length === 0 ? '' : encodeXattrList(xattrs).toString('latin1');
    const known = this.#xattrs.get(key) ?? { index: this.#xattrs.size, list: xattrs };
    this.#xattrs.set(key, known);
    return known.index;
  }
}
