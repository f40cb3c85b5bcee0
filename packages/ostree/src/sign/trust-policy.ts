/**
 * Whom a remote's commits and summaries are believed from: the engines that its config asks for, and their keys.
 * Source: `ostree.repo-config(5)`, `ostree-sign(1)`; libostree `ostree-repo-pull-verify.c` behaviour.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { compareUtf8, errnoOf } from '@cambium/base';
import { isRawSignatureType, RAW_SIGNATURE_TYPES, type RawPublicKey, type RawSignatureType, rawSignatureEngine } from '@cambium/trust';
import { ostreeError } from '../errors.ts';
import type { KeyFile } from '../format/key-file.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { readRemote } from '../repo/remote-config.ts';
import type { Repo } from '../repo/repo.ts';
import { keyFiles, remoteKeyrings, type SignatureKeys } from './sign.ts';

export interface TrustedKey {
  key: RawPublicKey;
  /** Where it was found: a file, or a key of the config. */
  source: string;
}

/** Keys of one type of bare-key signatures. */
export interface EngineTrust {
  type: RawSignatureType;
  trusted: readonly TrustedKey[];
  /** Ids of keys that are not believed, wherever else they stand. */
  revoked: ReadonlySet<string>;
}

export interface RemoteTrust {
  remote: string;
  gpg: {
    /** A commit needs a valid signature by one of the keys. */
    commits: boolean;
    summary: boolean;
    keys: SignatureKeys;
  };
  sign: {
    /** A commit needs a valid signature of one of these engines; undefined when none is asked for. */
    commits: readonly EngineTrust[] | undefined;
    summary: readonly EngineTrust[] | undefined;
  };
}

export interface TrustOptions {
  /** Keyrings for remotes that have none of their own; libostree's place by default. */
  globalKeyrings?: string | undefined;
  /** Directories with `trusted.TYPE`, `trusted.TYPE.d/`, `revoked.TYPE` and `revoked.TYPE.d/`; libostree's places by default. */
  keyDirectories?: readonly string[] | undefined;
  /** Dummy signatures are for tests. */
  allowDummy?: boolean | undefined;
}

export const GLOBAL_KEYRINGS = '/usr/share/ostree/trusted.gpg.d';
const KEY_DIRECTORIES = ['/etc/ostree', '/usr/share/ostree'];

const MAX_KEY_FILE_BYTES = 1 << 20;

/**
 * Returns what a remote's commits and summaries must be signed with.
 * @throws OSTREE_REMOTE_UNKNOWN OSTREE_CONFIG_INVALID OSTREE_KEYS_MISSING when a type is named that has no keys, TRUST_KEY_INVALID TRUST_TYPE_UNSUPPORTED
 */
export function readRemoteTrust(repo: Repo, remote: string, options: TrustOptions = {}): RemoteTrust {
  const config = readRemote(repo, remote);
  const holder = holderOf(repo, remote);
  const own = remoteKeyrings(holder, remote);
  const global = own.length > 0 ? [] : globalKeyrings(options.globalKeyrings);
  return {
    remote,
    gpg: { commits: config.gpgVerify, summary: config.gpgVerifySummary, keys: { keyrings: [...own, ...global] } },
    sign: {
      commits: engines(holder.config, remote, config.signVerify, options),
      summary: engines(holder.config, remote, config.signVerifySummary, options),
    },
  };
}

/** Returns the keyrings that count for all remotes without their own: none when the directory does not exist. */
export function globalKeyrings(path: string = GLOBAL_KEYRINGS): string[] {
  return statSync(path, { throwIfNoEntry: false }) === undefined ? [] : keyFiles(path);
}

function holderOf(repo: Repo, remote: string): Repo {
  for (let at: Repo | undefined = repo; at !== undefined; at = at.parent) if (at.config.has(`remote "${remote}"`)) return at;
  return repo;
}

