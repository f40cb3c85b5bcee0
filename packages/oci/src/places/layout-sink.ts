/**
 * Writes images into OCI layout directories. Source: OCI image-spec 1.1 image-layout.md.
 *
 * Any number of processes may write into one layout: a blob gets its name when it is whole, and `index.json` is changed
 * under a lock of its own.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bytesOf, errnoOf, systemError } from '@cambium/base';
import { ociError } from '../errors.ts';
import type { ImageSink, KnownBlob } from '../image/sink.ts';
import type { Document, Index, Manifest } from '../image/types.ts';
import { BlobDirectory, hasFile, lockFile, replaceFile } from './blob-file.ts';
import { BLOBS_LOCK, changeLayoutIndex, withEntry } from './layout-entries.ts';
import { blobName, entryOf, LAYOUT_VERSION } from './layout-files.ts';

/**
 * Opens a layout for writing; it is made when there is none.
 *
 * @param name the tag that `finish` gives, in place of what had it; without one the image stands in the index under its digest
 * @throws OCI_LAYOUT_INVALID when the directory holds something else, SYSTEM_DENIED, SYSTEM_NO_SPACE
 */
export async function openLayoutSink(directory: string, name: string | undefined, reference: string): Promise<ImageSink> {
  const present = await isLayout(directory);
  // Nobody deletes what was found present meanwhile.
  let lock = present ? await lockFile(join(directory, BLOBS_LOCK), 'shared', undefined).catch(() => undefined) : undefined;
  const blobs = new BlobDirectory(directory, async () => {
    if (!present) await create(directory);
    lock ??= await lockFile(join(directory, BLOBS_LOCK), 'shared', undefined);
  });
  const fileOf = ({ digest }: KnownBlob): string => join(directory, blobName(digest));
  const putManifest = async ({ bytes, digest }: Document<Manifest | Index>, signal?: AbortSignal): Promise<void> => {
    const known = { digest, size: bytes.byteLength };
    if (!(await hasFile(fileOf(known), known.size))) await blobs.put({ known, open: () => bytesOf(bytes) }, fileOf, signal);
  };
  return {
    reference,
    parallel: 6,
    prefers: 'gzip',
    // containers/image looks up tags among OCI manifests and indexes alone.
    format: 'oci',
    hasBlob: async (blob) => await hasFile(fileOf(blob), blob.size),
    putBlob: async (blob, signal) => ({ ...(await blobs.put(blob, fileOf, signal)), how: 'sent' }),
    putManifest,
    async finish(document, signal) {
      await putManifest(document, signal);
      // What index.json names must be on the disk before it.
      await changeLayoutIndex(directory, (entries) => withEntry(entries, entryOf(document, name)), { signal, before: () => blobs.sync() });
    },
    close: async () => await lock?.release(),
  };
}

/** @throws OCI_LAYOUT_INVALID when there is something else */
async function isLayout(directory: string): Promise<boolean> {
  try {
    const version = await readFile(join(directory, 'oci-layout'), 'utf8');
    if (/"imageLayoutVersion"\s*:\s*"1\./.test(version)) return true;
    throw ociError('OCI_LAYOUT_INVALID', `Cannot write to "${directory}": the version of its layout is not 1.0.0`);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    if (errnoOf(error) === 'ENOTDIR') throw ociError('OCI_LAYOUT_INVALID', `Cannot write to "${directory}": not a directory`);
    throw systemError(error, `Cannot write to "${directory}"`) ?? error;
  }
}

async function create(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
    await replaceFile(join(directory, 'oci-layout'), LAYOUT_VERSION);
  } catch (error) {
    throw systemError(error, `Cannot write to "${directory}"`) ?? error;
  }
}
