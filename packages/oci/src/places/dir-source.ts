/** Images in skopeo's `dir:` directories. Source: containers-transports(5); containers/image directory transport 1.1. */
import { splitDigest } from '@cambium/base';
import { ociError } from '../errors.ts';
import { MAX_MANIFEST_BYTES, parseManifestOrIndex } from '../image/documents.ts';
import type { PinnedImageSource } from '../image/resolve-image.ts';
import { type ImageFiles, verifiedBlob } from './image-files.ts';
import { readSmallFile } from './layout-files.ts';

/** Returns the one image of a directory; nothing is read yet. */
export function openDirSource(files: ImageFiles, reference: string): PinnedImageSource {
  return {
    reference,
    digest: undefined,
    async manifest(digest, signal) {
      const name = digest === undefined ? 'manifest.json' : `${splitDigest(digest).hex}.manifest.json`;
      const what = digest === undefined ? reference : `${reference} (${digest})`;
      const bytes = await readSmallFile(files, name, MAX_MANIFEST_BYTES, signal);
      if (bytes === undefined) throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot read ${what}: "${files.path}" has no file "${name}"`);
      return parseManifestOrIndex(bytes, { what, digest });
    },
    async *blob(descriptor, signal) {
      const name = splitDigest(descriptor.digest).hex;
      if ((await files.size(name)) === undefined) {
        throw ociError('OCI_BLOB_UNKNOWN', `Cannot read blob ${descriptor.digest} of ${reference}: "${files.path}" does not have it`);
      }
      yield* verifiedBlob(files.open(name, signal), descriptor, reference);
    },
    close: () => files.close(),
  };
}
