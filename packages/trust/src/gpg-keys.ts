/** OpenPGP keyrings of public keys: what is in them, and adding to them. Through the user's gpg, in a home of its own. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { trustError } from './errors.ts';
import { type GpgResult, gpgFailed, runGpg } from './gpg-run.ts';
import { timeOf } from './gpg-status.ts';
import { type Home, makeHome } from './gpg-verify.ts';

export interface OpenPgpSubkey {
  fingerprint: string;
  /** Seconds since 1970, UTC. */
  created: number | undefined;
  /** Undefined for never. */
  expires: number | undefined;
  revoked: boolean;
  expired: boolean;
  invalid: boolean;
}

export interface OpenPgpUserId {
  /** As in the key: `Name (comment) <address>`. */
  text: string;
  revoked: boolean;
  invalid: boolean;
  /** Where the owner of the address publishes the key; none without an address. */
  advancedUpdateUrl: string | undefined;
  directUpdateUrl: string | undefined;
}

export interface OpenPgpKey extends OpenPgpSubkey {
  userIds: OpenPgpUserId[];
  subkeys: OpenPgpSubkey[];
}

interface RunOptions {
  signal?: AbortSignal | undefined;
  /** Program to run, `gpg` by default. */
  program?: string | undefined;
  /** Where the private home is made; the system's temporary directory by default. */
  temporaryDirectory?: string | undefined;
}

export interface ListKeysOptions extends RunOptions {
  /** Files or contents of public keys. */
  keyrings: readonly (string | Uint8Array)[];
}

/** Returns the keys, in the order of the keyrings. @throws TRUST_KEYRING_INVALID TRUST_GPG_MISSING TRUST_GPG_FAILED, the signal's reason */
export async function listOpenPgpKeys(options: ListKeysOptions): Promise<OpenPgpKey[]> {
  if (options.keyrings.length === 0) return [];
  return inHome(options, options.keyrings, async (_work, home) => parseKeys((await gpgIn(home, LISTING, options)).stdout));
}

export interface ImportKeysOptions extends RunOptions {
  /** The keyring to add to: file or content; undefined for a new one. */
  into: string | Uint8Array | undefined;
  /** Files or contents of public keys; or a gpg home (the user's own when it has no path), of which `keyIds` are taken. */
  from: readonly (string | Uint8Array)[] | { homeDirectory?: string | undefined };
  /** Only these: key IDs, fingerprints or parts of user IDs. All when empty. */
  keyIds?: readonly string[] | undefined;
}

export interface ImportedKeys {
  /** The binary keyring with everything in it. */
  keyring: Uint8Array<ArrayBuffer>;
  /** Keys that were not there before. */
  imported: number;
}

/**
 * Adds keys to a keyring, and returns the new content; nothing is written.
 * @throws TRUST_KEYRING_INVALID TRUST_GPG_KEY_MISSING TRUST_GPG_MISSING TRUST_GPG_FAILED, the signal's reason
 */
export async function importOpenPgpKeys(options: ImportKeysOptions): Promise<ImportedKeys> {
  const { into, from, keyIds = [] } = options;
  const wanted = await keysToImport(from, keyIds, options);
  return inHome(options, into === undefined ? [] : [into], async (_work, home) => {
    const { status } = await gpgIn(home, ['--import'], options, wanted);
    const [count = 0, , imported = 0] = (status.find((line) => line.startsWith('IMPORT_RES ')) ?? '').split(' ').slice(1).map(Number);
    if (count === 0) throw noKeys(from);
    return { keyring: (await gpgIn(home, ['--export'], options)).stdout, imported };
  });
}

/** Each source is read by itself, so that one without keys is noticed. */
async function keysToImport(from: ImportKeysOptions['from'], keyIds: readonly string[], run: RunOptions): Promise<Uint8Array> {
  const exported = async (home: GpgHome): Promise<Uint8Array> => {
    for (const keyId of keyIds) {
      const { exitCode } = await gpgIn(home, ['--with-colons', '--list-keys', '--', keyId], run);
      if (exitCode !== 0) throw keyMissing(keyId);
    }
    const { stdout, stderr } = await gpgIn(home, ['--export', '--', ...keyIds], run);
    if (stdout.byteLength === 0) throw gpgFailed(['--export'], stderr);
    return stdout;
  };
  if (!isList(from)) return exported(from);
  return inHome(run, from, (_work, home) => exported(home));
}

