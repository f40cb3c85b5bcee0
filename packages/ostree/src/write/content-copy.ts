/** Copies content objects from another repository on this machine that stores them in another way, in whatever thread it runs. */
import { type Checksum, isKnownError } from '@cambium/base';
import { S_IFLNK, S_IFMT } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import { loosePath } from '../format/object-path.ts';
import type { FileHeader } from '../format/types.ts';
import { type ContentStore, readPieces, readStoredFile, readWholeFile, streamFile } from '../repo/object-reader.ts';
import type { ObjectCounts } from './directory-shard.ts';
import type { ObjectWriter, WrittenObject } from './object-writer.ts';

/** A repository and its parent repositories, as places to read content from. */
export type ContentSource = ReadonlyArray<ContentStore & { objects: string }>;

export interface CopyOptions {
  /** Refuse files that a bare-user-only repository cannot hold as they are. */
  bareUserOnlyFiles: boolean;
  /** Copy an object that does not match its checksum as it lies, and name it in the result. */
  acceptCorrupt?: boolean | undefined;
}

export interface CopyResult extends ObjectCounts {
  /** 1 for what was there before. */
  present: Uint8Array;
  /** What does not match its checksum and was copied nevertheless. */
  corrupt?: readonly Checksum[];
}

const SCRATCH_BYTES: number = 1024 * 1024;
/** Contents up to this size are read in one piece: compressed and not, they lie in the scratch memory side by side. */
const WHOLE_BYTES: number = SCRATCH_BYTES / 2 - 16_384;
/** One per thread, made when there is something to read. */
let scratch: Buffer | undefined;

/** Copies objects (32 bytes each), verified. @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_FILE_UNSUPPORTED OSTREE_SPACE_RESERVED */
export async function copyContents(writer: ObjectWriter, source: ContentSource, checksums: Uint8Array, options: CopyOptions): Promise<CopyResult> {
  const names = Buffer.from(checksums.buffer, checksums.byteOffset, checksums.byteLength);
  const count = names.byteLength / 32;
  const result: CopyResult = {
    present: new Uint8Array(count),
    written: new Uint8Array(count),
    contentBytes: new Float64Array(count),
    storedBytes: new Float64Array(count),
    cacheHits: 0,
  };
  for (let i = 0; i < count; i++) {
    const checksum = names.toString('hex', i * 32, i * 32 + 32) as Checksum;
    if (writer.mayHave && writer.has('file', checksum)) {
      result.present[i] = 1;
      continue;
    }
    const loaded = load(source, checksum);
    if (options.bareUserOnlyFiles) checkUserOnly(checksum, loaded.header);
    const { content, header } = loaded;
    const { written, storedBytes } = content === undefined ? await copyLarge(writer, loaded, checksum) : writer.writeNew(header, content, checksum);
    result.written[i] = written ? 1 : 0;
    result.contentBytes[i] = content?.byteLength ?? loaded.sizeBytes;
    result.storedBytes[i] = storedBytes;
  }
  return result;
}

/** Returns this thread's memory for contents that come and go within a turn. */
export function scratchMemory(): Buffer {
  scratch ??= Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  return scratch;
}

interface Loaded {
  store: ContentSource[number];
  path: string;
  header: FileHeader;
  sizeBytes: number;
  /** Undefined for what is too large for one piece. */
  content: Uint8Array | undefined;
}

/** Reads an object from the first store that has it. */
function load(source: ContentSource, checksum: Checksum): Loaded {
  let failure: unknown;
  for (const store of source) {
    const path = `${store.objects}/${loosePath('file', checksum, store.mode)}`;
    try {
      const { header, content } = readWholeFile(store, path, checksum, WHOLE_BYTES, scratchMemory());
      return { store, path, header, sizeBytes: content.byteLength, content };
    } catch (error) {
      if (isKnownError(error, 'OSTREE_OBJECT_TOO_LARGE')) {
        const { header, sizeBytes } = readStoredFile(store, path, checksum);
        return { store, path, header, sizeBytes, content: undefined };
      }
      if (!isKnownError(error, 'OSTREE_OBJECT_MISSING')) throw error;
      failure ??= error;
    }
  }
  throw failure;
}

async function copyLarge(writer: ObjectWriter, { store, path, header, sizeBytes }: Loaded, checksum: Checksum): Promise<WrittenObject> {
  const stream = writer.begin(header, sizeBytes, { isNew: true, checksum });
  try {
    // The verdict comes with the end: the object has no name until then.
    if (!readPieces(store, path, checksum, scratchMemory(), (piece) => stream.write(piece))) {
      for await (const chunk of streamFile(store, path, checksum)) stream.write(chunk);
    }
    return stream.end();
  } catch (error) {
    stream.abort();
    throw error;
  }
}

/** @throws OSTREE_FILE_UNSUPPORTED for a file that is more than bare-user-only repositories hold */
export function checkUserOnly(checksum: Checksum, header: FileHeader): void {
  const excess = header.mode & ~S_IFMT & ~0o775;
  if ((header.mode & S_IFMT) === S_IFLNK || excess === 0) return;
  throw ostreeError('OSTREE_FILE_UNSUPPORTED', `Content object ${checksum}: invalid mode 0${header.mode.toString(8)} with bits 0${excess.toString(8)}`);
}
