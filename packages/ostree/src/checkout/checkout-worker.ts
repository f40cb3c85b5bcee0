/** Worker thread of {@link ./checkout.ts}. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveTasks } from '@cambium/base';
import { Repo } from '../repo/repo.ts';
import { type FileBatch, type FileCounts, FilePlacer, type FilePolicy } from './checkout-files.ts';

const { path, policy } = workerData as { path: string; policy: FilePolicy };
let placer: FilePlacer | undefined;

serveTasks<FileBatch[], FileCounts>(parentPort, async (batches) => {
  placer ??= new FilePlacer(Repo.openSync(path), policy);
  await placer.place(batches);
  const counts = { ...placer.counts };
  Object.assign(placer.counts, { linked: 0, copied: 0, copiedBytes: 0, symlinks: 0, devices: 0, kept: 0 });
  return counts;
});
