import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { Bytes } from '@cambium/base';
import { removeXattr } from '@cambium/system';
import { needsPeer, scratch } from '@cambium/testkit';
import type { TreeRoot } from '../format/types.ts';
import { Repo } from '../repo/repo.ts';
import { makeSampleTree, ostree } from '../sample-trees.test.ts';
import { parseStatOverrides } from '../write/commit-modifiers.ts';
import { Transaction } from '../write/transaction.ts';
import { type CommitTarOptions, commitTar } from './commit-tar.ts';
import { MutableTree } from './mutable-tree.ts';

const skip = needsPeer('ostree', 'tar', 'python3');

async function* pieces(bytes: Uint8Array, size: number): Bytes {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function treeOf(repoPath: string, tar: string, options: CommitTarOptions = {}, size = 65_536): Promise<TreeRoot> {
  const repo = await Repo.init(repoPath, { mode: 'archive' });
  await using transaction = await Transaction.begin(repo);
  const tree = MutableTree.empty();
  await commitTar(transaction, tree, pieces(readFileSync(tar), size), options);
  const root = tree.write(transaction);
  await transaction.commit();
  return root;
}

/** Dirtree and dirmeta that the real program gives an archive, or another kind of tree. */
async function realTree(repoPath: string, tar: string, ...options: string[]): Promise<TreeRoot> {
  ostree(`--repo=${repoPath}`, 'init', '--mode=archive');
  const commit = ostree(
    `--repo=${repoPath}`,
    'commit',
    '--fsync=false',
    '--orphan',
    '-s',
    'x',
    ...options,
    `--tree=${tar.startsWith('dir=') ? tar : `tar=${tar}`}`,
  );
  const repo = await Repo.open(repoPath);
  return repo.readCommit(repo.refs.resolve(commit)).root;
}

/** An archive as no tar program would write it. */
const ODD = `
import tarfile, io, sys
t = tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT)
def add(name, data=None, mode=0o644, type=None, link='', **more):
    i = tarfile.TarInfo(name); i.mode = mode; i.uid = 1000; i.gid = 7
    i.type = type or tarfile.REGTYPE; i.linkname = link; i.pax_headers = more
    i.size = len(data or b'')
    t.addfile(i, io.BytesIO(data or b''))
add('./', type=tarfile.DIRTYPE, mode=0o755)
add('link', type=tarfile.SYMTYPE, link='x', mode=0o644)
add('abs', type=tarfile.DIRTYPE, mode=0o1777)
add('/abs//x', b'1')
add('dup', b'1')
add('hard', type=tarfile.LNKTYPE, link='./dup')
add('dup', b'22', mode=0o4755)
add('early', type=tarfile.LNKTYPE, link='late')
add('late', b'x' * 700000)
add('attrs', b'', **{'SCHILY.xattr.user.b': 'two', 'SCHILY.xattr.user.a': 'one'})
add('abs/' + 'long' * 50, b'long name')
t.close()
`;

test('archives give the trees that libostree gives', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  // From archives, unlike from directories, libostree takes attributes unsorted and with empty values, which newer
  // versions of it refuse to read: there we differ on purpose.
  for (const name of ['user.empty', 'user.aa']) removeXattr(join(at, 'src/a'), name);
  const sample = join(at, 'sample.tar');
  execFileSync('tar', ['-cf', sample, '--xattrs', '--format=pax', '-C', join(at, 'src'), '.']);
  const odd = join(at, 'odd.tar');
  execFileSync('python3', ['-c', ODD, odd]);
  for (const [tar, size] of [
    [sample, 65_536],
    [odd, 65_536],
    [odd, 1000],
  ] as const) {
    assert.deepEqual(await treeOf(join(at, 'ours'), tar, {}, size), await realTree(join(at, 'real'), tar));
  }
  const filtered = await realTree(join(at, 'real'), sample, '--owner-uid=5', '--no-xattrs', '--tar-pathname-filter=^d/,e2/', '--tar-autocreate-parents');
  const rename = (path: string): string => path.replace(/^d\//, 'e2/');
  const ours = await treeOf(join(at, 'ours'), sample, { modifiers: { ownerUid: 5, noXattrs: true }, rename, autocreateParents: true });
  assert.deepEqual(ours, filtered);
  assert.match(ostree(`--repo=${join(at, 'ours')}`, 'fsck'), /completed successfully/);
});

test('missing parents are an error unless they are to be made', { skip }, async (t) => {
  const at = scratch(t);
  makeSampleTree(join(at, 'src'));
  const tar = join(at, 'part.tar');
  execFileSync('tar', ['-cf', tar, '-C', join(at, 'src'), 'd/link', 'd/e/Z', 'a']);
  await assert.rejects(treeOf(join(at, 'ours'), tar), { code: 'OSTREE_PATH_NOT_FOUND' });
  const ours = await treeOf(join(at, 'ours'), tar, { autocreateParents: true });
  assert.deepEqual(ours, await realTree(join(at, 'real'), tar, '--tar-autocreate-parents'));
});

test('made parents belong to whom libostree gives them, and links count as met', { skip }, async (t) => {
  const at = scratch(t);
  const tar = join(at, 'x.tar');
  const script = ODD.slice(0, ODD.indexOf("add('./'")).replace('i.uid = 1000; i.gid = 7', "i.uid = more.pop('uid', 1000); i.gid = 7");
  const write = (body: string): void => {
    execFileSync('python3', ['-c', `${script}${body}\nt.close()\n`, tar]);
  };
  writeFileSync(join(at, 'OVER'), '18 /\n');
  writeFileSync(join(at, 'SKIP'), '/hard\n');
  const same = async (options: CommitTarOptions, ...theirs: string[]): Promise<void> => {
    assert.deepEqual(
      await treeOf(join(at, 'ours'), tar, { autocreateParents: true, ...options }),
      await realTree(join(at, 'real'), tar, '--tar-autocreate-parents', ...theirs),
    );
  };
  write("add('a/b/c', b'1', uid=5); add('a/d/e', b'2', uid=6)");
  await same({});
  await same({ modifiers: { ownerUid: 9 } }, '--owner-uid=9');
  await same({ modifiers: { canonicalPermissions: true } }, '--canonical-permissions');
  // A root that the archive has loses its mode to a missing directory, one that stands before it does not.
  write("add('./', type=tarfile.DIRTYPE, mode=0o700, uid=3); add('a', b'1', uid=5); add('b/c', b'2', uid=6)");
  await same({});
  write("add('a', b'1', uid=5)");
  await same({});
  await same({ modifiers: { ownerUid: 9, statOverride: parseStatOverrides('18 /\n') } }, '--owner-uid=9', `--statoverride=${at}/OVER`);
  write('');
  await same({ modifiers: { ownerUid: 9, ownerGid: 8 } }, '--owner-uid=9', '--owner-gid=8');
  write("add('a', b'1'); add('hard', type=tarfile.LNKTYPE, link='a'); add('x/hard', type=tarfile.LNKTYPE, link='a', uid=4)");
  await same({});
  await same({ modifiers: { skipList: new Set(['/hard']) } }, `--skip-list=${at}/SKIP`);
});

const HOSTILE: Readonly<Record<string, { script: string; code: string }>> = {
  'leads out': { script: "add('../x', b'1')", code: 'OSTREE_FILE_UNSUPPORTED' },
  device: { script: "add('dev', type=tarfile.CHRTYPE)", code: 'OSTREE_FILE_UNSUPPORTED' },
  'link to nothing': { script: "add('h', type=tarfile.LNKTYPE, link='absent')", code: 'OSTREE_PATH_NOT_FOUND' },
  'link to itself': { script: "add('h', type=tarfile.LNKTYPE, link='h')", code: 'OSTREE_PATH_NOT_FOUND' },
  'file over directory': { script: "add('d', type=tarfile.DIRTYPE, mode=0o755); add('d', b'')", code: 'OSTREE_TREE_CONFLICT' },
  'below a file': { script: "add('f', b''); add('f/g', b'')", code: 'OSTREE_PATH_NOT_FOUND' },
};

test('holes between contents of a few bytes give the tree of the directory', { skip }, async (t) => {
  const at = scratch(t);
  mkdirSync(join(at, 'src'));
  const put = (name: string, sizeBytes: number, offsets: readonly number[]): void => {
    const fd = openSync(join(at, 'src', name), 'w');
    for (const offset of offsets) writeSync(fd, 'x', offset);
    ftruncateSync(fd, sizeBytes);
    closeSync(fd);
  };
  // All hole, holes that travel with what is around them and others, more pieces than buffers, one that fits a batch.
  put('hole', 40_000_000, []);
  put('mixed', 9_000_000, [0, 8192, 200_000, 5_000_001]);
  put(
    'pieces',
    4_000_000,
    Array.from({ length: 60 }, (_none, i) => i * 65_536 + 7),
  );
  put('small', 200_000, [100_000]);
  const tar = join(at, 'sparse.tar');
  execFileSync('tar', ['-cSf', tar, '--format=gnu', '-C', join(at, 'src'), '.']);
  assert.ok(statSync(tar).size < 2_000_000);
  // Its own reader of archives loses the end of a file that is all hole.
  assert.deepEqual(await treeOf(join(at, 'ours'), tar), await realTree(join(at, 'real'), `dir=${join(at, 'src')}`, '--no-xattrs'));
});

test('hostile archives give known errors, and the repository stays usable', { skip }, async (t) => {
  const at = scratch(t);
  const prologue = ODD.slice(0, ODD.indexOf("add('link'"));
  for (const [name, { script, code }] of Object.entries(HOSTILE)) {
    const tar = join(at, 'bad.tar');
    execFileSync('python3', ['-c', `${prologue}${script}\nt.close()\n`, tar]);
    await assert.rejects(treeOf(join(at, 'ours'), tar), { code }, name);
  }
  writeFileSync(join(at, 'cut.tar'), readFileSync(join(at, 'bad.tar')).subarray(0, 700));
  await assert.rejects(treeOf(join(at, 'ours'), join(at, 'cut.tar')), /./);
  const good = join(at, 'good.tar');
  execFileSync('python3', ['-c', `${prologue}t.close()\n`, good]);
  await treeOf(join(at, 'ours'), good);
});