async function inHome<T>(run: RunOptions, keyrings: readonly (string | Uint8Array)[], use: (work: string, home: Home) => Promise<T>): Promise<T> {
  const work = await mkdtemp(join(run.temporaryDirectory ?? tmpdir(), 'cambium-gpg-')); // mode 0700
  try {
    return await use(work, await makeHome(work, keyrings, run));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Also a home of the user's, or none: the user's own. */
interface GpgHome {
  homeDirectory?: string | undefined;
  args?: readonly string[];
}

function isList(from: ImportKeysOptions['from']): from is readonly (string | Uint8Array)[] {
  return Array.isArray(from);
}

function gpgIn(home: GpgHome, args: readonly string[], run: RunOptions, input?: Uint8Array): Promise<GpgResult> {
  const { signal, program } = run;
  return runGpg({ program, signal, homeDirectory: home.homeDirectory, args: [...(home.args ?? []), ...args], input });
}

const LISTING = ['--with-colons', '--with-subkey-fingerprint', '--fixed-list-mode', '--list-keys'];

/** Returns the keys in the lines of `--with-colons --list-keys`. Source: GnuPG `doc/DETAILS`, "Format of the colon listings". */
export function parseKeys(listing: Uint8Array): OpenPgpKey[] {
  const keys: OpenPgpKey[] = [];
  let latest: OpenPgpSubkey | undefined;
  for (const line of Buffer.from(listing).toString('utf8').split('\n')) {
    const fields = line.split(':');
    const [kind, validity = ''] = fields;
    const key = keys.at(-1);
    if (kind === 'pub' || kind === 'sub') {
      latest = {
        fingerprint: fields[4] ?? '',
        created: timeOf(fields[5]),
        expires: timeOf(fields[6]),
        revoked: validity === 'r',
        expired: validity === 'e',
        invalid: validity === 'i',
      };
      if (kind === 'pub') keys.push(Object.assign(latest, { userIds: [], subkeys: [] }));
      else key?.subkeys.push(latest);
    } else if (kind === 'fpr' && latest !== undefined && fields[9] !== undefined) latest.fingerprint = fields[9];
    else if (kind === 'uid' && key !== undefined) key.userIds.push(userIdOf(unescapeColons(fields[9] ?? ''), validity));
  }
  return keys;
}

function userIdOf(text: string, validity: string): OpenPgpUserId {
  const urls = updateUrls(/<([^<>]*)>\s*$/.exec(text)?.[1]);
  return { text, revoked: validity === 'r', invalid: validity === 'i', advancedUpdateUrl: urls?.advanced, directUpdateUrl: urls?.direct };
}

/** Source: draft-koch-openpgp-webkey-service, section 3.1. */
function updateUrls(address: string | undefined): { advanced: string; direct: string } | undefined {
  const [, local, domain] = /^([^@]+)@([^@]+)$/.exec(address?.toLowerCase() ?? '') ?? [];
  if (local === undefined || domain === undefined) return undefined;
  const name = zbase32(createHash('sha1').update(local).digest());
  const end = `hu/${name}?l=${encodeURIComponent(local)}`;
  return { advanced: `https://openpgpkey.${domain}/.well-known/openpgpkey/${domain}/${end}`, direct: `https://${domain}/.well-known/openpgpkey/${end}` };
}

const ZBASE32 = 'ybndrfg8ejkmcpqxot1uwisza345h769';

/** RFC 6189, section 5.1.6; for lengths that are multiples of 5 bytes. */
function zbase32(bytes: Uint8Array): string {
  let bits = '';
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0');
  return (bits.match(/.{5}/g) ?? []).map((five) => ZBASE32[Number.parseInt(five, 2)]).join('');
}

/** `\x3a` is a colon; other bytes below 32, and the backslash, are written so too. */
function unescapeColons(text: string): string {
  return text.replace(/\\x([0-9a-f]{2})/gi, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function noKeys(from: ImportKeysOptions['from']): Error {
  const name = isList(from) && typeof from[0] === 'string' ? `"${from[0]}"` : 'what was given';
  return trustError('TRUST_KEYRING_INVALID', `Cannot read keys from ${name}: no OpenPGP keys found`);
}

function keyMissing(keyId: string): Error {
  return trustError('TRUST_GPG_KEY_MISSING', `Cannot import: no public key "${keyId}"`, {
    hint: 'List the keys that are there with: gpg --show-keys FILE',
    data: { keyId },
  });
}
