/**
 * Builds images as tests describe them, into an OCI layout directory.
 *
 * Source: OCI image-spec 1.1 image-layout.md, manifest.md, config.md; Docker image manifest v2 schema 2.
 * Equal descriptions give equal bytes.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream, linkSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress, gzipSync, zstdCompressSync } from 'node:zlib';
import { type Digest, digestOf, parseDigest } from '@cambium/base';
import { testkitError } from './errors.ts';
import { type TarEntrySpec, tarBytes } from './tar-bytes.ts';

export type Compression = 'gzip' | 'zstd' | 'none';

export interface LayerSpec {
  /** Entries of the layer; or give `tar`. */
  entries?: readonly TarEntrySpec[];
  /** A whole tar: its bytes, or the path of its file. */
  tar?: Uint8Array | string;
  /** A layer that {@link storeLayer} compressed before; or give `tar`. */
  stored?: StoredLayer;
  /** `gzip` when absent. */
  compression?: Compression;
  mediaType?: string;
  /** Written into the descriptor: such a layer is foreign. */
  urls?: readonly string[];
  annotations?: Readonly<Record<string, string>>;
  /** What the descriptor or config should say instead of the truth, for fault tests. */
  lie?: { digest?: string; size?: number; diffId?: string };
}

/** A compressed layer in a file, for use in several images. */
export interface StoredLayer {
  path: string;
  compression: Compression;
  digest: Digest;
  size: number;
  diffId: Digest;
}

export interface PlatformImageSpec {
  /** `linux`, the machine's own architecture and no variant when absent. */
  platform?: { os: string; architecture: string; variant?: string };
  layers: readonly LayerSpec[];
  /** The `config` object of the image configuration: Cmd, Env, … */
  config?: Readonly<Record<string, unknown>>;
  /** Further members of the configuration document. */
  extra?: Readonly<Record<string, unknown>>;
  created?: string;
  format?: 'oci' | 'docker';
  annotations?: Readonly<Record<string, string>>;
}

export interface LayoutSpec {
  /** One image; several make an index. */
  images: readonly PlatformImageSpec[];
  /** Tag of the image in the layout; `latest` when absent. */
  tag?: string;
  /** Makes an index also for one image. */
  index?: boolean;
}

export interface BuiltLayer {
  mediaType: string;
  digest: Digest;
  size: number;
  diffId: Digest;
  urls?: string[];
  annotations?: Record<string, string>;
}

export interface BuiltImage {
  manifest: Digest;
  config: Digest;
  layers: BuiltLayer[];
}

export interface BuiltLayout {
  directory: string;
  tag: string;
  /** For skopeo, and for us: `oci:DIRECTORY:TAG`. */
  reference: string;
  /** What the tag names: the index if there is one, otherwise the manifest. */
  digest: Digest;
  images: BuiltImage[];
  /** Path of a blob's file. */
  blobPath(digest: string): string;
}

const MEDIA_TYPES = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: {
      none: 'application/vnd.oci.image.layer.v1.tar',
      gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
      zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
    },
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: {
      none: 'application/vnd.docker.image.rootfs.diff.tar',
      gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
    },
  },
} as const;

const EPOCH = '1970-01-01T00:00:00Z';

/** Returns the machine's architecture in the words of OCI. */
export function hostArchitecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}

