/** Remotes with a `file://` URL: objects are copied from the repository there, small files read as they lie. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errnoOf } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { Repo } from '../repo/repo.ts';
import type { RemoteSource } from './remote-source.ts';

/** @throws OSTREE_REPO_NOT_FOUND OSTREE_REMOTE_UNUSABLE */
export async function openFileSource(url: string): Promise<RemoteSource> {
  let path: string;
  try {
    path = fileURLToPath(url);
  } catch (cause) {
    throw ostreeError('OSTREE_REMOTE_UNUSABLE', `Cannot use the URL "${url}" of a remote`, { cause });
  }
  const repo = await Repo.open(path);
  return {
    where: url,
    repo,
    transferredBytes: 0,
    get: async (name, { limitBytes }) => {
      try {
        return {
          bytes: readBounded(join(path, name), limitBytes, () =>
            ostreeError('OSTREE_REMOTE_ERROR', `Cannot read ${name} of "${path}": no regular file of at most ${limitBytes} bytes`),
          ),
        };
      } catch (error) {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
        throw error;
      }
    },
    read: async (name, _place, take, signal) => {
      try {
        return await take({ whole: undefined, body: createReadStream(join(path, name), { signal }), announcedBytes: undefined });
      } catch (error) {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
        throw error;
      }
    },
    close: async () => undefined,
  };
}
