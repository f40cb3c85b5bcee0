/**
 * Images in OCI layouts. Source: OCI image-spec 1.1 image-layout.md.
 */
import { type Digest, isKnownError, isRecord, parseJson } from '@cambium/base';
import { ociError } from '../errors.ts';
import { MAX_MANIFEST_BYTES, parseManifestOrIndex } from '../image/documents.ts';
import { documentKind } from '../image/media-types.ts';
import { isAttestation } from '../image/platform.ts';
import type { PinnedImageSource } from '../image/resolve-image.ts';
import type { Document, Index, Manifest } from '../image/types.ts';
import { type ImageFiles, verifiedBlob } from './image-files.ts';
import { blobName, REF_NAME, readSmallFile } from './layout-files.ts';

/** Which image of a layout; nothing set means the only one there is. */
export interface LayoutSelection {
  name?: string | undefined;
  digest?: Digest | undefined;
  /** Position in `index.json`, from 0. */
  index?: number | undefined;
}

/** containerd and docker write the full reference here. */
const CONTAINERD_NAME = 'io.containerd.image.name';
const MAX_LAYOUT_FILE_BYTES = 64 * 1024;

/**
 * Opens an image of a layout. Closing it closes `files`.
 *
 * @throws OCI_LAYOUT_INVALID, OCI_MANIFEST_UNKNOWN, OCI_IMAGE_AMBIGUOUS
 */
export async function openLayout(files: ImageFiles, selection: LayoutSelection, reference: string, signal?: AbortSignal): Promise<PinnedImageSource> {
  await verifyLayoutVersion(files, signal);
  const indexBytes = await readSmallFile(files, 'index.json', MAX_MANIFEST_BYTES, signal);
  if (indexBytes === undefined) throw ociError('OCI_LAYOUT_INVALID', `Cannot use "${files.path}": it has no index.json`);
  // umoci leaves the media type out; a manifest in its place is refused by its shape.
  const index = parseManifestOrIndex(indexBytes, { what: `"${files.path}" (index.json)` });
  if (!('manifests' in index.value)) throw ociError('OCI_LAYOUT_INVALID', `Cannot use "${files.path}": its index.json is not an index`);
  const top = choose(index as Document<Index>, selection, files.path);

  const manifest = async (digest: Digest | undefined, signal?: AbortSignal): Promise<Document<Manifest | Index>> => {
    if (digest === undefined && 'index' in top) return top.index;
    const expected = digest === undefined && 'digest' in top ? top : undefined;
    const wanted = digest ?? (top as Top & { digest: Digest }).digest;
    const what = digest === undefined ? reference : `${reference} (${digest})`;
    const bytes = await readSmallFile(files, blobName(wanted), MAX_MANIFEST_BYTES, signal);
    if (bytes === undefined) throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot read ${what}: "${files.path}" has no blob ${wanted}`);
    return parseManifestOrIndex(bytes, { what, digest: wanted, size: expected?.size, mediaType: expected?.mediaType });
  };

  return {
    reference,
    digest: 'digest' in top ? top.digest : top.index.digest,
    manifest,
    async *blob(descriptor, signal) {
      const name = blobName(descriptor.digest);
      const size = await files.size(name);
      if (size === undefined) throw ociError('OCI_BLOB_UNKNOWN', `Cannot read blob ${descriptor.digest} of ${reference}: "${files.path}" does not have it`);
      if (size !== descriptor.size) {
        throw ociError('OCI_BLOB_MISMATCH', `Cannot trust blob ${descriptor.digest} of ${reference}: it has ${size} bytes, not ${descriptor.size}`, {
          data: { digest: descriptor.digest, expectedBytes: descriptor.size, seenBytes: size },
        });
      }
      yield* verifiedBlob(files.open(name, signal), descriptor, reference);
    },
    close: () => files.close(),
  };
}

/** What a reference names: an entry of the index, a blob by its digest alone, or `index.json` itself. */
type Top = { digest: Digest; size?: number; mediaType?: string } | { index: Document<Index> };

async function verifyLayoutVersion(files: ImageFiles, signal?: AbortSignal): Promise<void> {
  const bytes = await readSmallFile(files, 'oci-layout', MAX_LAYOUT_FILE_BYTES, signal);
  if (bytes === undefined) {
    throw ociError('OCI_LAYOUT_INVALID', `Cannot use "${files.path}": it has no file "oci-layout"`, {
      hint: 'Check the path; an image written by docker save or podman save is a docker-archive:FILE',
    });
  }
  let version: unknown;
  try {
    const value = parseJson(bytes, 'oci-layout');
    version = isRecord(value) ? value.imageLayoutVersion : undefined;
  } catch (error) {
    if (!isKnownError(error)) throw error;
  }
  if (typeof version !== 'string' || !/^1\.\d{1,9}\.\d{1,9}$/.test(version)) {
    throw ociError('OCI_LAYOUT_INVALID', `Cannot use "${files.path}": its layout version is not 1.x`, { data: { version } });
  }
}

/** Returns the chosen entry, or `index.json` itself where it lists the platforms of one image. */
function choose(index: Document<Index>, { name, digest, index: position }: LayoutSelection, path: string): Top {
  const entries = index.value.manifests;
  const names = [...new Set(entries.flatMap((entry) => entry.annotations?.[REF_NAME] ?? []))];
  const available = names.length === 0 ? 'None of its images has a tag' : `It has: ${names.slice(0, 30).join(', ')}`;
  if (digest !== undefined) {
    // One platform's manifest is not in index.json but in an index further in: its digest is enough.
    return entries.find((entry) => entry.digest === digest) ?? { digest };
  }
  if (position !== undefined) {
    const found = entries[position];
    if (found !== undefined) return found;
    throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot find image ${position} in "${path}": it has ${entries.length}`, { hint: available });
  }
  let found = entries.filter((entry) => documentKind(entry.mediaType) !== undefined && !isAttestation(entry));
  if (name !== undefined) {
    found = entries.filter((entry) => entry.annotations?.[REF_NAME] === name);
    if (found.length === 0) found = entries.filter((entry) => entry.annotations?.[CONTAINERD_NAME] === name);
    if (found.length === 0)
      throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot find an image "${name.slice(0, 300)}" in "${path}"`, { hint: available, data: { available: names } });
  }
  const [first] = found;
  if (first === undefined) throw ociError('OCI_MANIFEST_UNKNOWN', `Cannot find an image in "${path}": its index is empty`);
  if (found.every((entry) => entry.digest === first.digest)) return first;
  // Several platforms of one image, without an index of their own around them.
  const platforms = new Set(found.map((entry) => (entry.platform === undefined ? undefined : JSON.stringify(entry.platform))));
  if (name === undefined && names.length === 0 && !platforms.has(undefined) && platforms.size === found.length) return { index };
  throw ociError('OCI_IMAGE_AMBIGUOUS', `Cannot choose an image in "${path}": it has ${found.length}${name === undefined ? '' : ` named "${name}"`}`, {
    hint: `Name one as :TAG, @DIGEST or :@NUMBER. ${available}`,
    data: { available: names },
  });
}
