/** OCI and Docker image values. Source: OCI image-spec 1.1 descriptor.md, manifest.md, image-index.md, config.md; Docker distribution manifest v2-2. */
import type { Bytes, DiffId, Digest } from '@cambium/base';

export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
  'os.version'?: string;
}

export interface Descriptor {
  mediaType: string;
  digest: Digest;
  size: number;
  annotations?: Record<string, string>;
  platform?: Platform;
  urls?: string[];
  artifactType?: string;
}

/** A document with the exact bytes its digest is of. */
export interface Document<T> {
  mediaType: string;
  digest: Digest;
  bytes: Uint8Array;
  value: T;
}

export interface Manifest {
  schemaVersion: 2;
  mediaType?: string;
  artifactType?: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string>;
}

export interface Index {
  schemaVersion: 2;
  mediaType?: string;
  manifests: Descriptor[];
  annotations?: Record<string, string>;
}

export interface ImageConfig {
  os: string;
  architecture: string;
  variant?: string;
  created?: string;
  config?: Record<string, unknown>;
  rootfs: { type: 'layers'; diff_ids: DiffId[] };
  history?: Record<string, unknown>[];
}

export interface RegistryRepository {
  registry: string;
  name: string;
}

/** Where an image can be read. A registry, a layout directory and an archive file are implementations; each is bound to one reference. */
export interface ImageSource {
  /** The reference for people, as in `docker.io/library/nginx:1.25` or `oci:./image`. */
  readonly reference: string;
  /** Where it is in a registry: from there to another repository of the same registry nothing need be sent. */
  readonly repository?: RegistryRepository;
  /** Fetches the manifest or index the reference names, or the one with `digest`; bytes are verified where a digest is known. */
  manifest(digest?: Digest, signal?: AbortSignal): Promise<Document<Manifest | Index>>;
  /** Opens a blob's bytes, verified against the descriptor while they are read; an interrupted transfer resumes by itself. */
  blob(descriptor: Descriptor, signal?: AbortSignal): Bytes;
  close(): Promise<void>;
}

/** One platform's image, its documents fetched and checked. */
export interface ResolvedImage {
  source: ImageSource;
  /** The index the reference named, when it named one. */
  index: Document<Index> | undefined;
  manifest: Document<Manifest>;
  config: Document<ImageConfig>;
  /** Layers bottom to top with their diffIDs; as many as the config lists. */
  layers: { descriptor: Descriptor; diffId: DiffId }[];
}
