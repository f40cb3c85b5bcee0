/**
 * Credentials as podman, skopeo and docker keep them. The environment comes as an argument: this package never reads it.
 *
 * Source: containers-auth.json(5); Docker CLI configuration file; docker-credential-helpers protocol.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeUtf8, errnoOf, isRecord, systemError } from '@cambium/base';
import { ociError } from '../errors.ts';
import { askCredentialHelper } from './credential-helper.ts';
import type { CredentialSource, Credentials } from './credentials.ts';
import type { OnRegistryEvent } from './events.ts';

export interface AuthFilesOptions {
  /** The one file to use, as of `--authfile`; it must exist. */
  authFile?: string;
  /** The caller's environment: `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME`, `DOCKER_CONFIG`; helpers run with all of it. */
  environment?: Readonly<Record<string, string | undefined>>;
  home?: string;
  /** For `/run/containers/UID/auth.json`, where podman looks when there is no XDG_RUNTIME_DIR. */
  uid?: number;
  on?: OnRegistryEvent;
}

/** What one file says, its keys normalised. */
interface AuthFile {
  path: string;
  auths: ReadonlyMap<string, Credentials>;
  credHelpers: ReadonlyMap<string, string>;
  credsStore: string | undefined;
}

/** Far above any real one. */
const MAX_AUTH_FILE_BYTES = 1024 * 1024;

/** Returns the files that may hold credentials, in the order in which they are asked; a `required` one must exist. */
export function authFilePaths({ authFile, environment = {}, home, uid }: AuthFilesOptions): { path: string; legacy: boolean; required: boolean }[] {
  const named = authFile ?? environment.REGISTRY_AUTH_FILE;
  if (named !== undefined && named !== '') return [{ path: named, legacy: false, required: true }];
  const paths: { path: string; legacy: boolean; required: boolean }[] = [];
  const add = (legacy: boolean, directory: string | undefined, ...rest: string[]): void => {
    if (directory !== undefined && directory !== '') paths.push({ path: join(directory, ...rest), legacy, required: false });
  };
  const runtime = environment.XDG_RUNTIME_DIR;
  if (runtime !== undefined && runtime !== '') add(false, runtime, 'containers', 'auth.json');
  else if (uid !== undefined) add(false, '/run/containers', String(uid), 'auth.json');
  const configHome = environment.XDG_CONFIG_HOME;
  if (configHome !== undefined && configHome !== '') add(false, configHome, 'containers', 'auth.json');
  else add(false, home, '.config', 'containers', 'auth.json');
  const dockerConfig = environment.DOCKER_CONFIG;
  if (dockerConfig !== undefined && dockerConfig !== '') add(false, dockerConfig, 'config.json');
  else add(false, home, '.docker', 'config.json');
  add(true, home, '.dockercfg');
  return paths;
}

/**
 * Returns a source of credentials that looks into the usual files and asks the helpers they name.
 * Files are read when first needed, once; the first file that knows a repository wins, and in it the most specific key.
 *
 * @throws (when asked) OCI_AUTH_FILE_MISSING, OCI_AUTH_FILE_INVALID, OCI_CREDENTIAL_HELPER_FAILED, SYSTEM_DENIED
 */
export function createAuthFiles(options: AuthFilesOptions): CredentialSource {
  const { on } = options;
  const files = new Map<string, Promise<AuthFile | 'absent' | 'unreadable'>>();
  return async (registry, repositoryName, signal) => {
    for (const { path, legacy, required } of authFilePaths(options)) {
      let reading = files.get(path);
      if (reading === undefined) {
        reading = readAuthFile(path, legacy, required);
        files.set(path, reading);
      }
      const file = await reading;
      if (typeof file === 'string') {
        on?.({ type: 'auth-source', source: path, registry, outcome: file });
        continue;
      }
      const credentials = await fromFile(file, registry, repositoryName, options, signal);
      on?.({ type: 'auth-source', source: path, registry, outcome: credentials === undefined ? 'no-match' : 'found' });
      if (credentials !== undefined) return credentials;
    }
    return undefined;
  };
}

/** Order inside a file: the registry's own helper, an entry with a secret, the store for everything. */
async function fromFile(
  file: AuthFile,
  registry: string,
  repositoryName: string,
  options: AuthFilesOptions,
  signal: AbortSignal | undefined,
): Promise<Credentials | undefined> {
  const ask = async (helper: string): Promise<Credentials | undefined> => {
    // Docker's own registry has this name in every store.
    const server = registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry;
    const credentials = await askCredentialHelper({ helper, server, environment: options.environment ?? {}, signal });
    options.on?.({ type: 'auth-source', source: `docker-credential-${helper}`, registry, outcome: credentials === undefined ? 'no-match' : 'found' });
    return credentials;
  };
  const helper = file.credHelpers.get(registry);
  // An empty name switches the helper off for this registry.
  if (helper !== undefined && helper !== '') return await ask(helper);
  for (const key of lookupKeys(registry, repositoryName)) {
    const credentials = file.auths.get(key);
    if (credentials !== undefined) return credentials;
  }
  return file.credsStore === undefined || helper === '' ? undefined : await ask(file.credsStore);
}

