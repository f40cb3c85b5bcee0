/** What a place holds, and changes to its names: nothing that moves content. */

import type { Digest } from '@cambium/base';
import { ociError } from '../errors.ts';
import { parseImageReference } from '../image/reference.ts';
import type { RegistryClient } from '../registry/client.ts';
import { dockerArchiveImages } from './docker-archive.ts';
import { directoryFiles, type ImageFiles } from './image-files.ts';
import { changeLayoutIndex, nameOfEntry, readLayoutIndex, removeUnusedBlobs, withEntry } from './layout-entries.ts';
import { REF_NAME } from './layout-files.ts';
import { openLayout } from './layout-source.ts';
import { type Place, parsePlace, printPlace } from './place.ts';
import { openTarFiles } from './tar-files.ts';

export interface ManageOptions {
  registry: RegistryClient;
  signal?: AbortSignal | undefined;
}

/** An image of a place; what finding out would cost a request each is left out. */
export interface ListedImage {
  name?: string | undefined;
  digest?: Digest;
  mediaType?: string;
  /** Bytes of the manifest or index. */
  size?: number;
}

/** Lists a repository's tags, or the images of a layout or archive. @throws OCI_PLACE_UNSUPPORTED and what reading can throw */
export async function listImages(text: string, { registry, signal }: ManageOptions): Promise<ListedImage[]> {
  const place = parsePlace(text);
  switch (place.transport) {
    case 'registry':
      return (await registry.tags(place.reference, signal)).map((name) => ({ name }));
    case 'oci':
      return await layoutImages(directoryFiles(place.path), signal);
    case 'oci-archive':
      return await closing(await openTarFiles(place.path, { signal }), (files) => layoutImages(files, signal));
    case 'docker-archive':
      return await closing(await openTarFiles(place.path, { signal }), async (files) => (await dockerArchiveImages(files, signal)).map((name) => ({ name })));
    default:
      throw unsupported('list the images of', place);
  }
}

async function layoutImages(files: ImageFiles, signal: AbortSignal | undefined): Promise<ListedImage[]> {
  const { manifests } = await readLayoutIndex(files, signal);
  return manifests.map((entry) => ({ name: nameOfEntry(entry), digest: entry.digest, mediaType: entry.mediaType, size: entry.size }));
}

async function closing<T>(files: ImageFiles, use: (files: ImageFiles) => Promise<T>): Promise<T> {
  try {
    return await use(files);
  } finally {
    await files.close();
  }
}

/** Gives an image a further tag and returns its digest. @throws OCI_REFERENCE_INVALID, OCI_MANIFEST_UNKNOWN, OCI_PLACE_UNSUPPORTED */
export async function tagImage(place: Place, tag: string, { registry, signal }: ManageOptions): Promise<Digest> {
  switch (place.transport) {
    case 'registry': {
      const { registry: host, repositoryName } = place.reference;
      const target = parseImageReference(`${host}/${repositoryName}:${tag}`);
      const document = await registry.image(place.reference).manifest(undefined, signal);
      await registry.sink(target).finish(document, signal);
      return document.digest;
    }
    case 'oci': {
      const image = await openLayout(directoryFiles(place.path), place, printPlace(place), signal);
      const { digest, mediaType, bytes } = await image.manifest(undefined, signal);
      const entry = { mediaType, digest, size: bytes.byteLength, annotations: { [REF_NAME]: tag } };
      await changeLayoutIndex(place.path, (entries) => withEntry(entries, entry), { signal });
      return digest;
    }
    default:
      throw unsupported('tag', place);
  }
}

/** Deletes an image and returns how many blobs went with it, where that is known. @throws OCI_MANIFEST_UNKNOWN, OCI_DELETE_REFUSED, OCI_PLACE_UNSUPPORTED */
export async function deleteImage(place: Place, { registry, signal }: ManageOptions): Promise<{ blobs: number | undefined }> {
  switch (place.transport) {
    case 'registry':
      await registry.delete(place.reference, signal);
      return { blobs: undefined };
    case 'oci': {
      const image = await openLayout(directoryFiles(place.path), place, printPlace(place), signal);
      const { digest } = await image.manifest(undefined, signal);
      const isIt = (name: string | undefined): boolean => place.name === undefined || name === place.name;
      await changeLayoutIndex(place.path, (entries) => entries.filter((entry) => entry.digest !== digest || !isIt(nameOfEntry(entry))), { signal });
      return await removeUnusedBlobs(place.path, signal);
    }
    default:
      throw unsupported('delete', place);
  }
}

function unsupported(what: string, place: Place): Error {
  return ociError('OCI_PLACE_UNSUPPORTED', `Cannot ${what} "${printPlace(place)}"`, { hint: 'Name an image in a registry, or oci:DIR:TAG' });
}
