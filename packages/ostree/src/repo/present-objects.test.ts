import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { scratch } from '@cambium/testkit';
import type { RepoMode } from '../format/types.ts';
import { PresentObjects } from './present-objects.ts';
import { Repo } from './repo.ts';

const checksum = (first: number, rest: number): Checksum => (first.toString(16).padStart(2, '0') + rest.toString(16).padStart(62, '0')) as Checksum;

for (const [mode, many] of [
  ['archive', 40],
  ['bare-user', 40],
  ['bare', 1500],
] as [RepoMode, number][]) {
  test(`what is here and what is not, ${mode}, ${many} in a directory`, async (t) => {
    const repo = await Repo.init(join(scratch(t), 'r'), { mode });
    const present = new PresentObjects([{ objects: join(repo.path, 'objects'), mode }]);
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

test('several places, and what is listed is asked for once', async (t) => {
  const at = scratch(t);
  const places = ['own', 'staged', 'parent'].map((name) => ({ objects: join(at, name), mode: 'bare-user' as const }));
  const put = (place: number, each: Checksum): void => {
    const directory = join(places[place]?.objects ?? '', each.slice(0, 2));
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `${each.slice(2)}.file`), '');
  };
  for (let i = 0; i < 30; i++) put(0, checksum(1, i));
  put(1, checksum(1, 100));
  put(2, checksum(2, 1));
  const present = new PresentObjects(places);
  assert.equal(present.has('file', checksum(1, 1)), false, 'nothing is known before');
  present.refresh();
  for (let i = 0; i < 30; i++) assert.equal(present.has('file', checksum(1, i)), true);
  assert.equal(present.has('file', checksum(1, 100)), true);
  assert.equal(present.has('file', checksum(1, 101)), false);
  assert.equal(present.has('file', checksum(2, 1)), true);
  assert.equal(present.has('file', checksum(2, 2)), false);
  rmSync(join(at, 'own/01', `${checksum(1, 0).slice(2)}.file`));
  present.refresh();
  for (let i = 0; i < 30; i++) assert.equal(present.has('file', checksum(1, i)), i > 0);
});
