import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import type { Commit } from '../format/types.ts';
import { makeRepo, ostree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { formatShownObject, formatSizes, parseSizes, showObject } from './show.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

test('objects of every kind by their names, as ostree shows them', { skip }, async (t) => {
  const { repo: path, second } = makeRepo(scratch(t), 'archive');
  const repo = await Repo.open(path);
  const names = ['main', 'main^', second, second.slice(0, 7), 'deep/other', '0'.repeat(64), 'nothing'];
  for (const { type, checksum } of repo.listObjects()) if (type !== 'commitmeta') names.push(checksum);
  for (const name of names) {
    for (const [flags, options] of [
      [[], {}],
      [['--raw'], { raw: true }],
    ] as const) {
      const theirs = tryOstree(path, ['show', ...flags, name]);
      if (theirs.status === 0) assert.equal(formatShownObject(showObject(repo, name), options), theirs.stdout);
      else assert.throws(() => showObject(repo, name), { name: 'KnownError' });
    }
  }
});

test('recorded sizes', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: path, trees, second } = makeRepo(directory, 'archive');
  const sized = ostree(path, 'commit', '-b', 'sized', '--generate-sizes', trees[0]).trim() as Checksum;
  const repo = await Repo.open(path);
  const commit = repo.readCommit(sized);
  assert.equal(formatSizes(repo, sized, commit), ostree(path, 'show', '--print-sizes', 'sized'));
  const copy = join(directory, 'copy');
  ostree(copy, 'init', '--mode=archive');
  ostree(copy, 'pull-local', '--commit-metadata-only', path, 'sized');
  assert.equal(formatSizes(await Repo.open(copy), sized, commit), ostree(copy, 'show', '--print-sizes', 'sized'));
  assert.throws(() => formatSizes(repo, second as Checksum, repo.readCommit(second as Checksum)), { code: 'OSTREE_COMMIT_INVALID' });
});

test('hostile sizes are refused', () => {
  const commitWith = (entry: Uint8Array): Commit => ({ metadata: [['ostree.sizes', new Variant('aay', [entry])]] }) as unknown as Commit;
  const sum = Buffer.alloc(32, 7);
  assert.deepEqual(parseSizes(commitWith(Buffer.concat([sum, Buffer.of(0x36, 0xb8, 0x17)])))?.[0], {
    checksum: '07'.repeat(32),
    type: 'file',
    archivedBytes: 54,
    unpackedBytes: 3000,
  });
  for (const tail of [[], [1], [0x80, 0x80], [1, 0xff], [1, 2, 9], [1, 2, 1, 1], [...Array(12).fill(0xff), 1, 2]]) {
    assert.throws(() => parseSizes(commitWith(Buffer.concat([sum, Buffer.from(tail)]))), { code: 'OSTREE_OBJECT_CORRUPT' });
  }
});
