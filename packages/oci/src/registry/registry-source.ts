/** Reading images out of a registry. Source: OCI distribution-spec 1.1, pull. By GET alone: its answer says all that a HEAD would. */
import { type Bytes, collect, type Digest, isKnownError } from '@cambium/base';
import type { Secrets, Transport } from '@cambium/http';
import { ociError } from '../errors.ts';
import { MAX_MANIFEST_BYTES, parseManifestOrIndex } from '../image/documents.ts';
import { MANIFEST_ACCEPT } from '../image/media-types.ts';
import { type ImageReference, printImageReference } from '../image/reference.ts';
import type { PinnedImageSource } from '../image/resolve-image.ts';
import type { Descriptor, Document, Index, Manifest } from '../image/types.ts';
import { downloadBlob } from './blob.ts';
import { header, type Registry } from './connection.ts';
import type { OnRegistryEvent } from './events.ts';

export interface RegistryAccess {
  registry: Registry;
  transport: Transport;
  secrets: Secrets;
  on: OnRegistryEvent | undefined;
}

/** Returns the image of a reference; no request is made yet. */
export function createRegistrySource(reference: ImageReference, { registry, transport, secrets, on }: RegistryAccess): PinnedImageSource {
  const printed = printImageReference(reference);
  const { repositoryName } = reference;

  const manifest = async (digest: Digest | undefined, signal?: AbortSignal): Promise<Document<Manifest | Index>> => {
    const wanted = digest ?? reference.digest;
    const what = digest === undefined ? printed : `${printed} (${digest})`;
    const request = { repositoryName, path: `manifests/${wanted ?? reference.tag}`, headers: { accept: MANIFEST_ACCEPT }, signal };
    return await registry.request(request, async (response) => {
      if (response.status !== 200) throw await registry.failure(response, `Cannot read ${what}`, 'OCI_MANIFEST_UNKNOWN');
      const stated = header(response, 'content-length');
      if (stated !== undefined && Number(stated) > MAX_MANIFEST_BYTES) {
        response.discard();
        throw tooLarge(what);
      }
      const bytes = await collect(response.body, MAX_MANIFEST_BYTES, what).catch((error: unknown) => {
        throw isKnownError(error, 'BYTES_TOO_LARGE') ? tooLarge(what) : error;
      });
      const document = parseManifestOrIndex(bytes, { what, digest: wanted, mediaType: header(response, 'content-type') });
      const promised = header(response, 'docker-content-digest');
      if (promised?.startsWith('sha256:') && document.digest.startsWith('sha256:') && promised !== document.digest) {
        throw ociError('OCI_MANIFEST_MISMATCH', `Cannot trust ${what}: the registry sends another document than the one it names`, {
          retryable: true,
          data: { digest: document.digest, promised: secrets.clean(promised) },
        });
      }
      return document;
    });
  };

  const blob = (descriptor: Descriptor, signal?: AbortSignal): Bytes =>
    downloadBlob({
      descriptor,
      what: printed,
      attempts: transport.attempts,
      pause: (attempt) => transport.pause(attempt, signal),
      signal,
      on,
      request: (offset) => {
        const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
        return registry.request({ repositoryName, path: `blobs/${descriptor.digest}`, headers, signal }, async (response) => {
          const fits = response.status === 200 || response.status === 206 || (response.status === 416 && offset > 0);
          if (!fits) throw await registry.failure(response, `Cannot read blob ${descriptor.digest} of ${printed}`, 'OCI_BLOB_UNKNOWN');
          return response;
        });
      },
    });

  return {
    reference: printed,
    repository: { registry: reference.registry, name: repositoryName },
    digest: reference.digest,
    manifest,
    blob,
    close: async () => undefined,
  };
}

function tooLarge(what: string): Error {
  return ociError('OCI_DOCUMENT_TOO_LARGE', `Cannot read manifest of ${what}: over ${MAX_MANIFEST_BYTES} bytes`, { data: { limitBytes: MAX_MANIFEST_BYTES } });
}
