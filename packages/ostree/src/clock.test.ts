/** Clocks that were wrong, are, or will be: times of files, commits and summaries, before 1970 and far ahead. */
import assert from 'node:assert/strict';
import { globSync, lstatSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defer, firstReason, needsPeer, needsRoot, scratch, startStaticServer } from '@cambium/testkit';
import { prune } from './check/prune.ts';
import { checkout } from './checkout/checkout.ts';
import { commitDirectory } from './commit/commit-directory.ts';
import { writeCommitObject } from './commit/commit-object.ts';
import { MutableTree } from './commit/mutable-tree.ts';
import { pull } from './pull/pull.ts';
import { makeRepo, ostree } from './real-ostree.test.ts';
import { Repo } from './repo/repo.ts';
import { regenerateSummary } from './summary/summary-write.ts';
import { Transaction } from './write/transaction.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());
const DAY = 86_400;
/** Seconds since 1970: before it, its first second, beyond 32 bits signed and unsigned. */
const TIMES = [-DAY * 365, 0, 2 ** 31 + 5, 2 ** 32 + 5];

async function commit(repo: Repo, tree: string, timestamp: bigint): Promise<string> {
  await using transaction = await Transaction.begin(repo);
  const root = MutableTree.empty();
  await commitDirectory(transaction, root, tree, { ownerUid: 0, ownerGid: 0 });
  const checksum = writeCommitObject(transaction, { root: root.write(transaction), timestamp, bindRefs: ['main'] });
  transaction.setRef('main', checksum);
  await transaction.commit();
  return checksum;
}

test('times of files say nothing: of what is committed, of what lies about, of the repository', { skip }, async (t) => {
  const directory = scratch(t);
  const [path, tree] = [join(directory, 'ours'), join(directory, 'tree')];
  mkdirSync(tree);
  for (const name of ['a', 'b']) writeFileSync(join(tree, name), name);
  await Repo.init(path, { mode: 'archive' });
  const seen = new Set<string>();
  for (const [index, seconds] of TIMES.entries()) {
    for (const name of ['a', 'b', '.']) utimesSync(join(tree, name), seconds, seconds);
    for (const name of globSync('**', { cwd: path })) {
      const file = join(path, name);
      if (!lstatSync(file).isSymbolicLink() && file !== path) utimesSync(file, seconds, seconds);
    }
    // What others work on may have any time; it goes when it is old, never because it is from the future.
    writeFileSync(join(path, 'tmp', `other-${index}`), 'x');
    utimesSync(join(path, 'tmp', `other-${index}`), seconds, seconds);
    const repo = await Repo.open(path);
    seen.add(await commit(repo, tree, 1_000_000_000n));
    await checkout(repo, repo.refs.resolve('main'), { destination: join(directory, `out-${index}`), userMode: true });
    await prune(repo, { refsOnly: true });
    assert.match(ostree(path, 'fsck'), /no errors found/, String(seconds));
  }
  assert.equal(seen.size, 1, 'one tree, one commit');
  assert.deepEqual(
    readdirSync(join(path, 'tmp')).filter((name) => name.startsWith('other-')),
    ['other-2', 'other-3'],
  );
});

test('commits from long ago and far ahead, and summaries that go back', { skip }, async (t) => {
  const directory = scratch(t);
  const source = makeRepo(directory, 'archive');
  const server = await startStaticServer({ directory: source.repo });
  defer(t, () => server.stop());
  const path = join(directory, 'ours');
  const { config } = await Repo.init(path, { mode: 'archive' });
  for (const [key, value] of Object.entries({ url: server.url, 'gpg-verify': 'false' })) config.set('remote "origin"', key, value);
  writeFileSync(join(path, 'config'), config.toString());
  const fetch = async (timestampCheck = false): Promise<unknown> => pull(await Repo.open(path), { remote: 'origin', refs: ['main'], timestampCheck });
  const theirs = await Repo.open(source.repo);
  const [, tree] = source.trees;
  let last = 0n;
  for (const timestamp of [0n, BigInt(2 ** 32 + 5), 253_402_300_799n, 1n]) {
    const made = await commit(theirs, tree, timestamp);
    // The files of the server have the time that its clock says.
    await regenerateSummary(theirs, { lastModified: timestamp });
    for (const name of ['summary', 'refs/heads/main']) utimesSync(join(source.repo, name), Number(timestamp % 2n ** 33n), Number(timestamp % 2n ** 33n));
    if (timestamp < last) {
      const before = (await Repo.open(path)).refs.read('origin:main');
      await assert.rejects(fetch(true), { code: 'OSTREE_TIMESTAMP_OLDER' });
      assert.equal((await Repo.open(path)).refs.read('origin:main'), before);
    }
    await fetch();
    assert.equal((await Repo.open(path)).refs.read('origin:main'), made);
    assert.match(ostree(path, 'fsck'), /no errors found/);
    assert.match(ostree(path, 'show', made), /^commit /);
    last = timestamp;
  }
  t.mock.timers.enable({ apis: ['Date'], now: 1000 });
  // At the beginning of 1970 by this machine's clock.
  const repo = await Repo.open(path);
  const made = await commit(repo, tree, BigInt(Math.floor(Date.now() / 1000)));
  await regenerateSummary(repo);
  assert.match(ostree(path, 'fsck'), /no errors found/);
  assert.match(ostree(path, 'summary', '-v'), new RegExp(made));
});
