import assert from 'node:assert/strict';
import test from 'node:test';
import { type Lazy, lazy } from './lazy.ts';

test('what stands for a function is loaded with the first call, takes its arguments and fails as it does', async () => {
  let loads = 0;
  const half: Lazy<(n: number) => number> = lazy(async () => {
    loads++;
    return (n: number): number => {
      if (n % 2 !== 0) throw new RangeError('odd');
      return n / 2;
    };
  });
  assert.equal(loads, 0);
  assert.equal(await half(8), 4);
  await assert.rejects(half(3), RangeError);
});
