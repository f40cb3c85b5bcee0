/**
 * The registry client: connections and logins, shared by all images of a run.
 *
 * Source: OCI distribution-spec 1.1 (pull). Images are read by GET alone: the answer to a manifest request says all that a HEAD would.
 */
import { type Bytes, collect, type Digest, isKnownError } from '@cambium/base';
import {
  createSecrets,
  createTransport,
  displayUrl,
  type HttpResponse,
  isLoopback,
  ProtocolFailure,
  readText,
  type Secrets,
  type Transport,
  type TransportOptions,
} from '@cambium/http';
import { MAX_MANIFEST_BYTES, parseManifestOrIndex } from '../documents.ts';
import { ociError } from '../errors.ts';
import { MANIFEST_ACCEPT } from '../media-types.ts';
import { type ImageReference, printImageReference, registryHost } from '../reference.ts';
import type { PinnedImageSource } from '../resolve-image.ts';
import type { Descriptor, Document, Index, Manifest } from '../types.ts';
import { downloadBlob } from './blob.ts';
import type { CredentialSource } from './credentials.ts';
import type { OnRegistryEvent } from './events.ts';
import { createLogin, errorText, type Login } from './login.ts';

export interface RegistryClientOptions extends TransportOptions {
  /** Where logins come from, as {@link createAuthFiles} makes it; without it everything is read anonymously. */
  credentials?: CredentialSource;
  on?: OnRegistryEvent;
}

export interface RegistryClient {
  /** Returns the image of a reference. No request is made yet; closing the image closes nothing of the client. */
  image(reference: ImageReference): PinnedImageSource;
  /** Breaks off what runs and closes all connections. */
  close(): Promise<void>;
}

export function createRegistryClient(options: RegistryClientOptions = {}): RegistryClient {
  const transport = createTransport(options);
  const secrets = createSecrets();
  const registries = new Map<string, Registry>();
  const registryOf = (name: string): Registry => {
    const present = registries.get(name);
    if (present !== undefined) return present;
    const made = createRegistry(name, transport, createLogin({ registry: name, transport, credentials: options.credentials, secrets }));
    registries.set(name, made);
    return made;
  };
  return {
    image: (reference) => createRegistryImage(reference, registryOf(reference.registry), transport, secrets, options),
    close: () => transport.close(),
  };
}

interface Registry {
  /** Makes a GET below `/v2/`, logs in when asked to, and returns what `consume` makes of an answer that is no 401. */
  get<T>(request: RegistryRequest, consume: (response: HttpResponse) => Promise<T>): Promise<T>;
}

interface RegistryRequest {
  repositoryName: string;
  path: string;
  headers: Record<string, string>;
  signal: AbortSignal | undefined;
}

function createRegistry(name: string, transport: Transport, login: Login): Registry {
  const host = registryHost(name);
  const schemes: readonly string[] = isLoopback(new URL(`https://${host}`)) ? ['http', 'https'] : transport.isInsecure(host) ? ['https', 'http'] : ['https'];
  let base: string | undefined = schemes.length === 1 ? `${schemes[0]}://${host}` : undefined;
  let probing: Promise<void> = Promise.resolve();

  const getFrom = async <T>(base: string, request: RegistryRequest, probe: boolean, consume: (response: HttpResponse) => Promise<T>): Promise<T> => {
    const { repositoryName, signal } = request;
    const url = new URL(`${base}/v2/${repositoryName}/${request.path}`);
    let fresh = false;
    for (;;) {
      const authorization = await login.authorization(repositoryName, signal);
      const headers = authorization === undefined ? request.headers : { ...request.headers, authorization };
      const answer = await transport.exchange({ method: 'GET', url, headers, signal, probe }, async (response) => {
        if (response.status === 401) {
          await login.challenged(response, url, repositoryName, authorization, fresh, signal);
          return undefined;
        }
        if (probe && response.status === 400 && url.protocol === 'http:') await refuseTlsHint(response);
        return { value: await consume(response) };
      });
      if (answer !== undefined) return answer.value;
      fresh = true;
    }
  };

  /** Finds out, with the first request itself, which protocol the registry speaks. */
  const probe = async <T>(request: RegistryRequest, consume: (response: HttpResponse) => Promise<T>): Promise<T> => {
    for (const scheme of schemes) {
      try {
        const result = await getFrom(`${scheme}://${host}`, request, true, consume);
        base = `${scheme}://${host}`;
        return result;
      } catch (error) {
        if (error instanceof ProtocolFailure) continue;
        // Any answer, also a bad one, tells that the protocol is right.
        if (isKnownError(error) && error.data.status !== undefined) base = `${scheme}://${host}`;
        throw error;
      }
    }
    return await getFrom(`${schemes[0]}://${host}`, request, false, consume);
  };

  return {
    async get(request, consume) {
      if (base !== undefined) return await getFrom(base, request, false, consume);
      // One request probes; others wait for what it finds, or probe in turn.
      const before = probing;
      let done: () => void = () => undefined;
      probing = new Promise((resolve) => {
        done = resolve;
      });
      try {
        await before;
        return base === undefined ? await probe(request, consume) : await getFrom(base, request, false, consume);
      } finally {
        done();
      }
    },
  };
}

