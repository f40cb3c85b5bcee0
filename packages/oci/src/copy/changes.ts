/** What a copy changes on its way: compression and format. Without a wish everything stays as it is, and so do the digests. */
import { digestOf, stableJson } from '@cambium/base';
import { ociError } from '../errors.ts';
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  isImageConfig,
  type LayerCompression,
  layerCompression,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
} from '../image/media-types.ts';
import type { Descriptor, Document, Index, Manifest } from '../image/types.ts';

export type ImageFormat = 'oci' | 'docker';

export interface WantedChanges {
  /** Every layer in this compression; absent: plain layers as the place prefers, others as they are. */
  compression?: LayerCompression | undefined;
  /** Of the compressor; by default its own. */
  level?: number | undefined;
  format?: ImageFormat | undefined;
}

const TYPES: Readonly<Record<ImageFormat, { manifest: string; index: string; config: string; layer: Readonly<Record<LayerCompression, string>> }>> = {
  oci: { manifest: OCI_MANIFEST, index: OCI_INDEX, config: OCI_CONFIG, layer: { none: OCI_LAYER, gzip: `${OCI_LAYER}+gzip`, zstd: `${OCI_LAYER}+zstd` } },
  docker: {
    manifest: DOCKER_MANIFEST,
    index: DOCKER_LIST,
    config: DOCKER_CONFIG,
    layer: { none: DOCKER_LAYER, gzip: `${DOCKER_LAYER}.gzip`, zstd: `${DOCKER_LAYER}.zstd` },
  },
};

/** Returns what a layer is to be recompressed with, or undefined when its bytes stay. */
export function recompression(layer: Descriptor, wanted: WantedChanges, prefers: 'gzip' | 'none' | undefined): LayerCompression | undefined {
  const now = layerCompression(layer.mediaType);
  // What is no layer of a file system has bytes of its own meaning.
  if (now === undefined) return undefined;
  const target = wanted.compression ?? (now === 'none' || prefers === 'none' ? prefers : undefined);
  return target === undefined || (target === now && wanted.level === undefined) ? undefined : target;
}

/** Returns the format that a document is in. */
export function formatOf({ mediaType }: Document<Manifest | Index>): ImageFormat {
  return mediaType === DOCKER_MANIFEST || mediaType === DOCKER_LIST ? 'docker' : 'oci';
}

/**
 * Returns a manifest with other layers, or in another format; the same document when nothing differs.
 *
 * @param layers in the manifest's order, as they are stored now
 * @throws OCI_FORMAT_IMPOSSIBLE when Docker's format cannot say it
 */
export function changedManifest(manifest: Document<Manifest>, layers: readonly Descriptor[], format: ImageFormat): Document<Manifest> {
  const types = TYPES[format];
  const { value } = manifest;
  const moved = format !== formatOf(manifest);
  const newLayers = layers.map((layer) => {
    const compression = layerCompression(layer.mediaType);
    return !moved || compression === undefined ? layer : { ...layer, mediaType: types.layer[compression] };
  });
  const config = moved && isImageConfig(value.config.mediaType) ? { ...value.config, mediaType: types.config } : value.config;
  if (format === 'docker') {
    if (!isImageConfig(value.config.mediaType)) throw impossible(`its manifest is of an artifact ("${value.config.mediaType.slice(0, 120)}")`);
    if (newLayers.some((layer) => layerCompression(layer.mediaType) === 'zstd')) throw impossible('it has layers compressed with zstd');
  }
  return rewritten(
    manifest,
    { ...value, mediaType: moved ? types.manifest : value.mediaType, config, layers: newLayers },
    moved ? types.manifest : manifest.mediaType,
  );
}

/** Returns an index that names other documents, in its order; the same document when nothing differs. */
export function changedIndex(index: Document<Index>, children: readonly Document<Manifest | Index>[], format: ImageFormat): Document<Index> {
  const types = TYPES[format];
  const moved = format !== formatOf(index);
  const manifests = index.value.manifests.map((entry, i) => {
    const { digest, bytes, mediaType } = children[i] as Document<Manifest | Index>;
    return { ...entry, mediaType, digest, size: bytes.byteLength };
  });
  return rewritten(index, { ...index.value, mediaType: moved ? types.index : index.value.mediaType, manifests }, moved ? types.index : index.mediaType);
}

function rewritten<T extends Manifest | Index>(before: Document<T>, value: T, mediaType: string): Document<T> {
  if (stableJson(value) === stableJson(before.value)) return before;
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  return { mediaType, digest: digestOf(bytes), bytes, value };
}

function impossible(reason: string): Error {
  return ociError('OCI_FORMAT_IMPOSSIBLE', `Cannot write the image in Docker's format: ${reason}`, { hint: 'Write it in the OCI format' });
}
