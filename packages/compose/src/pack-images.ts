/**
 * The images of an app on their way into a repository: resolved, planned, fetched layer by layer, squashed.
 */
import { type DiffId, type Digest, mapLimit } from '@cambium/base';
import {
  findImageCommit,
  findLayerCommit,
  imageRef,
  importLayer,
  type LayerCommit,
  layerRef,
  type StoredImage,
  storedDocuments,
  writeImageCommit,
} from '@cambium/bridge';
import {
  type Descriptor,
  type ImageSource,
  type OpenImageOptions,
  openImage,
  parsePlace,
  type ResolvedImage,
  resolveImage,
  type WantedPlatform,
} from '@cambium/oci';
import type { Repo, Transaction } from '@cambium/ostree';

/** One distinct image of the model. */
export interface WantedImage {
  /** As the Compose model has it. */
  reference: string;
  services: readonly string[];
  /** Where it is read from: the reference itself unless the caller said otherwise. */
  place: string;
  platform: WantedPlatform;
  /** As the service writes it. */
  platformText: string | undefined;
}

export interface PlannedLayer {
  diffId: DiffId;
  descriptor: Descriptor;
  /** True when the repository has it, or an image planned before brings it. */
  known: boolean;
}

export interface PlannedImage extends WantedImage {
  resolved: ResolvedImage;
  /** What the reference resolves to: the index when there is one. */
  digest: Digest;
  /** What the packed app names it by: `digest`, or the manifest's own where the app wants the reference for several platforms. */
  pin: Digest;
  layers: readonly PlannedLayer[];
  /** The squashed image when the repository has it; its layers then need not be there. */
  stored: StoredImage | undefined;
  /** Compressed bytes to fetch. */
  fetchBytes: number;
}

export type ImageEvent =
  | { type: 'image-resolved'; reference: string; digest: Digest; fetchBytes: number; layers: number; knownLayers: number }
  | { type: 'layer-started'; diffId: DiffId; sizeBytes: number }
  | { type: 'layer-progress'; diffId: DiffId; bytes: number }
  | { type: 'layer-stored'; diffId: DiffId; sizeBytes: number; entries: number }
  | { type: 'image-stored'; reference: string };

/**
 * Resolves all images and says what must be fetched. The sources stay open: close them with {@link closeImages}.
 */
export async function planImages(
  repo: Repo | undefined,
  wanted: readonly WantedImage[],
  options: OpenImageOptions,
  concurrency: number,
  on: (event: ImageEvent) => void,
  signal?: AbortSignal,
): Promise<PlannedImage[]> {
  const cache = repo === undefined ? undefined : storedDocuments(repo);
  const opened: ImageSource[] = [];
  try {
    const resolved = await mapLimit(wanted, concurrency, async (image) => {
      const source = await openImage(parsePlace(image.place), options);
      opened.push(source);
      return resolveImage(source, image.platform, { ...(signal === undefined ? {} : { signal }), ...(cache === undefined ? {} : { cache }) });
    });
    const coming = new Set<DiffId>();
    const manifests = new Map<string, Set<Digest>>();
    for (const [i, { reference }] of wanted.entries()) {
      const known = manifests.get(reference) ?? new Set();
      manifests.set(reference, known.add((resolved[i] as ResolvedImage).manifest.digest));
    }
    return wanted.map((image, i) => {
      const plan = planImage(repo, image, resolved[i] as ResolvedImage, coming, on);
      return (manifests.get(image.reference)?.size ?? 0) > 1 ? { ...plan, pin: plan.resolved.manifest.digest } : plan;
    });
  } catch (error) {
    await Promise.all(opened.map((source) => source.close()));
    throw error;
  }
}

function planImage(repo: Repo | undefined, image: WantedImage, resolved: ResolvedImage, coming: Set<DiffId>, on: (event: ImageEvent) => void): PlannedImage {
  const stored = repo === undefined ? undefined : findImageCommit(repo, resolved.manifest.digest);
  const layers = resolved.layers.map(({ descriptor, diffId }) => {
    const known = stored !== undefined || coming.has(diffId) || (repo !== undefined && findLayerCommit(repo, diffId) !== undefined);
    if (!known) coming.add(diffId);
    return { diffId, descriptor, known };
  });
  const fetchBytes = layers.reduce((sum, layer) => sum + (layer.known ? 0 : layer.descriptor.size), 0);
  const digest = resolved.index?.digest ?? resolved.manifest.digest;
  on({
    type: 'image-resolved',
    reference: image.reference,
    digest,
    fetchBytes,
    layers: layers.length,
    knownLayers: layers.filter((layer) => layer.known).length,
  });
  return { ...image, resolved, digest, pin: digest, layers, stored, fetchBytes };
}

