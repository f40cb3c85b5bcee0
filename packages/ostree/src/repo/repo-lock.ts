/**
 * The repository lock: an open-file-description lock on `.lock`, which libostree takes too.
 *
 * Holders of one {@link Repo} count: a lock held exclusively covers further requests, a shared one can be raised.
 * Source: libostree `ostree_repo_lock_push` behaviour.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { isKnownError } from '@cambium/base';
import { acquireOfdLock, ofdLock } from '@cambium/system';
import { ostreeError } from '../errors.ts';
import type { RepoSettings } from './repo-config.ts';

export type RepoLockKind = 'shared' | 'exclusive';

/** Held until released; releasing twice does nothing. */
export interface RepoLock extends Disposable {
  release(): void;
}

export class RepoLocks {
  readonly #path: string;
  readonly #settings: RepoSettings;
  #fd: number | undefined;
  #shared = 0;
  #exclusive = 0;
  /** A request is polling for the descriptor's lock: it must stay open, whatever is released meanwhile. */
  #waiting = false;
  /** Requests of one Repo go one after the other: the descriptor has one lock. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(path: string, settings: RepoSettings) {
    this.#path = path;
    this.#settings = settings;
  }

  /** @throws OSTREE_LOCK_TIMEOUT, the signal's reason */
  async take(kind: RepoLockKind, signal?: AbortSignal): Promise<RepoLock> {
    if (!this.#settings.locking) return releasing(() => undefined);
    const turn = this.#queue.then(() => this.#take(kind, signal));
    this.#queue = turn.catch(() => undefined);
    await turn;
    return releasing(() => this.#release(kind));
  }

  async #take(kind: RepoLockKind, signal: AbortSignal | undefined): Promise<void> {
    const held = this.#held();
    if (held === undefined || (held === 'shared' && kind === 'exclusive')) {
      this.#fd ??= openSync(join(this.#path, '.lock'), constants.O_RDWR | constants.O_CREAT, 0o660);
      const { lockTimeoutSecs } = this.#settings;
      this.#waiting = true;
      try {
        await acquireOfdLock(this.#fd, kind, {
          what: `repository "${this.#path}"`,
          signal,
          timeoutMs: lockTimeoutSecs < 0 ? undefined : lockTimeoutSecs * 1000,
        });
      } catch (cause) {
        this.#waiting = false;
        this.#settle();
        if (!isKnownError(cause, 'SYSTEM_LOCK_TIMEOUT')) throw cause;
        throw ostreeError('OSTREE_LOCK_TIMEOUT', `Locking repository "${this.#path}" ${kind} failed: another process holds it`, {
          cause,
          retryable: true,
          hint: 'Wait until the other command has ended; core.lock-timeout-secs in the config says how long to try',
        });
      }
      this.#waiting = false;
    }
    if (kind === 'shared') this.#shared++;
    else this.#exclusive++;
  }

  #release(kind: RepoLockKind): void {
    if (kind === 'shared') this.#shared--;
    else this.#exclusive--;
    this.#settle();
  }

  /** Brings the descriptor's lock down to what is still held. */
  #settle(): void {
    if (this.#fd === undefined) return;
    const held = this.#held();
    if (held === undefined) {
      if (this.#waiting) {
        ofdLock(this.#fd, 'unlock', { wait: false });
        return;
      }
      closeSync(this.#fd);
      this.#fd = undefined;
    } else if (held === 'shared') ofdLock(this.#fd, 'shared', { wait: false });
  }

  #held(): RepoLockKind | undefined {
    if (this.#exclusive > 0) return 'exclusive';
    return this.#shared > 0 ? 'shared' : undefined;
  }
}

function releasing(release: () => void): RepoLock {
  let held = true;
  const once = (): void => {
    if (held) release();
    held = false;
  };
  return { release: once, [Symbol.dispose]: once };
}
