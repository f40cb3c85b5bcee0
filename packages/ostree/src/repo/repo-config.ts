/** The settings in a repository's `config` that the store itself obeys. Source: `ostree.repo-config(5)`. */

import { ostreeError } from '../errors.ts';
import type { KeyFile } from '../format/key-file.ts';
import { repoModeOf } from '../format/repo-mode.ts';
import type { RepoMode } from '../format/types.ts';

export interface RepoSettings {
  mode: RepoMode;
  /** Path of the repository consulted for what is not here; relative ones are relative to this repository. */
  parent: string | undefined;
  collectionId: string | undefined;
  /** False: no fsync, no syncfs, no staging. */
  fsync: boolean;
  perObjectFsync: boolean;
  disableXattrs: boolean;
  enableUncompressedCache: boolean;
  tmpExpirySecs: number;
  locking: boolean;
  /** −1 waits for ever, 0 tries once. */
  lockTimeoutSecs: number;
  minFreeSpace: { percent: number } | { bytes: number };
  tombstoneCommits: boolean;
  /** Contents from this size on get payload links, where the file system can share blocks; undefined for none. */
  payloadLinksFrom: number | undefined;
  /** Undefined: the default of {@link ../write/deflate.ts}. */
  zlibLevel: number | undefined;
}

/** Returns the settings of a repository. @throws OSTREE_CONFIG_INVALID OSTREE_REPO_UNSUPPORTED */
export function parseRepoSettings(config: KeyFile, path: string): RepoSettings {
  const version = config.string('core', 'repo_version')?.trim();
  if (version !== '1') throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot open repository "${path}": version is ${version ?? 'missing'}, not 1`);
  if (config.boolean('core', 'archive') === true)
    throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot open repository "${path}": it is of the old kind "archive=true"`);
  const modeText = config.string('core', 'mode')?.trim() ?? 'bare';
  const mode = repoModeOf(modeText);
  if (mode === undefined) throw ostreeError('OSTREE_REPO_UNSUPPORTED', `Cannot open repository "${path}": mode "${modeText}" is unknown`);
  const collectionId = config.string('core', 'collection-id');
  if (collectionId !== undefined && !isCollectionId(collectionId))
    throw ostreeError('OSTREE_CONFIG_INVALID', `Invalid collection ID "${collectionId}" in "${path}"`);
  const level = config.integer('archive', 'zlib-level');
  const lockTimeoutSecs = config.integer('core', 'lock-timeout-secs') ?? 30;
  if (lockTimeoutSecs < -1) throw ostreeError('OSTREE_CONFIG_INVALID', `Invalid core.lock-timeout-secs ${lockTimeoutSecs} in "${path}"`);
  const parent = config.string('core', 'parent');
  return {
    mode,
    parent: parent === '' ? undefined : parent,
    collectionId,
    fsync: config.boolean('core', 'fsync') ?? true,
    perObjectFsync: config.boolean('core', 'per-object-fsync') ?? false,
    disableXattrs: config.boolean('core', 'disable-xattrs') ?? false,
    enableUncompressedCache: config.boolean('core', 'enable-uncompressed-cache') ?? true,
    tmpExpirySecs: config.integer('core', 'tmp-expiry-secs') ?? 86_400,
    locking: config.boolean('core', 'locking') ?? true,
    lockTimeoutSecs,
    minFreeSpace: parseMinFreeSpace(config),
    payloadLinksFrom: parsePayloadLinks(config),
    tombstoneCommits: config.boolean('core', 'tombstone-commits') ?? false,
    zlibLevel: level === undefined ? undefined : Math.min(9, Math.max(1, level)),
  };
}

/** Returns whether `text` is a collection ID: reverse DNS of at least two elements, at most 255 characters. */
export function isCollectionId(text: string): boolean {
  return text.length <= 255 && /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$/.test(text);
}

/** libostree reads the number as an unsigned one, so that the default of −1 is never reached. */
function parsePayloadLinks(config: KeyFile): number | undefined {
  const bytes = config.integer('core', 'payload-link-threshold') ?? -1;
  return bytes < 0 ? undefined : bytes;
}

function parseMinFreeSpace(config: KeyFile): RepoSettings['minFreeSpace'] {
  const size = config.string('core', 'min-free-space-size')?.trim();
  if (size !== undefined) {
    const [, digits, unit] = /^(\d+)([MGT])B$/.exec(size) ?? [];
    const bytes = Number(digits) * { M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }[(unit ?? 'M') as 'M' | 'G' | 'T'];
    if (digits === undefined || !Number.isSafeInteger(bytes)) {
      throw ostreeError('OSTREE_CONFIG_INVALID', `Invalid core.min-free-space-size "${size}"`, {
        hint: 'Write a number followed by MB, GB or TB',
        data: { ostreeMessage: `Invalid min-free-space-size '${size}': It should be of the format '123MB', '123GB' or '123TB'` },
      });
    }
    return { bytes };
  }
  const percent = config.integer('core', 'min-free-space-percent') ?? 3;
  if (percent < 0 || percent > 99)
    throw ostreeError('OSTREE_CONFIG_INVALID', `Invalid core.min-free-space-percent ${percent}`, { hint: 'Write a number from 0 to 99' });
  return { percent };
}
