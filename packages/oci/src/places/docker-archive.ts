/**
 * Images in the archives of `docker save` and `podman save`.
 *
 * Source: Docker image specification v1.2 ("Combined Image JSON + Filesystem Changeset Format"); moby `image/tarexport`.
 * Such an archive has no manifest of its own, so one is made: see `docs/formats/docker-archive.md`.
 */
import { createHash } from 'node:crypto';
import { type Digest, digestOf, isKnownError, isRecord, parseJson, stableJson } from '@cambium/base';
import { ociError } from '../errors.ts';
import { MAX_CONFIG_BYTES, MAX_LAYERS, MAX_MANIFEST_BYTES, parseImageConfig, parseManifestOrIndex } from '../image/documents.ts';
import { DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, type LayerCompression } from '../image/media-types.ts';
import { type ImageReference, parseImageReference, printImageReference } from '../image/reference.ts';
import type { PinnedImageSource } from '../image/resolve-image.ts';
import type { Descriptor, Document, ImageConfig, Manifest } from '../image/types.ts';
import { type ImageFiles, verifiedBlob } from './image-files.ts';
import { readSmallFile } from './layout-files.ts';

export interface DockerArchiveSelection {
  reference?: ImageReference | undefined;
  /** Position in `manifest.json`, from 0. */
  index?: number | undefined;
}

/** One image of `manifest.json`. */
interface ArchiveImage {
  config: string;
  tags: string[];
  layers: string[];
}

const MAX_IMAGES = 4096;

/**
 * Opens an image of an archive. Closing it closes `files`. Compressed layers are read once to learn their digests;
 * of plain ones the configuration tells it, and reading verifies.
 *
 * @throws OCI_ARCHIVE_INVALID, OCI_MANIFEST_UNKNOWN, OCI_IMAGE_AMBIGUOUS, OCI_CONFIG_INVALID, OCI_LAYERS_MISMATCH
 */
export async function openDockerArchive(
  files: ImageFiles,
  selection: DockerArchiveSelection,
  reference: string,
  signal?: AbortSignal,
): Promise<PinnedImageSource> {
  const bytes = await readSmallFile(files, 'manifest.json', MAX_MANIFEST_BYTES, signal);
  if (bytes === undefined) {
    throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${files.path}": it has no manifest.json`, {
      hint: 'Check the path; an archive of an OCI layout is an oci-archive:FILE',
    });
  }
  const image = choose(parseImages(bytes, files.path), selection, files.path);
  const configBytes = await readSmallFile(files, image.config, MAX_CONFIG_BYTES, signal);
  if (configBytes === undefined) throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${files.path}": it has no file "${image.config}"`);
  const config = parseImageConfig(configBytes, { what: reference });
  const { manifest, members } = await describe(files, image, config, reference, signal);
  members.set(config.digest, image.config);

  return {
    reference,
    digest: manifest.digest,
    manifest: async (digest) => {
      if (digest === undefined || digest === manifest.digest) return manifest;
      throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot read ${reference} (${digest}): an archive has one manifest per image`);
    },
    async *blob(descriptor, signal) {
      const member = members.get(descriptor.digest);
      if (member === undefined) throw ociError('OCI_BLOB_UNKNOWN', `Cannot read blob ${descriptor.digest} of ${reference}: the archive does not have it`);
      yield* verifiedBlob(files.open(member, signal), descriptor, reference);
    },
    close: () => files.close(),
  };
}

/** Returns the references of the images of an archive; undefined for one without. @throws OCI_ARCHIVE_INVALID */
export async function dockerArchiveImages(files: ImageFiles, signal?: AbortSignal): Promise<(string | undefined)[]> {
  const bytes = await readSmallFile(files, 'manifest.json', MAX_MANIFEST_BYTES, signal);
  if (bytes === undefined) throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${files.path}": it has no manifest.json`);
  return parseImages(bytes, files.path).flatMap(({ tags }) => (tags.length === 0 ? [undefined] : tags));
}

/** Makes the manifest that the archive lacks: Docker's schema 2, the layers as they are stored. */
async function describe(
  files: ImageFiles,
  image: ArchiveImage,
  config: Document<ImageConfig>,
  reference: string,
  signal: AbortSignal | undefined,
): Promise<{ manifest: Document<Manifest>; members: Map<Digest, string> }> {
  const diffIds = config.value.rootfs.diff_ids;
  if (diffIds.length !== image.layers.length) {
    throw ociError('OCI_LAYERS_MISMATCH', `Cannot use ${reference}: its archive has ${image.layers.length} layers, its configuration ${diffIds.length}`, {
      data: { layers: image.layers.length, diffIds: diffIds.length },
    });
  }
  const members = new Map<Digest, string>();
  const known = new Map<string, Descriptor>();
  const layers: Descriptor[] = [];
  for (const [i, member] of image.layers.entries()) {
    let descriptor = known.get(member);
    if (descriptor === undefined) {
      const size = await files.size(member);
      if (size === undefined) throw ociError('OCI_ARCHIVE_INVALID', `Cannot use "${files.path}": it has no file "${member}"`);
      const { compression, digest } = await inspectLayer(files, member, signal);
      const mediaType = compression === 'none' ? DOCKER_LAYER : `${DOCKER_LAYER}.${compression}`;
      descriptor = { mediaType, size, digest: digest ?? (diffIds[i] as string as Digest) };
      // Only a compressed layer says by itself what it is: the same file may stand for one diffID only.
      if (digest !== undefined) known.set(member, descriptor);
    }
    members.set(descriptor.digest, member);
    layers.push(descriptor);
  }
  const value = {
    schemaVersion: 2,
    mediaType: DOCKER_MANIFEST,
    config: { mediaType: DOCKER_CONFIG, digest: config.digest, size: config.bytes.byteLength },
    layers,
  };
  const bytes = new TextEncoder().encode(stableJson(value));
  return { manifest: parseManifestOrIndex(bytes, { what: reference, digest: digestOf(bytes) }) as Document<Manifest>, members };
}

