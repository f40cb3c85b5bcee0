/** The part of `ostree remote` that needs no network: the remotes in a repository's config. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Repo } from '@cambium/ostree';
import type { Values } from '../command.ts';
import { gpgImport, importKeys, listKeys, readKeyring, signVerifySettings } from './remote-keys.ts';
import { printRemoteRefs, printRemoteSummary } from './remote-network.ts';
import { writeConfig } from './repo-config.ts';
import { OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  set: { kind: 'texts', value: 'KEY=VALUE', help: 'Set config option KEY=VALUE for remote' },
  'no-gpg-verify': { kind: 'flag', help: 'Disable GPG verification' },
  'no-sign-verify': { kind: 'flag', help: 'Disable signature verification' },
  'sign-verify': { kind: 'texts', value: 'KEYTYPE=[inline|file]:PUBKEY', help: 'Verify signatures using KEYTYPE=inline:PUBKEY or KEYTYPE=file:/path/to/key' },
  'if-not-exists': { kind: 'flag', help: 'Do nothing if the provided remote exists' },
  'if-exists': { kind: 'flag', help: 'Do nothing if the provided remote does not exist' },
  force: { kind: 'flag', help: 'Replace the provided remote if it exists' },
  'gpg-import': { kind: 'text', value: 'FILE', help: 'Import GPG key from FILE' },
  'custom-backend': { kind: 'text', value: 'NAME', help: 'This remote has content not fetched via libostree' },
  contenturl: { kind: 'text', value: 'URL', help: 'Use URL when fetching content' },
  'collection-id': {
    kind: 'text',
    value: 'COLLECTION-ID',
    help: 'Globally unique ID for this repository as an collection of refs for redistribution to other repositories',
  },
  keyring: { kind: 'texts', short: 'k', value: 'FILE', completes: 'file', help: 'Import keys from a keyring file (repeatable)' },
  stdin: { kind: 'flag', help: 'Import keys from standard input' },
  'cache-dir': { kind: 'text', value: 'DIR', help: 'Use custom cache dir', completes: 'directory' },
  raw: { kind: 'flag', help: 'Show raw variant data' },
  'show-urls': { kind: 'flag', short: 'u', help: 'Show remote URLs in list' },
} as const;

type RemoteFlags = Values<typeof flags>;

export const command: Verb<typeof flags> = {
  summary: 'Remote commands that may involve internet access',
  operands: [
    { name: 'COMMAND', help: '' },
    { name: 'ARGUMENT', help: '', optional: true, many: true },
  ],
  usage: '(add NAME URL [BRANCH...]|delete NAME|list|show-url NAME|refs NAME|summary NAME|gpg-import NAME [KEY-ID...]|gpg-list-keys [NAME])',
  flags,
  examples: [{ command: 'cambium ostree remote --repo=./repo add origin https://example.com/repo main', explains: 'Name a repository to pull from' }],
  async run(context, { values, operands }) {
    const [subcommand, ...args] = operands;
    if (subcommand === undefined) throw new UsageError('No "remote" subcommand specified');
    const act = SUBCOMMANDS[subcommand];
    if (act === undefined) throw new UsageError(`Unknown "remote" subcommand '${subcommand}'`);
    await act(context, await context.openRepo(), values, args);
    return undefined;
  },
};

type Act = (context: VerbContext, repo: Repo, values: RemoteFlags, args: readonly string[]) => void | Promise<void>;

const GROUP = /^remote "(.*)"$/;
const groupOf = (name: string): string => `remote "${name}"`;

const SUBCOMMANDS: Readonly<Record<string, Act>> = {
  add: async (context, repo, values, [name, url, ...branches]) => {
    if (name === undefined || (url === undefined && values['custom-backend'] === undefined)) throw new UsageError('NAME and URL must be specified');
    if (values['if-not-exists'] && values.force) throw new UsageError('Can only specify one of --if-not-exists and --force');
    if (!/^\w[-.\w]*$/.test(name)) throw new OstreeFailure(`Invalid remote name ${name}`);
    const group = groupOf(name);
    const signVerify = signVerifySettings(context, values['sign-verify'], values['no-sign-verify']);
    const keys = values['gpg-import'] === undefined ? [] : [readKeyring(values['gpg-import'])];
    if (repo.config.has(group)) {
      if (values['if-not-exists']) return;
      if (!values.force) throw new OstreeFailure(`Remote configuration for "${name}" already exists: (in config)`);
      repo.config.removeGroup(group);
    }
    for (const [key, value] of remoteSettings(values, url, branches, signVerify)) repo.config.set(group, key, value);
    writeConfig(repo);
    if (keys.length > 0) await importKeys(context, repo, name, keys);
  },
  delete: (_context, repo, values, [name]) => {
    if (name === undefined) throw new UsageError('NAME must be specified');
    if (!repo.config.removeGroup(groupOf(name))) {
      if (values['if-exists']) return;
      throw new OstreeFailure(`Remote "${name}" not found`);
    }
    writeConfig(repo);
    rmSync(join(repo.path, `${name}.trustedkeys.gpg`), { force: true });
  },
  list: ({ ui }, repo, values) => {
    const names = [...new Set(chain(repo).flatMap(({ config }) => config.groups().flatMap((group) => GROUP.exec(group)?.[1] ?? [])))].sort();
    const width = Math.max(0, ...names.map((name) => name.length));
    for (const name of names) ui.result(values['show-urls'] ? `${name.padEnd(width)}  ${requireUrl(repo, name)}` : name);
  },
  refs: (context, repo, values, [name]) => printRemoteRefs(context, repo, values, name),
  summary: (context, repo, values, [name]) => printRemoteSummary(context, repo, values, name),
  'gpg-import': gpgImport,
  'gpg-list-keys': (context, repo, _values, [name]) => listKeys(context, repo, name),
  'list-gpg-keys': (context, repo, _values, [name]) => listKeys(context, repo, name),
  'show-url': ({ ui }, repo, _values, [name]) => {
    if (name === undefined) throw new UsageError('NAME must be specified');
    if (!chain(repo).some(({ config }) => config.has(groupOf(name)))) throw new OstreeFailure(`Remote "${name}" not found`);
    ui.result(requireUrl(repo, name));
  },
};

/** A repository has the remotes of its parents too. */
function chain(repo: Repo): Repo[] {
  return repo.parent === undefined ? [repo] : [repo, ...chain(repo.parent)];
}

