/** Copies of content objects for who takes damaged ones rather than none, and wants to know which: `ostree pull-local` without `--untrusted`. */
import { createReadStream } from 'node:fs';
import { createInflateRaw } from 'node:zlib';
import { type Bytes, type Checksum, errnoOf, isKnownError } from '@cambium/base';
import { isSymlink } from '../format/object-format.ts';
import { loosePath } from '../format/object-path.ts';
import { readStoredFile } from '../repo/object-reader.ts';
import { type ContentSource, type CopyOptions, type CopyResult, checkUserOnly, copyContents } from './content-copy.ts';
import type { ObjectWriter } from './object-writer.ts';

/**
 * As {@link copyContents}; with `acceptCorrupt` an object that does not match its checksum is copied as it lies, by the writer of those,
 * and named in the result. What cannot even be read so is refused, as without. @throws as {@link copyContents}
 */
export async function copyShare(
  writer: ObjectWriter,
  unverifiedWriter: () => ObjectWriter,
  source: ContentSource,
  checksums: Uint8Array,
  options: CopyOptions,
): Promise<CopyResult> {
  try {
    return await copyContents(writer, source, checksums, options);
  } catch (error) {
    if (options.acceptCorrupt !== true || !isKnownError(error, 'OSTREE_OBJECT_CORRUPT')) throw error;
  }
  // Again, one by one. What the first pass has written counts as present: damage is rare, and the counts are for people.
  const count = checksums.byteLength / 32;
  const corrupt: Checksum[] = [];
  const result: CopyResult = {
    present: new Uint8Array(count),
    written: new Uint8Array(count),
    contentBytes: new Float64Array(count),
    storedBytes: new Float64Array(count),
    cacheHits: 0,
    corrupt,
  };
  for (let i = 0; i < count; i++) {
    const name = checksums.subarray(i * 32, i * 32 + 32);
    let copied: UnverifiedCopy;
    try {
      const { present, written, contentBytes, storedBytes } = await copyContents(writer, source, name, options);
      result.present[i] = present[0] ?? 0;
      copied = { written: written[0] === 1, contentBytes: contentBytes[0] ?? 0, storedBytes: storedBytes[0] ?? 0 };
    } catch (error) {
      if (!isKnownError(error, 'OSTREE_OBJECT_CORRUPT')) throw error;
      const checksum = Buffer.from(name).toString('hex') as Checksum;
      copied = await copyUnverified(unverifiedWriter(), source, checksum, options, error);
      corrupt.push(checksum);
    }
    result.written[i] = copied.written ? 1 : 0;
    result.contentBytes[i] = copied.contentBytes;
    result.storedBytes[i] = copied.storedBytes;
  }
  return result;
}

interface UnverifiedCopy {
  written: boolean;
  contentBytes: number;
  storedBytes: number;
}

/** @param refusal what was wrong with it: thrown when it cannot be read at all */
async function copyUnverified(
  writer: ObjectWriter,
  source: ContentSource,
  checksum: Checksum,
  options: CopyOptions,
  refusal: unknown,
): Promise<UnverifiedCopy> {
  for (const store of source) {
    try {
      return await copyAsItLies(writer, store, checksum, options);
    } catch (error) {
      if (isKnownError(error, 'OSTREE_OBJECT_MISSING')) continue;
      const isDamage = isKnownError(error, 'OSTREE_OBJECT_CORRUPT') || isKnownError(error, 'OSTREE_CONTENT_SIZE') || isDeflateError(error);
      throw isDamage ? refusal : error;
    }
  }
  throw refusal;
}

async function copyAsItLies(writer: ObjectWriter, store: ContentSource[number], checksum: Checksum, options: CopyOptions): Promise<UnverifiedCopy> {
  const path = `${store.objects}/${loosePath('file', checksum, store.mode)}`;
  const { header, sizeBytes, contentAt } = readStoredFile(store, path, checksum);
  if (options.bareUserOnlyFiles) checkUserOnly(checksum, header);
  if (isSymlink(header)) return { contentBytes: 0, ...writer.writeHashed(header, new Uint8Array(0), checksum) };
  const stream = writer.begin(header, sizeBytes, { isNew: true, checksum });
  try {
    for await (const chunk of rawContent(path, store.mode === 'archive' ? contentAt : undefined)) stream.write(chunk);
    return { contentBytes: sizeBytes, ...stream.end() };
  } catch (error) {
    stream.abort();
    throw error;
  }
}

async function* rawContent(path: string, deflatedAt: number | undefined): Bytes {
  const file = createReadStream(path, { start: deflatedAt ?? 0 });
  const inflate = deflatedAt === undefined ? undefined : createInflateRaw();
  if (inflate !== undefined) {
    file.on('error', (error) => inflate.destroy(error));
    file.pipe(inflate);
  }
  try {
    yield* (inflate ?? file) as AsyncIterable<Buffer>;
  } finally {
    file.destroy();
    inflate?.destroy();
  }
}

function isDeflateError(error: unknown): boolean {
  return error instanceof Error && errnoOf(error) === undefined && 'code' in error && /^Z_/.test(String(error.code));
}
