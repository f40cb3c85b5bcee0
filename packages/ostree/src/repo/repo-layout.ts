/** Making a repository: directories and a fresh config. Source: libostree `ostree_repo_create_at`. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { errnoOf } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { KeyFile } from '../format/key-file.ts';
import type { RepoMode } from '../format/types.ts';
import { writeFileDurably } from './durable-file.ts';
import { isCollectionId } from './repo-config.ts';

export interface InitOptions {
  mode: RepoMode;
  collectionId?: string | undefined;
}

/** `objects` last: its existence means "already a repository". */
const DIRECTORIES = ['tmp', 'extensions', 'state', 'refs', 'refs/heads', 'refs/mirrors', 'refs/remotes', 'objects'];

/** Makes a repository at `path`; does nothing when there is one. @throws OSTREE_CONFIG_INVALID */
export function createRepoLayout(path: string, options: InitOptions): void {
  const { mode, collectionId } = options;
  if (collectionId !== undefined && !isCollectionId(collectionId)) throw ostreeError('OSTREE_CONFIG_INVALID', `Invalid collection ID ${collectionId}`);
  makeDirectory(path);
  if (existsSync(join(path, 'objects'))) return;
  if (!existsSync(join(path, 'config'))) {
    const config = new KeyFile();
    config.setRaw('core', 'repo_version', '1');
    // The old spelling is what libostree writes, and what its oldest versions read.
    config.setRaw('core', 'mode', mode === 'archive' ? 'archive-z2' : mode);
    if (collectionId !== undefined) config.set('core', 'collection-id', collectionId);
    // What a killed process leaves of it lies where it is removed one day.
    mkdirSync(join(path, 'tmp'), { recursive: true, mode: 0o775 });
    writeFileDurably(join(path, 'config'), config.toString(), { sync: true, aside: join(path, 'tmp') });
  }
  for (const name of DIRECTORIES) mkdirSync(join(path, name), { recursive: true, mode: 0o775 });
}

/** Makes a directory and those above it. Node's own `recursive` never ends where `mkdir` says ENOENT below a directory that exists, as in /proc. */
function makeDirectory(path: string): void {
  const missing: string[] = [];
  let at = resolve(path);
  for (; !existsSync(at); at = dirname(at)) missing.push(at);
  for (const directory of missing.reverse()) {
    try {
      mkdirSync(directory, { mode: 0o775 });
    } catch (error) {
      // Another process made it meanwhile.
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
}
