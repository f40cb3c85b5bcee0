import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Variant } from '@cambium/gvariant';
import { needsPeer, scratch } from '@cambium/testkit';
import type { RepoMode } from '../format/types.ts';
import { Repo } from '../repo/repo.ts';
import { commitOurs, makeSampleTree, ostree } from '../sample-trees.test.ts';
import { diff } from '../show/diff.ts';
import { Transaction } from '../write/transaction.ts';
import { commitDirectory } from './commit-directory.ts';
import { type CommitOptions, findKernelRelease, writeCommitObject } from './commit-object.ts';
import { overlayCommit } from './commit-overlay.ts';
import { MutableTree } from './mutable-tree.ts';

const skip = needsPeer('ostree');

async function commitWith(repo: Repo, source: string, options: Omit<CommitOptions, 'root' | 'timestamp'>): Promise<string> {
  await using transaction = await Transaction.begin(repo);
  const tree = MutableTree.empty();
  await commitDirectory(transaction, tree, source);
  const checksum = writeCommitObject(transaction, { root: tree.write(transaction), timestamp: 9n, ...options });
  await transaction.commit();
  return checksum;
}

test('metadata, bindings and parents give the commits of libostree', { skip }, async (t) => {
  const at = scratch(t);
  const source = join(at, 'src');
  mkdirSync(source);
  const collectionId = 'org.example.Collection';
  const path = join(at, 'r');
  ostree(`--repo=${path}`, 'init', '--mode=archive', `--collection-id=${collectionId}`);
  const repo = await Repo.open(path);
  assert.equal(repo.settings.collectionId, collectionId);
  const real = (...options: string[]): string => ostree(`--repo=${path}`, 'commit', '--timestamp=@9', `--tree=dir=${source}`, ...options);
  const first = real(
    '-b',
    'z',
    '--bind-ref=\u{1F600}'.replace('\u{1F600}', 'a'),
    '-s',
    'one',
    '-m',
    'body',
    '--add-metadata-string=version=1',
    '--add-metadata=n=uint32 7',
    '--add-metadata-string=version=2',
  );
  const metadata = [
    ['version', new Variant('s', '1')],
    ['version', new Variant('s', '2')],
    ['n', new Variant('u', 7)],
  ] as const;
  assert.equal(await commitWith(repo, source, { subject: 'one', body: 'body', metadata, bindRefs: ['z', 'a'], collectionId }), first);
  const second = real('-b', 'z', '-s', 'two', '--no-bindings');
  assert.equal(await commitWith(repo, source, { subject: 'two', parent: repo.refs.resolve(first) }), second);
  assert.equal(await commitWith(repo, source, { bindRefs: [], collectionId }), real('--orphan'));
  assert.equal(repo.refs.resolve('z^'), first);
  assert.equal(repo.refs.resolve(second.slice(0, 20)), second);
});

test('a bootable commit names its only kernel', { skip }, async (t) => {
  const at = scratch(t);
  mkdirSync(join(at, 'src/usr/lib/modules/5.1-x'), { recursive: true });
  mkdirSync(join(at, 'src/usr/lib/modules/none'), { recursive: true });
  const { repo, checksum } = await commitOurs(join(at, 'r'), 'archive', join(at, 'src'));
  assert.throws(() => findKernelRelease(repo, repo.readCommit(checksum).root), { code: 'OSTREE_OPTION_INVALID' });
  writeFileSync(join(at, 'src/usr/lib/modules/5.1-x/vmlinuz'), '');
  const next = await commitOurs(join(at, 'r'), 'archive', join(at, 'src'));
  const release = findKernelRelease(repo, repo.readCommit(next.checksum).root);
  assert.equal(release, '5.1-x');
  const bootable = await commitWith(repo, join(at, 'src'), { bootable: release, bindRefs: ['m'] });
  const real = ostree(`--repo=${repo.path}`, 'commit', '-b', 'm', '--bootable', '--timestamp=@9', join(at, 'src'));
  assert.equal(bootable, real);
});

