/** The module that threads of delta generation run. */
import { parentPort } from 'node:worker_threads';
import { serveTasks } from '@cambium/base';
import { type MadePart, makePart, type PartTask } from './make-part.ts';

serveTasks<PartTask, MadePart>(parentPort, makePart);
