/** Trees whose paths are longer than PATH_MAX, committed and checked out by both. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { setXattr, withReach } from '@cambium/system';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { repair } from '../check/repair.ts';
import { directorySource } from '../check/repair-directory.ts';
import { commitDirectory } from '../commit/commit-directory.ts';
import { writeCommitObject } from '../commit/commit-object.ts';
import { MutableTree } from '../commit/mutable-tree.ts';
import { ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { Transaction } from '../write/transaction.ts';
import { checkout } from './checkout.ts';

const skip = firstReason(needsPeer('ostree', 'rm'), needsRoot());
/** libostree's commands are recursive, and its pulls end at 256. */
const DEPTH = 60;
const NAME = 'verzeichnis-mit-umlauten-äöü-'.repeat(6);

/** Makes a chain of directories of about 12 000 bytes, with something in each. */
function makeDeepTree(root: string): void {
  mkdirSync(root);
  let path = root;
  for (let depth = 0; depth < DEPTH; depth++) {
    withReach(path, (directory) => {
      writeFileSync(`${directory}/file`, `${depth}`, { mode: depth % 2 === 0 ? 0o644 : 0o755 });
      writeFileSync(`${directory}/empty`, '');
      symlinkSync('file', `${directory}/link`);
      mkdirSync(`${directory}/${NAME}`);
      setXattr(`${directory}/${NAME}`, 'user.depth', Buffer.from(`${depth}`));
    });
    path += `/${NAME}`;
  }
}

/** Node's own removal may not reach that deep. */
function removeDeep(...paths: string[]): void {
  spawnSync('rm', ['-rf', ...paths]);
}

async function commitOurs(repoPath: string, branch: string, directory: string, modifiers: { consume?: boolean } = {}): Promise<string> {
  const repo = await Repo.open(repoPath);
  await using transaction = await Transaction.begin(repo, { workers: 1 });
  const tree = MutableTree.empty();
  await commitDirectory(transaction, tree, directory, modifiers);
  const root = tree.write(transaction);
  transaction.setRef(branch, writeCommitObject(transaction, { root, subject: '', timestamp: 1n }));
  await transaction.commit();
  return `${root.tree} ${root.meta}`;
}

async function rootOf(repoPath: string, rev: string): Promise<string> {
  const repo = await Repo.open(repoPath);
  const { root } = repo.readCommit(repo.refs.resolve(rev));
  return `${root.tree} ${root.meta}`;
}

test('trees deeper than PATH_MAX are committed and checked out, by both sides the same', { skip }, async (t) => {
  const directory = await scratch(t);
  const tree = join(directory, 'tree');
  const out = join(directory, 'out');
  t.after(() => removeDeep(tree, out));
  makeDeepTree(tree);
  for (const mode of ['archive', 'bare-user', 'bare'] as const) {
    const repo = join(directory, `repo-${mode}`);
    await Repo.init(repo, { mode });
    ostree(repo, 'commit', '-b', 'theirs', `--tree=dir=${tree}`);
    const expected = await rootOf(repo, 'theirs');
    assert.equal(await commitOurs(repo, 'ours', tree), expected, mode);
    for (const threads of [1, 2]) {
      const opened = await Repo.open(repo);
      const counts = await checkout(opened, opened.refs.resolve('theirs'), { destination: out, threads });
      assert.equal(counts.directories, DEPTH + 1);
      // What stands there is what libostree takes for the same tree.
      ostree(repo, 'commit', '-b', 'again', `--tree=dir=${out}`);
      assert.equal(await rootOf(repo, 'again'), expected, mode);
      // A union over it meets every name again.
      await checkout(opened, opened.refs.resolve('theirs'), { destination: out, threads, overwrite: 'union' });
      await assert.rejects(checkout(opened, opened.refs.resolve('theirs'), { destination: out, threads }), (error) =>
        isKnownError(error, 'OSTREE_CHECKOUT_EXISTS'),
      );
      removeDeep(out);
    }
    ostree(repo, 'checkout', 'ours', out);
    // What was taken in is gone, down to the last directory.
    assert.equal(await commitOurs(repo, 'ours', out, { consume: true }), expected, mode);
    assert.equal(spawnSync('test', ['-e', out]).status, 1);
  }
});

test('what is in the way below PATH_MAX is named by its path', { skip: needsPeer('rm') }, async (t) => {
  const directory = await scratch(t);
  const tree = join(directory, 'tree');
  const out = join(directory, 'out');
  t.after(() => removeDeep(tree, out));
  makeDeepTree(tree);
  const repo = await Repo.init(join(directory, 'repo'), { mode: 'archive' });
  await commitOurs(repo.path, 'deep', tree);
  // At the last place of all a directory stands where a file should go.
  mkdirSync(out);
  const deepest = `${out}${`/${NAME}`.repeat(DEPTH - 1)}`;
  let path = out;
  for (let depth = 1; depth < DEPTH; depth++) {
    withReach(path, (here) => mkdirSync(`${here}/${NAME}`));
    path += `/${NAME}`;
  }
  withReach(deepest, (here) => mkdirSync(`${here}/link`));
  await assert.rejects(
    checkout(repo, repo.refs.resolve('deep'), { destination: out, overwrite: 'union', userMode: true }),
    (error) => isKnownError(error, 'OSTREE_CHECKOUT_EXISTS') && error.data.path === `${deepest}/link` && error.message.includes(`${deepest}/link`),
  );
  // A repair that looks for files in a directory passes over what it cannot reach.
  const { root } = repo.readCommit(repo.refs.resolve('deep'));
  const checksum = repo.readDirTree(root.tree).files.find(({ name }) => name === 'file')?.checksum as Checksum;
  rmSync(repo.objectPath('file', checksum));
  const { bad } = await repair(repo, [directorySource(tree)]);
  assert.deepEqual(
    bad.map((object) => [object.checksum, object.healedFrom]),
    [[checksum, tree]],
  );
  await assert.rejects(commitOurs(repo.path, 'x', `${out}/missing`), (error) => error instanceof Error && !error.message.includes('/proc/'));
});