test('metadata of a bootable commit is in the order of libostree, however much there is', { skip }, async (t) => {
  const at = scratch(t);
  mkdirSync(join(at, 'src/usr/lib/modules/1'), { recursive: true });
  writeFileSync(join(at, 'src/usr/lib/modules/1/vmlinuz'), '');
  const path = join(at, 'r');
  ostree(`--repo=${path}`, 'init', '--mode=archive');
  const repo = await Repo.open(path);
  // GLib's table grows at 8, 13 and 23 entries, and at 45; `two` is there twice.
  for (const count of [1, 5, 6, 9, 11, 21, 43, 70]) {
    const keys = [...Array.from({ length: count }, (_, i) => `${i % 3 === 0 ? 'org.example.' : 'é'}${i * 7919}`), 'two', 'two'];
    const strings = keys.map((key, i) => `--add-metadata-string=${key}=${i}`);
    const real = ostree(`--repo=${path}`, 'commit', '--orphan', '--bootable', '--timestamp=@9', ...strings, join(at, 'src'));
    const metadata = keys.map((key, i) => [key, new Variant('s', String(i))] as const);
    assert.equal(await commitWith(repo, join(at, 'src'), { bootable: '1', bindRefs: [], metadata }), real, String(count));
  }
});

test('generated sizes are understood by libostree', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const repo = await Repo.init(join(at, 'ours'), { mode: 'archive' });
  const ours = await commitWith(repo, join(at, 'src'), { generateSizes: true });
  const shown = ostree(`--repo=${repo.path}`, 'show', '--print-sizes', ours);
  ostree(`--repo=${join(at, 'real')}`, 'init', '--mode=archive');
  const real = ostree(`--repo=${join(at, 'real')}`, 'commit', '--fsync=false', '--orphan', '--timestamp=@9', '--generate-sizes', join(at, 'src'));
  const theirs = ostree(`--repo=${join(at, 'real')}`, 'show', '--print-sizes', real);
  const unpacked = (text: string): string[] =>
    text
      .split('\n')
      .filter((line) => /Unpacked|Number of objects/i.test(line))
      .map((line) => line.replace(/\([\d,.]+%?\)/, ''));
  assert.ok(unpacked(theirs).length >= 1, theirs);
  assert.deepEqual(unpacked(shown), unpacked(theirs));
  const bare = await Repo.init(join(at, 'bare'), { mode: 'bare-user-only' });
  await assert.rejects(commitWith(bare, join(at, 'src'), { generateSizes: true }), { code: 'OSTREE_OPTION_INVALID' });
});

test('trees of commits overlay each other as in libostree', { skip }, async (t) => {
  const at = scratch(t);
  for (const [name, files] of Object.entries({ one: ['a', 'd/b', 'd/e/f'], two: ['a', 'd/c', 'g/h'], three: ['d'] })) {
    for (const file of files) {
      mkdirSync(join(at, name, file, '..'), { recursive: true, mode: name === 'two' ? 0o700 : 0o755 });
      writeFileSync(join(at, name, file), `${name} ${file}`.repeat(file === 'd/c' ? 100_000 : 1));
    }
  }
  for (const mode of ['archive', 'bare-user'] as RepoMode[]) {
    const path = join(at, mode);
    const repo = await Repo.init(path, { mode });
    const commits = ['one', 'two', 'three'].map((name) => ostree(`--repo=${path}`, 'commit', '--fsync=false', '-b', name, join(at, name)));
    const roots = commits.map((commit) => repo.readCommit(repo.refs.resolve(commit)).root);
    const overlay = async (names: number[], modifiers = {}): Promise<string> => {
      await using transaction = await Transaction.begin(repo);
      const tree = MutableTree.empty();
      for (const i of names) await overlayCommit(transaction, tree, roots[i] as (typeof roots)[0], modifiers);
      const checksum = writeCommitObject(transaction, { root: tree.write(transaction), timestamp: 9n });
      await transaction.commit();
      return checksum;
    };
    const real = (...options: string[]): string =>
      ostree(`--repo=${path}`, 'commit', '--fsync=false', '--orphan', '--no-bindings', '--timestamp=@9', ...options);
    assert.equal(await overlay([0, 1]), real('--tree=ref=one', '--tree=ref=two'));
    assert.equal(await overlay([1, 0], { ownerUid: 5 }), real('--owner-uid=5', '--tree=ref=two', '--tree=ref=one'));
    await assert.rejects(overlay([0, 2]), { code: 'OSTREE_TREE_CONFLICT' });
    await assert.rejects(overlay([2, 0]), { code: 'OSTREE_TREE_CONFLICT' });
    assert.match(ostree(`--repo=${path}`, 'fsck'), /no errors found/);
  }
});

