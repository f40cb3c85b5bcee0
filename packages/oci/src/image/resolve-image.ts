/** From a reference to one platform's image, in as few requests as there can be. */
import { type Bytes, collect, type DiffId, type Digest, isKnownError } from '@cambium/base';
import { ociError } from '../errors.ts';
import { isIndex, MAX_CONFIG_BYTES, parseImageConfig, parseManifestOrIndex, verifyImageManifest } from './documents.ts';
import { documentKind } from './media-types.ts';
import { chooseFromIndex, isAttestation, normalizePlatform, platformMissing, platformRank, printPlatform, type WantedPlatform } from './platform.ts';
import type { Descriptor, Document, ImageConfig, ImageSource, Index, Manifest, Platform, ResolvedImage } from './types.ts';

/** Documents the caller has from before, by digest. They are verified again, so a wrong one costs a request and nothing else. */
export interface DocumentCache {
  get(digest: Digest): Uint8Array | undefined;
}

export interface ResolveOptions {
  signal?: AbortSignal | undefined;
  cache?: DocumentCache | undefined;
}

/** A source that knows the digest its reference names without a request. */
export interface PinnedImageSource extends ImageSource {
  readonly digest: Digest | undefined;
}

/** An index in an index is legal; deeper nesting has no use. */
const MAX_INDEX_DEPTH = 3;
/** Entries without a platform are judged by their config: a request or two each. */
const MAX_CANDIDATES = 8;

/**
 * Returns the image for `wanted` that `source` names, its documents fetched and checked against each other.
 * Requests: one for what the reference names, one more for a manifest out of an index, one for the config;
 * those whose digest `cache` knows are not made.
 *
 * @throws OCI_PLATFORM_MISSING, OCI_PLATFORM_MISMATCH (only when `wanted.explicit`), OCI_NOT_AN_IMAGE, OCI_LAYER_FOREIGN,
 * OCI_LAYER_UNSUPPORTED, OCI_LAYERS_MISMATCH, and what reading the documents can throw
 */
export async function resolveImage(source: ImageSource, wanted: WantedPlatform, options: ResolveOptions = {}): Promise<ResolvedImage> {
  const top = await fetchTop(source, options);
  if (isIndex(top)) {
    const found = await resolveFromIndex(source, top, wanted, options, 1);
    return { ...found, index: top };
  }
  const image = await finish(source, top as Document<Manifest>, options);
  if (wanted.explicit === true && platformRank(wanted, image.config.value) === undefined) {
    const actual = printPlatform(normalizePlatform(platformOf(image.config.value)));
    throw ociError('OCI_PLATFORM_MISMATCH', `Cannot use ${source.reference}: it is for ${actual}, not ${printPlatform(normalizePlatform(wanted))}`, {
      hint: 'The reference names one image and not an index of several; ask for its platform, or choose another tag',
      data: { wanted: printPlatform(normalizePlatform(wanted)), actual },
    });
  }
  return image;
}

async function resolveFromIndex(
  source: ImageSource,
  index: Document<Index>,
  wanted: WantedPlatform,
  options: ResolveOptions,
  depth: number,
): Promise<ResolvedImage> {
  const candidates = chooseFromIndex(index.value, wanted, source.reference).slice(0, MAX_CANDIDATES);
  for (const descriptor of candidates) {
    // Something that is neither an image nor an index: signatures and the like in an index by hand.
    if (documentKind(descriptor.mediaType) === undefined) continue;
    const child = await fetchChild(source, descriptor, options);
    if (isIndex(child)) {
      if (depth >= MAX_INDEX_DEPTH) throw ociError('OCI_MANIFEST_INVALID', `Cannot use ${source.reference}: indexes are nested over ${MAX_INDEX_DEPTH} deep`);
      try {
        return await resolveFromIndex(source, child, wanted, options, depth + 1);
      } catch (error) {
        if (isKnownError(error, 'OCI_PLATFORM_MISSING') && descriptor.platform === undefined) continue;
        throw error;
      }
    }
    const image = await finish(source, child as Document<Manifest>, options);
    // A platform that the index states is believed, as everywhere; only without one the config decides.
    if (descriptor.platform === undefined && platformRank(wanted, image.config.value) === undefined) continue;
    return image;
  }
  throw platformMissing(
    index.value.manifests.filter((descriptor) => !isAttestation(descriptor)),
    wanted,
    source.reference,
  );
}

