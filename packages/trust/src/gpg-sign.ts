/** Detached OpenPGP signatures through the user's own gpg, agent and pinentry. */
import type { Bytes } from '@cambium/base';
import { trustError } from './errors.ts';
import { type GpgResult, gpgFailed, runGpg } from './gpg-run.ts';

export interface SignOptions {
  data: Bytes | Uint8Array;
  /** Key ID, fingerprint, or part of a user ID, as gpg takes it. */
  keyId: string;
  /** Where keys are, instead of the user's own place. */
  homeDirectory?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Program to run, `gpg` by default. */
  program?: string | undefined;
}

/**
 * Returns a binary detached signature: one OpenPGP packet for each key that `keyId` stands for. A passphrase is asked for
 * by the agent, as always.
 *
 * @throws TRUST_GPG_MISSING, TRUST_GPG_KEY_MISSING, TRUST_GPG_KEY_UNUSABLE, TRUST_GPG_FAILED, the signal's reason
 */
export async function signDetachedWithGpg(options: SignOptions): Promise<Uint8Array<ArrayBuffer>> {
  const { data, keyId, homeDirectory, signal, program } = options;
  if (keyId.trim() === '') throw keyMissing(keyId, homeDirectory);
  // Without these a gpg.conf could ask for text.
  const args = ['--no-armor', '--no-textmode', '--local-user', keyId, '--output', '-', '--detach-sign'];
  const result = await runGpg({ program, homeDirectory, args, input: data, signal });
  const made = result.status.some((line) => line.startsWith('SIG_CREATED '));
  if (result.exitCode === 0 && made && result.stdout.length > 0) return result.stdout;
  throw refusal(result, keyId, homeDirectory) ?? gpgFailed(args, result.stderr);
}

/**
 * Checks that gpg has a secret key for `keyId`, without using it: to be called before long work whose result will be signed.
 *
 * @throws TRUST_GPG_MISSING, TRUST_GPG_KEY_MISSING, the signal's reason
 */
export async function requireGpgSecretKey(options: Omit<SignOptions, 'data'>): Promise<void> {
  const { keyId, homeDirectory, signal, program } = options;
  if (keyId.trim() === '') throw keyMissing(keyId, homeDirectory);
  const result = await runGpg({ program, homeDirectory, args: ['--with-colons', '--list-secret-keys', '--', keyId], signal });
  if (result.exitCode !== 0 || result.stdout.length === 0) throw keyMissing(keyId, homeDirectory);
}

/** libgpg-error codes as they come in `FAILURE sign`; the upper bits say which part of GnuPG met them. */
const NO_SECRET_KEY = 17;
const UNUSABLE_SECRET_KEY = 54;

/** Reasons of INV_SGNR that say more. Source: GnuPG `doc/DETAILS`. */
const REASONS: Readonly<Record<string, string>> = {
  '2': 'its name is ambiguous',
  '3': 'it is not for signing',
  '4': 'it is revoked',
  '5': 'it is expired',
  '13': 'it is disabled',
};

function refusal(result: GpgResult, keyId: string, homeDirectory: string | undefined): Error | undefined {
  const words = result.status.map((line) => line.split(' '));
  const reason = words.find(([word]) => word === 'INV_SGNR')?.[1];
  if (reason === undefined) return undefined;
  const failure = Number(words.find(([word, where]) => word === 'FAILURE' && where === 'sign')?.[2] ?? 0) & 0xffff;
  const why = REASONS[reason];
  if (why !== undefined) return unusable(keyId, why);
  if (failure === UNUSABLE_SECRET_KEY) return unusable(keyId, 'it is expired, revoked or not for signing');
  return failure === NO_SECRET_KEY || reason === '1' || reason === '9' ? keyMissing(keyId, homeDirectory) : undefined;
}

function keyMissing(keyId: string, homeDirectory: string | undefined): Error {
  const where = homeDirectory === undefined ? '' : ` in "${homeDirectory}"`;
  return trustError('TRUST_GPG_KEY_MISSING', `Cannot sign: gpg has no secret key "${keyId}"${where}`, {
    hint: 'List the keys that can sign with: gpg --list-secret-keys',
    data: { keyId, homeDirectory },
  });
}

function unusable(keyId: string, why: string): Error {
  return trustError('TRUST_GPG_KEY_UNUSABLE', `Cannot sign with key "${keyId}": ${why}`, {
    hint: 'Look at it with: gpg --list-secret-keys',
    data: { keyId },
  });
}
