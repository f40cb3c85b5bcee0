/**
 * Making the objects of a static delta. Nothing that is not what its checksum says is ever filed under that name, and the
 * commit is written last. Source: libostree `_ostree_static_delta_part_execute`.
 */
import { type Checksum, decodeUtf8 } from '@cambium/base';
import { S_IFLNK, S_IFMT, S_IFREG } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { asBuffer } from '../format/framing.ts';
import { checksumOf } from '../format/object-format.ts';
import type { ObjectName } from '../format/object-set.ts';
import type { FileHeader, ObjectType } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import type { ContentStream, ContentWriter } from '../write/content-writer.ts';
import type { Transaction } from '../write/transaction.ts';
import { applyBspatch } from './bspatch.ts';
import { parseOperations } from './operations.ts';
import { type DeltaPart, unpackPartFile } from './part.ts';
import { corruptDelta } from './problems.ts';
import { openReadSource, type ReadSource } from './read-source.ts';
import { type DeltaPartHeader, type DeltaSuperblock, partObjects } from './superblock.ts';

/** Where the pieces of a delta come from. */
export interface DeltaInput {
  /** Returns a part file, which is verified here. Called in order, for parts that are needed and not inline. @param next the part that is needed next */
  part(index: number, next: number | undefined): Promise<Uint8Array>;
  /** Puts an object that the delta leaves out into the transaction. Not called for objects that are there. */
  fallback(type: ObjectType, checksum: Checksum): Promise<void>;
}

/** What the program of a part makes, and what it copies from. */
export interface PartScope {
  wants(type: ObjectType, checksum: Checksum): boolean;
  sources: Repo;
}

export interface ApplyDeltaResult {
  /** Parts applied; others had nothing new. */
  parts: number;
  fallbacks: number;
}

/** Room for the overhead of operations and patches beside the objects themselves. */
const PART_OVERHEAD_BYTES = 64 * 1024 * 1024;
/** A part is in memory whole. */
const MAX_PART_BYTES = 1024 * 1024 * 1024;
const COPY_BYTES = 512 * 1024;
/** Two parts that make so much together may be in memory: one is unpacked while the other is applied. */
const AHEAD_BYTES: number = 24 * 1024 * 1024;

/** Returns how much may come out of a part: payload is not longer than the objects it makes, but for overhead. */
export function partLimit(header: DeltaPartHeader): number {
  return Math.min(MAX_PART_BYTES, PART_OVERHEAD_BYTES + 2 * header.usizeBytes);
}

/**
 * Makes all that a delta brings; the caller commits the transaction, sets refs, and has verified signatures before.
 *
 * @throws OSTREE_OBJECT_MISSING when the commit that the delta starts from is not here, OSTREE_DELTA_CORRUPT, what `input` throws,
 *   and what writing objects throws
 */
export async function applyDelta(transaction: Transaction, superblock: DeltaSuperblock, input: DeltaInput, signal?: AbortSignal): Promise<ApplyDeltaResult> {
  const { repo } = transaction;
  const { from, to } = superblock;
  if (from !== undefined && !repo.hasObject('commit', from)) {
    throw ostreeError('OSTREE_OBJECT_MISSING', `Commit ${from}, which is the delta source, is not in repository`, { data: { checksum: from, type: 'commit' } });
  }
  if (checksumOf(superblock.commitBytes) !== to) throw corruptDelta(`the commit inside does not match its checksum ${to}`);
  const result: ApplyDeltaResult = { parts: 0, fallbacks: 0 };
  const scope: PartScope = { wants: (type, checksum) => !repo.hasObject(type, checksum), sources: repo };
  const wanted = [...superblock.parts.entries()].filter(([, header]) => partObjects(header).some(({ type, checksum }) => scope.wants(type, checksum)));
  // Threads start while the first part is unpacked.
  transaction.workers.expect(wanted.reduce((sum, [, { usizeBytes }]) => sum + usizeBytes, 0));
  const unpack = (at: number): Promise<DeltaPart> => {
    const [index] = wanted[at] as (typeof wanted)[number];
    return unpackPart(superblock, index, () => input.part(index, wanted[at + 1]?.[0]));
  };
  let ahead: Promise<DeltaPart> | undefined;
  for (const [i, [, header]] of wanted.entries()) {
    signal?.throwIfAborted();
    const part = await (ahead ?? unpack(i));
    const next = wanted[i + 1];
    const fits = next !== undefined && header.usizeBytes + next[1].usizeBytes <= AHEAD_BYTES;
    ahead = fits ? unpack(i + 1) : undefined;
    // Looked at in its turn; a failure before that must not end the process.
    ahead?.catch(() => undefined);
    await applyPart(transaction, part, header, scope, signal);
    result.parts++;
  }
  for (const { type, checksum } of superblock.fallbacks) {
    signal?.throwIfAborted();
    if (repo.hasObject(type, checksum)) continue;
    await input.fallback(type, checksum);
    result.fallbacks++;
  }
  if (!repo.hasObject('commit', to)) {
    if (superblock.detached !== undefined) transaction.setDetachedMetadata(to, superblock.detached);
    transaction.writeMetadata('commit', superblock.commitBytes);
  }
  return result;
}

