import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { run, scratch } from './index.ts';

const REPORTER = fileURLToPath(new URL('./reporter.js', import.meta.url));

test('the report names failures and reasons of skips, counts per package, and ends with the lines of the test runner', async (t) => {
  const directory = scratch(t);
  const folder = join(directory, 'packages/alpha');
  await run('mkdir', ['-p', folder]);
  writeFileSync(join(folder, 'lib.mjs'), 'export function used() {\n  return 1;\n}\nexport function unused() {\n  return 2;\n}\n');
  writeFileSync(
    join(folder, 'a.test.mjs'),
    `import assert from 'node:assert/strict';
import test from 'node:test';
import { used } from './lib.mjs';
test('good', () => assert.equal(used(), 1));
test('bad', () => assert.equal(used(), 2));
test('later', { skip: 'not installed: thing' }, () => {});
test('group', async (t) => { await t.test('inner', () => { throw Object.assign(new Error('boom'), { code: 'X_BOOM' }); }); });
`,
  );
  const args = ['--test', '--experimental-test-coverage', `--test-reporter=${REPORTER}`, '--test-reporter-destination=stdout', 'packages/*/*.test.mjs'];
  // A test run inside a test run would report to the outer one.
  const { NODE_TEST_CONTEXT: _context, NODE_V8_COVERAGE: _coverage, ...env } = process.env;
  const { status, stdout } = await run(process.execPath, args, { cwd: directory, env, accept: 'any' });
  assert.equal(status, 1);
  assert.match(stdout, /^alpha +1 +3 +1 +\d+\.\d$/m);
  assert.match(stdout, /^packages\/alpha\/a\.test\.mjs +\d+\.\d$/m);
  assert.match(stdout, /^skipped: not installed: thing\n {2}later \(alpha\)$/m);
  assert.match(stdout, /^✖ bad \(packages\/alpha\/a\.test\.mjs\)\n {4}AssertionError/m);
  assert.match(stdout, /boom[\s\S]*X_BOOM/);
  assert.match(stdout, /^coverage +lines % +branches % +functions %$/m);
  assert.match(stdout, /^alpha +[\d.]+ +[\d.]+ +[\d.]+$/m);
  assert.match(stdout, /ℹ tests 5\nℹ suites 0\nℹ pass 1\nℹ fail 3\nℹ cancelled 0\nℹ skipped 1\nℹ todo 0\nℹ duration_ms [\d.]+\n$/);
});

test('why there is no coverage is said', async (t) => {
  const directory = scratch(t);
  writeFileSync(
    join(directory, 'a.test.mjs'),
    `import { writeFileSync } from 'node:fs';
import test from 'node:test';
test('leaves half a file', () => writeFileSync(process.env.NODE_V8_COVERAGE + '/coverage-1-1700000000000-0.json', '{"result":['));
`,
  );
  const args = ['--test', '--experimental-test-coverage', `--test-reporter=${REPORTER}`, '--test-reporter-destination=stdout', 'a.test.mjs'];
  const { NODE_TEST_CONTEXT: _context, NODE_V8_COVERAGE: _coverage, ...env } = process.env;
  const { stdout } = await run(process.execPath, args, { cwd: directory, env, accept: 'any' });
  assert.match(stdout, /Could not report code coverage/);
});