test('a tree without metadata is not committed; unread parts are not read', async (t) => {
  const at = scratch(t);
  const source = join(at, 'src');
  mkdirSync(join(source, 'd'), { recursive: true });
  writeFileSync(join(source, 'd/f'), 'x');
  const { repo, checksum } = await commitOurs(join(at, 'r'), 'archive', source);
  const { root } = repo.readCommit(checksum);
  await using transaction = await Transaction.begin(repo);
  assert.throws(() => MutableTree.empty().write(transaction), { code: 'OSTREE_TREE_INCOMPLETE' });
  const tree = MutableTree.of(repo, root);
  assert.deepEqual(tree.write(transaction), root);
  const file = tree.lookup('d/f');
  assert.equal(typeof file, 'string');
  tree.ensureDirectory('new');
  assert.throws(() => tree.write(transaction), { code: 'OSTREE_TREE_INCOMPLETE' });
  assert.equal(tree.remove('new'), true);
  assert.equal(tree.remove('new'), false);
  assert.throws(() => tree.setFile('d', file as never), { code: 'OSTREE_TREE_CONFLICT' });
  assert.throws(() => tree.setFile('..', file as never), { code: 'OSTREE_FILE_UNSUPPORTED' });
  assert.deepEqual(tree.write(transaction), root);
});

test('directories deeper than any path are refused, and do not exhaust the stack', async (t) => {
  const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'archive' });
  await using transaction = await Transaction.begin(repo, { workers: 0 });
  const meta = transaction.writeDirMeta({ uid: 0, gid: 0, mode: 0o040755, xattrs: [] });
  let tree = transaction.writeDirTree({ files: [], dirs: [] });
  for (let i = 0; i < 15_000; i++) tree = transaction.writeDirTree({ files: [], dirs: [{ name: 'd', tree, meta }] });
  const root = { tree, meta };
  await assert.rejects(overlayCommit(transaction, MutableTree.empty(), root, { ownerUid: 7 }), { code: 'OSTREE_FILE_UNSUPPORTED' });
  const merged = MutableTree.of(repo, root);
  merged.setDirectory('other', MutableTree.of(repo, root));
  assert.throws(() => merged.merge(MutableTree.of(repo, root)), { code: 'OSTREE_FILE_UNSUPPORTED' });
  const empty = { tree: transaction.writeDirTree({ files: [], dirs: [] }), meta };
  assert.throws(() => diff(repo, { kind: 'commit', root: empty }, { kind: 'commit', root }), { code: 'OSTREE_FILE_UNSUPPORTED' });
  assert.deepEqual(diff(repo, { kind: 'commit', root }, { kind: 'commit', root: empty }).removed, ['d']);
  // Nothing is changed in the tree, so it is taken as it is, and its sizes are counted.
  assert.ok(repo.hasObject('commit', writeCommitObject(transaction, { root, timestamp: 1n, generateSizes: true })));
});
