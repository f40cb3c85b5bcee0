import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { scratch } from '@cambium/testkit';
import { commitDirectory } from '../commit/commit-directory.ts';
import { writeCommitObject } from '../commit/commit-object.ts';
import { MutableTree } from '../commit/mutable-tree.ts';
import { Repo } from '../repo/repo.ts';
import { Transaction } from '../write/transaction.ts';
import { checkout } from './checkout.ts';

test('of a directory with many files each share has a few: names do not travel back and forth', async (t) => {
  const directory = scratch(t);
  const files = 12_000;
  mkdirSync(join(directory, 'tree'));
  for (let index = 0; index < files; index++) writeFileSync(join(directory, 'tree', `${index}`), '');
  const repo = await Repo.init(join(directory, 'repo'), { mode: 'bare-user' });
  await using transaction = await Transaction.begin(repo, { fsync: false });
  const tree = MutableTree.empty();
  await commitDirectory(transaction, tree, join(directory, 'tree'));
  const commit = writeCommitObject(transaction, { root: tree.write(transaction), timestamp: 1n });
  await transaction.commit();

  const named: number[] = [];
  const post = Worker.prototype.postMessage;
  t.mock.method(Worker.prototype, 'postMessage', function (this: Worker, message: { request?: { stack?: { files?: unknown[] }[] } }, transfer: ArrayBuffer[]) {
    named.push((message.request?.stack ?? []).reduce((sum, task) => sum + (task.files?.length ?? 0), 0));
    post.call(this, message, transfer);
  });
  const counts = await checkout(repo, commit, { destination: join(directory, 'out'), userMode: true, threads: 3 });
  assert.equal(counts.copied, files);
  assert.equal(readdirSync(join(directory, 'out')).length, files);
  assert.ok(named.length > 0 && Math.max(...named) <= 1024, named.join(' '));
});