/** Writes an OCI layout with one tag into `directory` (made if needed; blobs that are there are kept). */
export async function buildImageLayout(directory: string, spec: LayoutSpec): Promise<BuiltLayout> {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (bytes: Uint8Array | string): { digest: Digest; size: number } => {
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice(7)), bytes);
    return { digest, size: Buffer.byteLength(bytes) };
  };

  const tag = spec.tag ?? 'latest';
  const images: BuiltImage[] = [];
  const manifests: { mediaType: string; digest: Digest; size: number; platform?: object }[] = [];
  for (const image of spec.images) {
    const types = MEDIA_TYPES[image.format ?? 'oci'];
    const platform = image.platform ?? { os: 'linux', architecture: hostArchitecture() };
    const layers: BuiltLayer[] = [];
    for (const layer of image.layers) layers.push(await putLayer(blobs, layer, image.format ?? 'oci'));
    const config = put(
      JSON.stringify({
        created: image.created ?? EPOCH,
        ...platform,
        config: image.config ?? {},
        rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
        history: layers.map((_layer, i) => ({ created: image.created ?? EPOCH, created_by: `layer ${i}` })),
        ...image.extra,
      }),
    );
    const manifest = put(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: types.manifest,
        config: { mediaType: types.config, ...config },
        layers: layers.map(({ diffId: _diffId, ...descriptor }) => descriptor),
        ...(image.annotations === undefined ? {} : { annotations: image.annotations }),
      }),
    );
    images.push({ manifest: manifest.digest, config: config.digest, layers });
    manifests.push({ mediaType: types.manifest, ...manifest, platform });
  }

  let [top] = manifests;
  if (top === undefined) throw testkitError('TESTKIT_SPEC_INVALID', 'Cannot build a layout without an image');
  if (manifests.length > 1 || spec.index === true) {
    const mediaType = MEDIA_TYPES[spec.images[0]?.format ?? 'oci'].index;
    top = { mediaType, ...put(JSON.stringify({ schemaVersion: 2, mediaType, manifests })) };
  }
  const named = { ...top, annotations: { 'org.opencontainers.image.ref.name': tag } };
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  return {
    directory,
    tag,
    reference: `oci:${directory}:${tag}`,
    digest: top.digest,
    images,
    blobPath: (digest) => join(blobs, digest.slice(digest.indexOf(':') + 1)),
  };
}

async function putLayer(blobs: string, layer: LayerSpec, format: 'oci' | 'docker'): Promise<BuiltLayer> {
  const stored = layer.stored ?? (await storeLayer(blobs, layer.tar ?? tarBytes(layer.entries ?? []), layer.compression));
  const path = join(blobs, stored.digest.slice(7));
  if (stored.path !== path) {
    rmSync(path, { force: true });
    linkSync(stored.path, path);
  }
  return {
    mediaType: layer.mediaType ?? MEDIA_TYPES[format].layer[stored.compression],
    digest: (layer.lie?.digest ?? stored.digest) as Digest,
    size: layer.lie?.size ?? stored.size,
    diffId: (layer.lie?.diffId ?? stored.diffId) as Digest,
    ...(layer.urls === undefined ? {} : { urls: [...layer.urls] }),
    ...(layer.annotations === undefined ? {} : { annotations: { ...layer.annotations } }),
  };
}

/** Compresses a tar, given as bytes or as a file's path, into `directory` under the hex digits of its digest. */
export async function storeLayer(directory: string, tar: Uint8Array | string, compression: Compression = 'gzip'): Promise<StoredLayer> {
  if (typeof tar === 'string') return storeTarFile(directory, tar, compression);
  const bytes = compression === 'gzip' ? gzipSync(tar) : compression === 'zstd' ? zstdCompressSync(tar) : tar;
  const digest = digestOf(bytes);
  const path = join(directory, digest.slice(7));
  writeFileSync(path, bytes);
  return { path, compression, digest, size: bytes.byteLength, diffId: digestOf(tar) };
}

async function storeTarFile(directory: string, tar: string, compression: Compression): Promise<StoredLayer> {
  const plain = counter();
  const packed = counter();
  const temporary = join(directory, `.new-${process.pid}`);
  const middle = compression === 'gzip' ? [createGzip()] : compression === 'zstd' ? [createZstdCompress()] : [];
  await pipeline([createReadStream(tar, { highWaterMark: 1 << 18 }), plain.stream, ...middle, packed.stream, createWriteStream(temporary)]);
  const digest = parseDigest(`sha256:${packed.hash.digest('hex')}`);
  const path = join(directory, digest.slice(7));
  renameSync(temporary, path);
  return { path, compression, digest, size: packed.seen(), diffId: parseDigest(`sha256:${plain.hash.digest('hex')}`) };
}

function counter(): { stream: Transform; hash: Hash; seen(): number } {
  const hash = createHash('sha256');
  let seen = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      seen += chunk.byteLength;
      done(null, chunk);
    },
  });
  return { stream, hash, seen: () => seen };
}
