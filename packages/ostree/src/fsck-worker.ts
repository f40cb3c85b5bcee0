/** Worker thread of {@link ./fsck.ts}: reads and hashes content objects. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveTasks } from '@cambium/base';
import { type BadContent, verifyContents } from './fsck-content.ts';
import { Repo } from './repo.ts';

const { path } = workerData as { path: string };
let repo: Repo | undefined;

serveTasks<Uint8Array, BadContent[]>(parentPort, (checksums) => {
  repo ??= Repo.openSync(path);
  return verifyContents(repo, checksums);
});
