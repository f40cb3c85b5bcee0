import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { readWorkspace, WORKSPACE } from './workspace.ts';

const PAGES = join(WORKSPACE, 'docs/formats');

test('every key that is written into commits stands on a page of docs/formats', () => {
  const pages = readdirSync(PAGES)
    .map((name) => readFileSync(join(PAGES, name), 'utf8'))
    .join('\n');
  const keys = new Set(
    readWorkspace()
      // The command writes nothing by itself.
      .flatMap((one) => (one.isPrivate || one.name === 'cambium' ? [] : one.sources))
      .filter((file) => !file.isTest)
      .flatMap((file) =>
        [...readFileSync(join(WORKSPACE, file.path), 'utf8').matchAll(/'((?:user\.)?cambium\.[a-z]+[a-z.-]*)'/g)].map((match) => match[1] ?? ''),
      ),
  );
  assert.ok(keys.size >= 10, `the keys are found: ${[...keys].join(' ')}`);
  assert.deepEqual(
    [...keys].filter((key) => !pages.includes(`\`${key}\``)),
    [],
  );
});

test('sources and pages that name a page of docs/formats name one that exists', () => {
  const names = new Set(readdirSync(PAGES));
  const texts = readWorkspace().flatMap((one) => one.sources.map((file) => ({ path: file.path, text: readFileSync(join(WORKSPACE, file.path), 'utf8') })));
  const named = texts.flatMap(({ path, text }) => [...text.matchAll(/docs\/formats\/([a-z-]+\.md)/g)].map((match) => ({ path, page: match[1] ?? '' })));
  assert.ok(named.length >= 5);
  assert.deepEqual(
    named.filter(({ page }) => !names.has(page)),
    [],
  );
});
