import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratch } from '@cambium/testkit';
import { Repo } from './repo.ts';

test('a repository where no directory can be made is an error at once', { timeout: 20_000 }, async (t) => {
  // Below /proc the kernel says that the parent is missing, which it is not.
  for (const path of ['/proc/cambium', '/proc/cambium/repo']) await assert.rejects(Repo.init(path, { mode: 'archive' }), path);
  const deep = join(scratch(t), 'a/b/c');
  await Repo.init(deep, { mode: 'archive' });
  assert.equal((await Repo.open(deep)).mode, 'archive');
});
