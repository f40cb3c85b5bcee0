/** The module that threads of delta generation run. */
import { parentPort } from 'node:worker_threads';
import { serveTasks } from '@cambium/base';
import { type DeltaReply, type DeltaTask, runDeltaTask } from './delta-tasks.ts';

serveTasks<DeltaTask, DeltaReply>(parentPort, runDeltaTask);
