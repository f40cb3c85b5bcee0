import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { scratch } from '@cambium/testkit';
import { checksumOf, encodeDirTree } from '../format/object-format.ts';
import { Repo } from './repo.ts';
import { checksumsIn, encodeChecksums, missingIn, TreeGaps } from './tree-gaps.ts';

const named = (text: string): Checksum => checksumOf(Buffer.from(text));

test('what directories that are here need and is not, in any number of steps', async (t) => {
  const at = scratch(t);
  const repo = await Repo.init(join(at, 'r'), { mode: 'bare-user' });
  const staged = join(at, 'staged');
  const put = (path: string, bytes: Uint8Array | string): void => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  };
  const tree = (files: string[], dirs: [name: string, tree: Checksum][]): Checksum => {
    const bytes = encodeDirTree({
      files: files.map((name) => ({ name, checksum: named(name) })),
      dirs: dirs.map(([name, below]) => ({ name, tree: below, meta: named('meta') })),
    });
    put(repo.objectPath('dirtree', checksumOf(bytes)), bytes);
    return checksumOf(bytes);
  };
  const low = tree(['here', 'lost'], []);
  const gone = tree(['never asked for'], []);
  const root = tree(
    ['here', 'lost too', 'staged'],
    [
      ['gone', gone],
      ['low', low],
      ['same', low],
    ],
  );
  put(repo.objectPath('file', named('here')), '');
  put(join(staged, named('staged').slice(0, 2), `${named('staged').slice(2)}.file`), '');
  rmSync(repo.objectPath('dirtree', gone));
  const places = [join(repo.path, 'objects'), staged].map((objects) => ({ objects, mode: repo.mode }));
  for (const limit of [1, 100]) {
    const gaps = new TreeGaps(places);
    const found: string[] = [];
    let steps = 0;
    for (let trees = encodeChecksums([root]); trees.byteLength > 0; steps++) {
      const result = gaps.look(trees, limit);
      for (const { type, checksum } of missingIn(result)) found.push(`${checksum}.${type}`);
      trees = result.rest;
    }
    assert.deepEqual(found.sort(), [`${gone}.dirtree`, `${named('lost')}.file`, `${named('lost too')}.file`, `${named('meta')}.dirmeta`].sort());
    assert.equal(steps, limit === 1 ? 2 : 1);
  }
  assert.throws(() => new TreeGaps(places).look(encodeChecksums([gone]), 1), { code: 'OSTREE_OBJECT_MISSING' });
  writeFileSync(repo.objectPath('dirtree', low), 'something else');
  assert.throws(() => new TreeGaps(places).look(encodeChecksums([root]), 9), { code: 'OSTREE_OBJECT_CORRUPT' });
  assert.deepEqual(checksumsIn(encodeChecksums([low, root])), [low, root]);
});

test('a name that leads elsewhere is refused', async (t) => {
  const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'archive' });
  const good = Buffer.from(encodeDirTree({ files: [{ name: 'ab', checksum: named('x') }], dirs: [] }));
  for (const name of ['..', 'a/', '\xff\xff']) {
    const bytes = Buffer.from(good);
    bytes.write(name, bytes.indexOf('ab\0'), 'latin1');
    const path = repo.objectPath('dirtree', checksumOf(bytes));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    const gaps = new TreeGaps([{ objects: join(repo.path, 'objects'), mode: repo.mode }]);
    assert.throws(() => gaps.look(encodeChecksums([checksumOf(bytes)]), 1), { code: 'OSTREE_OBJECT_CORRUPT' }, name);
  }
});
