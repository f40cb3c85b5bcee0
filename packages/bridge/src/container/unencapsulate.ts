/** The commit inside an image, out of it again: the same checksum, complete, verified as its remote wants it. */
import { createHash } from 'node:crypto';
import { decompressAny, TarParser } from '@cambium/archive';
import { type Checksum, isKnownError, KnownError, splitDigest } from '@cambium/base';
import type { ResolvedImage } from '@cambium/oci';
import { type Metadata, type Repo, Transaction, traverse } from '@cambium/ostree';
import { bridgeError } from '../errors.ts';
import { MAX_LAYER_BYTES } from '../import-layer.ts';
import { type ImageLayer, imageParts } from './image-parts.ts';
import { ObjectReceiver } from './object-layer.ts';

export type UnencapsulateEvent = { type: 'plan'; layers: number; bytes: number } | { type: 'layer'; digest: string; size: number; objects: number };

export interface UnencapsulateOptions {
  /** Points at the commit when it is there. */
  ref?: string | undefined;
  /** Refuses a commit by throwing: before anything of it can be seen. */
  verify?: ((checksum: Checksum, commit: Uint8Array, detached: Metadata | undefined) => Promise<unknown>) | undefined;
  signal?: AbortSignal | undefined;
  on?: ((event: UnencapsulateEvent) => void) | undefined;
}

export interface Unencapsulated {
  commit: Checksum;
  /** The repository had it. */
  unchanged: boolean;
  layers: number;
  objects: number;
}

/**
 * Imports the commit of an image without layers of its own.
 *
 * @throws BRIDGE_CONTAINER_INVALID, BRIDGE_CONTAINER_CORRUPT, BRIDGE_LAYER_DIFFID_MISMATCH, what `verify`, the image's source and the repository throw
 */
export async function unencapsulate(repo: Repo, image: ResolvedImage, options: UnencapsulateOptions = {}): Promise<Unencapsulated> {
  const { commit, chunks, derived } = imageParts(image);
  const what = image.source.reference;
  if (commit === undefined) throw bridgeError('BRIDGE_CONTAINER_INVALID', `Cannot use ${what}: it holds no OSTree commit`);
  if (derived.length > 0) {
    throw bridgeError('BRIDGE_CONTAINER_INVALID', `Cannot take the commit alone out of ${what}: the image has ${derived.length} non-ostree layers`);
  }
  const layers = [commit, ...chunks];
  options.on?.({ type: 'plan', layers: layers.length, bytes: layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0) });
  await using transaction = await Transaction.begin(repo);
  let objects = 0;
  let found: { checksum: Checksum; bytes: Uint8Array } | undefined;
  for (const layer of layers) {
    const receiver = await readObjects(transaction, image, layer, { kind: layer === commit ? 'commit' : 'chunk', signal: options.signal });
    if (receiver.commit !== undefined) {
      found = receiver.commit;
      await options.verify?.(found.checksum, found.bytes, receiver.detached);
      // Whom nobody asked for signatures must not replace those that are there.
      const mayReplace = options.verify !== undefined || repo.readDetachedMetadata(found.checksum) === undefined;
      if (receiver.detached !== undefined && mayReplace) transaction.setDetachedMetadata(found.checksum, receiver.detached);
    }
    objects += receiver.objects;
    options.on?.({ type: 'layer', digest: layer.descriptor.digest, size: layer.descriptor.size, objects: receiver.objects });
  }
  const { checksum, bytes } = found as { checksum: Checksum; bytes: Uint8Array };
  transaction.writeMetadata('commit', bytes);
  requireComplete(repo, checksum, what);
  transaction.markComplete(checksum);
  if (options.ref !== undefined) transaction.setRef(options.ref, checksum);
  const { contentWritten, metadataWritten } = await transaction.commit();
  return { commit: checksum, unchanged: contentWritten + metadataWritten === 0, layers: layers.length, objects };
}

interface ReadOptions {
  kind: 'commit' | 'chunk';
  signal: AbortSignal | undefined;
}

async function readObjects(transaction: Transaction, image: ResolvedImage, { descriptor, diffId }: ImageLayer, options: ReadOptions): Promise<ObjectReceiver> {
  const content = transaction.content();
  const receiver = new ObjectReceiver(transaction, content, { kind: options.kind, layer: diffId });
  const parser = new TarParser(receiver, { maxTotalBytes: MAX_LAYER_BYTES });
  const { algorithm, hex } = splitDigest(diffId);
  const hash = createHash(algorithm);
  try {
    for await (const chunk of decompressAny(image.source.blob(descriptor, options.signal), { limitBytes: MAX_LAYER_BYTES })) {
      options.signal?.throwIfAborted();
      hash.update(chunk);
      parser.write(chunk);
      await content.ready();
    }
    parser.end();
    receiver.end();
    await content.flush();
    receiver.check();
  } catch (error) {
    receiver.abort();
    throw namingLayer(error, diffId);
  }
  if (hash.digest('hex') !== hex) throw bridgeError('BRIDGE_LAYER_DIFFID_MISMATCH', `Cannot use layer ${diffId}: its uncompressed content has another digest`);
  return receiver;
}

/** The parser of tar does not know what it reads. */
function namingLayer(error: unknown, layer: string): unknown {
  if (!isKnownError(error) || !error.code.startsWith('ARCHIVE_')) return error;
  const { code, kind, message, hint, retryable, data } = error;
  return new KnownError({ code, kind, message: `Cannot read layer ${layer}: ${message}`, hint, retryable, data: { ...data, layer }, cause: error });
}

/** Walks the whole commit: an image that lacks objects must not become a commit that looks whole. */
function requireComplete(repo: Repo, commit: Checksum, what: string): void {
  const missing: string[] = [];
  const reached = traverse(repo, [commit], { depth: 0, onBad: (_type, checksum) => void missing.push(checksum) });
  for (const { type, checksum } of reached) if (type === 'file' && !repo.hasObject('file', checksum)) missing.push(checksum);
  if (missing.length === 0) return;
  throw bridgeError('BRIDGE_CONTAINER_CORRUPT', `Cannot use ${what}: it lacks ${missing.length} objects of its commit, as ${missing[0]}`, {
    data: { commit, missing: missing.slice(0, 20) },
  });
}
