/** Worker thread of {@link ./checkout-crew.ts}. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveTasks } from '@cambium/base';
import { Repo } from '../repo/repo.ts';
import type { CrewReply, CrewRequest } from './checkout-crew.ts';
import { noCounts } from './checkout-files.ts';
import { TreePlacer, type TreePolicy } from './checkout-tree.ts';

const { path, policy } = workerData as { path: string; policy: TreePolicy };
let placer: TreePlacer | undefined;

serveTasks<CrewRequest, CrewReply>(parentPort, async ({ stack, milliseconds }) => {
  placer ??= new TreePlacer(Repo.openSync(path), policy);
  await placer.work(stack, milliseconds);
  const { late, made } = placer;
  const counts = { ...placer.files.counts };
  Object.assign(placer.files.counts, noCounts());
  Object.assign(placer, { late: [], made: 0 });
  return { stack, late, made, counts };
});
