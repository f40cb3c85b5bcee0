/** The worker of the pool's tests; outside a worker it does nothing. */
import { parentPort, threadId } from 'node:worker_threads';
import { baseError } from './codes.ts';
import { serveTasks } from './pool.ts';

const handle = (request: { do: string; buffer?: ArrayBuffer }): unknown => {
  switch (request.do) {
    case 'thread':
      return threadId;
    case 'size':
      return request.buffer?.byteLength;
    case 'known':
      throw baseError('JSON_INVALID', 'As asked', { hint: 'None' });
    case 'crash':
      return process.exit(3);
    default:
      throw new Error('unknown task');
  }
};

if (parentPort !== null) serveTasks(parentPort, handle);
