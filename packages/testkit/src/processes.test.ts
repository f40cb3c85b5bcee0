import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { errnoOf } from '@cambium/base';
import { killAt, killAtPoints, killTimes, needsRoot, output, readOnly, run, scratch, tmpfs } from './index.ts';

test('a program is killed at the n-th line it prints, with its children', async (t) => {
  const directory = scratch(t);
  const script = `sh -c 'while :; do sleep 1; done' & echo child $!; for i in 1 2 3 4 5; do echo step $i; read x < ${directory}/fifo; done`;
  await run('mkfifo', [join(directory, 'fifo')]);
  const result = await killAt('sh', ['-c', script], { text: 'step', occurrence: 1 });
  assert.equal(result.killed, true);
  assert.equal(result.status, null);
  assert.match(result.stdout, /step 1\n$/);
  const child = /child (\d+)/.exec(result.stdout)?.[1] ?? '';
  // Gone, or a zombie whose parent has not looked yet.
  const state = existsSync(`/proc/${child}/status`) ? readFileSync(`/proc/${child}/status`, 'utf8') : 'State:\tZ';
  assert.match(state, /State:\tZ/);
});

test('a program that ends before the point counts as not killed', async () => {
  const looks: boolean[] = [];
  const runs = await killAtPoints('sh', ['-c', 'echo done'], [{ afterMs: 60_000 }, { text: 'never' }], ({ killed }) => void looks.push(killed));
  assert.deepEqual(looks, [false, false]);
  assert.deepEqual(
    runs.map(({ status, stdout }) => ({ status, stdout })),
    [
      { status: 0, stdout: 'done\n' },
      { status: 0, stdout: 'done\n' },
    ],
  );
});

test('kill times are the same each time, ordered, and within the whole', () => {
  const times = killTimes(20, 1000).map((point) => ('afterMs' in point ? point.afterMs : -1));
  assert.deepEqual(
    times,
    killTimes(20, 1000).map((point) => ('afterMs' in point ? point.afterMs : -1)),
  );
  assert.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
  );
  assert.ok((times[0] ?? -1) >= 0 && (times.at(-1) ?? 2000) <= 1000);
});

test('a small tmpfs fills up', { skip: needsRoot() }, async (t) => {
  const small = await tmpfs(t, 1);
  writeFileSync(join(small, 'fits'), Buffer.alloc(500_000));
  assert.throws(
    () => writeFileSync(join(small, 'too-much'), Buffer.alloc(1_000_000)),
    (error) => errnoOf(error) === 'ENOSPC',
  );
});

test('a read-only bind mount stops even root', { skip: needsRoot() }, async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, 'here'), 'x');
  await readOnly(t, directory);
  assert.throws(
    () => writeFileSync(join(directory, 'new'), 'x'),
    (error) => errnoOf(error) === 'EROFS',
  );
});

test('run: input, accepted statuses, failures that quote stderr, time limit', async () => {
  assert.equal(await output('cat', [], { input: 'text\n' }), 'text');
  assert.equal((await run('sh', ['-c', 'exit 3'], { accept: [3] })).status, 3);
  await assert.rejects(run('sh', ['-c', 'echo why >&2; exit 3']), (error: Error) => error.message.includes('ended with 3') && error.message.includes('why'));
  await assert.rejects(run('sleep', ['60'], { timeoutMs: 50 }), { code: 'TESTKIT_COMMAND_FAILED' });
  await assert.rejects(run('/no/such/program'), { code: 'ENOENT' });
});
