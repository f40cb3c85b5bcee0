/** Writing images into a registry. Source: OCI distribution-spec 1.1, push. */
import { ociError } from '../errors.ts';
import { type ImageReference, printImageReference } from '../image/reference.ts';
import type { ImageSink } from '../image/sink.ts';
import type { Document, Index, Manifest } from '../image/types.ts';
import { header } from './connection.ts';
import type { RegistryAccess } from './registry-source.ts';
import { type UploadOptions, uploadBlob } from './upload.ts';

/** Returns the place of a reference; no request is made yet. A reference with a digest takes the document of that digest only. */
export function createRegistrySink(reference: ImageReference, access: RegistryAccess, options: UploadOptions): ImageSink {
  const { registry } = access;
  const { repositoryName } = reference;
  const printed = printImageReference(reference);
  const scope = `repository:${repositoryName}:pull,push`;

  const put = async ({ bytes, mediaType, digest }: Document<Manifest | Index>, name: string, signal?: AbortSignal): Promise<void> => {
    const headers = { 'content-type': mediaType };
    const request = { method: 'PUT', repositoryName, path: `manifests/${name}`, headers, body: bytes, scope, signal } as const;
    await registry.request(request, async (response) => {
      if (response.status < 200 || response.status > 299) {
        const failure = await registry.failure(response, `Cannot write ${printed}`);
        if (response.status === 400 || response.status === 413) throw ociError('OCI_UPLOAD_REFUSED', failure.message, { data: { status: response.status } });
        throw failure;
      }
      const stored = header(response, 'docker-content-digest');
      response.discard();
      if (stored?.startsWith('sha256:') && digest.startsWith('sha256:') && stored !== digest) {
        throw ociError('OCI_MANIFEST_MISMATCH', `Cannot trust ${printed}: the registry has stored another document than the one it was sent`, {
          data: { digest, stored: access.secrets.clean(stored) },
        });
      }
    });
  };

  return {
    reference: `docker://${printed}`,
    repository: { registry: reference.registry, name: repositoryName },
    parallel: 6,
    prefers: 'gzip',
    async namedDigest(signal) {
      const request = { method: 'HEAD', repositoryName, path: `manifests/${nameOf(reference)}`, headers: { accept: '*/*' }, scope, signal } as const;
      return await registry.request(request, async (response) => {
        response.discard();
        return response.status === 200 ? header(response, 'docker-content-digest') : undefined;
      });
    },
    async hasBlob({ digest }, signal) {
      const request = { method: 'HEAD', repositoryName, path: `blobs/${digest}`, headers: {}, scope, signal } as const;
      return await registry.request(request, async (response) => {
        if (response.status !== 200 && response.status !== 404) throw await registry.failure(response, `Cannot look for blob ${digest} of ${printed}`);
        response.discard();
        return response.status === 200;
      });
    },
    putBlob: (blob, signal) => uploadBlob(access, options, { repositoryName, scope, what: printed, blob, signal }),
    putManifest: (document, signal) => put(document, document.digest, signal),
    async finish(document, signal) {
      if (reference.digest !== undefined && reference.digest !== document.digest) {
        throw ociError('OCI_MANIFEST_MISMATCH', `Cannot write ${printed}: the image has the digest ${document.digest}`, {
          hint: 'Name a tag, or no more than the repository, when the image is changed on its way',
        });
      }
      await put(document, nameOf(reference), signal);
    },
    close: async () => undefined,
  };
}

function nameOf({ tag, digest }: ImageReference): string {
  return tag ?? (digest as string);
}
