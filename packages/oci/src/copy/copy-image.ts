/** Copies an image from any place to any other: what is there already is not sent, what is sent is verified while it passes. */
import { compress, decompressAny } from '@cambium/archive';
import { type Bytes, mapLimit } from '@cambium/base';
import { ociError } from '../errors.ts';
import { isIndex } from '../image/documents.ts';
import { isForeignLayer, type LayerCompression } from '../image/media-types.ts';
import type { WantedPlatform } from '../image/platform.ts';
import { resolveImage } from '../image/resolve-image.ts';
import type { ImageSink } from '../image/sink.ts';
import type { Descriptor, Document, ImageSource, Index, Manifest } from '../image/types.ts';
import { changedIndex, changedManifest, formatOf, recompression, type WantedChanges } from './changes.ts';
import { type DocumentNode, documentsBelow, manifestsOf } from './documents-of.ts';

export type CopyEvent =
  /** What must be moved, once it is known. `bytes` counts what the target does not have. */
  | { type: 'plan'; blobs: number; bytes: number; presentBlobs: number; presentBytes: number; manifests: number }
  | { type: 'sent'; bytes: number }
  | { type: 'blob'; digest: string; size: number; how: 'sent' | 'mounted' | 'present' };

export interface CopyOptions extends WantedChanges {
  /** One image out of an index, or all of it with its digest. */
  platform: WantedPlatform | 'all';
  /** Keep Docker's format also where others want OCI's, and fail where the digest would change all the same. */
  preserveDigests?: boolean | undefined;
  /** Find out what would be moved, and move nothing. */
  dryRun?: boolean | undefined;
  signal?: AbortSignal | undefined;
  on?: ((event: CopyEvent) => void) | undefined;
}

export interface CopyResult {
  source: string;
  target: string;
  /** Digest of what the target's name stands for now. */
  digest: string;
  /** Digest that it had at the source. */
  sourceDigest: string;
  mediaType: string;
  manifests: number;
  blobs: { present: number; sent: number; mounted: number };
  /** Bytes of blobs, as they are stored. */
  bytes: { present: number; sent: number; mounted: number };
}

/** A blob with all that is known of its way. */
interface Move {
  descriptor: Descriptor;
  /** What it is to be compressed with. */
  recompress: LayerCompression | undefined;
}

/**
 * Copies what `source` names to where `sink` stands. The name appears last.
 *
 * @throws OCI_FORMAT_IMPOSSIBLE, what source and sink throw, the signal's reason
 */
export async function copyImage(source: ImageSource, sink: ImageSink, wanted: CopyOptions): Promise<CopyResult> {
  const options = { ...wanted, format: wanted.format ?? (wanted.preserveDigests === true ? undefined : sink.format) };
  const { signal, on } = options;
  const top = await chooseTop(source, options);
  const keeps = options.compression === undefined && options.level === undefined && (options.format === undefined || options.format === formatOf(top));
  const result: CopyResult = {
    source: source.reference,
    target: sink.reference,
    digest: top.digest,
    sourceDigest: top.digest,
    mediaType: top.mediaType,
    manifests: 0,
    blobs: { present: 0, sent: 0, mounted: 0 },
    bytes: { present: 0, sent: 0, mounted: 0 },
  };
  if (keeps && (await sink.namedDigest?.(signal)) === top.digest) return result;

  const tree = await documentsBelow(source, top, signal);
  const manifests = manifestsOf(tree);
  result.manifests = manifests.length;
  const moves = planMoves(manifests, options, sink);
  if (options.preserveDigests === true && (!keeps || moves.some(({ recompress }) => recompress !== undefined))) {
    throw ociError(
      'OCI_DIGEST_CHANGES',
      `Cannot copy ${source.reference} to ${sink.reference} with its digest: ${keeps ? 'its layers cannot lie there as they are' : 'another form was asked for'}`,
      {
        hint: 'Copy it without --preserve-digests, or to an oci: or dir: place',
      },
    );
  }
  const missing: Move[] = [];
  await mapLimit(moves, 8, async (move) => {
    const isHere = move.recompress === undefined && (await sink.hasBlob(move.descriptor, signal));
    if (!isHere) missing.push(move);
    else count(result, move.descriptor.size, 'present');
  });
  on?.({
    type: 'plan',
    blobs: missing.length,
    bytes: sumOf(missing),
    presentBlobs: result.blobs.present,
    presentBytes: result.bytes.present,
    manifests: manifests.length,
  });
  if (options.dryRun === true) {
    result.blobs.sent = missing.length;
    result.bytes.sent = sumOf(missing);
    return result;
  }

  // Large ones first: at the end no single one is waited for.
  missing.sort((a, b) => b.descriptor.size - a.descriptor.size);
  const stored = new Map<string, Descriptor>();
  await mapLimit(missing, sink.parallel, async (move) => {
    const { descriptor } = move;
    const moved = await moveBlob(source, sink, move, options);
    stored.set(descriptor.digest, moved.descriptor);
    count(result, moved.descriptor.size, moved.how);
    on?.({ type: 'blob', digest: descriptor.digest, size: descriptor.size, how: moved.how });
  });
  const written = await writeDocuments(tree, sink, stored, options);
  await sink.finish(written, signal);
  return { ...result, digest: written.digest, mediaType: written.mediaType };
}

