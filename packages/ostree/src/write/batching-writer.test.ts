import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { Checksum } from '@cambium/base';
import { needsPeer, scratch } from '@cambium/testkit';
import { fileChecksum } from '../format/object-format.ts';
import type { FileHeader } from '../format/types.ts';
import { Repo } from '../repo/repo.ts';
import { ostree } from '../sample-trees.test.ts';
import { Transaction } from './transaction.ts';

const file = (more: Partial<FileHeader> = {}): FileHeader => ({ uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [], ...more });

/** Small and large contents, some twice, links between them. */
const CONTENTS: [FileHeader, Uint8Array][] = [
  ...Array.from({ length: 3000 }, (_, i): [FileHeader, Uint8Array] => [file({ uid: i % 3 }), Buffer.alloc(i % 700, `content ${i % 1500} `)]),
  [file(), new Uint8Array(0)],
  [file({ mode: 0o120777, target: 'some/where' }), new Uint8Array(0)],
  [file(), Buffer.alloc(700_000, 'between batch and stream ')],
  [file(), randomBytes(3_000_000)],
  [file(), Buffer.alloc(9_000_000, randomBytes(5000))],
];

for (const workers of [0, 1, 2]) {
  test(`with ${workers} threads every object gets its own checksum and content`, async (t) => {
    const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'archive' });
    await using transaction = await Transaction.begin(repo, { workers });
    const content = transaction.content();
    const results: Promise<Checksum>[] = [];
    for (const [header, bytes] of CONTENTS) {
      await content.ready();
      if (bytes.byteLength < 500_000) results.push(content.add(header, bytes));
      else {
        const stream = content.begin(header, bytes.byteLength);
        for (let at = 0; at < bytes.byteLength; at += 300_001) {
          stream.write(bytes.subarray(at, at + 300_001));
          await content.ready();
        }
        results.push(stream.end());
        results.push(content.add(header, bytes));
      }
    }
    await content.flush();
    const checksums = await Promise.all(results);
    const expected = CONTENTS.flatMap(([header, bytes]) => {
      const checksum = fileChecksum(header, bytes);
      return bytes.byteLength < 500_000 ? [checksum] : [checksum, checksum];
    });
    assert.deepEqual(checksums, expected);
    const stats = await transaction.commit();
    assert.equal(stats.contentTotal, expected.length);
    assert.equal(stats.contentWritten, new Set(expected).size);
    for (const [header, bytes] of CONTENTS.slice(-20)) assert.ok(Buffer.compare(repo.readFile(fileChecksum(header, bytes), 1e8), bytes) === 0);
    if (needsPeer('ostree') === false) assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
  });
}

test('awaiting one object at a time needs no flush', async (t) => {
  const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'bare-user-only' });
  await using transaction = await Transaction.begin(repo, { workers: 1 });
  for (let i = 0; i < 700; i++) assert.equal(await transaction.content().add(file(), Buffer.from([i % 256])), fileChecksum(file(), Buffer.from([i % 256])));
  assert.equal((await transaction.commit()).contentWritten, 256);
});

test('content that is not as long as announced, or does not fit the mode, is refused, and the rest goes on', async (t) => {
  for (const workers of [0, 1]) {
    for (const size of [10, 20_000_000]) {
      const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'bare-user-only' });
      await using transaction = await Transaction.begin(repo, { workers });
      const content = transaction.content();
      const short = content.begin(file(), size);
      short.write(new Uint8Array(size - 1));
      await assert.rejects(short.end(), { code: 'OSTREE_CONTENT_SIZE' });
      const dropped = content.begin(file(), size);
      dropped.write(new Uint8Array(5));
      dropped.abort();
      dropped.abort();
      await assert.rejects(content.add(file({ mode: 0o104755 }), new Uint8Array(1)), { code: 'OSTREE_FILE_UNSUPPORTED' });
      assert.throws(() => content.begin(file({ mode: 0o100777 }), 1), { code: 'OSTREE_FILE_UNSUPPORTED' });
      const good = content.add(file(), Buffer.from('good'));
      await content.flush();
      await good;
      assert.equal((await transaction.commit()).contentWritten, 1);
      assert.deepEqual(readdirSync(join(repo.path, 'tmp')), []);
    }
  }
});

test('too much content is refused while it comes', async (t) => {
  const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'archive' });
  await using transaction = await Transaction.begin(repo, { workers: 1 });
  const stream = transaction.content().begin(file(), 3);
  stream.write(new Uint8Array(2));
  stream.write(new Uint8Array(2));
  await assert.rejects(stream.end(), { code: 'OSTREE_CONTENT_SIZE' });
});
