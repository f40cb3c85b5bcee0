/** What a commit stores for a file: see `commit-modifiers.ts`. */
import { S_IFLNK, S_IFMT, S_IFREG } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import type { DirMeta } from '../format/types.ts';
import { addedBits, type CommitModifiers, ignoresXattrs, isSkipped, type MatchedPaths } from './commit-modifiers.ts';
import { withSelinuxLabel } from './selinux-label.ts';

/**
 * Returns what is stored for an entry, or undefined when it is left out.
 * The order is libostree's: owner, read-only executables, override, skip list, canonical permissions, label.
 *
 * @param asChild the entry is a directory met in its parent by a walk. libostree asks its filter twice about those, and
 *   takes the second answer: bits to add are used up by then. (It does so up to 2026; a commit must have its checksum.)
 * @throws OSTREE_OPTION_INVALID for an override that would change the entry's type, SELINUX_PATTERN_* SELINUX_POLICY_TOO_LARGE
 */
export function modifyEntry<Meta extends DirMeta>(
  path: string,
  meta: Meta,
  modifiers: CommitModifiers,
  matched: MatchedPaths,
  asChild = false,
): Meta | undefined {
  let { uid, gid, mode } = meta;
  uid = modifiers.ownerUid ?? uid;
  gid = modifiers.ownerGid ?? gid;
  const kind = mode & S_IFMT;
  if (modifiers.roExecutables === true && kind === S_IFREG && (mode & 0o111) !== 0) mode &= ~0o222;
  if (isSkipped(path, modifiers, matched)) return undefined;
  const override = modifiers.statOverride?.get(path);
  if (override !== undefined) {
    const adds = override.add !== undefined && !matched.has(addedBits(path));
    if (adds) matched.add(addedBits(path));
    if (adds && !asChild) mode |= override.add ?? 0;
    else if (override.set !== undefined) mode = kind | override.set;
    if ((mode & S_IFMT) !== kind)
      throw ostreeError('OSTREE_OPTION_INVALID', `Cannot commit "${path}": its statoverride would change what kind of file it is`, { data: { path } });
  }
  let { xattrs } = meta;
  if (modifiers.canonicalPermissions === true) {
    uid = 0;
    gid = 0;
    if (kind !== S_IFLNK) mode = (mode & S_IFMT) | (mode & 0o755);
  }
  if (ignoresXattrs(modifiers) && xattrs.length > 0) xattrs = [];
  if (modifiers.selinux !== undefined) xattrs = withSelinuxLabel(xattrs, modifiers.selinux, path, kind);
  if (uid === meta.uid && gid === meta.gid && mode === meta.mode && xattrs === meta.xattrs) return meta;
  return { ...meta, uid, gid, mode, xattrs };
}
