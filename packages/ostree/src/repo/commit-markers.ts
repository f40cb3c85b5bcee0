/** Files beside commits: markers of partial ones, tombstones of deleted ones. */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Checksum, errnoOf, systemError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { encodeMetadata } from '../format/commit-format.ts';
import { writeFileDurably } from './durable-file.ts';
import type { Repo } from './repo.ts';

/** `pull`: objects are missing on purpose; `fsck`: some were found corrupt and removed. */
export type PartialReason = 'pull' | 'fsck';

function markerPath(repo: Repo, commit: Checksum): string {
  return join(repo.path, 'state', `${commit}.commitpartial`);
}

/** Marks a commit as not known to be complete: before the commit object is written. An older mark stays unless the reason is `fsck`. */
export function markPartial(repo: Repo, commit: Checksum, reason: PartialReason = 'pull'): void {
  const path = markerPath(repo, commit);
  try {
    mkdirSync(dirname(path), { recursive: true });
    if (reason === 'fsck') {
      writeFileDurably(path, 'f', { sync: repo.settings.fsync, aside: join(repo.path, 'tmp') });
      return;
    }
    closeSync(openSync(path, 'wx', 0o644));
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw systemError(error, 'Cannot mark a commit as partial') ?? error;
  }
}

/** Returns why a commit is partial here, or undefined when it is not. */
export function partialReason(repo: Repo, commit: Checksum): PartialReason | undefined {
  try {
    return readFileSync(markerPath(repo, commit), 'latin1').startsWith('f') ? 'fsck' : 'pull';
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Says that everything a commit reaches is here. */
export function clearPartial(repo: Repo, commit: Checksum): void {
  rmSync(markerPath(repo, commit), { force: true });
}

/** Records that a commit was deleted on purpose; whether to is `core.tombstone-commits`. */
export function writeTombstone(repo: Repo, commit: Checksum): void {
  const path = repo.objectPath('tombstone-commit', commit);
  mkdirSync(dirname(path), { recursive: true });
  const bytes = encodeMetadata([['commit', new Variant('ay', Buffer.from(`${commit}\0`, 'latin1'))]]);
  writeFileDurably(path, bytes, { sync: repo.settings.fsync, mode: 0o644, aside: join(repo.path, 'tmp') });
}

/** Makes the repository write tombstones from now on, also for other programs: `core.tombstone-commits`. */
export function enableTombstones(repo: Repo): void {
  if (repo.settings.tombstoneCommits) return;
  repo.config.set('core', 'tombstone-commits', 'true');
  writeFileDurably(join(repo.path, 'config'), repo.config.toString(), { sync: repo.settings.fsync, aside: join(repo.path, 'tmp') });
  repo.settings.tombstoneCommits = true;
}

export function hasTombstone(repo: Repo, commit: Checksum): boolean {
  return existsSync(repo.objectPath('tombstone-commit', commit));
}

/** A commit that is written again is no longer deleted. */
export function clearTombstone(repo: Repo, commit: Checksum): void {
  rmSync(repo.objectPath('tombstone-commit', commit), { force: true });
}
