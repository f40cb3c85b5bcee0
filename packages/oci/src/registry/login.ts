/**
 * The login state of one registry: which kind it wants, tokens by scope, credentials by repository.
 *
 * Nothing is sent before the registry asks for it. Source: distribution-spec token authentication (`spec/auth/token.md`, `oauth.md`).
 */
import { isKnownError, isRecord, parseJson } from '@cambium/base';
import { displayUrl, type HttpResponse, httpError, isLoopback, readText, type Secrets, type Transport } from '@cambium/http';
import { ociError } from '../errors.ts';
import { type AuthChallenge, parseChallenges } from './auth-challenge.ts';
import type { CredentialSource, Credentials } from './credentials.ts';

export interface LoginOptions {
  registry: string;
  transport: Transport;
  credentials: CredentialSource | undefined;
  secrets: Secrets;
}

export interface Login {
  /** Returns the Authorization header for `scope` (pulling from the repository, when absent); undefined while the registry has not asked for one. */
  authorization(repositoryName: string, scope: string | undefined, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * Takes in a 401. Returns normally when another try with a new {@link authorization} may succeed.
   *
   * @throws OCI_AUTH_REQUIRED, OCI_AUTH_DENIED
   */
  challenged(refusal: Refusal, signal?: AbortSignal): Promise<void>;
}

/** A request that was answered with 401. */
export interface Refusal {
  response: HttpResponse;
  /** The URL the request began with. */
  asked: URL;
  repositoryName: string;
  /** What it needs beside pulling from its repository. */
  scope: string | undefined;
  /** The header it had. */
  sent: string | undefined;
  /** Whether that header came of a login made for this very request. */
  fresh: boolean;
}

interface Token {
  value: string;
  /** Milliseconds since 1970 after which a new one is fetched. */
  useUntil: number;
}

type Scheme = { kind: 'basic' } | { kind: 'bearer'; realm: URL; service: string | undefined };

const MAX_TOKEN_ANSWER_BYTES = 256 * 1024;
/** Spec: a token without `expires_in` lives 60 seconds. */
const DEFAULT_TOKEN_SECONDS = 60;
const CLIENT_ID = 'cambium';

export function createLogin({ registry, transport, credentials, secrets }: LoginOptions): Login {
  let scheme: Scheme | undefined;
  /** What the registry asked for, by what we wanted. */
  const asked = new Map<string, string>();
  const tokens = new Map<string, Promise<Token>>();
  const found = new Map<string, Promise<Credentials | undefined>>();

  const credentialsFor = (repositoryName: string, signal?: AbortSignal): Promise<Credentials | undefined> => {
    const present = found.get(repositoryName);
    if (present !== undefined) return present;
    const looking = (async () => {
      const credential = await credentials?.(registry, repositoryName, signal);
      if (credential !== undefined) secrets.add(credential.password, credential.identityToken, credential.registryToken, basic(credential)?.slice(6));
      return credential;
    })();
    found.set(repositoryName, looking);
    // One caller's abort or one failing helper run must not be remembered.
    looking.catch(() => found.delete(repositoryName));
    return looking;
  };

  const scopeOf = (repositoryName: string, wanted: string | undefined): string => {
    const scope = wanted ?? `repository:${repositoryName}:pull`;
    return asked.get(scope) ?? scope;
  };

  const token = (bearer: Scheme & { kind: 'bearer' }, repositoryName: string, wanted: string | undefined, signal?: AbortSignal): Promise<Token> => {
    const scope = scopeOf(repositoryName, wanted);
    // Repositories may have different credentials, so a scope alone does not name a token.
    const key = `${repositoryName}\n${scope}`;
    const present = tokens.get(key);
    const fetched = (async () => {
      const old = await present?.catch(() => undefined);
      if (old !== undefined && old.useUntil > Date.now()) return old;
      return await fetchToken(bearer, scope, await credentialsFor(repositoryName, signal), signal);
    })();
    tokens.set(key, fetched);
    fetched.catch(() => {
      if (tokens.get(key) === fetched) tokens.delete(key);
    });
    return fetched;
  };

  const fetchToken = async (bearer: Scheme & { kind: 'bearer' }, scope: string, credential: Credentials | undefined, signal?: AbortSignal): Promise<Token> => {
    if (credential?.registryToken !== undefined) return { value: credential.registryToken, useUntil: Number.POSITIVE_INFINITY };
    const { realm, service } = bearer;
    const asked =
      credential?.identityToken === undefined ? getToken(realm, service, scope, credential) : postToken(realm, service, scope, credential.identityToken);
    return await transport.exchange({ ...asked, signal }, async (response) => {
      const text = await readText(response, MAX_TOKEN_ANSWER_BYTES);
      if (response.status !== 200) throw tokenError(response, text, credential);
      const parsed = parseToken(text);
      if (parsed === undefined) {
        throw ociError('OCI_REGISTRY_ERROR', `Cannot log in to ${registry}: the answer of ${displayUrl(realm)} has no token`, {
          data: { url: displayUrl(realm) },
        });
      }
      secrets.add(parsed.value);
      return parsed;
    });
  };

  const tokenError = (response: HttpResponse, text: string, credential: Credentials | undefined): Error => {
    const data = { url: displayUrl(response.url), status: response.status };
    const said = errorText(text);
    const detail = said === undefined ? '' : `: ${secrets.clean(said)}`;
    // The token endpoint answers 400 to a bad refresh token (RFC 6749 section 5.2).
    if (response.status === 401 || response.status === 403 || (response.status === 400 && credential !== undefined)) {
      if (credential === undefined)
        return ociError('OCI_AUTH_REQUIRED', `Cannot log in to ${registry} without credentials${detail}`, { hint: loginHint(registry), data });
      return ociError('OCI_AUTH_DENIED', `Cannot log in to ${registry} with the credentials of ${credential.source}${detail}`, {
        hint: loginHint(registry),
        data,
      });
    }
    if (response.status === 429)
      return ociError('OCI_RATE_LIMITED', `Cannot log in to ${registry}: it refuses more requests for now${detail}`, { retryable: true, data });
    return ociError('OCI_REGISTRY_ERROR', `Cannot log in to ${registry}: status ${response.status} from ${data.url}${detail}`, {
      retryable: response.status >= 500,
      data,
    });
  };

  const chooseScheme = (challenges: readonly AuthChallenge[], from: URL): { scheme: Scheme; scope: string | undefined } | undefined => {
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer' && URL.canParse(challenge.parameters.realm ?? ''));
    if (bearer !== undefined) {
      const realm = new URL(bearer.parameters.realm as string);
      requireSafeRealm(realm, from);
      return { scheme: { kind: 'bearer', realm, service: bearer.parameters.service }, scope: bearer.parameters.scope };
    }
    if (challenges.some((challenge) => challenge.scheme === 'basic')) return { scheme: { kind: 'basic' }, scope: undefined };
    return undefined;
  };

  /** Passwords go to the realm: it must be as safe as the registry itself. */
  const requireSafeRealm = (realm: URL, from: URL): void => {
    const plainAllowed = realm.protocol === 'http:' && (transport.isInsecure(realm.host) || (from.protocol === 'http:' && isLoopback(realm)));
    if ((realm.protocol !== 'https:' && !plainAllowed) || realm.username !== '' || realm.password !== '') {
      throw httpError('HTTP_TLS_REQUIRED', `Cannot log in to ${registry}: its token server ${displayUrl(realm)} is not safe for passwords`);
    }
  };

  return {
    async authorization(repositoryName, scope, signal) {
      if (scheme === undefined) return undefined;
      if (scheme.kind === 'bearer') return `Bearer ${(await token(scheme, repositoryName, scope, signal)).value}`;
      const credential = await credentialsFor(repositoryName, signal);
      return credential === undefined ? undefined : basic(credential);
    },
    async challenged({ response, asked: from, repositoryName, scope: wanted, sent, fresh }, signal) {
      // Where a redirect ended must not tell us where to send the registry's password.
      if (response.url.origin !== from.origin) {
        response.discard();
        throw ociError(
          'OCI_AUTH_DENIED',
          `Cannot use ${registry}/${repositoryName}: ${displayUrl(response.url)}, where the registry redirects to, denies access`,
          {
            data: { url: displayUrl(response.url), status: 401 },
          },
        );
      }
      const chosen = chooseScheme(parseChallenges(response.headers['www-authenticate']), response.url);
      const said = errorText(await readText(response, MAX_TOKEN_ANSWER_BYTES));
      const detail = said === undefined ? '' : `: ${secrets.clean(said)}`;
      const data = { url: displayUrl(response.url), status: 401 };
      if (chosen === undefined) {
        throw ociError('OCI_REGISTRY_ERROR', `Cannot log in to ${registry}: it wants a kind of login that is not known`, { data });
      }
      const credential = await credentialsFor(repositoryName, signal);
      // With a token server there may be a token without credentials; with Basic there is nothing to try.
      if (credential === undefined && (chosen.scheme.kind === 'basic' || fresh)) {
        throw ociError('OCI_AUTH_REQUIRED', `Cannot use ${registry}/${repositoryName} without a login${detail}`, { hint: loginHint(registry), data });
      }
      if (credential !== undefined && (fresh || (chosen.scheme.kind === 'basic' && sent !== undefined && sent === basic(credential)))) {
        throw ociError('OCI_AUTH_DENIED', `Cannot use ${registry}/${repositoryName} with the credentials of ${credential.source}${detail}`, {
          hint: 'Check what the login may do with this image, and that the image exists',
          data,
        });
      }
      if (chosen.scheme.kind === 'basic' && basic(credential as Credentials) === undefined) {
        throw ociError('OCI_AUTH_DENIED', `Cannot log in to ${registry}: it wants a password, and ${credential?.source} has only a token`, { data });
      }
      scheme = chosen.scheme;
      if (chosen.scope !== undefined && chosen.scope.length <= 4096) asked.set(wanted ?? `repository:${repositoryName}:pull`, chosen.scope);
      const key = `${repositoryName}\n${scopeOf(repositoryName, wanted)}`;
      const held = await tokens.get(key)?.catch(() => undefined);
      // Another request may have renewed the token meanwhile: drop it only if it is the refused one.
      if (held !== undefined && sent === `Bearer ${held.value}`) tokens.delete(key);
    },
  };
}

function getToken(
  realm: URL,
  service: string | undefined,
  scope: string,
  credential: Credentials | undefined,
): { method: 'GET'; url: URL; headers: Record<string, string> } {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  // A scope may name several resources, apart by spaces; the token server takes one parameter each.
  for (const part of scope.split(' ')) if (part !== '') url.searchParams.append('scope', part);
  const authorization = credential === undefined ? undefined : basic(credential);
  return { method: 'GET', url, headers: { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) } };
}