export async function closeImages(images: readonly PlannedImage[]): Promise<void> {
  await Promise.all(images.map((image) => image.resolved.source.close()));
}

/** Layers above this are worth a flush of their own. */
const FLUSH_BYTES = 8 * 1024 ** 2;

export interface StoreOptions {
  signal?: AbortSignal | undefined;
  /** Largest uncompressed layer; {@link MAX_LAYER_BYTES} by default. */
  layerLimitBytes?: number | undefined;
}

/**
 * Brings the missing layers into the transaction, `concurrency` at a time, largest first, and squashes what is new.
 * Layers that are complete get their refs at once, so that a failure loses only what was under way.
 */
export async function storeImages(
  repo: Repo,
  transaction: Transaction,
  images: readonly PlannedImage[],
  concurrency: number,
  on: (event: ImageEvent) => void,
  options: StoreOptions = {},
): Promise<StoredImage[]> {
  const { signal } = options;
  const limit = options.layerLimitBytes === undefined ? {} : { limitBytes: options.layerLimitBytes };
  const missing = new Map<DiffId, { layer: PlannedLayer; source: ImageSource }>();
  const stored = new Map<Digest, StoredImage>();
  for (const image of images) {
    // Looked at again: until the transaction held the lock, another process could drop what the plan counted on.
    const before = image.stored === undefined ? undefined : findImageCommit(repo, image.resolved.manifest.digest);
    if (before !== undefined) stored.set(image.resolved.manifest.digest, before);
    else
      for (const layer of image.layers)
        if (findLayerCommit(repo, layer.diffId) === undefined) missing.set(layer.diffId, { layer, source: image.resolved.source });
  }
  const imported = new Map<DiffId, LayerCommit>();
  // Squashed as soon as an image is whole, while layers of others still come.
  const storeWholeImages = (): void => {
    for (const { reference, layers, resolved } of images) {
      const { manifest, config } = resolved;
      if (stored.has(manifest.digest) || layers.some(({ diffId }) => missing.has(diffId) && !imported.has(diffId))) continue;
      const commits = layers.map(({ diffId }) => imported.get(diffId) ?? (findLayerCommit(repo, diffId) as LayerCommit));
      const image = writeImageCommit(repo, transaction, { manifest, config, diffIds: layers.map(({ diffId }) => diffId) }, commits);
      transaction.setRef(imageRef(manifest.digest), image.commit);
      stored.set(manifest.digest, image);
      on({ type: 'image-stored', reference });
    }
  };
  const queue = [...missing.values()].sort((a, b) => b.layer.descriptor.size - a.layer.descriptor.size);
  transaction.expectContent(queue.reduce((sum, { layer }) => sum + layer.descriptor.size, 0));
  await mapLimit(queue, concurrency, async ({ layer, source }) => {
    const { diffId, descriptor } = layer;
    on({ type: 'layer-started', diffId, sizeBytes: descriptor.size });
    const open = (inner?: AbortSignal): AsyncIterable<Uint8Array> =>
      counted(source.blob(descriptor, inner), (bytes) => on({ type: 'layer-progress', diffId, bytes }));
    const result = await importLayer(transaction, { diffId, open, ...limit }, signal);
    transaction.setRef(layerRef(diffId), result.layer.commit);
    imported.set(diffId, result.layer);
    on({ type: 'layer-stored', diffId, sizeBytes: descriptor.size, entries: result.entries });
    if (descriptor.size > FLUSH_BYTES) transaction.flushEarly();
    storeWholeImages();
  });
  storeWholeImages();
  return images.map(({ resolved }) => stored.get(resolved.manifest.digest) as StoredImage);
}

async function* counted(source: AsyncIterable<Uint8Array>, tell: (bytes: number) => void): AsyncIterable<Uint8Array> {
  for await (const chunk of source) {
    tell(chunk.byteLength);
    yield chunk;
  }
}
