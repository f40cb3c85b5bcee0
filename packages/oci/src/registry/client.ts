/** The registry client: connections and logins, shared by all images of a run. */
import type { Digest } from '@cambium/base';
import { createSecrets, createTransport, type TransportOptions } from '@cambium/http';
import type { ImageReference } from '../image/reference.ts';
import type { PinnedImageSource } from '../image/resolve-image.ts';
import type { ImageSink } from '../image/sink.ts';
import { createRegistry, type Registry } from './connection.ts';
import type { CredentialSource } from './credentials.ts';
import type { OnRegistryEvent } from './events.ts';
import { createLogin } from './login.ts';
import { createRegistrySink } from './registry-sink.ts';
import { createRegistrySource, type RegistryAccess } from './registry-source.ts';
import { deleteReference, digestOfReference, listTags } from './repository.ts';
import type { UploadOptions } from './upload.ts';

export interface RegistryClientOptions extends TransportOptions {
  /** Where logins come from, as {@link createAuthFiles} makes it; without it everything is done anonymously. */
  credentials?: CredentialSource;
  upload?: UploadOptions;
  on?: OnRegistryEvent;
}

export interface RegistryClient {
  /** Returns the image of a reference. No request is made yet; closing the image closes nothing of the client. */
  image(reference: ImageReference): PinnedImageSource;
  /** Returns the place of a reference for writing. No request is made yet. */
  sink(reference: ImageReference): ImageSink;
  /** Returns the tags of the repository that a reference names. @throws OCI_MANIFEST_UNKNOWN */
  tags(reference: ImageReference, signal?: AbortSignal): Promise<string[]>;
  /** Returns the digest of what a reference names, without reading it; undefined where the registry does not say. @throws OCI_MANIFEST_UNKNOWN */
  digest(reference: ImageReference, signal?: AbortSignal): Promise<Digest | undefined>;
  /** Deletes a tag, or with a digest a manifest and all its tags. @throws OCI_MANIFEST_UNKNOWN, OCI_DELETE_REFUSED */
  delete(reference: ImageReference, signal?: AbortSignal): Promise<void>;
  /** Breaks off what runs and closes all connections. */
  close(): Promise<void>;
}

export function createRegistryClient(options: RegistryClientOptions = {}): RegistryClient {
  const transport = createTransport(options);
  const secrets = createSecrets();
  const registries = new Map<string, Registry>();
  const accessTo = (name: string): RegistryAccess => {
    let registry = registries.get(name);
    if (registry === undefined) {
      registry = createRegistry(name, transport, createLogin({ registry: name, transport, credentials: options.credentials, secrets }), secrets);
      registries.set(name, registry);
    }
    return { registry, transport, secrets, on: options.on };
  };
  return {
    image: (reference) => createRegistrySource(reference, accessTo(reference.registry)),
    sink: (reference) => createRegistrySink(reference, accessTo(reference.registry), options.upload ?? {}),
    tags: (reference, signal) => listTags(accessTo(reference.registry).registry, reference, signal),
    digest: (reference, signal) => digestOfReference(accessTo(reference.registry).registry, reference, signal),
    delete: (reference, signal) => deleteReference(accessTo(reference.registry).registry, reference, signal),
    close: () => transport.close(),
  };
}
