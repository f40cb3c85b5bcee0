/** One command at a time changes what is mounted. */
import { closeSync, openSync } from 'node:fs';
import { systemError } from '@cambium/base';
import { acquireOfdLock } from '@cambium/system';
import type { DeviceState } from './state.ts';

/** Runs `task` while holding the lock of `state`, which is made when there is none; waits for another process as long as the signal allows. */
export async function withStateLock<T>(state: DeviceState, signal: AbortSignal | undefined, task: () => Promise<T> | T): Promise<T> {
  state.create();
  let descriptor: number;
  try {
    descriptor = openSync(state.lockPath, 'a+', 0o600);
  } catch (error) {
    throw systemError(error, `Cannot lock "${state.path}"`) ?? error;
  }
  try {
    await acquireOfdLock(descriptor, 'exclusive', { signal, what: `"${state.path}"` });
    return await task();
  } finally {
    closeSync(descriptor);
  }
}
