/**
 * Objects that an interrupted transaction left are verified before they count: libostree keeps what it was told to trust
 * (`pull --http-trusted`, `pull-local`) beside what it has verified, and puts into a directory of ours whatever it likes.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { parseLoosePath } from '../format/object-path.ts';
import type { Repo } from '../repo/repo.ts';
import { verifyContent } from '../repo/verify-content.ts';

/** Removes from a staging directory that was taken over what is no object with the checksum that its name says. */
export async function verifyStaged(repo: Repo, path: string, signal: AbortSignal | undefined): Promise<void> {
  // An object that the repository has is looked for there first: then the staged one is dropped when all is put in place.
  repo.staging = path;
  try {
    for (const directory of readdirSync(path)) {
      await turn();
      signal?.throwIfAborted();
      for (const name of readdirSync(join(path, directory)))
        if (!(await isSound(repo, directory, name))) rmSync(join(path, directory, name), { recursive: true });
    }
  } finally {
    repo.staging = undefined;
  }
}

async function isSound(repo: Repo, directory: string, name: string): Promise<boolean> {
  const object = parseLoosePath(directory, name, repo.mode);
  try {
    if (object?.type === 'dirtree' || object?.type === 'dirmeta') repo.readMetadata(object.type, object.checksum);
    else if (object?.type === 'file') await verifyContent(repo, object.checksum);
    else return false;
    return true;
  } catch {
    // Whatever the reason: what cannot be read is written again.
    return false;
  }
}
