/** What one load carries along: the environment, budgets, and what is reported at the end. */
import { composeError, faultAt, type Position } from './errors.ts';
import { type Path, pathText } from './path.ts';
import type { ComposeWarning, LocalFile, SourceFile } from './types.ts';
import type { SourceDocument } from './yaml-source.ts';

/** A project may be this large after aliases, includes and extends: values, each with 64 characters of text. */
export const MAX_PROJECT_VALUES: number = 1_000_000;
/** More files than a person keeps in one project; includes can double at every level. */
export const MAX_PROJECT_FILES: number = 1000;

/** Shared by all files of one project. */
export class Session {
  readonly files: SourceFile[] = [];
  readonly warnings: ComposeWarning[] = [];
  readonly localFiles: LocalFile[] = [];
  /** Variables that had a value where they were used, images apart. */
  readonly variables: Set<string> = new Set();
  /** Documents in the order they were merged: the last that has a path says where it stands. */
  readonly documents: SourceDocument[] = [];
  /** How local paths were written, by kind and absolute path. */
  readonly written: Map<string, { text: string; position: Position }> = new Map();
  readonly #seen = new Set<string>();
  #values = 0;
  #reads = 0;

  warn(warning: ComposeWarning): void {
    const key = `${warning.code} ${warning.message}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.warnings.push(warning);
  }

  /** @throws COMPOSE_TOO_COMPLEX */
  spend(values: number): void {
    this.#values += values;
    if (this.#values > MAX_PROJECT_VALUES) throw composeError('COMPOSE_TOO_COMPLEX', `Cannot load project: more than ${MAX_PROJECT_VALUES} values`);
  }

  read(file: SourceFile): void {
    if (++this.#reads > MAX_PROJECT_FILES) throw composeError('COMPOSE_TOO_COMPLEX', `Cannot load project: more than ${MAX_PROJECT_FILES} files`);
    if (!this.files.some((known) => known.path === file.path && known.role === file.role)) this.files.push(file);
  }

  /** Returns where a path of the merged model stands. */
  position(path: Path): Position | undefined {
    let best: (Position & { depth: number }) | undefined;
    for (const document of this.documents) {
      const found = document.position(path);
      if (best === undefined || found.depth >= best.depth) best = found;
    }
    if (best === undefined) return undefined;
    const { depth: _depth, ...position } = best;
    return position;
  }
}

/** What is fixed while one set of files is read: an included project has its own. */
export interface Scope {
  session: Session;
  /** Relative paths start here. */
  directory: string;
  environment: Readonly<Record<string, string>>;
  interpolate: boolean;
}

/** Returns an error about a path of a document. */
export function documentFault(
  code: Parameters<typeof composeError>[0],
  document: SourceDocument,
  path: Path,
  reason: string,
  details: Parameters<typeof faultAt>[3] = {},
): Error {
  const { depth: _depth, ...position } = document.position(path);
  return faultAt(code, position, `Cannot load ${pathText(path) || 'the compose file'}: ${reason}`, {
    ...details,
    data: { path: pathText(path), ...details.data },
  });
}