async function fetchTop(source: ImageSource, { signal, cache }: ResolveOptions): Promise<Document<Manifest | Index>> {
  const digest = (source as Partial<PinnedImageSource>).digest;
  const known = digest === undefined ? undefined : fromCache(cache, digest, (bytes) => parseManifestOrIndex(bytes, { what: source.reference, digest }));
  return known ?? (await source.manifest(undefined, signal));
}

async function fetchChild(source: ImageSource, descriptor: Descriptor, { signal, cache }: ResolveOptions): Promise<Document<Manifest | Index>> {
  const { digest, size, mediaType } = descriptor;
  const expected = { what: `${source.reference} (${digest})`, digest, size, mediaType };
  const known = fromCache(cache, digest, (bytes) => parseManifestOrIndex(bytes, expected));
  if (known !== undefined) return known;
  const document = await source.manifest(digest, signal);
  // The source has verified the digest; the entry's size and media type are claims of the index about it.
  return parseManifestOrIndex(document.bytes, expected);
}

async function finish(source: ImageSource, manifest: Document<Manifest>, options: ResolveOptions): Promise<ResolvedImage> {
  verifyImageManifest(manifest.value, source.reference);
  const config = await fetchConfig(source, manifest.value.config, options);
  const diffIds = config.value.rootfs.diff_ids;
  const { layers } = manifest.value;
  if (diffIds.length !== layers.length) {
    throw ociError('OCI_LAYERS_MISMATCH', `Cannot use ${source.reference}: its manifest has ${layers.length} layers, its configuration ${diffIds.length}`, {
      data: { layers: layers.length, diffIds: diffIds.length },
    });
  }
  return {
    source,
    index: undefined,
    manifest,
    config,
    layers: layers.map((descriptor, i) => ({ descriptor, diffId: diffIds[i] as DiffId })),
  };
}

async function fetchConfig(source: ImageSource, descriptor: Descriptor, { signal, cache }: ResolveOptions): Promise<Document<ImageConfig>> {
  const { digest, size, mediaType } = descriptor;
  const expected = { what: source.reference, digest, size, mediaType };
  if (size > MAX_CONFIG_BYTES) {
    throw ociError('OCI_DOCUMENT_TOO_LARGE', `Cannot read configuration of ${source.reference}: over ${MAX_CONFIG_BYTES} bytes`, {
      data: { limitBytes: MAX_CONFIG_BYTES },
    });
  }
  const known = fromCache(cache, digest, (bytes) => parseImageConfig(bytes, expected));
  return known ?? parseImageConfig(await readSmall(source.blob(descriptor, signal)), expected);
}

function readSmall(bytes: Bytes): Promise<Uint8Array> {
  return collect(bytes, MAX_CONFIG_BYTES, 'image configuration');
}

function fromCache<T>(cache: DocumentCache | undefined, digest: Digest, parse: (bytes: Uint8Array) => T): T | undefined {
  const bytes = cache?.get(digest);
  if (bytes === undefined) return undefined;
  try {
    return parse(bytes);
  } catch (error) {
    // A damaged cache is not the image's fault: ask the source instead.
    if (isKnownError(error, 'OCI_MANIFEST_MISMATCH') || isKnownError(error, 'OCI_BLOB_MISMATCH')) return undefined;
    throw error;
  }
}

function platformOf({ os, architecture, variant }: ImageConfig): Platform {
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}
