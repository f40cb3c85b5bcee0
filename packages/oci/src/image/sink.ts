/** Where an image can be written: the counterpart of a source. A registry, a layout directory and an archive are implementations. */
import type { Bytes } from '@cambium/base';
import type { Descriptor, Document, Index, Manifest, RegistryRepository } from './types.ts';

/** What is known of a blob before it is written: nothing of one that is compressed on its way. */
export type KnownBlob = Pick<Descriptor, 'digest' | 'size'>;

export interface BlobInput {
  /** Its digest and size; absent while only writing it tells them. */
  known?: KnownBlob | undefined;
  /** Repositories of the same registry that have it, the likeliest first. */
  mountFrom?: readonly string[] | undefined;
  /** Gives the bytes, again from the start when a transfer must be repeated; checked by who gives them. */
  open(): Bytes;
}

export interface ImageSink {
  /** For people, as in `docker://docker.io/library/nginx:1.25`. */
  readonly reference: string;
  readonly repository?: RegistryRepository;
  /** How many blobs it takes at a time. */
  readonly parallel: number;
  /** How layers should lie there: `gzip` compresses plain ones, `none` unpacks all; absent where they may lie as they are. */
  readonly prefers?: 'gzip' | 'none';
  /** The only format of manifests that readers of such places understand; absent where they take all. */
  readonly format?: 'oci' | 'docker';
  /** Returns the digest of what has the name of this place now, where one question tells it and also that all of it is there. */
  namedDigest?(signal?: AbortSignal): Promise<string | undefined>;
  /** Returns whether a blob is there already; costs no transfer. */
  hasBlob(blob: KnownBlob, signal?: AbortSignal): Promise<boolean>;
  /** Writes a blob. Nothing can be seen of it before all of it is there and has the digest that is returned. */
  putBlob(blob: BlobInput, signal?: AbortSignal): Promise<KnownBlob & { how: 'sent' | 'mounted' }>;
  /** Writes a manifest, or an index after all that it names, without a name. */
  putManifest(document: Document<Manifest | Index>, signal?: AbortSignal): Promise<void>;
  /** Writes the last manifest or index, under the name of this place; what had it loses it. */
  finish(document: Document<Manifest | Index>, signal?: AbortSignal): Promise<void>;
  /** Removes what is half-written and lets go of everything. */
  close(): Promise<void>;
}
