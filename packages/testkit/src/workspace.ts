/** Reads the workspace as data, for the tests that hold the house together. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The top of the checkout. */
export const WORKSPACE: string = resolve(import.meta.dirname, '../../..');

/** The floor of each package, bottom up; a package may import from lower floors only. Source: ARCHITECTURE.md. */
export const FLOORS: Readonly<Record<string, number>> = {
  '@cambium/base': 0,
  // They are on one floor with base in the picture of the house, and all of them stand on it.
  '@cambium/archive': 1,
  '@cambium/gvariant': 1,
  '@cambium/http': 1,
  '@cambium/selinux': 1,
  '@cambium/system': 1,
  '@cambium/tree': 2,
  '@cambium/trust': 2,
  '@cambium/ostree': 3,
  '@cambium/oci': 3,
  '@cambium/packages': 3,
  '@cambium/bridge': 4,
  '@cambium/compose': 5,
  '@cambium/build': 5,
  '@cambium/device': 6,
  '@cambium/server': 6,
  cambium: 7,
  // Beside the house: on base only, and imported by tests only.
  '@cambium/testkit': 1,
};

export interface WorkspacePackage {
  /** Folder name under `packages`. */
  folder: string;
  directory: string;
  name: string;
  isPrivate: boolean;
  dependencies: string[];
  devDependencies: string[];
  /** Folders that `tsconfig.json` refers to. */
  references: string[];
  /** Entry points by the names under which they are imported. */
  exports: string[];
  sources: SourceFile[];
}

export interface SourceFile {
  /** Path relative to the top of the checkout. */
  path: string;
  isTest: boolean;
  imports: ImportedModule[];
}

export interface ImportedModule {
  specifier: string;
  /** `lazy` is loaded when a function asks for it; of `type` nothing is left at run time. */
  kind: 'static' | 'lazy' | 'type';
}

/** Returns all packages, sorted by folder. */
export function readWorkspace(top: string = WORKSPACE): WorkspacePackage[] {
  return readdirSync(join(top, 'packages'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(top, 'packages', entry.name, 'package.json')))
    .map((entry) => readPackage(top, entry.name))
    .sort((a, b) => (a.folder < b.folder ? -1 : 1));
}

function readPackage(top: string, folder: string): WorkspacePackage {
  const directory = join(top, 'packages', folder);
  const manifest = readJson(join(directory, 'package.json')) as {
    name: string;
    private?: boolean;
    exports?: Record<string, unknown>;
    dependencies?: Record<string, string>;
    optionalDependencies?: Record<string, string>;
    devDependencies?: Record<string, string>;
  };
  const config = readJson(join(directory, 'tsconfig.json')) as { references?: { path: string }[] };
  return {
    folder,
    directory,
    name: manifest.name,
    isPrivate: manifest.private === true,
    dependencies: Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }),
    devDependencies: Object.keys(manifest.devDependencies ?? {}),
    references: (config.references ?? []).map(({ path }) => path.replace(/^\.\.\//, '')),
    exports: Object.keys(manifest.exports ?? {}),
    sources: sourceFiles(join(directory, 'src')).map((path) => ({
      path: path.slice(top.length + 1),
      isTest: /\.test\.ts$/.test(path),
      imports: importsOf(readFileSync(path, 'utf8')),
    })),
  };
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function sourceFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourceFiles(path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [path] : [];
  });
}

/** `import … from 'x'`, `export … from 'x'`, `import 'x'`, `import('x')` and `import.meta.resolve('x')`. */
const STATIC_IMPORT = /^[ \t]*(import|export)\b(?:[ \t]+(type)\b(?![ \t]*[,=]))?[^;'"]*?(?:from[ \t\n]*)?(['"])([^'"\n]+)\3/gm;
const DYNAMIC_IMPORT = /\bimport(?:\.meta\.resolve)?\(\s*(['"])([^'"\n]+)\1/g;

/** Returns what a source file imports, comments left out. */
export function importsOf(source: string): ImportedModule[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^[ \t]*\/\/.*$/gm, '');
  const found: ImportedModule[] = [];
  for (const [whole, keyword, type, , specifier] of code.matchAll(STATIC_IMPORT)) {
    if (keyword === 'export' && !/\bfrom[ \t\n]*['"]/.test(whole)) continue;
    found.push({ specifier: specifier as string, kind: type === undefined ? 'static' : 'type' });
  }
  for (const [, , specifier] of code.matchAll(DYNAMIC_IMPORT)) found.push({ specifier: specifier as string, kind: 'lazy' });
  return found;
}
