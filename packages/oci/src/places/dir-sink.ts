/** Writes images into skopeo's `dir:` directories. Source: containers-transports(5); containers/image directory transport 1.1. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { bytesOf, type Digest, errnoOf, splitDigest, systemError } from '@cambium/base';
import { ociError } from '../errors.ts';
import type { ImageSink, KnownBlob } from '../image/sink.ts';
import { BlobDirectory, hasFile, replaceFile } from './blob-file.ts';

const VERSION = 'Directory Transport Version: 1.1\n';

/**
 * Opens a directory for one image. It is made when there is none; one that is neither empty nor such a directory is refused.
 * What it held of another image is removed when the new one is complete: one process at a time.
 *
 * @throws OCI_LAYOUT_INVALID, SYSTEM_DENIED, SYSTEM_NO_SPACE
 */
export async function openDirSink(directory: string, reference: string): Promise<ImageSink> {
  const present = await isImageDirectory(directory);
  const blobs = new BlobDirectory(directory, async () => {
    if (!present) await create(directory);
  });
  const fileOf = ({ digest }: KnownBlob): string => join(directory, splitDigest(digest).hex);
  const written = new Set<string>();
  const manifestName = (digest: Digest): string => `${splitDigest(digest).hex}.manifest.json`;
  return {
    reference,
    parallel: 6,
    async hasBlob(blob) {
      const present = await hasFile(fileOf(blob), blob.size);
      if (present) written.add(splitDigest(blob.digest).hex);
      return present;
    },
    async putBlob(blob, signal) {
      const known = await blobs.put(blob, fileOf, signal);
      written.add(splitDigest(known.digest).hex);
      return { ...known, how: 'sent' };
    },
    async putManifest({ bytes, digest }, signal) {
      const name = manifestName(digest);
      await blobs.put({ known: { digest, size: bytes.byteLength }, open: () => bytesOf(bytes) }, () => join(directory, name), signal);
      written.add(name);
    },
    async finish(document) {
      blobs.sync();
      await replaceFile(join(directory, 'manifest.json'), document.bytes);
      for (const name of await readdir(directory)) {
        if (/^[0-9a-f]{64,128}(?:\.manifest\.json)?$/.test(name) && !written.has(name)) await rm(join(directory, name), { force: true });
      }
    },
    close: async () => undefined,
  };
}

/** @throws OCI_LAYOUT_INVALID when there is something else */
async function isImageDirectory(directory: string): Promise<boolean> {
  try {
    const names = await readdir(directory);
    // A process that was killed at its very beginning leaves the one or the other.
    if (names.every((name) => /^(?:version\.|\.blob-)[0-9a-f-]{36}$/.test(name))) return false;
    if (names.includes('version') && (await readFile(join(directory, 'version'), 'latin1')).startsWith('Directory Transport Version: ')) return true;
    throw ociError('OCI_LAYOUT_INVALID', `Cannot write to "${directory}": it holds other things than an image`);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    if (errnoOf(error) === 'ENOTDIR') throw ociError('OCI_LAYOUT_INVALID', `Cannot write to "${directory}": not a directory`);
    throw systemError(error, `Cannot write to "${directory}"`) ?? error;
  }
}

async function create(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
    await replaceFile(join(directory, 'version'), VERSION);
  } catch (error) {
    throw systemError(error, `Cannot write to "${directory}"`) ?? error;
  }
}
