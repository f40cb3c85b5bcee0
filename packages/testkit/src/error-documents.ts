/** Makes `docs/errors.md` from the tables of error codes of all packages. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ErrorDefinition, ErrorKind } from '@cambium/base';
import { readWorkspace, WORKSPACE } from './workspace.ts';

export interface ErrorTable {
  /** Name of the package. */
  name: string;
  /** Name of the exported factory. */
  factory: string;
  codes: Readonly<Record<string, ErrorDefinition>>;
}

/** Exit status of each kind of failure, as the command line has it. */
export type ExitStatuses = Readonly<Partial<Record<ErrorKind, number>>>;

/** Returns the tables of all packages that users see, read from what was built. */
export async function errorTables(top: string = WORKSPACE): Promise<ErrorTable[]> {
  const tables: ErrorTable[] = [];
  for (const one of readWorkspace(top)) {
    if (one.isPrivate) continue;
    const modules = ['codes.js', 'errors.js'].map((file) => join(one.directory, 'dist', file)).filter((path) => existsSync(path));
    for (const path of modules) {
      const exported = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
      for (const [factory, value] of Object.entries(exported)) {
        if (typeof value === 'function' && 'table' in value) tables.push({ name: one.name, factory, codes: value.table as ErrorTable['codes'] });
      }
    }
  }
  return tables;
}

/** Returns the exit status of each kind, read from the built command. */
export async function exitStatuses(top: string = WORKSPACE): Promise<ExitStatuses> {
  const { EXIT_CODES } = (await import(pathToFileURL(join(top, 'packages/cli/dist/exit-codes.js')).href)) as {
    EXIT_CODES: readonly { status: number; kind?: ErrorKind }[];
  };
  return Object.fromEntries(EXIT_CODES.flatMap(({ kind, status }) => (kind === undefined ? [] : [[kind, status]])));
}

/** Returns codes that stand in two tables, or are not in capitals. */
export function codeFaults(tables: readonly ErrorTable[]): string[] {
  const faults: string[] = [];
  const owner = new Map<string, string>();
  for (const { name, codes } of tables) {
    for (const [code, { meaning }] of Object.entries(codes)) {
      const other = owner.get(code);
      if (other !== undefined) faults.push(`${code} is in ${other} and in ${name}`);
      owner.set(code, name);
      if (!/^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$/.test(code)) faults.push(`${name}: ${code} is not like SUBJECT_WHAT`);
      if (!/^\S.*[.)]$/.test(meaning)) faults.push(`${name}: the meaning of ${code} is not a sentence: ${meaning}`);
    }
  }
  return faults;
}

/** Returns the text of `docs/errors.md`. */
export function renderErrorDocument(tables: readonly ErrorTable[], statuses: ExitStatuses): string {
  const sections = tables.map(({ name, codes }) => {
    const rows = Object.entries(codes)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([code, { kind, meaning }]) => `| \`${code}\` | ${kind} | ${statuses[kind] ?? ''} | ${meaning.replaceAll('|', '\\|')} |`);
    return [`## ${name}`, '', '| Code | Kind | Exit status | Meaning |', '|---|---|---|---|', ...rows, ''].join('\n');
  });
  return [
    '# Error codes',
    '',
    'Made by `npm run docs` from the tables in the code; edit them there. A code is public: it is never reused, and programs',
    'test the code, never the message. The `cambium` command ends with the exit status of the kind; verbs of',
    '`cambium ostree` end with 1, as libostree does.',
    '',
    ...sections,
  ].join('\n');
}