async function chooseTop(source: ImageSource, { platform, signal }: CopyOptions): Promise<Document<Manifest | Index>> {
  if (platform !== 'all') return (await resolveImage(source, platform, { signal })).manifest;
  return await source.manifest(undefined, signal);
}

/** Returns all blobs of the manifests, each once. Layers that may not be distributed stay where they are. */
function planMoves(manifests: readonly Document<Manifest>[], wanted: WantedChanges, sink: ImageSink): Move[] {
  const moves = new Map<string, Move>();
  for (const { value } of manifests) {
    for (const descriptor of [value.config, ...value.layers]) {
      if (isForeignLayer(descriptor.mediaType) && (descriptor.urls?.length ?? 0) > 0) continue;
      if (moves.has(descriptor.digest)) continue;
      moves.set(descriptor.digest, { descriptor, recompress: descriptor === value.config ? undefined : recompression(descriptor, wanted, sink.prefers) });
    }
  }
  return [...moves.values()];
}

async function moveBlob(
  source: ImageSource,
  sink: ImageSink,
  { descriptor, recompress }: Move,
  { signal, on, level }: CopyOptions,
): Promise<{ descriptor: Descriptor; how: 'sent' | 'mounted' }> {
  const open = (): Bytes => counted(source.blob(descriptor, signal), on);
  if (recompress === undefined) {
    const mountFrom = source.repository !== undefined && source.repository.registry === sink.repository?.registry ? [source.repository.name] : [];
    const { how } = await sink.putBlob({ known: descriptor, open, mountFrom }, signal);
    return { descriptor, how };
  }
  const recompressed = (): Bytes => {
    const plain = decompressAny(open());
    return recompress === 'none' ? plain : compress(plain, recompress, level === undefined ? {} : { level });
  };
  const { digest, size, how } = await sink.putBlob({ open: recompressed }, signal);
  return { descriptor: { ...descriptor, mediaType: retyped(descriptor.mediaType, recompress), digest, size }, how };
}

function retyped(mediaType: string, kind: LayerCompression): string {
  const isDocker = mediaType.startsWith('application/vnd.docker.');
  const base = mediaType.replace(/[.+](?:gzip|zstd)$/, '');
  return kind === 'none' ? base : `${base}${isDocker ? '.' : '+'}${kind}`;
}

/** Writes what the top names, and returns the top as it is to be written. */
async function writeDocuments(
  tree: DocumentNode,
  sink: ImageSink,
  stored: ReadonlyMap<string, Descriptor>,
  options: CopyOptions,
): Promise<Document<Manifest | Index>> {
  const written = new Map<string, Document<Manifest | Index>>();
  const change = async (node: DocumentNode): Promise<Document<Manifest | Index>> => {
    const { document } = node;
    const present = written.get(document.digest);
    if (present !== undefined) return present;
    const format = options.format ?? formatOf(document);
    let changed: Document<Manifest | Index>;
    if (isIndex(document)) {
      const children: Document<Manifest | Index>[] = [];
      for (const child of node.children) children.push(await change(child));
      changed = changedIndex(document, children, format);
    } else {
      const manifest = document as Document<Manifest>;
      changed = changedManifest(
        manifest,
        manifest.value.layers.map((layer) => restated(layer, stored.get(layer.digest))),
        format,
      );
    }
    written.set(document.digest, changed);
    if (node !== tree) await sink.putManifest(changed, options.signal);
    return changed;
  };
  return await change(tree);
}

/** A layer that several manifests have was stored once; what each says about it stays its own. */
function restated(layer: Descriptor, stored: Descriptor | undefined): Descriptor {
  if (stored === undefined || stored.digest === layer.digest) return layer;
  const { annotations, ...rest } = layer;
  // What tells where things lie within the old bytes is wrong of the new ones.
  const kept = Object.entries(annotations ?? {}).filter(([key]) => !/^(?:io\.github\.containers\.zstd-chunked\.|containerd\.io\/snapshot\/stargz\/)/.test(key));
  return {
    ...rest,
    mediaType: stored.mediaType,
    digest: stored.digest,
    size: stored.size,
    ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }),
  };
}

async function* counted(source: Bytes, on: CopyOptions['on']): Bytes {
  for await (const chunk of source) {
    on?.({ type: 'sent', bytes: chunk.byteLength });
    yield chunk;
  }
}

function sumOf(moves: readonly Move[]): number {
  return moves.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
}

function count(result: CopyResult, size: number, how: 'present' | 'sent' | 'mounted'): void {
  result.blobs[how]++;
  result.bytes[how] += size;
}