function requireUrl(repo: Repo, name: string): string {
  const url = urlOf(repo, name);
  if (url === undefined) throw new OstreeFailure(`No "url" option in remote "${name}"`);
  return url;
}

function urlOf(repo: Repo, name: string): string | undefined {
  for (const { config } of chain(repo)) {
    const url = config.string(groupOf(name), 'url');
    if (url !== undefined) return url;
  }
  return undefined;
}

/** Returns the keys of a remote in libostree's order. */
function remoteSettings(
  values: RemoteFlags,
  url: string | undefined,
  branches: readonly string[],
  signVerify: readonly [string, string][],
): [string, string][] {
  const settings: [string, string][] = [];
  const add = (key: string, value: string | undefined): void => {
    if (value !== undefined) settings.push([key, value]);
  };
  if (url?.startsWith('metalink=') === true) add('metalink', url.slice('metalink='.length));
  else add('url', url);
  if (branches.length > 0) add('branches', `${branches.join(';')};`);
  add('contenturl', values.contenturl);
  add('custom-backend', values['custom-backend']);
  for (const text of values.set) {
    const equals = text.indexOf('=');
    if (equals < 0) throw new OstreeFailure(`Missing '=' in KEY=VALUE for --set`);
    add(text.slice(0, equals), text.slice(equals + 1));
  }
  // Without signatures of one kind libostree wants none of the other.
  if (values['no-gpg-verify'] || values['no-sign-verify']) add('gpg-verify', 'false');
  if (values['no-sign-verify']) add('sign-verify', 'false');
  settings.push(...signVerify);
  add('collection-id', values['collection-id']);
  return settings;
}
