import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { scratch } from '@cambium/testkit';
import type { RepoMode } from '../format/types.ts';
import { Repo } from '../repo/repo.ts';
import { PresentObjects } from './present-objects.ts';

const checksum = (first: number, rest: number): Checksum => (first.toString(16).padStart(2, '0') + rest.toString(16).padStart(62, '0')) as Checksum;

for (const [mode, many] of [
  ['archive', 40],
  ['bare-user', 40],
  ['bare', 1500],
] as [RepoMode, number][]) {
  test(`what is here and what is not, ${mode}, ${many} in a directory`, async (t) => {
    const repo = await Repo.init(join(scratch(t), 'r'), { mode });
    const present = new PresentObjects(repo);
    const put = (type: 'file' | 'dirtree', each: Checksum): void => {
      mkdirSync(dirname(repo.objectPath(type, each)), { recursive: true });
      writeFileSync(repo.objectPath(type, each), '');
    };
    for (const first of [0, 0xab]) for (let i = 0; i < many; i++) put(i % 3 === 0 ? 'dirtree' : 'file', checksum(first, i));
    writeFileSync(join(repo.path, 'objects/00/odd'), '');
    present.refresh();
    for (const first of [0, 0xab, 0xff]) {
      for (let i = 0; i < many + 20; i++) {
        const isHere = first !== 0xff && i < many;
        assert.equal(present.has('dirtree', checksum(first, i)), isHere && i % 3 === 0);
        assert.equal(present.has('file', checksum(first, i)), isHere && i % 3 !== 0);
      }
    }
  });
}

test('what is in a parent repository, and what is staged', async (t) => {
  const at = scratch(t);
  const parent = await Repo.init(join(at, 'parent'), { mode: 'bare-user' });
  const repo = await Repo.init(join(at, 'r'), { mode: 'bare-user' });
  const staged = join(repo.path, 'tmp/staged');
  const put = (root: string, each: Checksum): void => {
    mkdirSync(join(root, each.slice(0, 2)), { recursive: true });
    writeFileSync(join(root, each.slice(0, 2), `${each.slice(2)}.file`), '');
  };
  for (let i = 0; i < 30; i++) put(join(repo.path, 'objects'), checksum(1, i));
  put(staged, checksum(1, 100));
  repo.staging = staged;
  const present = new PresentObjects(repo);
  present.refresh();
  for (let i = 0; i < 30; i++) assert.equal(present.has('file', checksum(1, i)), true);
  assert.equal(present.has('file', checksum(1, 100)), true);
  assert.equal(present.has('file', checksum(1, 101)), false);
  repo.config.set('core', 'parent', parent.path);
  writeFileSync(join(repo.path, 'config'), repo.config.toString());
  const child = new PresentObjects(await Repo.open(repo.path));
  child.refresh();
  put(join(parent.path, 'objects'), checksum(2, 1));
  assert.equal(child.has('file', checksum(2, 1)), true);
  rmSync(join(parent.path, 'objects/02'), { recursive: true });
  assert.equal(child.has('file', checksum(2, 1)), false);
});
