/** What the threads of a transaction are asked to do, and how they do it; the same code runs in the caller's thread. */
import { hash as hashOnce } from 'node:crypto';
import { chmodSync, rmSync, statSync } from 'node:fs';
import type { Checksum } from '@cambium/base';
import { headerLength, isSymlink, parseFileHeader } from '../format/object-format.ts';
import type { FileHeader } from '../format/types.ts';
import { syncFileSystem } from '../repo/durable-file.ts';
import { FreeBlocks, type FreeBlocksState } from '../repo/free-blocks.ts';
import { type ContentStore, readPieces, readStoredFile, readWholeFile, streamFile, unpackFilez } from '../repo/object-reader.ts';
import { type Gaps, TreeGaps } from '../repo/tree-gaps.ts';
import type { CommitModifiers } from './commit-modifiers.ts';
import { type ContentSource, type CopyOptions, type CopyResult, scratchMemory } from './content-copy.ts';
import { copyShare } from './content-unverified.ts';
import { type DirectoryPart, DirectoryScanner, type ObjectCounts, type ShardResult } from './directory-shard.ts';
import { type ObjectStream, ObjectWriter, type WriteTarget, type WrittenObject } from './object-writer.ts';

/** Objects that come from a network many at a time. */
export const RECEIVED_TYPES = ['file', 'dirtree', 'dirmeta'] as const;
export type ReceivedType = (typeof RECEIVED_TYPES)[number];

const PIECES_BYTES: number = 256 * 1024;

const FILEZ: ContentStore = { mode: 'archive', disableXattrs: false };

const ZEROS: Uint8Array = new Uint8Array(128 * 1024);

/** What a thread is told once. */
export interface WriterSetup {
  target: WriteTarget;
  /** Where finished objects go that nobody verifies, whatever the destination of others is. */
  unverified: string;
  space: FreeBlocksState | undefined;
}

/**
 * A buffer that both sides see. It is shared, not moved: a few serve a whole transaction, and neither thread's garbage
 * collector sees them. The sender leaves it alone until the task has been answered.
 *
 * The memory itself travels once to each thread, later messages give the number only: passing it costs 200 µs.
 */
export interface BufferUse {
  buffer: number;
  memory?: SharedArrayBuffer | undefined;
  usedBytes: number;
}

export type ContentTask =
  /** Records of `u32le length`, then prefix (header as in the content stream) and content. */
  | ({ op: 'batch'; count: number } & BufferUse)
  /**
   * Records of `u32le length`, a byte that is an index into {@link RECEIVED_TYPES}, 32 bytes of checksum and an object as archive repositories
   * store it; `trusted` contents are not verified.
   */
  | ({ op: 'filez'; count: number; trusted: boolean } & BufferUse)
  | FilezFileTask
  | { op: 'begin'; stream: number; prefix: Uint8Array; sizeBytes: number }
  | ({ op: 'data'; stream: number } & BufferUse)
  | { op: 'zeros'; stream: number; length: number }
  | { op: 'end'; stream: number }
  | { op: 'abort'; stream: number }
  | CopyTask
  /** Looks for what is missing below directories that are here: see {@link TreeGaps}. */
  | { op: 'gaps'; trees: Uint8Array; limit: number }
  /** Writes out the file system of the staging directory. */
  | { op: 'flush' }
  | { op: 'context'; context: number; modifiers: CommitModifiers }
  | { op: 'scan'; context: number; parts: DirectoryPart[] };

/** Copies content objects (32 bytes of checksum each) of another repository. */
export interface CopyTask {
  op: 'copy';
  source: ContentSource;
  checksums: Uint8Array;
  options: CopyOptions;
}

/** A file that holds an object as archive repositories store it; it is gone afterwards. */
export interface FilezFileTask {
  op: 'filez-file';
  path: string;
  checksum: Checksum;
  trusted: boolean;
}

/** Tasks that are not done in one turn. */
export type LongTask = FilezFileTask | CopyTask;

export interface BatchResult {
  /** 32 bytes each. */
  checksums: Uint8Array;
  objects: ObjectCounts;
}

export type ContentReply = BatchResult | WrittenObject | (WrittenObject & { contentBytes: number }) | CopyResult | ShardResult | Gaps | undefined;