/** Returns `host/ns/name`, `host/ns`, `host`. */
function lookupKeys(registry: string, repositoryName: string): string[] {
  const keys = [registry];
  let key = registry;
  for (const part of repositoryName.split('/')) {
    key += `/${part}`;
    keys.unshift(key);
  }
  return keys;
}

async function readAuthFile(path: string, legacy: boolean, required: boolean): Promise<AuthFile | 'absent' | 'unreadable'> {
  let text: string | undefined;
  try {
    const info = await stat(path);
    if (!info.isFile() || info.size > MAX_AUTH_FILE_BYTES) throw invalid(path, 'it is not a file of reasonable size');
    text = decodeUtf8(await readFile(path));
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') {
      if (!required) return 'absent';
      throw ociError('OCI_AUTH_FILE_MISSING', `Cannot read credentials from "${path}": there is no such file`, {
        hint: 'Make it with: podman login --authfile FILE REGISTRY',
      });
    }
    // Someone else's home after sudo or su is no reason to refuse public images.
    if (errno === 'EACCES' && !required) return 'unreadable';
    throw systemError(cause, `Cannot read credentials from "${path}"`) ?? cause;
  }
  return parseAuthFile(text, path, legacy);
}

/** Messages never quote the file, not even the place of a syntax error: it is full of passwords. */
export function parseAuthFile(text: string | undefined, path: string, legacy: boolean): AuthFile {
  let value: unknown;
  try {
    value = text === undefined ? undefined : JSON.parse(text.trim() === '' ? '{}' : text);
  } catch {
    throw invalid(path, 'it is not JSON');
  }
  if (!isRecord(value)) throw invalid(path, 'it is not a JSON object');
  const auths = new Map<string, Credentials>();
  const credHelpers = new Map<string, string>();
  const entries = legacy ? value : (value.auths ?? {});
  if (!isRecord(entries)) throw invalid(path, 'its "auths" are not an object');
  for (const [key, entry] of Object.entries(entries)) {
    const credentials = isRecord(entry) ? parseEntry(entry, path, key) : undefined;
    const name = normalizeKey(key);
    // A key in today's form goes before one in the old URL form.
    if (credentials !== undefined && (!auths.has(name) || name === key)) auths.set(name, credentials);
  }
  const helpers = legacy ? {} : (value.credHelpers ?? {});
  if (!isRecord(helpers)) throw invalid(path, 'its "credHelpers" are not an object');
  for (const [key, helper] of Object.entries(helpers)) if (typeof helper === 'string') credHelpers.set(normalizeKey(key), helper);
  const store = legacy ? undefined : value.credsStore;
  return { path, auths, credHelpers, credsStore: typeof store === 'string' && store !== '' ? store : undefined };
}

function parseEntry(entry: Record<string, unknown>, path: string, key: string): Credentials | undefined {
  const text = (name: string): string | undefined => (typeof entry[name] === 'string' && entry[name] !== '' ? (entry[name] as string) : undefined);
  const identityToken = text('identitytoken');
  const registryToken = text('registrytoken');
  let username = text('username');
  let password = text('password');
  const auth = text('auth');
  if (auth !== undefined) {
    // Docker once padded with NUL bytes.
    const decoded = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = decoded.indexOf(':');
    if (colon < 0 && identityToken === undefined) throw invalid(path, `the entry for "${normalizeKey(key).slice(0, 200)}" is not base64 of USER:PASSWORD`);
    if (colon >= 0) {
      username = decoded.slice(0, colon);
      password = decoded.slice(colon + 1);
    }
  }
  if (identityToken === undefined && registryToken === undefined && (username === undefined || password === undefined)) return undefined;
  return {
    source: path,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(identityToken === undefined ? {} : { identityToken }),
    ...(registryToken === undefined ? {} : { registryToken }),
  };
}

/** `https://index.docker.io/v1/` and its relatives become `docker.io`. */
function normalizeKey(key: string): string {
  const name = key.replace(/^https?:\/\//, '').replace(/\/(?:v[12]\/?)?$/, '');
  return name.replace(/^(?:index\.docker\.io|registry-1\.docker\.io)(?=\/|$)/, 'docker.io');
}

function invalid(path: string, reason: string): Error {
  return ociError('OCI_AUTH_FILE_INVALID', `Cannot use credentials from "${path}": ${reason}`);
}
