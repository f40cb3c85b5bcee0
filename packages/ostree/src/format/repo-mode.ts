/** The names of repository modes in configs and summaries. */
import type { RepoMode } from './types.ts';

const MODES: Readonly<Record<string, RepoMode>> = {
  bare: 'bare',
  'bare-user': 'bare-user',
  'bare-user-only': 'bare-user-only',
  'bare-split-xattrs': 'bare-split-xattrs',
  archive: 'archive',
  // What libostree writes for `archive` to this day.
  'archive-z2': 'archive',
};

/** Returns the mode of that name, or undefined for an unknown one. */
export function repoModeOf(text: string): RepoMode | undefined {
  return Object.hasOwn(MODES, text) ? MODES[text] : undefined;
}
