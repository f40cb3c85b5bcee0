/** Media types of image documents and layers. Source: OCI image-spec 1.1 media-types.md; Docker image manifest v2-2. */

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';
export const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

/** What to ask a registry for, best first. Schema 1 is left out: it is refused anyway. */
export const MANIFEST_ACCEPT: string = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].join(', ');

export type DocumentKind = 'manifest' | 'index' | 'schema1';
export type LayerCompression = 'none' | 'gzip' | 'zstd';

/** Returns what kind of document has this media type; undefined when it is not one of ours. */
export function documentKind(mediaType: string): DocumentKind | undefined {
  switch (mediaType) {
    case OCI_MANIFEST:
    case DOCKER_MANIFEST:
      return 'manifest';
    case OCI_INDEX:
    case DOCKER_LIST:
      return 'index';
    case 'application/vnd.docker.distribution.manifest.v1+json':
    case 'application/vnd.docker.distribution.manifest.v1+prettyjws':
      return 'schema1';
    default:
      return undefined;
  }
}

export function isImageConfig(mediaType: string): boolean {
  return mediaType === OCI_CONFIG || mediaType === DOCKER_CONFIG;
}

const LAYERS: ReadonlyMap<string, LayerCompression> = new Map([
  [OCI_LAYER, 'none'],
  [`${OCI_LAYER}+gzip`, 'gzip'],
  [`${OCI_LAYER}+zstd`, 'zstd'],
  [DOCKER_LAYER, 'none'],
  [`${DOCKER_LAYER}.gzip`, 'gzip'],
  // Not in Docker's own list; BuildKit writes it.
  [`${DOCKER_LAYER}.zstd`, 'zstd'],
]);

/**
 * Returns how a layer of this media type says it is compressed, or undefined when it is not a layer we can read.
 * It is a claim: podman sniffs the bytes, and some images depend on it.
 */
export function layerCompression(mediaType: string): LayerCompression | undefined {
  return LAYERS.get(mediaType);
}

/** Returns whether a layer may be kept out of registries: its bytes are elsewhere, or nowhere. */
export function isForeignLayer(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.v1.tar') ||
    mediaType.startsWith('application/vnd.docker.image.rootfs.foreign.diff.tar')
  );
}
