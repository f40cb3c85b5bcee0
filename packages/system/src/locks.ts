/**
 * Open-file-description locks on a whole file, as libostree takes them. They belong to the descriptor, not to the
 * process: two descriptors of one process exclude each other, and closing the descriptor releases. Source: `fcntl(2)`.
 */
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemPackageError } from './errors.ts';
import { callError, memory, native, VALUE_AT } from './native.ts';

export type LockKind = 'shared' | 'exclusive';

const F_OFD_SETLK = 37;
const F_OFD_SETLKW = 38;
const RECORD_TYPES = { shared: 0, exclusive: 1, unlock: 2 };
const FLOCK_OPERATIONS = { shared: 1, exclusive: 2, unlock: 8 };
const LOCK_NB = 4;
const FLOCK_STRUCT_BYTES = 32;

const { EACCES, EAGAIN, EINTR, EINVAL } = constants.errno;

/**
 * Takes, changes or releases the lock of a descriptor, and returns whether that worked.
 *
 * With `wait` the thread stands still until the lock is free and no signal can end it: in a thread that has other work
 * use {@link acquireOfdLock}. `shared` needs a descriptor open for reading, `exclusive` one for writing.
 * Where the kernel has no such locks `flock` stands in, as in libostree.
 *
 * @throws errno, EBADF for a descriptor opened the wrong way
 */
export function ofdLock(fd: number, kind: LockKind | 'unlock', options: { wait: boolean }): boolean {
  const { libc, address } = native();
  // struct flock of 64-bit Linux: short type, short whence, 4 bytes of padding, long start, long length (0: to the end), int pid.
  memory.fill(0, VALUE_AT, VALUE_AT + FLOCK_STRUCT_BYTES);
  memory[VALUE_AT] = RECORD_TYPES[kind];
  for (;;) {
    if (libc.fcntl(fd, options.wait ? F_OFD_SETLKW : F_OFD_SETLK, address + VALUE_AT) >= 0) return true;
    const errno = libc.errno();
    if (errno === EINTR) continue;
    if (errno === EAGAIN || errno === EACCES) return false;
    if (errno === EINVAL) return wholeFileLock(fd, kind, options.wait);
    throw callError(errno, 'fcntl');
  }
}

function wholeFileLock(fd: number, kind: LockKind | 'unlock', wait: boolean): boolean {
  const { libc } = native();
  for (;;) {
    if (libc.flock(fd, FLOCK_OPERATIONS[kind] | (wait ? 0 : LOCK_NB)) >= 0) return true;
    const errno = libc.errno();
    if (errno === EINTR) continue;
    if (errno === EAGAIN) return false;
    throw callError(errno, 'flock');
  }
}

export interface LockWait {
  /** How long to try: 0 tries once, undefined for ever. */
  timeoutMs?: number | undefined;
  /** Pause between tries. */
  pollMs?: number;
  signal?: AbortSignal | undefined;
  /** Names the lock in the error. */
  what?: string;
}

/**
 * Takes a lock, trying again until `timeoutMs` have passed, without holding up the thread.
 *
 * @throws SYSTEM_LOCK_TIMEOUT, the signal's reason, errno
 */
export async function acquireOfdLock(fd: number, kind: LockKind, wait: LockWait = {}): Promise<void> {
  const { timeoutMs, pollMs = 100, signal, what = 'file' } = wait;
  let waitedMs = 0;
  for (;;) {
    signal?.throwIfAborted();
    if (ofdLock(fd, kind, { wait: false })) return;
    const pauseMs = timeoutMs === undefined ? pollMs : Math.min(pollMs, timeoutMs - waitedMs);
    if (pauseMs <= 0) {
      throw systemPackageError('SYSTEM_LOCK_TIMEOUT', `Cannot lock ${what}: another process holds it`, {
        retryable: true,
        hint: 'Wait until the other command has ended, then run this one again',
        data: { timeoutMs },
      });
    }
    try {
      await sleep(pauseMs, undefined, { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
    waitedMs += pauseMs;
  }
}
