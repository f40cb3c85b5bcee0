/** Checks detached OpenPGP signatures with gpg, against keys given by the caller. */
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Bytes, errnoOf } from '@cambium/base';
import { trustError } from './errors.ts';
import { gpgFailed, runGpg } from './gpg-run.ts';
import { type GpgSignature, parseKeyExpiry, parseSignatureStatus } from './gpg-status.ts';
import { SIGNATURE_TAG, splitPackets } from './packets.ts';

export interface VerifyOptions {
  data: Bytes | Uint8Array;
  /** Binary signature packets, one after the other; or one armored text. */
  signature: Uint8Array;
  /**
   * The keys to check against: files or contents of public keys (binary, armored or keybox), and nothing else.
   * Or a gpg home whose keys count.
   */
  keys: { keyrings: readonly (string | Uint8Array)[] } | { homeDirectory: string };
  signal?: AbortSignal | undefined;
  /** Program to run, `gpg` by default. */
  program?: string | undefined;
  /** Where the private home is made; the system's temporary directory by default. */
  temporaryDirectory?: string | undefined;
}

/** Each costs a run of gpg. */
const MAX_SIGNATURES = 64;
const MAX_KEYRING_BYTES = 64 << 20;

/** No network, no agent, no other keys than those at hand. */
const QUIET = ['--no-auto-key-retrieve', '--no-auto-key-locate', '--no-auto-check-trustdb', '--disable-dirmngr', '--no-autostart', '--trust-model', 'always'];

/**
 * Returns a verdict for each signature, in the order they stand. It throws for signatures that are none; whether one of
 * them is good enough is the caller's to decide by `valid`.
 *
 * @throws TRUST_SIGNATURE_INVALID, TRUST_KEYRING_INVALID, TRUST_GPG_MISSING, TRUST_GPG_FAILED, the signal's reason
 */
export async function verifyDetachedWithGpg(options: VerifyOptions): Promise<GpgSignature[]> {
  const { data, signature, keys, signal, program, temporaryDirectory = tmpdir() } = options;
  const packets = signaturePackets(signature);
  const work = await mkdtemp(join(temporaryDirectory, 'cambium-gpg-')); // mode 0700
  try {
    const dataPath = join(work, 'data');
    if (data instanceof Uint8Array) await writeFile(dataPath, data, { signal });
    else await pipeline(data, createWriteStream(dataPath), { signal });
    const home = 'homeDirectory' in keys ? { homeDirectory: keys.homeDirectory, args: QUIET } : await makeHome(work, keys.keyrings, { signal, program });
    const found: GpgSignature[] = [];
    for (const packet of packets) {
      const path = join(work, 'signature');
      await writeFile(path, packet);
      const args = [...home.args, '--verify', path, dataPath];
      const result = await runGpg({ program, homeDirectory: home.homeDirectory, args, signal });
      const verdict = parseSignatureStatus(result.status);
      if (verdict === undefined) {
        if (result.exitCode === 2 && result.status.length === 0) throw gpgFailed(args, result.stderr);
        throw trustError('TRUST_SIGNATURE_INVALID', 'Cannot verify: gpg has no verdict on the signature', { data: { status: result.status.slice(0, 20) } });
      }
      // The exit status has the last word.
      found.push({ ...verdict, valid: verdict.valid && result.exitCode === 0 });
    }
    return await withKeyExpiry(found, home, { signal, program });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

export interface Home {
  homeDirectory: string;
  args: readonly string[];
}

type RunOptions = Pick<VerifyOptions, 'signal' | 'program'>;

/** gpg checks only the first of several signatures that differ in kind: each is shown to it alone. */
function signaturePackets(signature: Uint8Array): Uint8Array[] {
  const armored = Buffer.from(signature.subarray(0, 64)).toString('latin1').trimStart().startsWith('-----BEGIN PGP SIGNATURE');
  if (armored) return [signature];
  const packets = splitPackets(signature);
  const foreign = packets.find(({ tag }) => tag !== SIGNATURE_TAG);
  if (packets.length === 0 || packets.length > MAX_SIGNATURES || foreign !== undefined) {
    const why = foreign === undefined ? `${packets.length} packets` : `a packet of kind ${foreign.tag}`;
    throw trustError('TRUST_SIGNATURE_INVALID', `Cannot read OpenPGP signature: ${why} found`);
  }
  return packets.map(({ bytes }) => bytes);
}

/** Makes `work` a home with the keys of the keyrings. @throws TRUST_KEYRING_INVALID for one without keys */
export async function makeHome(work: string, keyrings: readonly (string | Uint8Array)[], run: RunOptions): Promise<Home> {
  const boxes: string[] = [];
  for (const keyring of keyrings) {
    const content = typeof keyring === 'string' ? await readKeyring(keyring) : keyring;
    const name = typeof keyring === 'string' ? keyring : 'given keys';
    if (isKeybox(content)) {
      const copy = join(work, `keys-${boxes.length}.kbx`);
      await writeFile(copy, content);
      boxes.push('--keyring', copy);
      continue;
    }
    const { status } = await runGpg({ ...run, homeDirectory: work, args: [...QUIET, '--import'], input: content });
    const count = Number(status.find((line) => line.startsWith('IMPORT_RES '))?.split(' ')[1] ?? 0);
    if (!(count > 0)) throw trustError('TRUST_KEYRING_INVALID', `Cannot read keys from "${name}": no OpenPGP keys found`);
  }
  return { homeDirectory: work, args: [...QUIET, ...boxes] };
}

async function readKeyring(path: string): Promise<Uint8Array> {
  try {
    const content = await readFile(path);
    if (content.length <= MAX_KEYRING_BYTES) return content;
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause;
    throw trustError(
      'TRUST_KEYRING_INVALID',
      `Cannot read keys from "${path}": ${errnoOf(cause) === 'ENOENT' ? 'No such file or directory' : errnoOf(cause)}`,
      { cause },
    );
  }
  throw trustError('TRUST_KEYRING_INVALID', `Cannot read keys from "${path}": over ${MAX_KEYRING_BYTES} bytes`);
}

/** The magic of GnuPG's keybox files, which `--import` does not take. */
function isKeybox(content: Uint8Array): boolean {
  return Buffer.from(content.subarray(8, 12)).toString('latin1') === 'KBXf';
}

async function withKeyExpiry(found: GpgSignature[], home: Home, run: RunOptions): Promise<GpgSignature[]> {
  const fingerprints = [...new Set(found.flatMap(({ primaryFingerprint }) => primaryFingerprint ?? []))];
  if (fingerprints.length === 0) return found;
  const args = [...home.args, '--with-colons', '--with-subkey-fingerprint', '--list-keys', ...fingerprints];
  const { stdout } = await runGpg({ ...run, homeDirectory: home.homeDirectory, args });
  const expiry = parseKeyExpiry(Buffer.from(stdout).toString('utf8'));
  return found.map((signature) => ({
    ...signature,
    keyExpires: expiry.get(signature.fingerprint ?? ''),
    primaryKeyExpires: expiry.get(signature.primaryFingerprint ?? ''),
  }));
}