function postToken(
  realm: URL,
  service: string | undefined,
  scope: string,
  refreshToken: string,
): { method: 'POST'; url: URL; headers: Record<string, string>; body: string } {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: refreshToken,
    client_id: CLIENT_ID,
    scope,
    ...(service === undefined ? {} : { service }),
  });
  return { method: 'POST', url: realm, headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' }, body: form.toString() };
}

function parseToken(text: string): Token | undefined {
  let answer: unknown;
  try {
    answer = parseJson(text, 'token');
  } catch (error) {
    if (isKnownError(error)) return undefined;
    throw error;
  }
  if (!isRecord(answer)) return undefined;
  const value = answer.token ?? answer.access_token;
  // What goes into a header must not be able to end it.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) return undefined;
  const stated = answer.expires_in;
  const seconds = typeof stated === 'number' && stated > 0 && stated < 1e9 ? stated : DEFAULT_TOKEN_SECONDS;
  // Renewed a little early, so that it does not expire on its way.
  return { value, useUntil: Date.now() + seconds * 1000 * 0.9 };
}

function basic({ username, password }: Credentials): string | undefined {
  if (username === undefined || password === undefined) return undefined;
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

/** Returns what a registry says went wrong: `{"errors":[{code,message}]}` of the distribution spec, or a token server's own words. */
export function errorText(text: string): string | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(answer)) return undefined;
  const first: unknown = Array.isArray(answer.errors) ? answer.errors[0] : undefined;
  const message = isRecord(first) ? (first.message ?? first.code) : (answer.details ?? answer.error_description ?? answer.message ?? answer.error);
  return typeof message === 'string' && message !== '' ? message : undefined;
}

function loginHint(registry: string): string {
  return `Log in with: podman login ${registry}; check the name of the image too, as registries hide what does not exist`;
}
