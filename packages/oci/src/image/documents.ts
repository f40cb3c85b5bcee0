/**
 * Reading of manifests, indexes and image configurations: strict, because what a device runs follows from them.
 *
 * Source: OCI image-spec 1.1 manifest.md, image-index.md, config.md, descriptor.md; Docker image manifest v2-2.
 */
import { type Digest, digestOf, isDigest, isKnownError, isRecord, parseJson, splitDigest, verifiedBuffer } from '@cambium/base';
import { ociError } from '../errors.ts';
import { documentKind, isForeignLayer, isImageConfig, layerCompression, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import type { Descriptor, Document, ImageConfig, Index, Manifest } from './types.ts';

/** What registries themselves accept (distribution-spec 1.1: "at least 4 megabytes"). */
export const MAX_MANIFEST_BYTES: number = 4 * 1024 * 1024;
/** Configurations carry history and labels; the largest seen in the wild are some hundred KiB. */
export const MAX_CONFIG_BYTES: number = 8 * 1024 * 1024;
/** Overlay stops at 500 layers, ostree images use some hundred. */
export const MAX_LAYERS = 4096;
export const MAX_INDEX_ENTRIES = 4096;

/** What is known of a document before it is read. */
export interface Expectation {
  /** For messages: the reference, or what refers to the document. */
  what: string;
  digest?: Digest | undefined;
  size?: number | undefined;
  /** From the descriptor or the Content-Type header; the document's own `mediaType` wins when both are of one kind. */
  mediaType?: string | undefined;
}

/**
 * Returns the manifest or index in `bytes`, checked against what is known of it.
 *
 * @throws OCI_DOCUMENT_TOO_LARGE, OCI_MANIFEST_MISMATCH, OCI_MANIFEST_SCHEMA1, OCI_MANIFEST_INVALID
 */
export function parseManifestOrIndex(bytes: Uint8Array, expected: Expectation): Document<Manifest | Index> {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) throw tooLarge('manifest', expected.what, MAX_MANIFEST_BYTES);
  const digest = checkDigest(bytes, expected);
  const fail = (reason: string): Error => ociError('OCI_MANIFEST_INVALID', `Cannot read manifest of ${expected.what}: ${reason}`, { data: { digest } });
  const value = parseDocument(bytes, fail);
  refuseLookalikes(value, ['schemaVersion', 'mediaType', 'config', 'layers', 'manifests', 'fsLayers', 'artifactType', 'subject', 'annotations'], fail);

  const claimed = value.mediaType;
  if (claimed !== undefined && typeof claimed !== 'string') throw fail('its mediaType is not a text');
  const outer = expected.mediaType === undefined ? undefined : documentKind(baseType(expected.mediaType));
  const inner = claimed === undefined ? undefined : documentKind(claimed);
  if (inner === 'schema1' || value.schemaVersion === 1 || 'fsLayers' in value) throw schema1(expected.what);
  if (value.schemaVersion !== 2) throw fail('its schemaVersion is not 2');
  if (claimed !== undefined && claimed !== '' && inner === undefined) throw fail(`its media type is "${claimed.slice(0, 120)}"`);

  // CVE-2021-41190: a document that is a manifest to one reader and an index to another.
  const hasManifests = 'manifests' in value;
  if (hasManifests && ('layers' in value || 'config' in value)) throw fail('it is a manifest and an index at once');
  const shape = hasManifests ? 'index' : 'manifest';
  if (inner !== undefined && inner !== shape) throw fail(`its media type says ${inner} but it has the fields of an ${shape}`);
  if (outer !== undefined && outer !== shape) throw fail(`it was announced as ${outer} but it has the fields of an ${shape}`);

  checkAnnotations(value.annotations, fail);
  if (shape === 'index') checkIndex(value, fail);
  else checkManifest(value, fail);

  const announced = expected.mediaType === undefined ? '' : baseType(expected.mediaType);
  const fallback = outer === shape ? announced : shape === 'index' ? OCI_INDEX : OCI_MANIFEST;
  return { mediaType: inner === undefined ? fallback : (claimed as string), digest, bytes, value: value as unknown as Manifest | Index };
}

/**
 * Returns the image configuration in `bytes`. Platform fields that are missing, as in some images made by hand, read as ''.
 *
 * @throws OCI_DOCUMENT_TOO_LARGE, OCI_BLOB_MISMATCH, OCI_CONFIG_INVALID
 */
