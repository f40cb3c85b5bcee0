/** Worker thread of {@link ./fsck-files.ts}: reads and hashes content objects. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveTasks } from '@cambium/base';
import { Repo } from '../repo/repo.ts';
import { type ContentVerdict, verifyContents } from './fsck-content.ts';

const { path, identify } = workerData as { path: string; identify: boolean };
let repo: Repo | undefined;

serveTasks<Uint8Array, ContentVerdict>(parentPort, (checksums) => {
  repo ??= Repo.openSync(path);
  return verifyContents(repo, checksums, identify);
});
