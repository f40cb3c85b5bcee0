/** What the threads of a transaction are asked to do, and how they do it; the same code runs in the caller's thread. */
import { hash as hashOnce } from 'node:crypto';
import type { Checksum } from '@cambium/base';
import type { CommitModifiers } from './commit-modifiers.ts';
import { type DirectoryPart, DirectoryScanner, type ObjectCounts, type ShardResult } from './directory-shard.ts';
import { syncFileSystem } from './durable-file.ts';
import { FreeBlocks, type FreeBlocksState } from './free-blocks.ts';
import { headerLength, parseFileHeader } from './object-format.ts';
import { type ObjectStream, ObjectWriter, type WriteTarget, type WrittenObject } from './object-writer.ts';

/** What a thread is told once. */
export interface WriterSetup {
  target: WriteTarget;
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
  | { op: 'begin'; stream: number; prefix: Uint8Array; sizeBytes: number }
  | ({ op: 'data'; stream: number } & BufferUse)
  | { op: 'end'; stream: number }
  | { op: 'abort'; stream: number }
  /** Writes out the file system of the staging directory. */
  | { op: 'flush' }
  | { op: 'context'; context: number; modifiers: CommitModifiers }
  | { op: 'scan'; context: number; parts: DirectoryPart[] };

export interface BatchResult {
  /** 32 bytes each. */
  checksums: Uint8Array;
  objects: ObjectCounts;
}

export type ContentReply = BatchResult | WrittenObject | ShardResult | undefined;

export class TaskRunner {
  readonly #writer: ObjectWriter;
  readonly #streams = new Map<number, ObjectStream>();
  readonly #scanners = new Map<number, DirectoryScanner>();
  readonly #buffers = new Map<number, SharedArrayBuffer>();

  constructor(setup: WriterSetup, lane: number) {
    this.#writer = new ObjectWriter(setup.target, lane, setup.space === undefined ? undefined : new FreeBlocks(setup.space));
  }

  run(task: ContentTask): ContentReply {
    switch (task.op) {
      case 'batch':
        return this.#batch(Buffer.from(this.#memory(task), 0, task.usedBytes), task.count);
      case 'begin':
        this.#streams.set(task.stream, this.#writer.begin(parseFileHeader(task.prefix).header, task.sizeBytes));
        return undefined;
      case 'data':
        this.#streams.get(task.stream)?.write(new Uint8Array(this.#memory(task), 0, task.usedBytes));
        return undefined;
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
      const { written, storedBytes } = this.#writer.writeHashed(parseFileHeader(record).header, record.subarray(contentAt), checksum);
      objects.written[i] = written ? 1 : 0;
      objects.storedBytes[i] = storedBytes;
    }
    return { checksums, objects };
  }
}
