/** Ends requests when their caller gives up: one listener for each signal, however many requests run under it. */

interface Cancellable {
  abort(error: Error): void;
}

export class Cancelling {
  readonly #running = new Map<AbortSignal, { requests: Set<Cancellable>; stop: () => void }>();

  /** From now until {@link forget}, the request is aborted with the signal. */
  follow(signal: AbortSignal, request: Cancellable): void {
    const present = this.#running.get(signal);
    if (present !== undefined) {
      present.requests.add(request);
      return;
    }
    const requests = new Set([request]);
    const stop = (): void => {
      this.#running.delete(signal);
      for (const each of requests) each.abort(signal.reason);
    };
    signal.addEventListener('abort', stop, { once: true });
    this.#running.set(signal, { requests, stop });
  }

  forget(signal: AbortSignal, request: Cancellable): void {
    const present = this.#running.get(signal);
    if (present === undefined) return;
    present.requests.delete(request);
    if (present.requests.size > 0) return;
    signal.removeEventListener('abort', present.stop);
    this.#running.delete(signal);
  }
}
