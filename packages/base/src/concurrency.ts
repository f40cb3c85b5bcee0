/** Bounded fan-out. */

/**
 * Runs `task` over `items`, at most `limit` at a time, and returns the results in order.
 * The first failure, of a task or of `items` itself, stops further starts; it is thrown when all running tasks have ended, so nothing outlives the call.
 */
export async function mapLimit<T, R>(items: Iterable<T>, limit: number, task: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const source = items[Symbol.iterator]();
  let index = 0;
  let failure: { error: unknown } | undefined;
  const lane = async (): Promise<void> => {
    while (failure === undefined) {
      try {
        const next = source.next();
        if (next.done === true) return;
        const at = index++;
        results[at] = await task(next.value, at);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, limit) }, lane));
  if (failure !== undefined) throw failure.error;
  return results;
}

/** @throws the signal's reason */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  signal?.throwIfAborted();
}