/**
 * Makes what one part brings of what is wanted; returns false when that is nothing.
 * @throws OSTREE_OBJECT_MISSING when an object to copy from is not there, OSTREE_DELTA_CORRUPT, and what `read` throws
 */
export async function applyDeltaPart(
  transaction: Transaction,
  superblock: DeltaSuperblock,
  index: number,
  read: (index: number) => Promise<Uint8Array>,
  scope: PartScope,
  signal?: AbortSignal,
): Promise<boolean> {
  const header = superblock.parts[index] as DeltaPartHeader;
  if (!partObjects(header).some(({ type, checksum }) => scope.wants(type, checksum))) return false;
  await applyPart(transaction, await unpackPart(superblock, index, read), header, scope, signal);
  return true;
}

async function unpackPart(superblock: DeltaSuperblock, index: number, read: (index: number) => Promise<Uint8Array>): Promise<DeltaPart> {
  const header = superblock.parts[index] as DeltaPartHeader;
  const inline = superblock.inlineParts.get(index);
  const file = inline ?? (await read(index));
  if (inline === undefined) verifyPartFile(file, header, index);
  return unpackPartFile(file, partLimit(header));
}

/** @throws OSTREE_DELTA_CORRUPT */
export function verifyPartFile(file: Uint8Array, header: DeltaPartHeader, index: number): void {
  if (file.byteLength !== header.sizeBytes) throw corruptDelta(`part ${index} has ${file.byteLength} bytes instead of ${header.sizeBytes}`);
  const actual = checksumOf(file);
  if (actual !== header.checksum) throw corruptDelta(`part ${index} has checksum ${actual} instead of ${header.checksum}`);
}

async function applyPart(transaction: Transaction, part: DeltaPart, header: DeltaPartHeader, scope: PartScope, signal: AbortSignal | undefined): Promise<void> {
  const run = new PartRun(transaction, part, header, scope);
  try {
    for (const operation of parseOperations(part.operations, partObjects(header))) {
      signal?.throwIfAborted();
      const wait = run.step(operation);
      if (wait !== undefined) await wait;
    }
    await run.end();
  } finally {
    run.close();
  }
}

type Operation = ReturnType<typeof parseOperations> extends Generator<infer T> ? T : never;

interface OpenObject extends ObjectName {
  /** Undefined: the object is not wanted, and its operations only pass. */
  stream: ContentStream | undefined;
  sizeBytes: number;
  written: number;
}

/** The state of a part's program. */
class PartRun {
  readonly #transaction: Transaction;
  readonly #content: ContentWriter;
  readonly #part: DeltaPart;
  readonly #scope: PartScope;
  /** What may be made in pieces in all: few operations can copy the same source over and over. */
  readonly #limitBytes: number;
  #made = 0;
  #open: OpenObject | undefined;
  #source: ReadSource | undefined;
  /** The first object that came out wrong; known only when a thread has hashed it. */
  #failure: { error: unknown } | undefined;
  #pending = 0;
  #idle: (() => void) | undefined;

  constructor(transaction: Transaction, part: DeltaPart, header: DeltaPartHeader, scope: PartScope) {
    this.#transaction = transaction;
    this.#scope = scope;
    this.#content = transaction.content();
    this.#part = part;
    this.#limitBytes = header.usizeBytes + PART_OVERHEAD_BYTES;
  }

