/** One registry: which protocol it speaks, and requests below `/v2/` that log in when they are asked to. */
import { isKnownError } from '@cambium/base';
import { displayUrl, type HttpRequest, type HttpResponse, isLoopback, ProtocolFailure, readText, type Secrets, type Transport } from '@cambium/http';
import { ociError } from '../errors.ts';
import { registryHost } from '../image/reference.ts';
import { errorText, type Login } from './login.ts';

export interface RegistryRequest {
  /** `GET` when absent. */
  method?: HttpRequest['method'];
  repositoryName: string;
  /** Below `/v2/NAME/`; or the whole URL that the registry gave for a next step. */
  path: string | URL;
  headers: Record<string, string>;
  body?: HttpRequest['body'];
  /** Not made again after a failure, save after a login: nothing of the body was taken then. */
  once?: boolean;
  /** What the login must allow beside pulling, in the words of token scopes: `repository:NAME:pull,push`. */
  scope?: string | undefined;
  signal: AbortSignal | undefined;
}

export interface Registry {
  /** Makes a request, logs in when asked to, and returns what `consume` makes of an answer that is no 401. */
  request<T>(request: RegistryRequest, consume: (response: HttpResponse) => Promise<T>): Promise<T>;
  /** Turns an answer that is no success into an error. */
  failure(response: HttpResponse, action: string, unknown?: UnknownCode): Promise<Error>;
}

type UnknownCode = 'OCI_MANIFEST_UNKNOWN' | 'OCI_BLOB_UNKNOWN';

export function createRegistry(name: string, transport: Transport, login: Login, secrets: Secrets): Registry {
  const host = registryHost(name);
  const schemes: readonly string[] = isLoopback(new URL(`https://${host}`)) ? ['http', 'https'] : transport.isInsecure(host) ? ['https', 'http'] : ['https'];
  let base: string | undefined = schemes.length === 1 ? `${schemes[0]}://${host}` : undefined;
  let probing: Promise<void> = Promise.resolve();

  const requestFrom = async <T>(base: string, request: RegistryRequest, probe: boolean, consume: (response: HttpResponse) => Promise<T>): Promise<T> => {
    const { method = 'GET', repositoryName, body, once = false, scope, signal } = request;
    const url = request.path instanceof URL ? request.path : new URL(`${base}/v2/${repositoryName}/${request.path}`);
    // Where uploads go on at another host, its URL is the permission.
    const isOwn = url.origin === new URL(base).origin;
    let fresh = false;
    for (;;) {
      const authorization = isOwn ? await login.authorization(repositoryName, scope, signal) : undefined;
      const headers = authorization === undefined ? request.headers : { ...request.headers, authorization };
      const answer = await transport.exchange({ method, url, headers, signal, probe, once, ...(body === undefined ? {} : { body }) }, async (response) => {
        if (response.status === 401 && isOwn) {
          await login.challenged({ response, asked: url, repositoryName, scope, sent: authorization, fresh }, signal);
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
        const result = await requestFrom(`${scheme}://${host}`, request, true, consume);
        base = `${scheme}://${host}`;
        return result;
      } catch (error) {
        if (error instanceof ProtocolFailure) continue;
        // Any answer, also a bad one, tells that the protocol is right.
        if (isKnownError(error) && error.data.status !== undefined) base = `${scheme}://${host}`;
        throw error;
      }
    }
    return await requestFrom(`${schemes[0]}://${host}`, request, false, consume);
  };

  return {
    async request(request, consume) {
      if (base !== undefined) return await requestFrom(base, request, false, consume);
      // One request probes; others wait for what it finds, or probe in turn.
      const before = probing;
      let done: () => void = () => undefined;
      probing = new Promise((resolve) => {
        done = resolve;
      });
      try {
        await before;
        return base === undefined ? await probe(request, consume) : await requestFrom(base, request, false, consume);
      } finally {
        done();
      }
    },
    failure: (response, action, unknown) => statusError(response, action, unknown, secrets),
  };
}

/** Go's and nginx's servers answer HTTP on a TLS port with status 400 and these words. */
async function refuseTlsHint(response: HttpResponse): Promise<void> {
  const text = await readText(response, 4096);
  if (/HTTPS server|HTTPS port/i.test(text)) {
    throw new ProtocolFailure({ error: ociError('OCI_REGISTRY_ERROR', `${response.url.host} speaks HTTPS`), transient: false, protocol: true });
  }
}

/** Returns a header's value, the first of several. */
export function header(response: HttpResponse, name: string): string | undefined {
  const value = response.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

async function statusError(response: HttpResponse, action: string, unknown: UnknownCode | undefined, secrets: Secrets): Promise<Error> {
  const said = errorText(await readText(response, 64 * 1024));
  const detail = said === undefined ? '' : `: ${secrets.clean(said)}`;
  const { status } = response;
  const data = { status, url: displayUrl(response.url) };
  switch (status) {
    case 404:
      if (unknown === undefined) break;
      return ociError(unknown, `${action}: there is no such ${unknown === 'OCI_BLOB_UNKNOWN' ? 'blob' : 'image'} in the registry`, {
        ...(unknown === 'OCI_MANIFEST_UNKNOWN' ? { hint: 'Check the name and the tag' } : {}),
        data,
      });
    case 403:
      return ociError('OCI_AUTH_DENIED', `${action}: the registry denies access${detail}`, { hint: 'Check what the login may do with this image', data });
    case 429:
      return ociError('OCI_RATE_LIMITED', `${action}: the registry refuses more requests for now${detail}`, {
        retryable: true,
        hint: 'Try again later; many registries allow more after a login',
        data: { ...data, retryAfter: header(response, 'retry-after')?.slice(0, 64) },
      });
  }
  return ociError('OCI_REGISTRY_ERROR', `${action}: the registry answers with status ${status}${detail}`, { retryable: status >= 500, data });
}