function engines(config: KeyFile, remote: string, wanted: boolean | readonly string[], options: TrustOptions): readonly EngineTrust[] | undefined {
  if (wanted === false) return undefined;
  // libostree's own `remote add` parts several types by commas, which it then cannot read.
  if (wanted !== true) return wanted.flatMap((types) => types.split(',')).map((type) => requireKeys(engineTrust(config, remote, type, options), remote));
  // Any type will do: those that are known and have keys.
  const types = RAW_SIGNATURE_TYPES.filter((type) => type !== 'dummy' || options.allowDummy === true);
  return types.map((type) => engineTrust(config, remote, type, options)).filter((trust) => trust.trusted.length > 0);
}

function requireKeys(trust: EngineTrust, remote: string): EngineTrust {
  if (trust.trusted.length > 0) return trust;
  throw ostreeError('OSTREE_KEYS_MISSING', `Cannot verify remote "${remote}": no keys of type ${trust.type} are configured`, {
    hint: `Add one to the remote: cambium ostree remote add --force --sign-verify=${trust.type}=file:PATH ${remote} URL`,
    data: { remote, type: trust.type, ostreeMessage: `No keys found for required signapi type ${trust.type}` },
  });
}

function engineTrust(config: KeyFile, remote: string, type: string, options: TrustOptions): EngineTrust {
  const engine = rawSignatureEngine(type, options);
  if (!isRawSignatureType(type)) throw new TypeError(`No engine ${type}`);
  const group = `remote "${remote}"`;
  const trusted: TrustedKey[] = [];
  const fileKey = `verification-${type}-file`;
  const textKey = `verification-${type}-key`;
  const path = config.string(group, fileKey);
  if (path !== undefined && path !== '') trusted.push(...readKeys(path, type, options));
  const text = config.string(group, textKey);
  if (text !== undefined && text !== '') trusted.push({ key: engine.publicKey(text), source: `${textKey} of remote "${remote}"` });
  const system = systemKeys(type, options);
  // A remote with keys of its own is not believed with the system's; what is revoked is so everywhere.
  return { type, trusted: trusted.length > 0 ? trusted : system.trusted, revoked: system.revoked };
}

/** Returns the keys of a type that the system trusts, and those it has revoked. @throws TRUST_KEY_INVALID TRUST_TYPE_UNSUPPORTED */
export function systemKeys(type: RawSignatureType, options: TrustOptions = {}): EngineTrust {
  const directories = options.keyDirectories ?? KEY_DIRECTORIES;
  const read = (name: string): TrustedKey[] => directories.flatMap((directory) => keysIn(directory, `${name}.${type}`, type, options));
  const revoked = new Set(read('revoked').map(({ key }) => key.id));
  return { type, trusted: read('trusted'), revoked };
}

/** Returns the keys in `DIRECTORY/NAME` and in the files of `DIRECTORY/NAME.d/`; none where there are no such files. */
function keysIn(directory: string, name: string, type: RawSignatureType, options: TrustOptions): TrustedKey[] {
  const files = [join(directory, name)];
  try {
    const names = readdirSync(join(directory, `${name}.d`)).sort(compareUtf8);
    files.push(...names.map((file) => join(directory, `${name}.d`, file)));
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
  }
  return files.filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true).flatMap((file) => readKeys(file, type, options));
}

/** Returns the public keys in a file. @throws TRUST_KEY_INVALID OSTREE_KEYS_MISSING when it cannot be read */
export function readKeys(path: string, type: RawSignatureType, options: TrustOptions): TrustedKey[] {
  return rawSignatureEngine(type, options)
    .publicKeys(readKeyFile(path), path)
    .map((key) => ({ key, source: path }));
}

/** @throws OSTREE_KEYS_MISSING when it is no regular file that can be read */
export function readKeyFile(path: string): Uint8Array {
  const refuse = (why: string, cause?: unknown): Error =>
    ostreeError('OSTREE_KEYS_MISSING', `Cannot read keys from "${path}": ${why}`, { cause, data: { path } });
  try {
    return readBounded(path, MAX_KEY_FILE_BYTES, () => refuse(`no regular file of at most ${MAX_KEY_FILE_BYTES} bytes`));
  } catch (error) {
    const code = errnoOf(error);
    throw code === undefined ? error : refuse(code === 'ENOENT' ? 'no such file' : code, error);
  }
}
