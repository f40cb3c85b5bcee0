/** Which layers of an image are of its commit: what import, pruning and comparing need to know. */
import type { ResolvedImage } from '@cambium/oci';
import { bridgeError } from '../errors.ts';
import { FINAL_DIFF_ID_LABEL } from './image-labels.ts';

export type ImageLayer = ResolvedImage['layers'][number];

export interface ImageParts {
  /** The layer with the commit; absent in an image without one. */
  commit: ImageLayer | undefined;
  /** Further layers with objects of the commit. */
  chunks: readonly ImageLayer[];
  /** What was built on top. */
  derived: readonly ImageLayer[];
}

/** Returns the parts of an image. Labels count, not annotations: those get lost on the way. @throws BRIDGE_CONTAINER_INVALID */
export function imageParts({ layers, config, source }: ResolvedImage): ImageParts {
  const fail = (reason: string): Error => bridgeError('BRIDGE_CONTAINER_INVALID', `Cannot use ${source.reference}: ${reason}`);
  const [commit] = layers;
  if (commit === undefined) throw fail('it has no layers');
  const labels = config.value.config?.Labels as Readonly<Record<string, unknown>> | undefined;
  const final = labels?.[FINAL_DIFF_ID_LABEL];
  if (final === undefined || final === null) return { commit: undefined, chunks: [], derived: layers };
  const last = layers.findIndex(({ diffId }) => diffId === final);
  if (last < 0) throw fail(`its label ${FINAL_DIFF_ID_LABEL} names no layer of it`);
  if (layers.slice(last + 1).some(({ descriptor }) => descriptor.digest === layers[last]?.descriptor.digest))
    throw fail('its last layer of objects stands in it twice');
  return { commit, chunks: layers.slice(1, last + 1), derived: layers.slice(last + 1) };
}
