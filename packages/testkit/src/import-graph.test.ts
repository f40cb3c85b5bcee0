import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { importFaults } from './import-graph.ts';
import { importsOf, readWorkspace, type SourceFile, WORKSPACE, type WorkspacePackage } from './workspace.ts';

const packages = readWorkspace();

test('imports go down the floors, through public entries, without circles', () => {
  assert.ok(packages.length >= 13, 'the packages are found');
  assert.ok(packages.flatMap((one) => one.sources.flatMap((file) => file.imports)).length > 300, 'the imports are found');
  assert.deepEqual(importFaults(packages), []);
});

test('every package is built, and has a README and one public entry', () => {
  const { references } = JSON.parse(readFileSync(join(WORKSPACE, 'tsconfig.json'), 'utf8')) as { references: { path: string }[] };
  const faults: string[] = [];
  for (const one of packages) {
    if (!references.some(({ path }) => path === `packages/${one.folder}`)) faults.push(`packages/${one.folder}: not built by tsconfig.json`);
    const readme = join(one.directory, 'README.md');
    if (!existsSync(readme)) faults.push(`packages/${one.folder}: no README.md`);
    else if (!readFileSync(readme, 'utf8').includes('```')) faults.push(`packages/${one.folder}/README.md: no example`);
    const entries = one.exports.filter((entry) => entry !== './package.json');
    if (entries.length !== 1 || entries[0] !== '.') faults.push(`packages/${one.folder}: public entries are ${entries.join(', ')}`);
    if (!one.sources.some((file) => file.path === `packages/${one.folder}/src/index.ts`)) faults.push(`packages/${one.folder}: no src/index.ts`);
  }
  assert.deepEqual(faults, []);
});

test('every kind of import is seen', () => {
  const source = `
import a from 'one';
import { b,
  c } from "two";
import type { D } from 'three';
import { type E, f } from './four.ts';
import 'five';
export * from './six.ts';
export type { G } from './seven.ts';
export const text = 'eight';
export function h(): string { return from('nine'); }
const i = await import('ten');
const j = new URL(import.meta.resolve('eleven'));
// import 'twelve'
/* import 'thirteen' */
`;
  assert.deepEqual(
    importsOf(source).map(({ specifier, kind }) => (kind === 'static' ? specifier : `${kind} ${specifier}`)),
    ['one', 'two', 'type three', './four.ts', 'five', './six.ts', 'type ./seven.ts', 'lazy ten', 'lazy eleven'],
  );
});

const FLOORS = { low: 0, high: 1, '@cambium/testkit': 1 };

function fake(name: string, imports: Record<string, string[]>, more: Partial<WorkspacePackage> = {}): WorkspacePackage {
  const sources: SourceFile[] = Object.entries(imports).map(([file, specifiers]) => ({
    path: `packages/${name}/src/${file}`,
    isTest: file.endsWith('.test.ts'),
    imports: specifiers.map((specifier) => ({ specifier, kind: 'static' as const })),
  }));
  return { folder: name, directory: '', name, isPrivate: false, dependencies: [], devDependencies: [], references: [], exports: ['.'], sources, ...more };
}

const faultTable: [what: string, packages: WorkspacePackage[], fault: RegExp][] = [
  ['reference upwards', [fake('low', {}, { references: ['high'] }), fake('high', {})], /packages\/low\/tsconfig\.json: refers to "high"/],
  ['undeclared', [fake('low', {}), fake('high', { 'a.ts': ['low'] }, { references: ['low'] })], /packages\/high\/src\/a\.ts.*not among the dependencies/],
  ['no reference', [fake('low', {}), fake('high', { 'a.ts': ['low'] }, { dependencies: ['low'] })], /not among the references/],
  ['deep', [fake('low', {}), fake('high', { 'a.ts': ['low/dist/x.js'] }, { dependencies: ['low'], references: ['low'] })], /goes past the public entry/],
  ['out of the package', [fake('high', { 'a.ts': ['../../low/src/x.ts'] })], /leaves its package/],
  ['testkit outside tests', [fake('@cambium/testkit', {}), fake('high', { 'a.ts': ['@cambium/testkit'] })], /testkit is for tests only/],
  ['circle', [fake('low', { 'a.ts': ['./b.ts'], 'b.ts': ['./c.ts'], 'c.ts': ['./a.ts'] })], /circle: .*a\.ts → .*b\.ts → .*c\.ts → .*a\.ts/],
  [
    'circle of folders',
    [fake('low', { 'one/a.ts': ['../two/b.ts'], 'two/b.ts': [], 'two/c.ts': ['../one/d.ts'], 'one/d.ts': [] })],
    /circle: .*\/one\/ → .*\/two\/ → .*\/one\//,
  ],
  ['library not declared', [fake('low', { 'a.ts': ['left-pad'] })], /"left-pad": not among the dependencies/],
  ['builtin without prefix', [fake('low', { 'a.ts': ['fs'] })], /node:/],
  ['unknown package', [fake('new', {})], /has no floor/],
  ['dependency upwards', [fake('low', {}, { dependencies: ['high'] }), fake('high', {})], /packages\/low\/package\.json: depends on "high"/],
];

for (const [what, house, fault] of faultTable) {
  test(`a fault is found: ${what}`, () => {
    const faults = importFaults(house, FLOORS);
    assert.equal(faults.length, 1, faults.join('\n'));
    assert.match(faults[0] ?? '', fault);
  });
}

test('an import upwards is a fault of the file, of package.json and of tsconfig.json', () => {
  const low = fake('low', { 'a.ts': ['high'] }, { dependencies: ['high'], references: ['high'] });
  const faults = importFaults([low, fake('high', {})], FLOORS);
  assert.equal(faults.length, 3);
  assert.match(faults[0] ?? '', /^packages\/low\/src\/a\.ts: imports "high": floor 1 is not below floor 0/);
});

test('what is allowed is not a fault', () => {
  const low = fake(
    'low',
    { 'index.ts': ['node:fs', './a.ts'], 'a.ts': [], 'a.test.ts': ['./index.ts', '@cambium/testkit', 'fast-check'] },
    { devDependencies: ['@cambium/testkit'] },
  );
  const high = fake('high', { 'index.ts': ['low', 'yaml'] }, { dependencies: ['low', 'yaml'], references: ['low'] });
  assert.deepEqual(importFaults([low, high, fake('@cambium/testkit', {})], FLOORS), []);
});
