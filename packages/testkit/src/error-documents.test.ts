import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { codeFaults, errorTables, exitStatuses, renderErrorDocument } from './error-documents.ts';
import { readWorkspace, WORKSPACE } from './workspace.ts';

const tables = await errorTables();

test('docs/errors.md is what npm run docs makes of the tables', async () => {
  const committed = readFileSync(join(WORKSPACE, 'docs/errors.md'), 'utf8');
  assert.equal(committed, renderErrorDocument(tables, await exitStatuses()), 'run: npm run docs');
});

test('codes are unique and well formed, and every package that users see has some', () => {
  assert.deepEqual(codeFaults(tables), []);
  const documented = new Set(tables.map((table) => table.name));
  assert.deepEqual(
    readWorkspace()
      .filter((one) => !one.isPrivate && !documented.has(one.name))
      .map((one) => one.name),
    [],
  );
});

test('every code is used outside its table', () => {
  const code = readWorkspace()
    .flatMap((one) => one.sources)
    .filter((file) => !file.isTest && !/\/(errors|codes)\.ts$/.test(file.path))
    .map((file) => readFileSync(join(WORKSPACE, file.path), 'utf8'))
    .join('\n');
  const unused = tables.flatMap((table) => Object.keys(table.codes)).filter((name) => !code.includes(name));
  assert.deepEqual(unused, [], 'a code that nothing throws is a promise that nobody keeps');
});

test('faults in tables are found', () => {
  const row = { kind: 'input', meaning: 'A thing is wrong.' } as const;
  const faults = codeFaults([
    { name: 'a', factory: 'aError', codes: { X_ONE: row, lower: row, X_TWO: { kind: 'input', meaning: 'no sentence' } } },
    { name: 'b', factory: 'bError', codes: { X_ONE: row } },
  ]);
  assert.deepEqual(faults, ['a: lower is not like SUBJECT_WHAT', 'a: the meaning of X_TWO is not a sentence: no sentence', 'X_ONE is in a and in b']);
});

test('every changelog fragment says what changed for users', () => {
  const fragments = readdirSync(join(WORKSPACE, 'changes')).filter((name) => name !== 'README.md');
  assert.ok(fragments.length > 0);
  for (const name of fragments) {
    assert.match(name, /^\d{4}-[a-z0-9-]+\.md$/);
    const text = readFileSync(join(WORKSPACE, 'changes', name), 'utf8');
    assert.match(text, /^# .+/, name);
    assert.match(text, /^## (?:Added|Changed|Fixed|Removed|Security)$/m, name);
  }
});
