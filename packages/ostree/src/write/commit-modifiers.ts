/** What a commit changes about the files it takes in: owner, permissions, attributes, files left out. */
import { ostreeError } from '../errors.ts';
import type { DevInoCache } from './devino-cache.ts';
import type { SelinuxLabelling } from './selinux-label.ts';

/** `add`: bits to turn on, in the first tree that has the path; `set`: all permission bits, in every tree. */
export interface StatOverride {
  add?: number | undefined;
  set?: number | undefined;
}

/** Type and permission bits of a file. */
const MAX_MODE = 0o177777;

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
  /** Labels of a policy, whatever the two options before it leave out; not for bare-user-only repositories. */
  selinux?: SelinuxLabelling | undefined;
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

/**
 * What of {@link CommitModifiers} has met a file: `+PATH` for bits added, `!PATH` for a path left out. Both happen once:
 * what a first tree has used up no longer holds for the trees over it. What is left at the end is an error.
 */
export type MatchedPaths = Set<string>;

export const addedBits = (path: string): string => `+${path}`;
const leftOut = (path: string): string => `!${path}`;

/** Returns whether a path is left out, and notes that it was met, by an override too. */
export function isSkipped(path: string, modifiers: CommitModifiers, matched: MatchedPaths): boolean {
  if (modifiers.skipList?.has(path) !== true || matched.has(leftOut(path))) return false;
  matched.add(leftOut(path));
  if (modifiers.statOverride?.get(path)?.add !== undefined) matched.add(addedBits(path));
  return true;
}

/** Returns the modifiers without what earlier trees have used up. */
export function remainingModifiers(modifiers: CommitModifiers, matched: MatchedPaths): CommitModifiers {
  if (matched.size === 0) return modifiers;
  const { statOverride, skipList } = modifiers;
  return {
    ...modifiers,
    statOverride:
      statOverride && new Map([...statOverride].map(([path, { add, set }]) => [path, { add: matched.has(addedBits(path)) ? undefined : add, set }])),
    skipList: skipList && new Set([...skipList].filter((path) => !matched.has(leftOut(path)))),
  };
}

/** Returns whether xattrs need not even be read. */
export function ignoresXattrs(modifiers: CommitModifiers): boolean {
  return modifiers.noXattrs === true || modifiers.canonicalPermissions === true;
}

/** @throws OSTREE_PATH_UNMATCHED naming added bits and skipped paths that no file had. Of bits that are set libostree does not ask it */
export function checkAllMatched(modifiers: CommitModifiers, matched: MatchedPaths): void {
  const overrides = [...(modifiers.statOverride ?? [])].filter(([path, { add }]) => add !== undefined && !matched.has(addedBits(path))).map(([path]) => path);
  if (overrides.length > 0) throw ostreeError('OSTREE_PATH_UNMATCHED', 'Unmatched statoverride paths', { data: { paths: overrides.slice(0, 100) } });
  const skipped = [...(modifiers.skipList ?? [])].filter((path) => !matched.has(leftOut(path)));
  if (skipped.length > 0) throw ostreeError('OSTREE_PATH_UNMATCHED', 'Unmatched skip-list paths', { data: { paths: skipped.slice(0, 100) } });
}

/**
 * Returns the overrides of a `--statoverride` file: `N PATH` adds bits, `=N PATH` sets them (with one path in both, the bits are added
 * where it is met first, and set from then on); N is decimal, or hexadecimal with 0x. A type in N must be the file's own.
 *
 * @throws OSTREE_OPTION_INVALID, also where libostree takes what is no number for 0
 */
export function parseStatOverrides(text: string): Map<string, StatOverride> {
  const overrides = new Map<string, StatOverride>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    if (!line.includes(' ')) throw ostreeError('OSTREE_OPTION_INVALID', 'Malformed statoverride file (no space found)', { data: { line: line.slice(0, 200) } });
    const [, equals, digits, path = ''] = /^(=?)\+?(0[xX][0-9a-fA-F]+|\d+) (.*)$/s.exec(line) ?? [];
    // Base 10, as libostree reads it: a leading zero does not mean octal.
    const mode = Number(digits);
    if (!(mode <= MAX_MODE)) {
      throw ostreeError('OSTREE_OPTION_INVALID', `Malformed statoverride file: line "${line.slice(0, 200)}"`, {
        hint: 'Write MODE PATH or =MODE PATH; the mode is decimal',
      });
    }
    const known = overrides.get(path);
    overrides.set(path, equals === '=' ? { ...known, set: mode } : { ...known, add: mode });
  }
  return overrides;
}
