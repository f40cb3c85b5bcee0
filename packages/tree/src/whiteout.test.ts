import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWhiteout } from './whiteout.ts';

test('whiteouts, opaque marks, and names that are neither', () => {
  assert.deepEqual(parseWhiteout('.wh.name'), { kind: 'remove', name: 'name' });
  assert.deepEqual(parseWhiteout('.wh..hidden'), { kind: 'remove', name: '.hidden' });
  assert.deepEqual(parseWhiteout('.wh....'), { kind: 'remove', name: '...' });
  assert.deepEqual(parseWhiteout('.wh..wh..opq'), { kind: 'opaque' });
  for (const name of ['.wh..wh.aufs', '.wh..wh.orph', '.wh..wh.plnk', '.wh..wh.', '.wh..wh..opqx'])
    assert.deepEqual(parseWhiteout(name), { kind: 'ignore' }, name);
  for (const name of ['name', 'x.wh.name', '.wh', '.whiteout', '.WH.name', '']) assert.equal(parseWhiteout(name), undefined, name);
});

test('a whiteout of nothing, of the directory, or of its parent is refused', () => {
  for (const name of ['.wh.', '.wh..', '.wh...']) assert.throws(() => parseWhiteout(name), { code: 'TREE_WHITEOUT_INVALID' }, name);
});