/** Tells how a layer is stored by its first bytes, and hashes it when it is compressed. */
async function inspectLayer(
  files: ImageFiles,
  member: string,
  signal: AbortSignal | undefined,
): Promise<{ compression: LayerCompression; digest: Digest | undefined }> {
  const hash = createHash('sha256');
  let compression: LayerCompression | undefined;
  for await (const chunk of files.open(member, signal)) {
    compression ??= sniff(chunk);
    if (compression === 'none') break;
    hash.update(chunk);
  }
  return {
    compression: compression ?? 'none',
    digest: compression === undefined || compression === 'none' ? undefined : (`sha256:${hash.digest('hex')}` as Digest),
  };
}

function sniff(bytes: Uint8Array): LayerCompression {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip';
  if (bytes[0] === 0x28 && bytes[1] === 0xb5 && bytes[2] === 0x2f && bytes[3] === 0xfd) return 'zstd';
  return 'none';
}

function parseImages(bytes: Uint8Array, path: string): ArchiveImage[] {
  const fail = (reason: string): Error => ociError('OCI_ARCHIVE_INVALID', `Cannot use "${path}": its manifest.json ${reason}`);
  let value: unknown;
  try {
    value = parseJson(bytes, 'manifest.json');
  } catch (error) {
    if (!isKnownError(error)) throw error;
    throw fail('is not JSON');
  }
  if (!Array.isArray(value) || value.length > MAX_IMAGES) throw fail('is not a list of images');
  return value.map((item: unknown) => {
    if (!isRecord(item)) throw fail('is not a list of images');
    const { Config: config, RepoTags: tags, Layers: layers } = item;
    if (typeof config !== 'string') throw fail('has an image without Config');
    // Both are null for an image without them: Go's empty lists.
    if (!isTexts(layers ?? []) || !isTexts(tags ?? [])) throw fail('has an image whose Layers or RepoTags are not texts');
    const names = (layers ?? []) as string[];
    if (names.length > MAX_LAYERS) throw fail(`has an image with over ${MAX_LAYERS} layers`);
    return { config: memberName(config, fail), tags: (tags ?? []) as string[], layers: names.map((name) => memberName(name, fail)) };
  });
}

/** Names are looked up in the archive only, never on the disk; odd ones are refused all the same. */
function memberName(name: string, fail: (reason: string) => Error): string {
  const plain = name.replace(/^(?:\.\/)+/, '');
  if (plain === '' || plain.includes('\0') || plain.split('/').some((part) => part === '..' || part === ''))
    throw fail(`names the odd file "${name.slice(0, 200)}"`);
  return plain;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function choose(images: readonly ArchiveImage[], { reference, index }: DockerArchiveSelection, path: string): ArchiveImage {
  const tags = images.flatMap((image) => image.tags);
  const available = tags.length === 0 ? 'None of its images has a tag' : `It has: ${tags.slice(0, 30).join(', ')}`;
  if (index !== undefined) {
    const found = images[index];
    if (found !== undefined) return found;
    throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot find image ${index} in "${path}": it has ${images.length}`, { hint: available });
  }
  if (reference !== undefined) {
    const wanted = printImageReference(reference);
    const found = images.find((image) => image.tags.some((tag) => tag === wanted || normalized(tag) === wanted));
    if (found !== undefined) return found;
    throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot find "${wanted}" in "${path}"`, { hint: available, data: { available: tags } });
  }
  const [first] = images;
  if (first === undefined) throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot find an image in "${path}": it is empty`);
  if (images.length > 1) {
    throw ociError('OCI_IMAGE_AMBIGUOUS', `Cannot choose an image in "${path}": it has ${images.length}`, {
      hint: `Name one as :REFERENCE or :@NUMBER. ${available}`,
      data: { available: tags },
    });
  }
  return first;
}

/** Docker writes short names, podman full ones. */
function normalized(tag: string): string | undefined {
  try {
    return printImageReference(parseImageReference(tag));
  } catch (error) {
    if (!isKnownError(error)) throw error;
    return undefined;
  }
}
