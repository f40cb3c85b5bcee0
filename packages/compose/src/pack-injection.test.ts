/** The n-th call to the file system fails, for n all over a pack: a known error, and a repository that is whole. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import { Repo } from '@cambium/ostree';
import { needsPeer, output, scratch } from '@cambium/testkit';
import { fsck, makeProject, pack, refOf, setImages, shopImage } from './pack-project.test.ts';

const CALLS = [
  'openSync',
  'writeSync',
  'writeFileSync',
  'mkdirSync',
  'renameSync',
  'linkSync',
  'symlinkSync',
  'fsyncSync',
  'ftruncateSync',
  'fchmodSync',
] as const;

type AnyCall = (...args: unknown[]) => unknown;

/** Lets the n-th call that may change something fail as on a full disk; returns how many there were. */
async function withFault(nth: number, run: () => Promise<void>): Promise<number> {
  const table = fs as unknown as Record<string, AnyCall>;
  const originals = new Map(CALLS.map((name) => [name, table[name] as AnyCall]));
  let seen = 0;
  for (const [name, original] of originals) {
    table[name] = (...args) => {
      const reads =
        name === 'openSync' && ((args[1] ?? 'r') === 'r' || (typeof args[1] === 'number' && (args[1] & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) === 0));
      if (!reads && ++seen === nth) throw Object.assign(new Error(`ENOSPC: no space left on device, ${name}`), { code: 'ENOSPC', errno: -28, syscall: name });
      return original(...args);
    };
  }
  syncBuiltinESMExports();
  try {
    await run();
  } finally {
    Object.assign(table, Object.fromEntries(originals));
    syncBuiltinESMExports();
  }
  return seen;
}

test('a full disk at the n-th call', { skip: needsPeer('ostree') }, async (t) => {
  const [old, web] = [await shopImage(t, 'old'), await shopImage(t, 'web')];
  const project = makeProject(t, ['registry.example/old:1'], {});
  const imageSources = new Map([['registry.example/old:1', old.reference]]);
  const pristine = join(scratch(t), 'repo');
  await Repo.init(pristine, { mode: 'archive' });
  const before = (await pack(project, pristine, { imageSources })).commit as string;
  setImages(project, ['registry.example/web:1']);
  // Without threads, whose calls are not counted here.
  const go = (repo: string): ReturnType<typeof pack> =>
    pack(project, repo, { imageSources: new Map([['registry.example/web:1', web.reference]]), workers: 0, concurrency: 1 });
  const fresh = async (): Promise<string> => {
    const repo = join(scratch(t), 'repo');
    await output('cp', ['-a', pristine, repo]);
    return repo;
  };

  let wanted: string | undefined;
  const whole = await fresh();
  const total = await withFault(0, async () => {
    wanted = (await go(whole)).commit;
  });
  assert.ok(total > 30, `${total} calls`);
  let failures = 0;
  const step = Math.max(1, Math.floor(total / 40));
  for (let n = 1; n <= total; n += step) {
    const repo = await fresh();
    await withFault(n, async () => {
      await go(repo).catch((error: unknown) => {
        assert.ok(isKnownError(error), `call ${n}: ${error instanceof Error ? error.stack : String(error)}`);
        assert.equal(error.code, 'SYSTEM_NO_SPACE', `call ${n}: ${error.message}`);
        failures++;
      });
    });
    await fsck(repo);
    const at = await refOf(repo);
    assert.ok(at === before || at === wanted, `call ${n}: the branch is at ${at}`);
    assert.equal((await go(repo)).commit, wanted, `call ${n}`);
    await fsck(repo);
  }
  assert.ok(failures > 20, `${failures} failures`);
});
