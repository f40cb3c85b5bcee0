import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import fc from 'fast-check';
import { ObjectSet } from './object-set.ts';
import type { ObjectType } from './types.ts';

const TYPES: readonly ObjectType[] = ['file', 'dirtree', 'dirmeta', 'commit'];
const named = (n: number): Checksum => hash('sha256', String(n), 'hex') as Checksum;

test('a set of objects is what a set of strings would be', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(...TYPES), fc.nat(300)), { maxLength: 3000 }), (objects) => {
      const ours = new ObjectSet();
      const known = new Set<string>();
      for (const [type, n] of objects) {
        const key = `${named(n)}.${type}`;
        assert.equal(ours.add(type, named(n)), !known.has(key));
        known.add(key);
      }
      assert.equal(ours.size, known.size);
      assert.deepEqual(new Set([...ours].map(({ type, checksum }) => `${checksum}.${type}`)), known);
      for (let n = 0; n < 310; n++) assert.equal(ours.has('file', named(n)), known.has(`${named(n)}.file`));
    }),
    { numRuns: 30 },
  );
});

test('checksums that share their beginning, and growth from nothing', () => {
  const set = new ObjectSet();
  for (let n = 0; n < 5000; n++) assert.ok(set.add('file', `ffffffff${named(n).slice(8)}` as Checksum));
  for (let n = 0; n < 5000; n++) assert.ok(!set.add('file', `ffffffff${named(n).slice(8)}` as Checksum));
  assert.equal(set.size, 5000);
  assert.equal(new ObjectSet(100_000).size, 0);
});