/** Go's and nginx's servers answer HTTP on a TLS port with status 400 and these words. */
async function refuseTlsHint(response: HttpResponse): Promise<void> {
  const text = await readText(response, 4096);
  if (/HTTPS server|HTTPS port/i.test(text)) {
    throw new ProtocolFailure({ error: ociError('OCI_REGISTRY_ERROR', `${response.url.host} speaks HTTPS`), transient: false, protocol: true });
  }
}

function createRegistryImage(
  reference: ImageReference,
  registry: Registry,
  transport: Transport,
  secrets: Secrets,
  { on }: RegistryClientOptions,
): PinnedImageSource {
  const printed = printImageReference(reference);
  const { repositoryName } = reference;

  const manifest = async (digest: Digest | undefined, signal?: AbortSignal): Promise<Document<Manifest | Index>> => {
    const wanted = digest ?? reference.digest;
    const what = digest === undefined ? printed : `${printed} (${digest})`;
    const request = { repositoryName, path: `manifests/${wanted ?? reference.tag}`, headers: { accept: MANIFEST_ACCEPT }, signal };
    return await registry.get(request, async (response) => {
      if (response.status !== 200) throw await statusError(response, `Cannot read ${what}`, 'OCI_MANIFEST_UNKNOWN', secrets);
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
        return registry.get({ repositoryName, path: `blobs/${descriptor.digest}`, headers, signal }, async (response) => {
          const fits = response.status === 200 || response.status === 206 || (response.status === 416 && offset > 0);
          if (!fits) throw await statusError(response, `Cannot read blob ${descriptor.digest} of ${printed}`, 'OCI_BLOB_UNKNOWN', secrets);
          return response;
        });
      },
    });

  return { reference: printed, digest: reference.digest, manifest, blob, close: async () => undefined };
}

function header(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

async function statusError(response: HttpResponse, action: string, unknown: 'OCI_MANIFEST_UNKNOWN' | 'OCI_BLOB_UNKNOWN', secrets: Secrets): Promise<Error> {
  const said = errorText(await readText(response, 64 * 1024));
  const detail = said === undefined ? '' : `: ${secrets.clean(said)}`;
  const { status } = response;
  const data = { status, url: displayUrl(response.url) };
  switch (status) {
    case 404:
      return ociError(unknown, `${action}: there is no such ${unknown === 'OCI_BLOB_UNKNOWN' ? 'blob' : 'image'} in the registry`, {
        ...(unknown === 'OCI_MANIFEST_UNKNOWN' ? { hint: 'Check the name and the tag' } : {}),
        data,
      });
    case 403:
      return ociError('OCI_AUTH_DENIED', `${action}: the registry denies access${detail}`, { hint: 'Check that the login may read this image', data });
    case 429:
      return ociError('OCI_RATE_LIMITED', `${action}: the registry refuses more requests for now${detail}`, {
        retryable: true,
        hint: 'Try again later; many registries allow more after a login',
        data: { ...data, retryAfter: header(response, 'retry-after')?.slice(0, 64) },
      });
    default:
      return ociError('OCI_REGISTRY_ERROR', `${action}: the registry answers with status ${status}${detail}`, { retryable: status >= 500, data });
  }
}

function tooLarge(what: string): Error {
  return ociError('OCI_DOCUMENT_TOO_LARGE', `Cannot read manifest of ${what}: over ${MAX_MANIFEST_BYTES} bytes`, { data: { limitBytes: MAX_MANIFEST_BYTES } });
}
