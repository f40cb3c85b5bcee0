/**
 * Writing content objects: hashing, compressing and storing in worker threads.
 */
import type { Checksum } from '@cambium/base';
import type { FileHeader } from '../format/types.ts';
import type { ContentSource, CopyOptions } from './content-copy.ts';

/** Takes content and gives checksums; small contents travel to the workers in batches, large ones in chunks. */
export interface ContentWriter {
  /**
   * Writes one object whose content is at hand (empty for symlinks). The bytes are copied before the call returns.
   * The promise settles when the object is staged; call {@link flush} when no more will come. Await `ready()` between
   * calls to bound memory.
   */
  add(header: FileHeader, content: Uint8Array): Promise<Checksum>;
  /**
   * Writes one object that came as archive repositories store it, of at most `MAX_FILEZ_RECORD` bytes; it is unpacked and verified in a thread.
   * The bytes are copied before the call returns. Rejects with OSTREE_OBJECT_CORRUPT when it is not the object of that checksum.
   * A `trusted` one is stored unverified in archive repositories.
   */
  addFilez(checksum: Checksum, bytes: Uint8Array, trusted: boolean): Promise<Checksum>;
  /** Writes a directory's object that the caller has verified, of at most `MAX_FILEZ_RECORD` bytes. The bytes are copied before the call returns. */
  addMetadata(type: 'dirtree' | 'dirmeta', checksum: Checksum, bytes: Uint8Array): Promise<Checksum>;
  /** As {@link addFilez} for one in a file of the same file system, which is taken. */
  addFilezFile(checksum: Checksum, path: string, trusted: boolean): Promise<Checksum>;
  /**
   * Copies an object of another repository unless it is there, verified; {@link flush} reports what goes wrong, and so does the next call.
   * Shares travel together while `source` and `options` stay the same values.
   */
  copy(source: ContentSource, checksum: Checksum, options: CopyOptions): void;
  /** What {@link copy} took although it does not match its checksum, because its options say so. */
  readonly corruptCopies: readonly Checksum[];
  /** Starts an object whose content comes in pieces (`sizeBytes` as announced; checked at the end). */
  begin(header: FileHeader, sizeBytes: number): ContentStream;
  /** Resolves when there is room for more: the back-pressure of {@link add} and {@link ContentStream.write}. Cheap when there is. */
  ready(): Promise<void> | undefined;
  /** Sends what is batched and waits until everything added is staged. */
  flush(): Promise<void>;
}

export interface ContentStream {
  /** Adds a piece; the bytes are copied before the call returns. */
  write(chunk: Uint8Array): void;
  /** Adds zeros: those of a hole cost no memory on their way. */
  zeros(length: number): void;
  /** Ends the content. @throws OSTREE_CONTENT_SIZE when it is not as long as announced */
  end(): Promise<Checksum>;
  /** Drops what was written. */
  abort(): void;
}
