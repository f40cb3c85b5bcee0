/** Writes images into skopeo's `dir:` directories. Source: containers-transports(5); containers/image directory transport 1.1. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { bytesOf, type Digest, errnoOf, splitDigest, systemError } from '@cambium/base';
import { ociError } from '../errors.ts';
import type { BlobInput, ImageSink, KnownBlob } from '../image/sink.ts';
import { hasFile, replaceFile, syncVolume, writeBlobFile } from './blob-file.ts';

const VERSION = 'Directory Transport Version: 1.1\n';

/**
 * Opens a directory for one image. It is made when there is none; one that is neither empty nor such a directory is refused.
 * What it held of another image is removed when the new one is complete.
 *
 * @throws OCI_LAYOUT_INVALID, SYSTEM_DENIED, SYSTEM_NO_SPACE
 */
export async function openDirSink(directory: string, reference: string): Promise<ImageSink> {
  const present = await isImageDirectory(directory);
  let ready: Promise<void> | undefined;
  const fileOf = ({ digest }: KnownBlob): string => join(directory, splitDigest(digest).hex);
  const written = new Set<string>(['version', 'manifest.json']);
  let begun = 0;
  const put = async (blob: Pick<BlobInput, 'known' | 'open'>, path: (blob: KnownBlob) => string, signal?: AbortSignal): Promise<KnownBlob> => {
    ready ??= present ? Promise.resolve() : create(directory);
    await ready;
    return await writeBlobFile({ blob, temporaryPath: join(directory, `.blob-${process.pid}-${begun++}`), fileOf: path, signal });
  };
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
      const known = await put(blob, fileOf, signal);
      written.add(splitDigest(known.digest).hex);
      return { ...known, how: 'sent' };
    },
    async putManifest({ bytes, digest }, signal) {
      const name = manifestName(digest);
      await put({ known: { digest, size: bytes.byteLength }, open: () => bytesOf(bytes) }, () => join(directory, name), signal);
      written.add(name);
    },
    async finish(document) {
      if (begun > 0) syncVolume(directory);
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
    if (names.length === 0) return false;
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
