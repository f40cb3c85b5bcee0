/**
 * Writes images into archive files: a tar of an OCI layout, or what `docker load` reads. A file that is there is replaced
 * when the new one is whole.
 *
 * Source: OCI image-spec 1.1 image-layout.md; Docker image specification v1.2 ("Combined Image JSON + Filesystem Changeset Format").
 */
import { bytesOf, splitDigest } from '@cambium/base';
import { ociError } from '../errors.ts';
import { isIndex } from '../image/documents.ts';
import { DOCKER_LAYER, OCI_INDEX } from '../image/media-types.ts';
import { type ImageReference, printImageReference } from '../image/reference.ts';
import type { BlobInput, ImageSink, KnownBlob } from '../image/sink.ts';
import type { Document, Index, Manifest } from '../image/types.ts';
import { ArchiveWriter } from './archive-writer.ts';
import { blobName, entryOf, LAYOUT_VERSION } from './layout-files.ts';

/** @param name the tag of the image in the archive */
export function openOciArchiveSink(path: string, name: string | undefined, reference: string): ImageSink {
  const archive = new ImageArchive(path, ({ digest }) => blobName(digest));
  const putManifest = async ({ bytes, digest }: Document<Manifest | Index>, signal?: AbortSignal): Promise<void> => {
    await archive.add({ known: { digest, size: bytes.byteLength }, open: () => bytesOf(bytes) }, signal);
  };
  return {
    ...archive.sink(reference),
    prefers: 'gzip',
    format: 'oci',
    putManifest,
    async finish(document, signal) {
      await putManifest(document, signal);
      archive.addJson('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entryOf(document, name)] });
      archive.addText('oci-layout', LAYOUT_VERSION);
      archive.finish();
    },
  };
}

/** @param name the name that `docker load` gives the image */
export function openDockerArchiveSink(path: string, name: ImageReference | undefined, reference: string): ImageSink {
  const memberOf = ({ digest }: Pick<KnownBlob, 'digest'>): string => `${splitDigest(digest).hex}.blob`;
  const archive = new ImageArchive(path, memberOf);
  return {
    ...archive.sink(reference),
    // docker load takes compressed layers too, older ones not by the name of zstd.
    prefers: 'none',
    format: 'docker',
    putManifest: async () => undefined,
    async finish(document) {
      if (isIndex(document)) {
        throw ociError('OCI_FORMAT_IMPOSSIBLE', `Cannot write several images to ${reference}: such an archive has one platform`, {
          hint: 'Choose one with --platform, or write an oci-archive',
        });
      }
      const { config, layers } = document.value as Manifest;
      if (layers.some(({ mediaType }) => mediaType !== DOCKER_LAYER)) {
        throw ociError('OCI_FORMAT_IMPOSSIBLE', `Cannot write ${reference}: it has layers that docker cannot load`);
      }
      // The digest names no image in docker's store.
      const tags = name?.tag === undefined ? [] : [printImageReference({ registry: name.registry, repositoryName: name.repositoryName, tag: name.tag })];
      archive.addJson('manifest.json', [{ Config: memberOf(config), RepoTags: tags, Layers: layers.map(memberOf) }]);
      archive.finish();
    },
  };
}

/** What both kinds of archive have in common: blobs, each once. */
class ImageArchive {
  readonly #writer: ArchiveWriter;
  readonly #nameOf: (blob: KnownBlob) => string;
  readonly #members = new Map<string, Promise<KnownBlob>>();

  constructor(path: string, nameOf: (blob: KnownBlob) => string) {
    this.#writer = new ArchiveWriter(path);
    this.#nameOf = nameOf;
  }

  sink(reference: string): Pick<ImageSink, 'reference' | 'parallel' | 'hasBlob' | 'putBlob' | 'close'> {
    return {
      reference,
      // One after another: a tar has one end.
      parallel: 1,
      hasBlob: async ({ digest }) => this.#members.has(digest),
      putBlob: async (blob, signal) => ({ ...(await this.add(blob, signal)), how: 'sent' }),
      close: async () => this.#writer.discard(),
    };
  }

  async add(blob: Pick<BlobInput, 'known' | 'open'>, signal?: AbortSignal): Promise<KnownBlob> {
    const { known } = blob;
    const present = known === undefined ? undefined : this.#members.get(known.digest);
    if (present !== undefined) return await present;
    const adding = this.#writer.addBlob(blob, this.#nameOf, signal);
    if (known !== undefined) {
      this.#members.set(known.digest, adding);
      adding.catch(() => this.#members.delete(known.digest));
    }
    return await adding;
  }

  addJson(name: string, value: unknown): void {
    this.addText(name, JSON.stringify(value));
  }

  addText(name: string, text: string): void {
    this.#writer.addFile(name, Buffer.from(text));
  }

  finish(): void {
    this.#writer.finish();
  }
}
