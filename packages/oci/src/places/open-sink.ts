/** Opens a place for writing. */
import { ociError } from '../errors.ts';
import type { ImageSink } from '../image/sink.ts';
import { createRegistryClient } from '../registry/client.ts';
import { openDockerArchiveSink, openOciArchiveSink } from './archive-sinks.ts';
import { openDirSink } from './dir-sink.ts';
import { openLayoutSink } from './layout-sink.ts';
import type { OpenImageOptions } from './open-image.ts';
import { type Place, parsePlace, printPlace } from './place.ts';

/**
 * Returns the place to write an image to. For a registry no request is made yet; a directory is made.
 *
 * @throws OCI_PLACE_INVALID, OCI_PLACE_UNSUPPORTED, OCI_REFERENCE_INVALID, OCI_LAYOUT_INVALID, SYSTEM_DENIED
 */
export async function openSink(place: Place | string, options: Pick<OpenImageOptions, 'registry' | 'registryOptions'> = {}): Promise<ImageSink> {
  const where = typeof place === 'string' ? parsePlace(place) : place;
  switch (where.transport) {
    case 'registry': {
      if (options.registry !== undefined) return options.registry.sink(where.reference);
      const own = createRegistryClient(options.registryOptions);
      return { ...own.sink(where.reference), close: () => own.close() };
    }
    case 'oci':
      if (where.digest !== undefined || where.index !== undefined) throw cannotWrite(where);
      return await openLayoutSink(where.path, where.name, printPlace(where));
    case 'oci-archive':
      if (where.digest !== undefined || where.index !== undefined) throw cannotWrite(where);
      return openOciArchiveSink(where.path, where.name, printPlace(where));
    case 'docker-archive':
      if (where.index !== undefined) throw cannotWrite(where);
      return openDockerArchiveSink(where.path, where.reference, printPlace(where));
    case 'dir':
      return await openDirSink(where.path, printPlace(where));
  }
}

function cannotWrite(place: Place): Error {
  return ociError('OCI_PLACE_UNSUPPORTED', `Cannot write an image to "${printPlace(place)}"`, {
    hint: 'A place to write to is named by a tag, not by @DIGEST or @NUMBER',
  });
}
