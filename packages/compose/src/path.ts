/** Paths in a model, as in `services.web.ports[0]`, and tables of rules for them. */

export type Path = readonly (string | number)[];

/** Returns a path for people. */
export function pathText(path: Path): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`;
  return text;
}

interface Branch<T> {
  exact: Map<string, Branch<T>>;
  any?: Branch<T>;
  value?: T;
}

/** Rules by pattern: `services.*.ports.*`, where `*` stands for one key or index. */
export class PathTable<T> {
  readonly #root: Branch<T> = { exact: new Map() };

  constructor(rows: Readonly<Record<string, T>>) {
    for (const [pattern, value] of Object.entries(rows)) {
      let at = this.#root;
      for (const part of pattern.split('.')) {
        if (part === '*') at = at.any ??= { exact: new Map() };
        else {
          const next: Branch<T> = at.exact.get(part) ?? { exact: new Map() };
          at.exact.set(part, next);
          at = next;
        }
      }
      at.value = value;
    }
  }

  get(path: Path): T | undefined {
    return find(this.#root, path, 0);
  }
}

function find<T>(at: Branch<T>, path: Path, index: number): T | undefined {
  const part = path[index];
  if (part === undefined) return at.value;
  const exact = at.exact.get(String(part));
  const found = exact === undefined ? undefined : find(exact, path, index + 1);
  if (found !== undefined || at.any === undefined) return found;
  return find(at.any, path, index + 1);
}
