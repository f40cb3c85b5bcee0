/** Breaks off bodies that trickle: a peer that sends a byte now and then would hold us for ever without any timeout. */
import type { LowSpeed } from './connections.ts';
import { httpError } from './errors.ts';
import { displayUrl } from './redact.ts';

/** How fast one body comes, on the mean over the limit's window of waiting for it. */
export interface Pace {
  /** Somebody waits from now on. */
  wait(): void;
  /** Nobody waits: the time that a reader takes does not count. */
  rest(): void;
  add(bytes: number): void;
  end(): void;
}

/** Looks after all bodies that somebody waits for, with one timer: one for each piece would cost as much as the piece. */
export class SlowWatch {
  readonly #limit: LowSpeed;
  readonly #watched = new Set<WatchedBody>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limit: LowSpeed) {
    this.#limit = limit;
  }

  /** Begins with somebody waiting. @param giveUp is called with HTTP_TOO_SLOW */
  begin(giveUp: (error: Error) => void, url: URL): Pace {
    const body = new WatchedBody(this.#limit, this.#watched, () => giveUp(tooSlow(url, this.#limit)));
    body.wait();
    this.#timer ??= setInterval(() => this.#look(), Math.min(1000, Math.max(5, this.#limit.seconds * 200))).unref();
    return body;
  }

  #look(): void {
    for (const body of this.#watched) {
      if (!body.isSlow()) continue;
      // After what has come already: this thread may have been busy, and the server quick.
      setImmediate(() => {
        if (this.#watched.has(body) && body.isSlow()) body.giveUp();
      });
    }
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

class WatchedBody implements Pace {
  readonly giveUp: () => void;
  readonly #limit: LowSpeed;
  readonly #watched: Set<WatchedBody>;
  #since = 0;
  #waitedMs = 0;
  #received = 0;

  constructor(limit: LowSpeed, watched: Set<WatchedBody>, giveUp: () => void) {
    this.#limit = limit;
    this.#watched = watched;
    this.giveUp = giveUp;
  }

  isSlow(): boolean {
    return this.#waitedMs + performance.now() - this.#since >= this.#limit.seconds * 1000;
  }

  wait(): void {
    this.#since = performance.now();
    this.#watched.add(this);
  }

  rest(): void {
    if (!this.#watched.delete(this)) return;
    this.#waitedMs += performance.now() - this.#since;
    // A window in which enough came ends early, so whatever reaches its end is too slow.
    if (this.#received < this.#limit.bytesPerSecond * this.#limit.seconds) return;
    this.#waitedMs = 0;
    this.#received = 0;
  }

  add(bytes: number): void {
    this.#received += bytes;
    if (this.#received < this.#limit.bytesPerSecond * this.#limit.seconds) return;
    this.#waitedMs = 0;
    this.#received = 0;
    this.#since = performance.now();
  }

  end(): void {
    this.#watched.delete(this);
  }
}

function tooSlow(url: URL, limit: LowSpeed): Error {
  return httpError('HTTP_TOO_SLOW', `Gave up on ${url.host}: it sent less than ${limit.bytesPerSecond} bytes per second for ${limit.seconds} seconds`, {
    retryable: true,
    data: { url: displayUrl(url), ...limit },
  });
}
