/** Reads all of an image and says what is wrong with it. */
import { createHash } from 'node:crypto';
import { decompress, sniffCompression, TarParser } from '@cambium/archive';
import { type Bytes, collect, type DiffId, isKnownError, splitDigest } from '@cambium/base';
import { MAX_CONFIG_BYTES, parseImageConfig, verifyImageManifest } from '../image/documents.ts';
import { isImageConfig, layerCompression } from '../image/media-types.ts';
import type { Descriptor, Document, ImageSource, Manifest } from '../image/types.ts';
import { documentsBelow, manifestsOf } from './documents-of.ts';

export interface ImageProblem {
  /** Digest of the manifest or blob. */
  digest: string;
  what: string;
  code?: string;
}

export interface ValidateResult {
  reference: string;
  digest: string;
  manifests: number;
  blobs: number;
  /** Bytes of blobs that were read. */
  bytes: number;
  problems: ImageProblem[];
}

export interface ValidateOptions {
  signal?: AbortSignal | undefined;
  on?: ((event: { type: 'read'; bytes: number }) => void) | undefined;
}

/**
 * Reads every document and blob: digests and sizes, configurations against their manifests, layers as archives with the diffIDs that are
 * claimed. What is wrong is in the result.
 *
 * @throws what reading the documents at the top can throw, the signal's reason
 */
export async function validateImage(source: ImageSource, options: ValidateOptions = {}): Promise<ValidateResult> {
  const top = await source.manifest(undefined, options.signal);
  const manifests = manifestsOf(await documentsBelow(source, top, options.signal));
  const result: ValidateResult = { reference: source.reference, digest: top.digest, manifests: manifests.length, blobs: 0, bytes: 0, problems: [] };
  const seen = new Set<string>();
  for (const manifest of manifests) await validateManifest(source, manifest, result, seen, options);
  return result;
}

async function validateManifest(
  source: ImageSource,
  { digest, value }: Document<Manifest>,
  result: ValidateResult,
  seen: Set<string>,
  options: ValidateOptions,
): Promise<void> {
  const problem = async (of: string, check: () => Promise<void> | void): Promise<void> => {
    try {
      await check();
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!isKnownError(error)) throw error;
      result.problems.push({ digest: of, what: error.message, code: error.code });
    }
  };
  const read = (descriptor: Descriptor): Bytes => counted(source.blob(descriptor, options.signal), result, options);
  const isImage = isImageConfig(value.config.mediaType);
  let diffIds: readonly DiffId[] | undefined;
  await problem(value.config.digest, async () => {
    const bytes = await collect(read(value.config), MAX_CONFIG_BYTES, 'configuration');
    if (!seen.has(value.config.digest)) result.blobs++;
    seen.add(value.config.digest);
    if (isImage) diffIds = parseImageConfig(bytes, { what: source.reference, digest: value.config.digest }).value.rootfs.diff_ids;
  });
  if (isImage) await problem(digest, () => verifyImageManifest(value, source.reference));
  if (diffIds !== undefined && diffIds.length !== value.layers.length) {
    result.problems.push({ digest, what: `The manifest has ${value.layers.length} layers, the configuration ${diffIds.length} diffIDs` });
  }
  for (const [i, layer] of value.layers.entries()) {
    const key = `${layer.digest} ${diffIds?.[i] ?? ''}`;
    if (seen.has(key)) continue;
    seen.add(key);
    result.blobs++;
    await problem(layer.digest, async () => {
      if (!isImage || layerCompression(layer.mediaType) === undefined) for await (const _chunk of read(layer));
      else await validateLayer(read(layer), layer, diffIds?.[i], result);
    });
  }
}

async function validateLayer(bytes: Bytes, layer: Descriptor, diffId: DiffId | undefined, result: ValidateResult): Promise<void> {
  const { compression, bytes: whole } = await sniffCompression(bytes);
  if (compression !== layerCompression(layer.mediaType)) {
    result.problems.push({
      digest: layer.digest,
      what: `The layer is compressed with ${compression}, its media type says ${layerCompression(layer.mediaType)}`,
    });
  }
  const hash = createHash(diffId === undefined ? 'sha256' : splitDigest(diffId).algorithm);
  const parser = new TarParser({ entry: () => undefined, data: () => undefined, entryEnd: () => undefined });
  for await (const chunk of decompress(whole, compression)) {
    hash.update(chunk);
    parser.write(chunk);
  }
  parser.end();
  if (diffId !== undefined && hash.digest('hex') !== splitDigest(diffId).hex)
    result.problems.push({ digest: layer.digest, what: `The layer's content is not that of its diffID ${diffId}` });
}

async function* counted(source: Bytes, result: ValidateResult, { on }: ValidateOptions): Bytes {
  for await (const chunk of source) {
    result.bytes += chunk.byteLength;
    on?.({ type: 'read', bytes: chunk.byteLength });
    yield chunk;
  }
}
