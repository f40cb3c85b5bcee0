import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { needsPeer } from './peers.ts';
import { run } from './run.ts';
import { WORKSPACE } from './workspace.ts';

test('the example of npm start: packed, updated by one file, and unchanged', { skip: needsPeer('tar') }, async () => {
  const { stdout, stderr } = await run(process.execPath, [join(WORKSPACE, 'examples/dist/start.js')], { cwd: WORKSPACE });
  const commits = stdout.match(/^[0-9a-f]{64}$/gm) ?? [];
  assert.equal(commits.length, 3, stdout);
  assert.notEqual(commits[0], commits[1]);
  assert.equal(commits[1], commits[2]);
  assert.match(stdout, /web:1\.0 +2 layers, 1 known +\d+ B to fetch/);
  assert.match(stderr, /worker:1\.0 +2 layers, 2 known +0 B fetched/);
  assert.match(stderr, /^unchanged: /m);
});
