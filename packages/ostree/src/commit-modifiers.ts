/** What a commit changes about the files it takes in: owner, permissions, attributes, files left out. */
import { S_IFLNK, S_IFMT, S_IFREG } from '@cambium/tree';
import type { DevInoCache } from './devino-cache.ts';
import { ostreeError } from './errors.ts';
import type { DirMeta } from './types.ts';

/** `add`: bits to turn on; `set`: all permission bits. */
export type StatOverride = { add: number } | { set: number };

/** Plain data: it travels to worker threads. */
export interface CommitModifiers {
  ownerUid?: number | undefined;
  ownerGid?: number | undefined;
  /** Store no extended attributes. */
  noXattrs?: boolean | undefined;
  /** Owner 0:0, no xattrs, modes within 0755; always so in bare-user-only repositories. */
  canonicalPermissions?: boolean | undefined;
  /** Executable regular files lose their write bits. */
  roExecutables?: boolean | undefined;
  /** By path from the root of the tree, with a leading slash. */
  statOverride?: ReadonlyMap<string, StatOverride> | undefined;
  /** Paths from the root of the tree, with a leading slash: left out with all below. */
  skipList?: ReadonlySet<string> | undefined;
  /** Remove each source once it is stored, and directories once they are empty. */
  consume?: boolean | undefined;
  /** Files known to be hard links of objects are taken without reading them. */
  devIno?: DevInoCache | undefined;
  /** Trust {@link devIno} even when other modifiers would change the file. */
  devInoCanonical?: boolean | undefined;
}

/** Paths of {@link CommitModifiers} that met a file: what is left unmatched is an error. */
export type MatchedPaths = Set<string>;

/**
 * Returns what is stored for an entry, or undefined when it is left out.
 * The order is libostree's: owner, read-only executables, override, skip list, canonical permissions.
 */
export function modifyEntry<Meta extends DirMeta>(path: string, meta: Meta, modifiers: CommitModifiers, matched: MatchedPaths): Meta | undefined {
  let { uid, gid, mode } = meta;
  uid = modifiers.ownerUid ?? uid;
  gid = modifiers.ownerGid ?? gid;
  const kind = mode & S_IFMT;
  if (modifiers.roExecutables === true && kind === S_IFREG && (mode & 0o111) !== 0) mode &= ~0o222;
  const override = modifiers.statOverride?.get(path);
  if (override !== undefined) {
    matched.add(path);
    mode = 'add' in override ? mode | override.add : kind | override.set;
  }
  if (isSkipped(path, modifiers, matched)) return undefined;
  let { xattrs } = meta;
  if (modifiers.canonicalPermissions === true) {
    uid = 0;
    gid = 0;
    if (kind !== S_IFLNK) mode = (mode & S_IFMT) | (mode & 0o755);
    xattrs = [];
  } else if (modifiers.noXattrs === true) xattrs = [];
  if (uid === meta.uid && gid === meta.gid && mode === meta.mode && xattrs.length === meta.xattrs.length) return meta;
  return { ...meta, uid, gid, mode, xattrs };
}

export function isSkipped(path: string, modifiers: CommitModifiers, matched: MatchedPaths): boolean {
  if (modifiers.skipList?.has(path) !== true) return false;
  matched.add(path);
  return true;
}

/** Returns whether xattrs need not even be read. */
export function ignoresXattrs(modifiers: CommitModifiers): boolean {
  return modifiers.noXattrs === true || modifiers.canonicalPermissions === true;
}

/** @throws OSTREE_PATH_UNMATCHED naming overrides and skipped paths that no file had; libostree asks that of `add` overrides only */
export function checkAllMatched(modifiers: CommitModifiers, matched: MatchedPaths): void {
  const overrides = [...(modifiers.statOverride ?? [])].filter(([path, override]) => 'add' in override && !matched.has(path)).map(([path]) => path);
  if (overrides.length > 0) throw ostreeError('OSTREE_PATH_UNMATCHED', 'Unmatched statoverride paths', { data: { paths: overrides.slice(0, 100) } });
  const skipped = [...(modifiers.skipList ?? [])].filter((path) => !matched.has(path));
  if (skipped.length > 0) throw ostreeError('OSTREE_PATH_UNMATCHED', 'Unmatched skip-list paths', { data: { paths: skipped.slice(0, 100) } });
}

/** Returns the overrides of a `--statoverride` file: `N PATH` adds bits, `=N PATH` sets them; N is decimal, or hexadecimal with 0x. @throws OSTREE_OPTION_INVALID */
export function parseStatOverrides(text: string): Map<string, StatOverride> {
  const overrides = new Map<string, StatOverride>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, equals, digits, path] = /^(=?)\+?(0[xX][0-9a-fA-F]+|\d+) (.+)$/s.exec(line) ?? [];
    // strtoul with base 10, as libostree reads it: a leading zero does not mean octal.
    const mode = Number(digits);
    if (path === undefined || !(mode <= 0o7777)) {
      throw ostreeError('OSTREE_OPTION_INVALID', `Malformed statoverride file: line "${line.slice(0, 200)}"`, {
        hint: 'Write MODE PATH or =MODE PATH; the mode is decimal',
      });
    }
    overrides.set(path, equals === '=' ? { set: mode } : { add: mode });
  }
  return overrides;
}
