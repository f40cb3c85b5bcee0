/** One command at a time changes what is mounted. */
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ofdLock } from '@cambium/system';
import type { DeviceState } from './state.ts';

const RETRY_MS = 100;

/** Runs `task` while holding the lock of `state`; waits for another process as long as the signal allows. */
export async function withStateLock<T>(state: DeviceState, signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T> {
  const descriptor = openSync(state.lockPath, 'a+', 0o600);
  try {
    while (!ofdLock(descriptor, 'exclusive', { wait: false })) await sleep(RETRY_MS, undefined, signal === undefined ? {} : { signal });
    return await task();
  } finally {
    closeSync(descriptor);
  }
}
