/** Opens an image wherever it is. */

import type { PinnedImageSource } from '../image/resolve-image.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from '../registry/client.ts';
import { openDirSource } from './dir-source.ts';
import { openDockerArchive } from './docker-archive.ts';
import { directoryFiles, type ImageFiles } from './image-files.ts';
import { openLayout } from './layout-source.ts';
import { type Place, parsePlace, printPlace } from './place.ts';
import { openTarFiles } from './tar-files.ts';

export interface OpenImageOptions {
  /** The client for images in registries, shared by all images of a run; the caller closes it. Without it each image makes its own. */
  registry?: RegistryClient;
  /** For the client of this image's own. */
  registryOptions?: RegistryClientOptions;
  /** Where a compressed archive may be unpacked until the image is closed; without it one is refused. */
  temporaryDirectory?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Returns the image at a place. For a registry no request is made yet; a layout or archive is looked into.
 *
 * @param place as {@link parsePlace} reads it
 * @throws OCI_PLACE_INVALID, OCI_REFERENCE_INVALID, OCI_LAYOUT_INVALID, OCI_ARCHIVE_INVALID, OCI_MANIFEST_UNKNOWN, OCI_IMAGE_AMBIGUOUS
 * @example
 * const registry = createRegistryClient();
 * const image = await resolveImage(await openImage('docker.io/library/nginx:1.25', { registry }), parsePlatform('arm64'));
 */
export async function openImage(place: Place | string, options: OpenImageOptions = {}): Promise<PinnedImageSource> {
  const where = typeof place === 'string' ? parsePlace(place) : place;
  const { signal } = options;
  switch (where.transport) {
    case 'registry': {
      if (options.registry !== undefined) return options.registry.image(where.reference);
      const own = createRegistryClient(options.registryOptions);
      return { ...own.image(where.reference), close: () => own.close() };
    }
    case 'oci':
      return await openLayout(directoryFiles(where.path), where, printPlace(where), signal);
    case 'oci-archive':
      return await withFiles(await openTarFiles(where.path, options), (files) => openLayout(files, where, printPlace(where), signal));
    case 'docker-archive':
      return await withFiles(await openTarFiles(where.path, options), (files) => openDockerArchive(files, where, printPlace(where), signal));
    case 'dir':
      return openDirSource(directoryFiles(where.path), printPlace(where));
  }
}

async function withFiles<T>(files: ImageFiles, open: (files: ImageFiles) => Promise<T>): Promise<T> {
  try {
    return await open(files);
  } catch (error) {
    await files.close();
    throw error;
  }
}