export function parseImageConfig(bytes: Uint8Array, expected: Expectation): Document<ImageConfig> {
  if (bytes.byteLength > MAX_CONFIG_BYTES) throw tooLarge('configuration', expected.what, MAX_CONFIG_BYTES);
  const digest = checkDigest(bytes, expected, 'OCI_BLOB_MISMATCH');
  const fail = (reason: string): Error => ociError('OCI_CONFIG_INVALID', `Cannot read configuration of ${expected.what}: ${reason}`, { data: { digest } });
  const value = parseDocument(bytes, fail);
  refuseLookalikes(value, ['os', 'architecture', 'variant', 'created', 'config', 'rootfs', 'history'], fail);

  for (const key of ['os', 'architecture'] as const) {
    value[key] ??= '';
    if (typeof value[key] !== 'string') throw fail(`its ${key} is not a text`);
  }
  for (const key of ['variant', 'created'] as const) {
    if (value[key] === null) delete value[key];
    if (value[key] !== undefined && typeof value[key] !== 'string') throw fail(`its ${key} is not a text`);
  }
  if (value.config === null) delete value.config;
  if (value.config !== undefined && !isRecord(value.config)) throw fail('its config is not an object');
  const history = value.history ?? undefined;
  if (history === undefined) delete value.history;
  // Its entries are not compared with the layers: Bazel and ko leave history out or write less of it.
  if (history !== undefined && !(Array.isArray(history) && history.every(isRecord))) throw fail('its history is not a list of objects');

  const rootfs = value.rootfs;
  if (!isRecord(rootfs) || rootfs.type !== 'layers') throw fail('its rootfs is not of type "layers"');
  rootfs.diff_ids ??= [];
  const diffIds = rootfs.diff_ids;
  if (!Array.isArray(diffIds) || !diffIds.every((id) => typeof id === 'string' && isDigest(id))) throw fail('its rootfs.diff_ids are not a list of digests');
  return { mediaType: expected.mediaType ?? OCI_CONFIG, digest, bytes, value: value as unknown as ImageConfig };
}

export function isIndex(document: Document<Manifest | Index>): document is Document<Index> {
  return 'manifests' in document.value;
}

/**
 * Checks that a manifest is of a container image all of whose layers can be read.
 *
 * @throws OCI_NOT_AN_IMAGE, OCI_LAYER_FOREIGN, OCI_LAYER_UNSUPPORTED
 */
export function verifyImageManifest(manifest: Manifest, what: string): void {
  if (!isImageConfig(manifest.config.mediaType)) {
    const kind = manifest.artifactType ?? manifest.config.mediaType;
    throw ociError('OCI_NOT_AN_IMAGE', `Cannot use ${what}: it is not a container image but "${kind.slice(0, 120)}"`, { data: { artifactType: kind } });
  }
  for (const [index, { mediaType, digest }] of manifest.layers.entries()) {
    const name = `layer ${index + 1} (${digest})`;
    if (isForeignLayer(mediaType)) {
      throw ociError('OCI_LAYER_FOREIGN', `Cannot use ${what}: ${name} may not be distributed with the image ("${mediaType.slice(0, 120)}")`, {
        hint: 'Such layers belong to Windows images; build the image on a base without them',
        data: { digest, mediaType },
      });
    }
    if (layerCompression(mediaType) === undefined) {
      throw ociError('OCI_LAYER_UNSUPPORTED', `Cannot use ${what}: ${name} has the unknown media type "${mediaType.slice(0, 120)}"`, {
        ...(mediaType.endsWith('+encrypted') ? { hint: 'The layer is encrypted; decrypt the image first, for example with skopeo copy --decryption-key' } : {}),
        data: { digest, mediaType },
      });
    }
  }
}

function checkManifest(value: Record<string, unknown>, fail: (reason: string) => Error): void {
  if (value.layers === null) value.layers = [];
  const layers = value.layers;
  if (!Array.isArray(layers)) throw fail('it has no list of layers');
  if (layers.length > MAX_LAYERS) throw fail(`it has ${layers.length} layers, over the limit of ${MAX_LAYERS}`);
  if (value.artifactType !== undefined && typeof value.artifactType !== 'string') throw fail('its artifactType is not a text');
  checkDescriptor(value.config, 'config', fail);
  for (const [index, layer] of layers.entries()) checkDescriptor(layer, `layer ${index + 1}`, fail);
}

