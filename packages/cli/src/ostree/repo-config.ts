/** Writing a repository's config. */
import { join } from 'node:path';
import { type Repo, writeFileDurably } from '@cambium/ostree';

/** Writes the config as it stands in memory, in one step. */
export function writeConfig(repo: Repo): void {
  writeFileDurably(join(repo.path, 'config'), repo.config.toString(), { sync: repo.settings.fsync, aside: join(repo.path, 'tmp') });
}
