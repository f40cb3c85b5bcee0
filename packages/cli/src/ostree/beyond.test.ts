/** What `cambium ostree` does beyond libostree's command: on the command line, with the real `ostree` as judge. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needsPeer, run, scratch } from '@cambium/testkit';

const LAUNCHER = fileURLToPath(new URL('../../bin/cambium.js', import.meta.url));
const skip = needsPeer('ostree');

async function cambium(cwd: string, ...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return run(process.execPath, [LAUNCHER, ...args], { cwd, accept: 'any' });
}

async function peer(cwd: string, ...args: string[]): Promise<string> {
  return (await run('ostree', args, { cwd })).stdout.trim();
}

/** `repo` with two commits on `main`; returns them and the path of an object that the second has. */
async function world(directory: string): Promise<{ first: string; second: string; object: string; checksum: string }> {
  const tree = join(directory, 'tree');
  mkdirSync(join(tree, 'sub'), { recursive: true });
  writeFileSync(join(tree, 'same'), 'same\n');
  await peer(directory, 'init', '--repo=repo', '--mode=archive');
  const first = await peer(directory, 'commit', '--repo=repo', '-b', 'main', 'tree');
  writeFileSync(join(tree, 'sub/new'), 'new\n'.repeat(1000));
  const second = await peer(directory, 'commit', '--repo=repo', '-b', 'main', 'tree');
  const checksum = /\b[0-9a-f]{64}\b/.exec(await peer(directory, 'ls', '--repo=repo', '-C', 'main', '/sub/new'))?.[0] ?? '';
  return { first, second, checksum, object: join(directory, 'repo/objects', checksum.slice(0, 2), `${checksum.slice(2)}.filez`) };
}

test('size and diff --sizes: table and JSON', { skip }, async (t) => {
  const directory = scratch(t);
  const { first, second } = await world(directory);
  const table = await cambium(directory, 'size', '--repo=repo', 'main^', 'main');
  assert.equal(table.status, 0, table.stderr);
  assert.match(table.stdout, /^files +1 +\d+ B +4\.0 kB$/m);
  assert.match(table.stdout, /^bare-user +4\.\d kB +\d+\.\d kB +\d+\.\d kB$/m);
  const json = JSON.parse((await cambium(directory, 'size', '--repo=repo', '--json', 'main^', 'main')).stdout);
  assert.deepEqual([json.from, json.to, json.kinds.file.unpackedBytes, json.known], [first, second, 4000, 'archive']);
  const verb = await cambium(directory, 'ostree', 'diff', '--repo=repo', '--sizes', '--json', 'main');
  assert.deepEqual(JSON.parse(verb.stdout), json);
  assert.equal((await cambium(directory, 'ostree', 'diff', '--repo=repo', '--sizes', 'main')).stdout, table.stdout);
  assert.equal(JSON.parse((await cambium(directory, 'size', '--repo=repo', '--json', 'main')).stdout).from, undefined);
});

test('the help of verbs that libostree has not shows examples', async (t) => {
  for (const verb of ['push', 'repair', 'serve'])
    assert.match((await cambium(scratch(t), 'ostree', verb, '--help')).stdout, new RegExp(`\\nExamples:\\n {2}# .*\\n {2}cambium ostree ${verb} --repo=`));
});

test('places that cannot be pushed to are refused, without the password that one has', { skip }, async (t) => {
  const directory = scratch(t);
  await peer(directory, 'init', '--repo=repo', '--mode=archive');
  for (const place of ['sftp://', 'sftp://u:secret@host/p', 'sftp://%zz@host/p', 'sftp://host/%zz', 'sftp://-oProxyCommand=x/p', 'sftp://-x@host/p']) {
    const { status, stderr } = await cambium(directory, 'ostree', 'push', '--repo=repo', place);
    assert.equal(status, 1, place);
    assert.match(stderr, /Cannot use "sftp:\/\/.*" as a destination/, place);
    assert.doesNotMatch(stderr, /secret/);
  }
});

test('push, damage, fsck with paths, repair from what was pushed', { skip }, async (t) => {
  const directory = scratch(t);
  const { second, object, checksum } = await world(directory);
  const pushed = await cambium(directory, 'ostree', 'push', '--repo=repo', '--json', 'public', 'main');
  assert.equal(pushed.status, 0, pushed.stderr);
  assert.deepEqual(JSON.parse(pushed.stdout).refs, [{ ref: 'main', to: second }]);
  assert.equal(await peer(directory, 'rev-parse', '--repo=public', 'main'), second);
  await peer(directory, 'fsck', '--repo=public');
  assert.match((await cambium(directory, 'ostree', 'push', '--repo=repo', 'public')).stdout, /sent 0 objects, 0 B; \d+ are there already/);

  rmSync(object);
  const found = await cambium(directory, 'ostree', 'fsck', '--repo=repo', '--resume');
  assert.equal(found.status, 1);
  assert.ok(found.stderr.includes(`${checksum}.file\n  ${second}:/sub/new\n`), found.stderr);
  rmSync(join(directory, 'repo/state', `${second}.commitpartial`));
  const json = await cambium(directory, 'ostree', 'fsck', '--repo=repo', '--json');
  assert.equal(json.status, 1);
  assert.deepEqual(JSON.parse(json.stdout).bad[0].paths, [`${second}:/sub/new`]);

  const trial = await cambium(directory, 'ostree', 'repair', '--repo=repo', '--from=tree', '--dry-run');
  assert.equal(trial.status, 0, trial.stderr);
  assert.match(trial.stdout, /missing, could be healed from tree/);
  const lost = await cambium(directory, 'ostree', 'repair', '--repo=repo');
  assert.equal(lost.status, 1);
  assert.match(lost.stdout, /missing, lost/);
  await peer(directory, 'remote', 'add', '--repo=repo', '--no-gpg-verify', 'public', `file://${join(directory, 'public')}`);
  const healed = await cambium(directory, 'ostree', 'repair', '--repo=repo', '--json');
  assert.equal(healed.status, 0, healed.stderr);
  assert.deepEqual(JSON.parse(healed.stdout).completed, [second]);
  await peer(directory, 'fsck', '--repo=repo');
  const nowhere = await cambium(directory, 'ostree', 'repair', '--repo=repo', '--from=nowhere');
  assert.deepEqual([nowhere.status, nowhere.stderr], [1, 'error: No repository, static delta or directory at "nowhere"\n']);
});
