import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { errnoOf } from '@cambium/base';
import { needsReflinks, reflinkFileSystem, scratch } from '@cambium/testkit';
import { shareBlocks } from './share-blocks.ts';

function share(directory: string, from: Uint8Array, to: Uint8Array): boolean {
  const [a, b] = [join(directory, 'a'), join(directory, 'b')];
  writeFileSync(a, from);
  writeFileSync(b, to);
  const [source, target] = [openSync(a, 'r'), openSync(b, 'r+')];
  try {
    return shareBlocks(source, target, to.byteLength);
  } finally {
    closeSync(source);
    closeSync(target);
    assert.deepEqual(readFileSync(a), Buffer.from(from));
    assert.deepEqual(readFileSync(b), Buffer.from(to));
  }
}

test('files of one content share blocks, others do not, and no content changes', { skip: needsReflinks() }, async (t) => {
  const directory = await reflinkFileSystem(t, 200);
  const large = Buffer.alloc(20_000_123, 'large ');
  assert.equal(share(directory, large, large), true);
  assert.equal(share(directory, Buffer.alloc(5000, 1), Buffer.alloc(5000, 1)), true);
  const other = Buffer.from(large);
  other[18_000_000] = 0;
  assert.equal(share(directory, large, other), false);
});

test('nothing to share is shared; what is no file has its errno', (t) => {
  assert.equal(share(scratch(t), new Uint8Array(0), new Uint8Array(0)), true);
  assert.throws(
    () => shareBlocks(9999, 9998, 1),
    (error) => errnoOf(error) === 'EBADF',
  );
});
