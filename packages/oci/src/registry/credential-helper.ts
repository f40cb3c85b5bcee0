/** Programs that keep credentials: `docker-credential-NAME get`. Source: docker-credential-helpers protocol. */
import { isRecord } from '@cambium/base';
import { ociError } from '../errors.ts';
import type { Credentials } from './credentials.ts';

export interface HelperQuestion {
  /** The NAME of `docker-credential-NAME`. */
  helper: string;
  server: string;
  environment: Readonly<Record<string, string | undefined>>;
  signal?: AbortSignal | undefined;
}

const MAX_ANSWER_BYTES = 64 * 1024;
/** Some ask a person for a key; longer than a minute nobody waits. */
const TIMEOUT_MS = 60_000;

/** Returns the credentials a helper has for a server, undefined when it says it has none. @throws OCI_CREDENTIAL_HELPER_FAILED */
export async function askCredentialHelper({ helper, server, environment, signal }: HelperQuestion): Promise<Credentials | undefined> {
  const program = `docker-credential-${helper}`;
  const failed = (reason: string, hint?: string): Error =>
    ociError(
      'OCI_CREDENTIAL_HELPER_FAILED',
      `Cannot get credentials for ${server} from ${program.slice(0, 100)}: ${reason}`,
      hint === undefined ? {} : { hint },
    );
  // The name comes out of a file: it must not become a path.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(helper)) throw failed('its name is not one of a program');

  const { execFile } = await import('node:child_process');
  const { error, stdout } = await new Promise<{ error: (Error & { code?: unknown; killed?: boolean }) | null; stdout: string }>((resolve) => {
    const child = execFile(
      program,
      ['get'],
      // Without a PATH of its own a child would be searched for on ours.
      {
        env: { PATH: '/usr/local/bin:/usr/bin:/bin', ...environment },
        timeout: TIMEOUT_MS,
        maxBuffer: MAX_ANSWER_BYTES,
        ...(signal === undefined ? {} : { signal }),
      },
      (error, stdout) => resolve({ error, stdout }),
    );
    // A helper that ends without reading its input.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(`${server}\n`);
  });
  signal?.throwIfAborted();

  // Output is not quoted: it may hold the secret.
  if (error !== null) {
    if (error.code === 'ENOENT') throw failed('the program is not installed', 'Install it, or remove it from the file that names it');
    if (/credentials not found/i.test(stdout)) return undefined;
    throw failed(error.killed === true ? 'it took too long or said too much' : `it failed (${String(error.code)})`);
  }
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch {
    throw failed('its answer is not JSON');
  }
  if (!isRecord(answer)) throw failed('its answer is not an object');
  const { Username: username, Secret: secret } = answer;
  if (typeof username !== 'string' || typeof secret !== 'string') throw failed('its answer has no user name and secret');
  if (username === '' && secret === '') return undefined;
  return username === '<token>' ? { source: program, identityToken: secret } : { source: program, username, password: secret };
}
