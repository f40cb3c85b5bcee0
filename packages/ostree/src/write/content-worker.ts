/** The module that content threads run. */
import { parentPort, threadId, workerData } from 'node:worker_threads';
import { serveTasks } from '@cambium/base';
import { type ContentReply, type ContentTask, TaskRunner, type WriterSetup } from './content-tasks.ts';

const runner = new TaskRunner(workerData as WriterSetup, threadId);
serveTasks<ContentTask, ContentReply>(parentPort, (task) => (task.op === 'filez-file' || task.op === 'copy' ? runner.runLong(task) : runner.run(task)));
