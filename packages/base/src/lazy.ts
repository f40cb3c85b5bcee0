/** Functions whose modules are loaded when they are first called: an entry that lists them then costs nothing by itself. */

/** The same function, with a promise of what it returns. */
export type Lazy<F> = F extends (...args: infer Args) => infer Result ? (...args: Args) => Promise<Awaited<Result>> : never;

/** Returns a function that stands for the one that `load` brings. */
export function lazy<F extends (...args: never[]) => unknown>(load: () => Promise<F>): Lazy<F> {
  return (async (...args: Parameters<F>) => (await load())(...args)) as Lazy<F>;
}
