/** Keys of remotes: the keyring in the repository, and what a remote's config says of signatures. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isKnownError } from '@cambium/base';
import { formatLocalTime, globalKeyrings, type Repo, readRemote, remoteKeyrings, writeFileDurably } from '@cambium/ostree';
import { importOpenPgpKeys, listOpenPgpKeys, type OpenPgpSubkey, type OpenPgpUserId } from '@cambium/trust';
import { lookUp } from '../environment.ts';
import { engineOf } from './signing.ts';
import { OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

/** Adds keys to a remote's own keyring, and says how many were new. @param sources files or contents; empty for the user's own keys */
export async function importKeys(
  context: VerbContext,
  repo: Repo,
  remote: string,
  sources: readonly (string | Uint8Array)[],
  keyIds: readonly string[] = [],
): Promise<void> {
  if (!repo.config.has(`remote "${remote}"`)) throw new OstreeFailure(`GPG: Remote "${remote}" not found`);
  const path = join(repo.path, `${remote}.trustedkeys.gpg`);
  const contents = sources.map((source) => (typeof source === 'string' ? readKeyring(source) : source));
  if (contents.length === 0 && keyIds.length === 0) throw new OstreeFailure('GPG: Unable to export keys: GPGME: No data');
  const { keyring, imported } = await importOpenPgpKeys({
    into: remoteKeyrings(repo, remote).includes(path) ? path : undefined,
    from: contents.length > 0 ? contents : {},
    keyIds,
    signal: context.signal,
  }).catch((error: unknown) => {
    if (isKnownError(error, 'TRUST_GPG_KEY_MISSING')) throw new OstreeFailure(`GPG: Unable to find key "${String(error.data.keyId)}"`, { cause: error });
    if (isKnownError(error, 'TRUST_KEYRING_INVALID')) throw new OstreeFailure(`GPG: Unable to import keys: ${error.message}`, { cause: error });
    throw error;
  });
  writeFileDurably(path, keyring, { sync: repo.settings.fsync, mode: 0o644, aside: join(repo.path, 'tmp') });
  context.ui.result(`Imported ${imported} GPG key${imported === 1 ? '' : 's'} to remote "${remote}"`);
}

const importFlags = {
  keyring: { kind: 'texts', short: 'k', value: 'FILE', completes: 'file', help: 'Import keys from a keyring file (repeatable)' },
  stdin: { kind: 'flag', help: 'Import keys from standard input' },
} as const;

/** Keys from files, from standard input, or from the user's own gpg. */
export const gpgImport: Verb<typeof importFlags> = {
  summary: 'Import GPG keys',
  operands: [
    { name: 'NAME', help: '' },
    { name: 'KEY-ID', help: '', optional: true, many: true },
  ],
  flags: importFlags,
  examples: [
    { command: 'cambium ostree remote gpg-import --repo=./repo --keyring=./publisher.gpg origin', explains: 'Believe what the holders of these keys sign' },
  ],
  async run(context, { values, operands: [name, ...keyIds] }) {
    const repo = await context.openRepo();
    if (name === undefined) throw new UsageError('NAME must be specified');
    if (values.stdin && values.keyring.length > 0) throw new UsageError('--keyring and --stdin are mutually exclusive');
    await importKeys(context, repo, name, values.stdin ? [readFileSync(0)] : values.keyring, keyIds);
    return undefined;
  },
};

export const gpgListKeys: Verb = {
  summary: 'Show remote GPG keys',
  operands: [{ name: 'NAME', help: '', optional: true }],
  usage: 'NAME',
  flags: {},
  examples: [{ command: 'cambium ostree remote gpg-list-keys --repo=./repo origin', explains: 'Say whose signatures count for a remote' }],
  async run(context, { operands: [name] }) {
    await printKeys(context, await context.openRepo(), name);
    return undefined;
  },
};

/** Prints the keys that count for a remote, or for those without their own. */
async function printKeys(context: VerbContext, repo: Repo, remote: string | undefined): Promise<void> {
  const keyrings = remote === undefined ? globalKeyrings(lookUp(context.environment, ['OSTREE_GPG_HOME'])) : remoteKeyringsOf(repo, remote);
  for (const key of await listOpenPgpKeys({ keyrings, signal: context.signal })) {
    context.ui.write(
      formatKey('', 'Key', key) + key.userIds.map(formatUserId).join('') + key.subkeys.map((subkey) => formatKey('  ', 'Subkey', subkey)).join(''),
    );
  }
}

function remoteKeyringsOf(repo: Repo, remote: string): string[] {
  readRemote(repo, remote);
  return remoteKeyrings(repo, remote);
}

function formatKey(indent: string, title: string, key: OpenPgpSubkey): string {
  const lines = [`${title}: ${key.fingerprint}${flag(key)}`];
  if (key.created !== undefined) lines.push(`  Created: ${formatLocalTime(key.created)}`);
  if (key.expires !== undefined) lines.push(`  ${key.expires < Date.now() / 1000 ? 'Expired' : 'Expires'}: ${formatLocalTime(key.expires)}`);
  return lines.map((line) => `${indent}${line}\n`).join('');
}

function formatUserId(userId: OpenPgpUserId): string {
  return `  UID: ${userId.text}${flag(userId)}\n  Advanced update URL: ${userId.advancedUpdateUrl ?? ''}\n  Direct update URL: ${userId.directUpdateUrl ?? ''}\n`;
}

function flag({ revoked, invalid }: { revoked: boolean; invalid: boolean }): string {
  return revoked ? ' (revoked)' : invalid ? ' (invalid)' : '';
}

export function readKeyring(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new OstreeFailure(`Error opening file ${resolve(path)}: No such file or directory`, { cause });
  }
}

/** Returns the config keys that `--sign-verify=KEYTYPE=[inline|file]:PUBKEY` stands for, in libostree's order. */
export function signVerifySettings(context: VerbContext, texts: readonly string[], disabled: boolean): [key: string, value: string][] {
  if (texts.length === 0) return [];
  if (disabled) throw new OstreeFailure('Cannot specify both --sign-verify and --no-sign-verify');
  const settings: [string, string][] = [];
  const types: string[] = [];
  for (const text of texts) {
    const [, type, rest] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    const [, kind, value] = /^([^:]*):(.*)$/s.exec(rest ?? '') ?? [];
    if (type === undefined || kind === undefined || value === undefined) throw new OstreeFailure(`Failed to parse KEYTYPE=[inline|file]:DATA in ${text}`);
    const engine = engineOf(type, context.environment);
    if (kind !== 'inline' && kind !== 'file') throw new OstreeFailure(`Invalid key reference ${kind}, expected inline|file`);
    // A key that is none would show only when the first pull fails.
    if (kind === 'inline' && value !== '') engine.publicKey(value);
    settings.push([`verification-${type}-${kind === 'inline' ? 'key' : 'file'}`, value]);
    if (!types.includes(type)) types.push(type);
  }
  return [...settings, ['sign-verify', types.join(';')]];
}
