/** Judges the imports of the workspace: only downwards, only through the front door, no circles. */
import { builtinModules } from 'node:module';
import { posix } from 'node:path';
import { FLOORS, type WorkspacePackage } from './workspace.ts';

/** Returns what is wrong, each with the file that does it; an empty list is a house in order. */
export function importFaults(packages: readonly WorkspacePackage[], floors: Readonly<Record<string, number>> = FLOORS): string[] {
  return [...packages.flatMap((one) => [...sourceFaults(one, packages, floors), ...manifestFaults(one, packages, floors)]), ...circles(packages)];
}

const BUILTIN = new Set(builtinModules);
const TESTKIT = '@cambium/testkit';

function sourceFaults(one: WorkspacePackage, packages: readonly WorkspacePackage[], floors: Readonly<Record<string, number>>): string[] {
  const faults: string[] = [];
  if (floors[one.name] === undefined) faults.push(`packages/${one.folder}/package.json: "${one.name}" has no floor`);
  for (const file of one.sources) {
    for (const { specifier } of file.imports) {
      const fault = (text: string): void => void faults.push(`${file.path}: imports "${specifier}": ${text}`);
      if (specifier.startsWith('.')) {
        const target = posix.join(posix.dirname(file.path), specifier);
        if (!target.startsWith(`packages/${one.folder}/src/`) && !isOwnManifest(target, one)) fault('leaves its package: use the name of the other package');
        continue;
      }
      if (specifier.startsWith('node:')) continue;
      if (BUILTIN.has(specifier)) {
        fault('write it as "node:…"');
        continue;
      }
      const name = specifier.startsWith('@') ? specifier.split('/', 2).join('/') : (specifier.split('/', 1)[0] as string);
      const target = packages.find((candidate) => candidate.name === name);
      if (target === undefined) {
        if (!one.dependencies.includes(name) && !file.isTest) fault('not among the dependencies in package.json');
        continue;
      }
      if (target === one) continue;
      if (!target.exports.includes(`.${specifier.slice(name.length)}`)) fault('goes past the public entry of the package');
      if (name === TESTKIT) {
        if (!file.isTest) fault('testkit is for tests only');
        else if (!one.devDependencies.includes(name)) fault('not among the devDependencies in package.json');
        continue;
      }
      const declared = one.dependencies.includes(name) || (file.isTest && one.devDependencies.includes(name));
      if (!declared) fault('not among the dependencies in package.json');
      if (!one.references.includes(target.folder)) fault('not among the references in tsconfig.json');
      if (!isBelow(name, one.name, floors)) fault(`floor ${floors[name]} is not below floor ${floors[one.name]} of ${one.name}`);
    }
  }
  return faults;
}

/** A package may read its own package.json, as the command does for its version. */
function isOwnManifest(target: string, one: WorkspacePackage): boolean {
  return target === `packages/${one.folder}/package.json`;
}

function manifestFaults(one: WorkspacePackage, packages: readonly WorkspacePackage[], floors: Readonly<Record<string, number>>): string[] {
  const faults: string[] = [];
  for (const name of one.dependencies) {
    if (packages.some((candidate) => candidate.name === name) && !isBelow(name, one.name, floors)) {
      faults.push(`packages/${one.folder}/package.json: depends on "${name}", which is not below`);
    }
    if (name === TESTKIT) faults.push(`packages/${one.folder}/package.json: "${name}" belongs to devDependencies`);
  }
  for (const folder of one.references) {
    const target = packages.find((candidate) => candidate.folder === folder);
    if (target === undefined) faults.push(`packages/${one.folder}/tsconfig.json: refers to "${folder}", which is no package`);
    else if (target.name !== TESTKIT && !isBelow(target.name, one.name, floors)) {
      faults.push(`packages/${one.folder}/tsconfig.json: refers to "${folder}", which is not below`);
    }
  }
  return faults;
}

function isBelow(lower: string, upper: string, floors: Readonly<Record<string, number>>): boolean {
  return (floors[lower] ?? Number.POSITIVE_INFINITY) < (floors[upper] ?? Number.NEGATIVE_INFINITY);
}

/** Circles among files, by what is loaded at once, and among the folders of a package: a circle of types, or one closed by a lazy import, does no harm. */
function circles(packages: readonly WorkspacePackage[]): string[] {
  const files = new Map<string, Set<string>>();
  const folders = new Map<string, Set<string>>();
  for (const file of packages.flatMap((one) => one.sources)) {
    const targets = file.imports
      .filter(({ specifier, kind }) => specifier.startsWith('.') && kind === 'static')
      .map(({ specifier }) => posix.join(posix.dirname(file.path), specifier));
    files.set(file.path, new Set(targets));
    const folder = folderOf(file.path);
    if (file.isTest || folder === undefined) continue;
    const others = folders.get(folder) ?? new Set();
    for (const other of targets.map(folderOf)) if (other !== undefined && other !== folder) others.add(other);
    folders.set(folder, others);
  }
  return [...circlesIn(files), ...circlesIn(folders)];
}

/** Returns `packages/NAME/src/FOLDER/`, or undefined for a file that is in no folder of its package's source. */
function folderOf(path: string): string | undefined {
  return /^packages\/[^/]+\/src\/[^/]+\//.exec(path)?.[0];
}

function circlesIn(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const faults: string[] = [];
  const done = new Set<string>();
  const visit = (node: string, trail: readonly string[]): void => {
    const at = trail.indexOf(node);
    if (at >= 0) faults.push(`${node}: circle: ${[...trail.slice(at), node].join(' → ')}`);
    if (at >= 0 || done.has(node)) return;
    for (const next of edges.get(node) ?? []) visit(next, [...trail, node]);
    done.add(node);
  };
  for (const node of edges.keys()) visit(node, []);
  return faults;
}