function checkIndex(value: Record<string, unknown>, fail: (reason: string) => Error): void {
  // Go's encoder writes null for an empty list.
  if (value.manifests === null) value.manifests = [];
  const manifests = value.manifests;
  if (!Array.isArray(manifests)) throw fail('its manifests are not a list');
  if (manifests.length > MAX_INDEX_ENTRIES) throw fail(`it has ${manifests.length} entries, over the limit of ${MAX_INDEX_ENTRIES}`);
  for (const [index, entry] of manifests.entries()) {
    const name = `entry ${index + 1}`;
    checkDescriptor(entry, name, fail);
    checkPlatform((entry as unknown as Record<string, unknown>).platform, name, fail);
  }
}

/** Checks one descriptor. Fields that we do not use stay as they are. */
function checkDescriptor(value: unknown, name: string, fail: (reason: string) => Error): asserts value is Descriptor {
  if (!isRecord(value)) throw fail(`${name} is not a descriptor`);
  refuseLookalikes(value, ['mediaType', 'digest', 'size', 'urls', 'annotations', 'platform', 'artifactType', 'data'], fail);
  const { mediaType, digest, size, urls } = value;
  if (typeof mediaType !== 'string' || mediaType === '') throw fail(`${name} has no media type`);
  if (typeof digest !== 'string' || !isDigest(digest)) throw fail(`${name} has no sha256 or sha512 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw fail(`${name} has no valid size`);
  if (urls !== undefined && urls !== null && !(Array.isArray(urls) && urls.every((url) => typeof url === 'string')))
    throw fail(`${name} has urls that are not texts`);
  checkAnnotations(value.annotations, fail);
}

function checkPlatform(value: unknown, name: string, fail: (reason: string) => Error): void {
  if (value === undefined) return;
  if (!isRecord(value) || typeof value.os !== 'string' || typeof value.architecture !== 'string')
    throw fail(`${name} has a platform without os or architecture`);
  if (value.variant !== undefined && typeof value.variant !== 'string') throw fail(`${name} has a variant that is not a text`);
}

function checkAnnotations(value: unknown, fail: (reason: string) => Error): void {
  if (value === undefined || value === null) return;
  if (!isRecord(value) || !Object.values(value).every((item) => typeof item === 'string')) throw fail('it has annotations that are not texts');
}

/** Go's decoder ignores case, so `Layers` would be layers to docker and nothing to us: refuse what can be read in two ways. */
function refuseLookalikes(value: Record<string, unknown>, known: readonly string[], fail: (reason: string) => Error): void {
  for (const key of Object.keys(value)) {
    if (!known.includes(key) && known.some((name) => name.toLowerCase() === key.toLowerCase()))
      throw fail(`its field "${key}" differs from a known one only in case`);
  }
}

function parseDocument(bytes: Uint8Array, fail: (reason: string) => Error): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseJson(bytes, 'document');
  } catch (error) {
    if (!isKnownError(error)) throw error;
    throw fail('it is not JSON');
  }
  if (!isRecord(value)) throw fail('it is not a JSON object');
  return value;
}

function checkDigest(bytes: Uint8Array, expected: Expectation, code: 'OCI_MANIFEST_MISMATCH' | 'OCI_BLOB_MISMATCH' = 'OCI_MANIFEST_MISMATCH'): Digest {
  const { digest, size } = expected;
  if (digest === undefined) return digestOf(bytes);
  try {
    verifiedBuffer(bytes, { digest, size });
  } catch (cause) {
    if (!isKnownError(cause, 'BYTES_MISMATCH')) throw cause;
    throw ociError(code, `Cannot trust ${expected.what}: its ${splitDigest(digest).algorithm} or size is not that of ${digest}`, {
      retryable: true,
      data: { digest, expectedBytes: size, seenBytes: bytes.byteLength },
    });
  }
  return digest;
}

function baseType(contentType: string): string {
  return (contentType.split(';', 1)[0] as string).trim().toLowerCase();
}

function tooLarge(kind: string, what: string, limitBytes: number): Error {
  return ociError('OCI_DOCUMENT_TOO_LARGE', `Cannot read ${kind} of ${what}: over ${limitBytes} bytes`, { data: { limitBytes } });
}

function schema1(what: string): Error {
  return ociError('OCI_MANIFEST_SCHEMA1', `Cannot use ${what}: its manifest is of Docker schema 1`, {
    hint: 'Push the image again with a current tool, for example: skopeo copy --format v2s2',
  });
}
