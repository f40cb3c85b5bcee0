import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { mapLimit } from './concurrency.ts';
import { createPool } from './pool.ts';

const url = new URL('./pool-worker.test.js', import.meta.url);
type Task = { do: string; buffer?: ArrayBuffer };

test('tasks of one lane run on one thread, others spread', async () => {
  const pool = createPool<Task, number>({ url, size: 2 });
  try {
    const lane = await Promise.all([0, 0, 0].map((at) => pool.run({ do: 'thread' }, [], at)));
    assert.equal(new Set(lane).size, 1);
    const all = await Promise.all([0, 1, 0, 1].map((at) => pool.run({ do: 'thread' }, [], at)));
    assert.equal(new Set(all).size, 2);
  } finally {
    await pool.close();
  }
  await assert.rejects(pool.run({ do: 'thread' }), /closed/);
});

test('buffers move, known errors keep their code', async () => {
  const pool = createPool<Task, number>({ url, size: 1 });
  try {
    const buffer = new ArrayBuffer(8);
    assert.equal(await pool.run({ do: 'size', buffer }, [buffer]), 8);
    assert.equal(buffer.byteLength, 0);
    await assert.rejects(pool.run({ do: 'known' }), { code: 'JSON_INVALID', hint: 'None', name: 'KnownError' });
    await assert.rejects(pool.run({ do: 'other' }), { message: 'unknown task' });
  } finally {
    await pool.close();
  }
});

test('a worker that ends fails what waits for it', async () => {
  const pool = createPool<Task, number>({ url, size: 1 });
  await assert.rejects(pool.run({ do: 'crash' }), /exit code 3/);
  await assert.rejects(pool.run({ do: 'thread' }), /exit code 3/);
  await pool.close();
});

test('mapLimit keeps order, bounds what runs, and stops at a failure', async () => {
  let running = 0;
  let most = 0;
  const task = async (n: number): Promise<number> => {
    running++;
    most = Math.max(most, running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    return n * 2;
  };
  assert.deepEqual(await mapLimit([1, 2, 3, 4, 5], 2, task), [2, 4, 6, 8, 10]);
  assert.equal(most, 2);
  const started: number[] = [];
  await assert.rejects(
    mapLimit([1, 2, 3, 4], 1, async (n) => {
      started.push(n);
      if (n === 2) throw new Error('two');
    }),
    /two/,
  );
  assert.deepEqual(started, [1, 2]);
  // Items may fail too: what runs is waited for.
  let ended = 0;
  function* failing(): Generator<number> {
    yield 1;
    throw new Error('no more');
  }
  await assert.rejects(
    mapLimit(failing(), 2, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      ended++;
    }),
    /no more/,
  );
  assert.equal(ended, 1);
});

test('a request that cannot travel is refused, and keeps no process alive', () => {
  const code = `const { createPool } = await import(${JSON.stringify(import.meta.resolve('./pool.js'))});
    const pool = createPool({ url: new URL(${JSON.stringify(url.href)}), size: 1 });
    await pool.run({ do: () => 1 }).catch((error) => console.log(error.name));
    console.log(await pool.run({ do: 'size', buffer: new ArrayBuffer(3) }));`;
  const { status, stdout } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8', timeout: 30_000 });
  assert.deepEqual([status, stdout], [0, 'DataCloneError\n3\n']);
});
