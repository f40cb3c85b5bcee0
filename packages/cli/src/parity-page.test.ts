/** docs/parity.md is true: what it names exists, and it leaves out no flag. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commandsOf, loadCatalogue } from './catalogue.ts';

const WORKSPACE = fileURLToPath(new URL('../../../', import.meta.url));
const PAGE = readFileSync(`${WORKSPACE}docs/parity.md`, 'utf8');
const ROWS = PAGE.split('\n').filter((row) => row.startsWith('| ') && !row.startsWith('| Verb') && !row.startsWith('| What') && !row.startsWith('| Keys'));

/** The titles of the tests in all files of a name, as far as they are written out: `${…}` ends one. */
function titles(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const file of globSync('packages/{ostree,cli}/src/**/*.test.ts', { cwd: WORKSPACE })) {
    const text = readFileSync(WORKSPACE + file, 'utf8');
    const name = basename(file, '.test.ts');
    const here = [...text.matchAll(/\b(?:test|describe)\(\s*(['"`])(.*?)(?:\$\{|\1)/g)].map((match) => match[2] as string);
    found.set(name, [...(found.get(name) ?? []), ...here]);
  }
  return found;
}

test('every test that docs/parity.md names exists, and every script of libostree’s passes', () => {
  const all = titles();
  const scripts = readFileSync(`${WORKSPACE}docs/conformance.md`, 'utf8');
  const wrong: string[] = [];
  let named = 0;
  for (const row of ROWS) {
    const tests = row.split('|').at(-2) as string;
    const words = [...tests.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string);
    if (words.length === 0) wrong.push(`no test: ${row}`);
    for (const word of words) {
      named++;
      const [name, title] = word.split(' › ');
      const exists =
        title === undefined ? scripts.includes(`| \`${name}\` | passes |`) : all.get(name as string)?.some((full) => full.startsWith(title)) === true;
      if (!exists) wrong.push(word);
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(named > 150, String(named));
});

test('every flag of every ostree verb stands in a row of its verb', async () => {
  const missing: string[] = [];
  for (const { path, command, dialect } of commandsOf(await loadCatalogue())) {
    if (dialect !== 'ostree') continue;
    const verb = path.replace('cambium ostree ', '');
    const rows = ROWS.filter((row) => (row.split('|')[1] ?? '').split(',').some((name) => name.trim() === verb));
    if (rows.length === 0) missing.push(verb);
    for (const name of Object.keys(command.flags)) if (!rows.some((row) => row.includes(`\`--${name}\``))) missing.push(`${verb} --${name}`);
  }
  assert.deepEqual(missing, []);
});
