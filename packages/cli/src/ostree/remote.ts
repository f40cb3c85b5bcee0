/** `ostree remote add`, `delete`, `show-url` and `list`: the remotes in a repository's config. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Repo } from '@cambium/ostree';
import type { Values } from '../command.ts';
import { importKeys, readKeyring, signVerifySettings } from './remote-keys.ts';
import { writeConfig } from './repo-config.ts';
import { openRepoOf } from './sysroot.ts';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

const addFlags = {
  set: { kind: 'texts', value: 'KEY=VALUE', help: 'Set config option KEY=VALUE for remote' },
  'no-gpg-verify': { kind: 'flag', help: 'Disable GPG verification' },
  'no-sign-verify': { kind: 'flag', help: 'Disable signature verification' },
  'sign-verify': { kind: 'texts', value: 'KEYTYPE=[inline|file]:PUBKEY', help: 'Verify signatures using KEYTYPE=inline:PUBKEY or KEYTYPE=file:/path/to/key' },
  'if-not-exists': { kind: 'flag', help: 'Do nothing if the provided remote exists' },
  force: { kind: 'flag', help: 'Replace the provided remote if it exists' },
  'gpg-import': { kind: 'text', value: 'FILE', completes: 'file', help: 'Import GPG key from FILE' },
  'custom-backend': { kind: 'text', value: 'NAME', help: 'This remote has content not fetched via libostree' },
  contenturl: { kind: 'text', value: 'URL', help: 'Use URL when fetching content' },
  'collection-id': {
    kind: 'text',
    value: 'COLLECTION-ID',
    help: 'Globally unique ID for this repository as an collection of refs for redistribution to other repositories',
  },
  sysroot: { kind: 'text', value: 'PATH', completes: 'directory', help: 'Use sysroot at PATH (overrides --repo)' },
} as const;

const GROUP = /^remote "(.*)"$/;
const groupOf = (name: string): string => `remote "${name}"`;

export const add: Verb<typeof addFlags> = {
  summary: 'Add a remote repository',
  operands: [
    { name: 'NAME', help: '' },
    { name: 'URL', help: '' },
    { name: 'BRANCH', help: '', optional: true, many: true },
  ],
  usage: 'NAME [metalink=|mirrorlist=]URL [BRANCH...]',
  flags: addFlags,
  examples: [
    { command: 'cambium ostree remote add --repo=./repo origin https://example.com/repo main', explains: 'Name a repository to pull from, and what to pull' },
    {
      command:
        'cambium ostree remote add --repo=./repo --no-gpg-verify --sign-verify=ed25519=file:./publisher.pub origin mirrorlist=https://example.com/mirrors',
      explains: 'Take it from mirrors, and believe only what this key has signed',
    },
  ],
  async run(context, { values, operands }) {
    const repo = await openRepoOf(context, values.sysroot);
    const [name, url, ...branches] = operands;
    if (name === undefined || (url === undefined && values['custom-backend'] === undefined)) throw new UsageError('NAME and URL must be specified');
    if (values['if-not-exists'] && values.force) throw new UsageError('Can only specify one of --if-not-exists and --force');
    if (!/^\w[-.\w]*$/.test(name)) throw new OstreeFailure(`Invalid remote name ${name}`);
    const group = groupOf(name);
    const signVerify = signVerifySettings(context, values['sign-verify'], values['no-sign-verify']);
    const keys = values['gpg-import'] === undefined ? [] : [readKeyring(values['gpg-import'])];
    if (repo.config.has(group)) {
      if (values['if-not-exists']) return undefined;
      if (!values.force) throw new OstreeFailure(`Remote configuration for "${name}" already exists: (in config)`);
      repo.config.removeGroup(group);
    }
    for (const [key, value] of remoteSettings(values, url, branches, signVerify)) repo.config.set(group, key, value);
    writeConfig(repo);
    if (keys.length > 0) await importKeys(context, repo, name, keys);
    return undefined;
  },
};

const removeFlags = {
  'if-exists': { kind: 'flag', help: 'Do nothing if the provided remote does not exist' },
  sysroot: { kind: 'text', value: 'PATH', completes: 'directory', help: 'Use sysroot at PATH (overrides --repo)' },
} as const;

export const remove: Verb<typeof removeFlags> = {
  summary: 'Delete a remote repository',
  operands: [{ name: 'NAME', help: '' }],
  flags: removeFlags,
  examples: [{ command: 'cambium ostree remote delete --repo=./repo origin', explains: 'Forget a remote and its keys; what was pulled stays' }],
  async run(context, { values, operands: [name] }) {
    const repo = await openRepoOf(context, values.sysroot);
    if (name === undefined) throw new UsageError('NAME must be specified');
    if (!repo.config.removeGroup(groupOf(name))) {
      if (values['if-exists']) return undefined;
      throw new OstreeFailure(`Remote "${name}" not found`);
    }
    // Before the remote: keys that stay behind would count for the next remote of the name.
    rmSync(join(repo.path, `${name}.trustedkeys.gpg`), { force: true });
    writeConfig(repo);
    return undefined;
  },
};

export const showUrl: Verb = {
  summary: 'Show remote repository URL',
  operands: [{ name: 'NAME', help: '' }],
  flags: {},
  json: '{ name, url }',
  examples: [{ command: 'cambium ostree remote show-url --repo=./repo origin', explains: 'Say where a remote is' }],
  async run(context, { operands: [name] }) {
    const repo = await context.openRepo();
    if (name === undefined) throw new UsageError('NAME must be specified');
    const isUrl = name.startsWith('file://');
    if (!isUrl && !chain(repo).some(({ config }) => config.has(groupOf(name)))) throw new OstreeFailure(`Remote "${name}" not found`);
    const url = isUrl ? name : requireUrl(repo, name);
    if (context.ui.json) context.ui.resultJson({ name, url });
    else context.ui.result(url);
    return undefined;
  },
};

const listFlags = { 'show-urls': { kind: 'flag', short: 'u', help: 'Show remote URLs in list' } } as const;

export const list: Verb<typeof listFlags> = {
  summary: 'List remote repository names',
  operands: [],
  flags: listFlags,
  json: '[{ name, url? }]; one with a metalink has no URL',
  examples: [{ command: 'cambium ostree remote list --repo=./repo --show-urls', explains: 'Say which remotes there are, and where' }],
  async run(context, { values }) {
    const repo = await context.openRepo();
    const names = [...new Set(chain(repo).flatMap(({ config }) => config.groups().flatMap((group) => GROUP.exec(group)?.[1] ?? [])))].sort();
    if (context.ui.json) {
      context.ui.resultJsonList(names.map((name) => ({ name, url: urlOf(repo, name) })));
      return undefined;
    }
    const width = Math.max(0, ...names.map((name) => name.length));
    for (const name of names) context.ui.result(values['show-urls'] ? `${name.padEnd(width)}  ${requireUrl(repo, name)}` : name);
    return undefined;
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
  values: Values<typeof addFlags>,
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
