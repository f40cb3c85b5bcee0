/** What a layout calls its files. Source: OCI image-spec 1.1 image-layout.md, annotations.md. */
import { collect, type Digest, isKnownError, splitDigest } from '@cambium/base';
import { ociError } from '../errors.ts';
import { isIndex } from '../image/documents.ts';
import type { Descriptor, Document, Index, Manifest } from '../image/types.ts';
import type { ImageFiles } from './image-files.ts';

/** The tag of an entry of `index.json`. */
export const REF_NAME = 'org.opencontainers.image.ref.name';

export const LAYOUT_VERSION = '{"imageLayoutVersion":"1.0.0"}';

export function blobName(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}

/** Returns a small file, or undefined when there is none. @throws OCI_DOCUMENT_TOO_LARGE */
export async function readSmallFile(files: ImageFiles, name: string, limitBytes: number, signal?: AbortSignal): Promise<Uint8Array | undefined> {
  const size = await files.size(name);
  if (size === undefined) return undefined;
  const tooLarge = (): Error =>
    ociError('OCI_DOCUMENT_TOO_LARGE', `Cannot read "${name}" of "${files.path}": over ${limitBytes} bytes`, { data: { limitBytes } });
  if (size > limitBytes) throw tooLarge();
  try {
    return await collect(files.open(name, signal), limitBytes, name);
  } catch (error) {
    // Grown since its size was asked.
    throw isKnownError(error, 'BYTES_TOO_LARGE') ? tooLarge() : error;
  }
}

/** Returns the entry of `index.json` for a manifest or index. */
export function entryOf(document: Document<Manifest | Index>, name: string | undefined): Descriptor {
  const { mediaType, digest, bytes, value } = document;
  const artifactType = isIndex(document) ? undefined : (value as Manifest).artifactType;
  return {
    mediaType,
    digest,
    size: bytes.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(name === undefined ? {} : { annotations: { [REF_NAME]: name } }),
  };
}