export class TaskRunner {
  readonly #writer: ObjectWriter;
  readonly #streams = new Map<number, ObjectStream>();
  readonly #scanners = new Map<number, DirectoryScanner>();
  readonly #buffers = new Map<number, SharedArrayBuffer>();
  readonly #makeUnverified: () => ObjectWriter;
  #unverified: ObjectWriter | undefined;
  #pieces: Buffer | undefined;
  #gaps: TreeGaps | undefined;

  constructor(setup: WriterSetup, lane: number) {
    const { target, unverified } = setup;
    const space = setup.space === undefined ? undefined : new FreeBlocks(setup.space);
    this.#writer = new ObjectWriter(target, lane, space);
    const present = [{ objects: target.destination, mode: target.mode }, ...target.present];
    this.#makeUnverified = () => new ObjectWriter({ ...target, destination: unverified, present }, `${lane}-unverified`, space);
  }

  /** The writer of objects that nobody verifies. */
  #unverifiedWriter(): ObjectWriter {
    this.#unverified ??= this.#makeUnverified();
    return this.#unverified;
  }

  run(task: Exclude<ContentTask, LongTask>): ContentReply {
    switch (task.op) {
      case 'filez':
        return this.#filez(Buffer.from(this.#memory(task), 0, task.usedBytes), task);
      case 'batch':
        return this.#batch(Buffer.from(this.#memory(task), 0, task.usedBytes), task.count);
      case 'begin':
        this.#streams.set(task.stream, this.#writer.begin(parseFileHeader(task.prefix).header, task.sizeBytes));
        return undefined;
      case 'data':
        this.#streams.get(task.stream)?.write(new Uint8Array(this.#memory(task), 0, task.usedBytes));
        return undefined;
      case 'zeros': {
        const stream = this.#streams.get(task.stream);
        for (let left = task.length; left > 0; left -= ZEROS.byteLength) stream?.write(left < ZEROS.byteLength ? ZEROS.subarray(0, left) : ZEROS);
        return undefined;
      }
      case 'end': {
        const stream = this.#streams.get(task.stream);
        this.#streams.delete(task.stream);
        if (stream === undefined) throw new Error(`No content stream ${task.stream}`);
        return stream.end();
      }
      case 'abort':
        this.#streams.get(task.stream)?.abort();
        this.#streams.delete(task.stream);
        return undefined;
      case 'gaps': {
        const { destination, mode, present, readable = present } = this.#writer.target;
        this.#gaps ??= new TreeGaps(readable.some(({ objects }) => objects === destination) ? readable : [...readable, { objects: destination, mode }]);
        return this.#gaps.look(task.trees, task.limit);
      }
      case 'flush':
        syncFileSystem(this.#writer.target.staging);
        return undefined;
      case 'context':
        this.#scanners.set(task.context, new DirectoryScanner(this.#writer, task.modifiers));
        return undefined;
      case 'scan': {
        const scanner = this.#scanners.get(task.context);
        if (scanner === undefined) throw new Error(`No scan context ${task.context}`);
        return scanner.scan(task.parts);
      }
    }
  }

  /** As {@link run}, for tasks that are not done in one turn. */
  runLong(task: LongTask): Promise<ContentReply> {
    if (task.op !== 'copy') return this.#runFile(task);
    return copyShare(this.#writer, () => this.#unverifiedWriter(), task.source, task.checksums, task.options);
  }

  /** @throws OSTREE_OBJECT_CORRUPT OSTREE_FILE_UNSUPPORTED OSTREE_SPACE_RESERVED */
  async #runFile({ path, checksum, trusted }: FilezFileTask): Promise<WrittenObject & { contentBytes: number }> {
    try {
      const { header, sizeBytes } = readStoredFile(FILEZ, path, checksum);
      if (this.#writer.has('file', checksum)) return { checksum, written: false, storedBytes: 0, contentBytes: sizeBytes };
      return { ...(await this.#takeFile(path, checksum, trusted, header, sizeBytes)), contentBytes: sizeBytes };
    } finally {
      rmSync(path, { force: true });
    }
  }

  async #takeFile(path: string, checksum: Checksum, trusted: boolean, header: FileHeader, sizeBytes: number): Promise<WrittenObject> {
    if (this.#writer.target.mode === 'archive') {
      if (!trusted) {
        // Reading is verifying.
        await this.#readPieces(path, checksum, () => undefined);
      }
      chmodSync(path, 0o644);
      const written = (trusted ? this.#unverifiedWriter() : this.#writer).adopt(path, header, checksum, statSync(path).size);
      if (written !== undefined) return written;
    }
    // A symlink whose header is large.
    if (isSymlink(header)) return this.#writer.writeHashed(header, readWholeFile(FILEZ, path, checksum, 0).content, checksum);
    const stream = this.#writer.begin(header, sizeBytes, { isNew: true, checksum });
    try {
      // Throws at its end unless the checksum is right, and then nothing gets the object's name.
      await this.#readPieces(path, checksum, (piece) => stream.write(piece));
      return stream.end();
    } catch (error) {
      stream.abort();
      throw error;
    }
  }

  /** Gives the content of an archived object in pieces, in memory that is used again; the verdict comes at the end. */
  async #readPieces(path: string, checksum: Checksum, take: (piece: Uint8Array) => void): Promise<void> {
    this.#pieces ??= Buffer.allocUnsafeSlow(PIECES_BYTES);
    if (readPieces(FILEZ, path, checksum, this.#pieces, take)) return;
    for await (const chunk of streamFile(FILEZ, path, checksum)) take(chunk);
  }

  /** Drops the streams that have not ended: each holds a file open. */
  close(): void {
    for (const stream of this.#streams.values()) stream.abort();
    this.#streams.clear();
  }

  #memory({ buffer, memory }: BufferUse): SharedArrayBuffer {
    const known = memory ?? this.#buffers.get(buffer);
    if (known === undefined) throw new Error(`No shared buffer ${buffer}`);
    if (memory !== undefined) this.#buffers.set(buffer, memory);
    return known;
  }

  #batch(bytes: Buffer, count: number): BatchResult {
    const checksums = Buffer.alloc(count * 32);
    const objects: ObjectCounts = { written: new Uint8Array(count), contentBytes: new Float64Array(count), storedBytes: new Float64Array(count), cacheHits: 0 };
    let at = 0;
    for (let i = 0; i < count; i++) {
      const length = bytes.readUInt32LE(at);
      const record = bytes.subarray(at + 4, at + 4 + length);
      at += 4 + length;
      const checksum = hashOnce('sha256', record, 'hex') as Checksum;
      checksums.write(checksum, i * 32, 32, 'hex');
      const contentAt = headerLength(record);
      objects.contentBytes[i] = length - contentAt;
      // Most objects of a new version are there already: nothing more is decoded for them.
      if (this.#writer.has('file', checksum)) continue;
      const { written, storedBytes } = this.#writer.writeNew(parseFileHeader(record).header, record.subarray(contentAt), checksum);
      objects.written[i] = written ? 1 : 0;
      objects.storedBytes[i] = storedBytes;
    }
    return { checksums, objects };
  }

  #filez(bytes: Buffer, { count, trusted }: { count: number; trusted: boolean }): BatchResult {
    const checksums = Buffer.alloc(count * 32);
    const objects: ObjectCounts = { written: new Uint8Array(count), contentBytes: new Float64Array(count), storedBytes: new Float64Array(count), cacheHits: 0 };
    const asIs = this.#writer.target.mode === 'archive';
    // What is unpacked is verified on the way.
    const contents = asIs && trusted ? this.#unverifiedWriter() : this.#writer;
    let at = 0;
    for (let i = 0; i < count; i++) {
      const end = at + 4 + bytes.readUInt32LE(at);
      const type = RECEIVED_TYPES[bytes[at + 4] as number] ?? 'file';
      const checksum = bytes.toString('hex', at + 5, at + 37) as Checksum;
      const filez = bytes.subarray(at + 37, end);
      bytes.copy(checksums, i * 32, at + 5, at + 37);
      at = end;
      if (type !== 'file') {
        const { written, storedBytes } = this.#writer.writeMetadata(type, filez);
        objects.written[i] = written ? 1 : 0;
        objects.storedBytes[i] = storedBytes;
        continue;
      }
      if (contents.has('file', checksum)) continue;
      const { header, content } = asIs && trusted ? { header: undefined, content: filez } : unpackFilez(filez, checksum, scratchMemory());
      objects.contentBytes[i] = content.byteLength;
      const { written, storedBytes } = asIs || header === undefined ? contents.writeNewFilez(filez, checksum) : contents.writeNew(header, content, checksum);
      objects.written[i] = written ? 1 : 0;
      objects.storedBytes[i] = storedBytes;
    }
    return { checksums, objects };
  }
}