  step(operation: Operation): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    switch (operation.op) {
      case 'splice':
        return this.#splice(operation);
      case 'open':
        this.#begin(operation);
        return undefined;
      case 'write':
        return this.#write(operation.length, operation.offset);
      case 'set-read-source':
        this.#unset();
        // Opened also for objects that are there: their source may be gone, and is not needed.
        this.#source = this.#lazySource(asBuffer(this.#slice(operation.offset, 32)).toString('hex') as Checksum);
        return undefined;
      case 'unset-read-source':
        this.#unset();
        return undefined;
      case 'bspatch':
        return this.#patch(operation.length, operation.offset);
      case 'close':
        this.#finish();
        return this.#content.ready();
    }
  }

  /** Waits until all objects are staged. */
  async end(): Promise<void> {
    if (this.#pending > 0) {
      const idle = new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
      // A failure of the threads themselves rejects every object that waits.
      await this.#content.flush();
      await idle;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  close(): void {
    this.#unset();
    this.#open?.stream?.abort();
    this.#open = undefined;
  }

  #splice(operation: Operation & { op: 'splice' }): Promise<void> | undefined {
    const { object, length, offset } = operation;
    const bytes = this.#slice(offset, length);
    if (!this.#scope.wants(object.type, object.checksum)) return undefined;
    if (object.type !== 'file') {
      // Before it is written: the writer files it under the checksum it has.
      if (checksumOf(bytes) !== object.checksum) throw mismatch(object);
      this.#transaction.writeMetadata(object.type, bytes);
      return undefined;
    }
    const header = this.#header(operation);
    if ((header.mode & S_IFMT) === S_IFLNK) {
      const target = decodeUtf8(bytes);
      if (target === undefined || target.includes('\0')) throw corruptDelta('a symlink target that is not text');
      this.#expect(object, this.#content.add({ ...header, target }, new Uint8Array(0)));
    } else if (length > COPY_BYTES) {
      const stream = this.#content.begin(header, length);
      return this.#put(stream, bytes).then(() => this.#expect(object, stream.end()));
    } else this.#expect(object, this.#content.add(header, bytes));
    return this.#content.ready();
  }

  #begin(operation: Operation & { op: 'open' }): void {
    const { object, length } = operation;
    this.#count(length);
    const wanted = this.#scope.wants(object.type, object.checksum);
    const header = this.#header(operation);
    if ((header.mode & S_IFMT) !== S_IFREG) throw corruptDelta('only regular files can be made in pieces');
    this.#open = { ...object, stream: wanted ? this.#content.begin(header, length) : undefined, sizeBytes: length, written: 0 };
  }

  #write(length: number, offset: number): Promise<void> | undefined {
    const open = this.#current();
    this.#advance(open, length);
    if (open.stream === undefined) return undefined;
    if (this.#source !== undefined) return this.#copy(open.stream, this.#source, offset, length);
    return this.#put(open.stream, this.#slice(offset, length));
  }

  /** Writes in pieces, so that no more than the writer wants is on its way. */
  async #put(stream: ContentStream, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += COPY_BYTES) {
      stream.write(bytes.subarray(at, at + COPY_BYTES));
      await this.#content.ready();
    }
  }

  async #copy(stream: ContentStream, source: ReadSource, offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += COPY_BYTES) {
      stream.write(source.read(offset + done, Math.min(COPY_BYTES, length - done)));
      await this.#content.ready();
    }
  }

  async #patch(length: number, offset: number): Promise<void> {
    const open = this.#current();
    const patch = this.#slice(offset, length);
    if (this.#source === undefined) throw corruptDelta('a patch without a source');
    const sizeBytes = open.sizeBytes - open.written;
    this.#advance(open, sizeBytes);
    if (open.stream === undefined) return;
    for (const chunk of applyBspatch(this.#source, patch, sizeBytes)) {
      await this.#put(open.stream, chunk);
    }
  }

  #finish(): void {
    const open = this.#current();
    if (open.written !== open.sizeBytes) throw corruptDelta(`object ${open.checksum} ended after ${open.written} of ${open.sizeBytes} bytes`);
    this.#open = undefined;
    this.#unset();
    if (open.stream !== undefined) this.#expect(open, open.stream.end());
  }

  #expect(object: ObjectName, work: Promise<Checksum>): void {
    this.#pending++;
    work
      .then((actual) => {
        if (actual !== object.checksum) throw mismatch(object, actual);
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        if (--this.#pending === 0) this.#idle?.();
      });
  }

  #current(): OpenObject {
    if (this.#open === undefined) throw corruptDelta('an operation outside an object');
    return this.#open;
  }

  #advance(open: OpenObject, length: number): void {
    if (length > open.sizeBytes - open.written) throw corruptDelta(`object ${open.checksum} is longer than announced`);
    open.written += length;
  }

  #count(length: number): void {
    this.#made += length;
    if (this.#made > this.#limitBytes) throw corruptDelta('a part makes more than it announces');
  }

  #header(operation: { mode: number; xattrs: number }): FileHeader {
    return { ...this.#part.modeAt(operation.mode), xattrs: this.#part.xattrsAt(operation.xattrs), target: '' };
  }

  #slice(offset: number, length: number): Uint8Array {
    const { payload } = this.#part;
    if (offset > payload.byteLength || length > payload.byteLength - offset) throw corruptDelta('a piece outside the payload');
    return payload.subarray(offset, offset + length);
  }

  #lazySource(checksum: Checksum): ReadSource {
    const { sources } = this.#scope;
    let source: ReadSource | undefined;
    const opened = (): ReadSource => {
      source ??= openReadSource(sources, checksum);
      return source;
    };
    return {
      get sizeBytes() {
        return opened().sizeBytes;
      },
      read: (at, length) => opened().read(at, length),
      close: () => source?.close(),
    };
  }

  #unset(): void {
    this.#source?.close();
    this.#source = undefined;
  }
}

function mismatch({ type, checksum }: ObjectName, actual?: string): Error {
  return ostreeError(
    'OSTREE_DELTA_CORRUPT',
    `Corrupted object ${checksum}.${type} in static delta${actual === undefined ? '' : `; it has checksum ${actual}`}`,
    {
      data: { checksum, type },
    },
  );
}
