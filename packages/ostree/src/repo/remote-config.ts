/** What a repository's config says of a remote: the group `[remote "NAME"]`. Source: `ostree.repo-config(5)`. */
import { ostreeError } from '../errors.ts';
import { KeyFile } from '../format/key-file.ts';
import type { Repo } from './repo.ts';

export interface RemoteConfig {
  name: string;
  /** As written: a URL, or `mirrorlist=URL`. */
  url: string | undefined;
  /** URL of a metalink document for the summary. */
  metalink: string | undefined;
  /** Where content comes from instead; as `url`. */
  contentUrl: string | undefined;
  /** Refs pulled when none are named. */
  branches: readonly string[];
  collectionId: string | undefined;
  gpgVerify: boolean;
  gpgVerifySummary: boolean;
  /** True for any kind of key, or the kinds of which each must have signed. */
  signVerify: boolean | readonly string[];
  signVerifySummary: boolean | readonly string[];
  tlsPermissive: boolean;
  tlsCaPath: string | undefined;
  tlsClientCertPath: string | undefined;
  tlsClientKeyPath: string | undefined;
  proxy: string | undefined;
  http2: boolean;
  /** Why this remote cannot be used yet. */
  unconfiguredState: string | undefined;
  /** Who else fetches from this remote. */
  customBackend: string | undefined;
}

/** Returns the settings of a remote of this repository or of its parents; a URL `file://…` is one too. @throws OSTREE_REMOTE_UNKNOWN OSTREE_CONFIG_INVALID */
export function readRemote(repo: Repo, name: string): RemoteConfig {
  if (name.startsWith('file://')) return urlRemote(name);
  const group = `remote "${name}"`;
  let config: KeyFile | undefined;
  for (let at: Repo | undefined = repo; at !== undefined && config === undefined; at = at.parent) {
    if (at.config.has(group)) config = at.config;
  }
  if (config === undefined) {
    throw ostreeError('OSTREE_REMOTE_UNKNOWN', `Remote "${name}" not found`, { hint: 'Name it with: cambium ostree remote add NAME URL', data: { name } });
  }
  return parseRemote(config, name);
}

/** Returns the settings of a repository that no config names: nothing is asked of it but its URL. */
export function urlRemote(url: string): RemoteConfig {
  // As with `pull-local`, no signatures are wanted from who chose the place.
  return { ...parseRemote(new KeyFile(), url), url, gpgVerify: false };
}

function parseRemote(config: KeyFile, name: string): RemoteConfig {
  const group = `remote "${name}"`;
  const text = (key: string): string | undefined => {
    const value = config.string(group, key)?.trim();
    return value === '' ? undefined : value;
  };
  return {
    name,
    url: text('url'),
    metalink: text('metalink'),
    contentUrl: text('contenturl'),
    branches: config.list(group, 'branches') ?? [],
    collectionId: text('collection-id'),
    gpgVerify: config.boolean(group, 'gpg-verify') ?? true,
    gpgVerifySummary: config.boolean(group, 'gpg-verify-summary') ?? false,
    signVerify: booleanOrList(config, group, 'sign-verify'),
    signVerifySummary: booleanOrList(config, group, 'sign-verify-summary'),
    tlsPermissive: config.boolean(group, 'tls-permissive') ?? false,
    tlsCaPath: text('tls-ca-path'),
    tlsClientCertPath: text('tls-client-cert-path'),
    tlsClientKeyPath: text('tls-client-key-path'),
    proxy: text('proxy'),
    http2: config.boolean(group, 'http2') ?? true,
    unconfiguredState: text('unconfigured-state'),
    customBackend: text('custom-backend'),
  };
}

function booleanOrList(config: KeyFile, group: string, key: string): boolean | string[] {
  const raw = config.raw(group, key)?.trim();
  if (raw === undefined || raw === '') return false;
  if (/^(?:true|false|1|0)$/.test(raw)) return config.boolean(group, key) ?? false;
  return config.list(group, key) ?? false;
}
