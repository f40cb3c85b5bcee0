import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { Checksum } from '@cambium/base';
import { setXattr } from '@cambium/system';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import fc from 'fast-check';
import { parseSkipList } from '../checkout/checkout-lists.ts';
import type { RepoMode } from '../format/types.ts';
import { Repo } from '../repo/repo.ts';
import { commitOurs, commitReal, isRoot, makeSampleTree, ostree, WRITABLE_MODES } from '../sample-trees.test.ts';
import { type CommitModifiers, checkAllMatched, parseStatOverrides } from '../write/commit-modifiers.ts';
import { scanDevIno } from '../write/devino-cache.ts';
import { Transaction } from '../write/transaction.ts';
import { commitDirectory } from './commit-directory.ts';
import { overlayCommit } from './commit-overlay.ts';
import { MutableTree } from './mutable-tree.ts';

const skip = needsPeer('ostree');
// A user cannot store other owners in a bare repository.
const modes = WRITABLE_MODES.filter((mode) => isRoot || mode !== 'bare');

/** Names, types, permissions, owners, sizes and times of all content objects: what a peer sees of them on disk. */
function storedFiles(repo: string, mode: RepoMode, times = true): string {
  const objects = join(repo, 'objects');
  return readdirSync(objects, { recursive: true })
    .map(String)
    .sort()
    .map((name) => {
      const { mode: bits, uid, gid, size, mtimeMs } = lstatSync(join(objects, name));
      const isContent = /\.filez?$/.test(name);
      const isRegular = (bits & 0o170000) === 0o100000;
      const isPlain = isContent && mode !== 'archive';
      // Compressed sizes and the times of compressed files, symlinks and metadata are free.
      return [name, bits.toString(8), uid, gid, isPlain ? size : '', isPlain && isRegular && times ? mtimeMs : ''].join(' ');
    })
    .join('\n');
}

for (const mode of modes) {
  test(`${mode}: the commit, its objects and fsck agree with libostree`, { skip }, async (t) => {
    const at = scratch(t);
    const source = join(at, 'src');
    makeSampleTree(source);
    const real = commitReal(join(at, 'real'), mode, source);
    const { checksum, stats, repo } = await commitOurs(join(at, 'ours'), mode, source);
    assert.equal(checksum, real);
    // libostree leaves the times of files that it moves; ours are 0, as those of copied ones.
    assert.ok(storedFiles(join(at, 'ours'), mode, false) === storedFiles(join(at, 'real'), mode, false), 'files under objects/ differ');
    assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
    assert.deepEqual(
      readdirSync(join(repo.path, 'tmp')).filter((name) => name !== 'cache'),
      [],
    );
    assert.ok(stats.contentWritten < stats.contentTotal);
    // What they wrote reads back, each object verified, whole and as a stream.
    const theirs = await Repo.open(join(at, 'real'));
    let files = 0;
    for (const { type, checksum: object } of theirs.listObjects()) {
      if (type === 'file') {
        const content = theirs.readFile(object, 2 ** 24);
        let seen = 0;
        for await (const chunk of theirs.openFile(object)) seen += chunk.byteLength;
        assert.equal(seen, content.byteLength);
        files++;
      } else if (type === 'commit' || type === 'dirtree' || type === 'dirmeta') theirs.readMetadata(type, object);
    }
    assert.equal(files, stats.contentWritten);
    const again = await commitOurs(join(at, 'ours'), mode, source);
    assert.equal(again.stats.contentWritten, 0);
    assert.equal(again.repo.readCommit(again.checksum).parent, checksum);
  });
}

test('threads or none, the objects have the same bytes', { skip }, async (t) => {
  const at = scratch(t);
  const source = join(at, 'src');
  makeSampleTree(source);
  const repos = [];
  for (const workers of [0, 1, 3]) repos.push(await commitOurs(join(at, `w${workers}`), 'archive', source, {}, workers));
  assert.equal(new Set(repos.map(({ checksum }) => checksum)).size, 1);
  assert.deepEqual(repos[1]?.stats, repos[0]?.stats);
  assert.deepEqual(repos[2]?.stats, repos[0]?.stats);
  for (const other of ['w1', 'w3']) execFileSync('diff', ['-r', join(at, 'w0/objects'), join(at, other, 'objects')]);
});

test('random trees have the checksums that libostree gives them', { skip }, async (t) => {
  const at = scratch(t);
  ostree(`--repo=${join(at, 'real')}`, 'init', '--mode=archive');
  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => /^[^/\0.][^/\0]*$/.test(text) && text.isWellFormed());
  const node = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 3 },
      fc.uint8Array({ maxLength: 60 }),
      fc.string({ minLength: 1, maxLength: 20 }).filter((s) => !s.includes('\0')),
      fc.dictionary(name, tie('node'), { maxKeys: 5 }),
    ),
  })).node;
  const make = (path: string, value: unknown): void => {
    if (value instanceof Uint8Array) writeFileSync(path, value, { mode: 0o600 + (value.length % 0o100) });
    else if (typeof value === 'string') symlinkSync(value, path);
    else {
      mkdirSync(path);
      for (const [key, child] of Object.entries(value as object)) make(join(path, key), child);
    }
  };
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, node, { maxKeys: 6 }), async (tree) => {
      const source = join(at, `src${round++}`);
      make(source, tree);
      const real = ostree(`--repo=${join(at, 'real')}`, 'commit', '--orphan', '--no-bindings', '-s', 'x', '--timestamp=@5', source);
      const { checksum } = await commitOurs(join(at, 'ours'), 'archive', source, {}, 0);
      const root = ostree(`--repo=${join(at, 'real')}`, 'ls', '-d', '-C', real);
      const ours = (await Repo.open(join(at, 'ours'))).readCommit(checksum).root;
      assert.ok(root.includes(ours.tree) && root.includes(ours.meta));
    }),
    { numRuns: 25 },
  );
  assert.match(ostree(`--repo=${join(at, 'ours')}`, 'fsck'), /no errors found/);
});

// libostree adds no bits to directories but the root: `18 /many` changes nothing.
const overrides = '2048 /a\n=420 /d/suid\n=448 /d/e\n18 /many\n=511 /\n=365 /nowhere\n';
const cases: { name: string; modifiers: CommitModifiers; options: string[] }[] = [
  { name: 'owner', modifiers: { ownerUid: 7, ownerGid: 8 }, options: ['--owner-uid=7', '--owner-gid=8'] },
  { name: 'no xattrs', modifiers: { noXattrs: true }, options: ['--no-xattrs'] },
  { name: 'canonical permissions', modifiers: { canonicalPermissions: true }, options: ['--canonical-permissions'] },
  { name: 'read-only executables', modifiers: { roExecutables: true }, options: ['--mode-ro-executables'] },
  { name: 'overrides', modifiers: { statOverride: parseStatOverrides(overrides) }, options: ['--statoverride=OVERRIDES'] },
  { name: 'skip list', modifiers: { skipList: new Set(['/d/e', '/a', '/many/n7']) }, options: ['--skip-list=SKIP'] },
  {
    name: 'all together',
    modifiers: { ownerUid: 9, noXattrs: true, roExecutables: true, statOverride: parseStatOverrides(overrides), skipList: new Set(['/locked']) },
    options: ['--owner-uid=9', '--no-xattrs', '--mode-ro-executables', '--statoverride=OVERRIDES', '--skip-list=SKIP2'],
  },
];

test('modifiers give the commits that libostree gives', { skip }, async (t) => {
  const at = scratch(t);
  const source = join(at, 'src');
  makeSampleTree(source);
  writeFileSync(join(at, 'OVERRIDES'), overrides);
  writeFileSync(join(at, 'SKIP'), '/d/e\n/a\n/many/n7\n');
  writeFileSync(join(at, 'SKIP2'), '/locked\n');
  for (const [i, { name, modifiers, options }] of cases.entries()) {
    const real = commitReal(join(at, `real${i}`), 'archive', source, ...options.map((option) => option.replace(/=(OVERRIDES|SKIP2?)$/, `=${at}/$1`)));
    const { checksum, repo } = await commitOurs(join(at, `ours${i}`), 'archive', source, modifiers);
    assert.equal(checksum, real, name);
    assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
  }
});

test('paths that fit nothing are an error, as are names and files outside the format', { skip: firstReason(skip, needsRoot()) }, async (t) => {
  const at = scratch(t);
  const source = join(at, 'src');
  mkdirSync(source);
  writeFileSync(join(source, 'a'), '');
  const commit = (modifiers: CommitModifiers): Promise<unknown> => commitOurs(join(at, 'r'), 'archive', source, modifiers);
  await assert.rejects(commit({ skipList: new Set(['/b']) }), { code: 'OSTREE_PATH_UNMATCHED' });
  await assert.rejects(commit({ statOverride: parseStatOverrides('1 /b\n') }), { code: 'OSTREE_PATH_UNMATCHED' });
  await assert.rejects(commit({ canonicalPermissions: true, ownerUid: 5 }), { code: 'OSTREE_OPTION_INVALID' });
  assert.throws(() => parseStatOverrides('x /b\n'), { code: 'OSTREE_OPTION_INVALID' });
  execFileSync('mkfifo', [join(source, 'pipe')]);
  await assert.rejects(commit({}), { code: 'OSTREE_FILE_UNSUPPORTED' });
  rmSync(join(source, 'pipe'));
  writeFileSync(Buffer.concat([Buffer.from(`${source}/`), Buffer.from([0x61, 0xff, 0xc3, 0xa9, 0xfe])]), '');
  await assert.rejects(commit({}), { code: 'OSTREE_FILE_UNSUPPORTED', message: `Invalid UTF-8 in filename a\\xffé\\xfe in "${source}"` });
  await assert.rejects(commitOurs(join(at, 'r'), 'archive', join(at, 'absent')), { code: 'ENOENT' });
  // Nothing of the failed ones is visible, and the next one works.
  assert.equal((await Repo.open(join(at, 'r'))).refs.list().size, 0);
});

test('overrides and skip lists hold for the first tree that has the path, those that set modes for all', { skip }, async (t) => {
  const at = scratch(t);
  const lists = { OVERRIDES: '64 /a\n73 /\n=256 /a\n=33261 /b\n', SKIP: '/c\n/d\n' };
  for (const [name, text] of Object.entries(lists)) writeFileSync(join(at, name), text);
  const trees = ['one', 'two'].map((name) => {
    const tree = join(at, name);
    mkdirSync(join(tree, 'd'), { recursive: true, mode: 0o700 });
    for (const file of ['a', 'b', 'c', 'd/e']) writeFileSync(join(tree, file), `${name} ${file}`, { mode: 0o600 });
    return tree;
  });
  for (const chosen of [trees, trees.slice(0, 1), [...trees].reverse()]) {
    const real = join(at, 'real');
    ostree(`--repo=${real}`, 'init', '--mode=archive');
    const options = [`--statoverride=${at}/OVERRIDES`, `--skip-list=${at}/SKIP`, '--owner-uid=1', '--no-xattrs'];
    const commit = ostree(`--repo=${real}`, 'commit', '--orphan', '-s', 'x', ...options, ...chosen.map((tree) => `--tree=dir=${tree}`));
    const repo = await Repo.init(join(at, 'ours'), { mode: 'archive' });
    const modifiers: CommitModifiers = {
      ownerUid: 1,
      noXattrs: true,
      statOverride: parseStatOverrides(lists.OVERRIDES),
      skipList: parseSkipList(lists.SKIP),
    };
    await using transaction = await Transaction.begin(repo);
    const tree = MutableTree.empty();
    const matched = new Set<string>();
    for (const source of chosen) await commitDirectory(transaction, tree, source, modifiers, matched);
    checkAllMatched(modifiers, matched);
    const root = tree.write(transaction);
    const theirs = await Repo.open(real);
    assert.deepEqual(root, theirs.readCommit(theirs.refs.resolve(commit)).root);
    // And over a commit instead of directories.
    const again = ostree(
      `--repo=${real}`,
      'commit',
      '--orphan',
      '-s',
      'y',
      ...options.filter((option) => !option.startsWith('--skip')),
      `--tree=ref=${commit}`,
    );
    const overlaid = MutableTree.empty();
    await overlayCommit(transaction, overlaid, root, { ...modifiers, skipList: undefined });
    assert.deepEqual(overlaid.write(transaction), theirs.readCommit(theirs.refs.resolve(again)).root);
  }
});

test('what an override cannot do is an error', { skip }, async (t) => {
  const at = scratch(t);
  mkdirSync(join(at, 'src'));
  writeFileSync(join(at, 'src/a'), '');
  const commit = (text: string): Promise<unknown> => commitOurs(join(at, 'r'), 'archive', join(at, 'src'), { statOverride: parseStatOverrides(text) });
  // 0o60000: libostree stores a mode that nobody can read.
  await assert.rejects(commit('=24576 /a\n'), { code: 'OSTREE_OPTION_INVALID' });
  await assert.rejects(commit('24576 /a\n'), { code: 'OSTREE_OPTION_INVALID' });
  for (const text of ['420', '99999 /a', '-1 /a', '1e2 /a', ' 1 /a']) assert.throws(() => parseStatOverrides(text), { code: 'OSTREE_OPTION_INVALID' }, text);
});

for (const mode of ['bare', 'bare-user-only', 'bare-user', 'archive'] as const) {
  test(`${mode}: consumed files are moved where libostree moves them`, { skip: firstReason(skip, needsRoot()) }, async (t) => {
    const at = scratch(t);
    const repo = await Repo.init(join(at, 'ours'), { mode });
    ostree(`--repo=${at}/real`, 'init', `--mode=${mode}`);
    const inode = (path: string): bigint => lstatSync(path, { bigint: true }).ino;
    const cases: { name: string; modifiers: CommitModifiers; options: string[] }[] = [
      { name: 'plain', modifiers: {}, options: [] },
      { name: 'owner', modifiers: { ownerUid: 5 }, options: ['--owner-uid=5'] },
      { name: 'no xattrs', modifiers: { noXattrs: true }, options: ['--no-xattrs'] },
      { name: 'canonical', modifiers: { canonicalPermissions: true }, options: ['--canonical-permissions'] },
    ];
    for (const { name, modifiers, options } of cases) {
      const moved = ['real', 'ours'].map(async (whose) => {
        const source = join(at, `${whose}-${name}`);
        mkdirSync(join(source, 'd/skipped'), { recursive: true });
        writeFileSync(join(source, 'd/skipped/x'), '');
        writeFileSync(join(source, 'f'), `content for ${name}`);
        setXattr(join(source, 'f'), 'user.x', Buffer.from('y'));
        linkSync(join(source, 'f'), join(at, `${whose}-saved`));
        writeFileSync(join(at, 'SKIP'), '/d/skipped\n');
        let commit: Checksum;
        if (whose === 'ours') commit = (await commitOurs(repo.path, mode, source, { ...modifiers, consume: true, skipList: new Set(['/d/skipped']) })).checksum;
        else commit = ostree(`--repo=${at}/real`, 'commit', '--orphan', '--consume', `--skip-list=${at}/SKIP`, ...options, source) as Checksum;
        assert.equal(existsSync(source), false, `${whose} ${name}`);
        const opened = await Repo.open(join(at, whose));
        const file = opened.readDirTree(opened.readCommit(commit).root.tree).files[0];
        const result = inode(opened.objectPath('file', file?.checksum as Checksum)) === inode(join(at, `${whose}-saved`));
        rmSync(join(at, `${whose}-saved`));
        return { result, checksum: file?.checksum };
      });
      const [theirs, mine] = await Promise.all(moved);
      assert.deepEqual(mine, theirs, name);
      if (name === 'plain') assert.equal(mine?.result, mode === 'bare' || mode === 'bare-user-only');
    }
    assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
  });
}

for (const mode of modes) {
  test(`${mode}: consuming a directory leaves the commit and nothing else`, { skip }, async (t) => {
    const at = scratch(t);
    const source = join(at, 'src');
    makeSampleTree(source);
    execFileSync('cp', ['-a', source, join(at, 'kept')]);
    const real = commitReal(join(at, 'real'), mode, join(at, 'kept'), '--consume');
    assert.equal(existsSync(join(at, 'kept')), false);
    const { checksum, repo } = await commitOurs(join(at, 'ours'), mode, source, { consume: true });
    assert.equal(checksum, real);
    assert.equal(existsSync(source), false);
    assert.match(ostree(`--repo=${repo.path}`, 'fsck'), /no errors found/);
    // libostree leaves the times of files that it moves; ours are 0, as those of copied ones.
    assert.ok(storedFiles(join(at, 'ours'), mode, false) === storedFiles(join(at, 'real'), mode, false), 'files under objects/ differ');
  });
}

test('hard links of objects are taken without reading, with the result of reading', { skip: firstReason(skip, needsRoot()) }, async (t) => {
  for (const mode of ['bare', 'bare-user'] as const) {
    const at = scratch(t);
    const source = join(at, 'src');
    makeSampleTree(source);
    const { repo, checksum } = await commitOurs(join(at, 'ours'), mode, source);
    ostree(`--repo=${repo.path}`, 'checkout', ...(mode === 'bare-user' ? ['-U'] : []), checksum, join(at, 'out'));
    linkSync(join(at, 'out/d/suid'), join(at, 'out/another'));
    const devIno = scanDevIno(repo);
    const real = ostree(`--repo=${repo.path}`, 'commit', '--orphan', '--no-bindings', '--timestamp=@1', '--link-checkout-speedup', join(at, 'out'));
    const { checksum: ours, stats } = await commitOurs(repo.path, mode, join(at, 'out'), { devIno });
    assert.deepEqual(repo.readCommit(ours).root, repo.readCommit(repo.refs.resolve(real)).root);
    assert.ok(stats.devInoCacheHits > 600, `${mode}: ${stats.devInoCacheHits} hits`);
    // A modifier that changes the file must win over the shortcut.
    const changed = await commitOurs(repo.path, mode, join(at, 'out'), { devIno, ownerUid: 77 });
    assert.equal(changed.stats.devInoCacheHits, 0);
    const realChanged = ostree(
      `--repo=${repo.path}`,
      'commit',
      '--orphan',
      '--no-bindings',
      '--timestamp=@1',
      '--owner-uid=77',
      '--link-checkout-speedup',
      join(at, 'out'),
    );
    assert.deepEqual(repo.readCommit(changed.checksum).root, repo.readCommit(repo.refs.resolve(realChanged)).root);
  }
});

test('a directory with thousands of files is committed piece by piece, in each order of the threads the same', { skip }, async (t) => {
  const at = scratch(t);
  const source = join(at, 'src');
  mkdirSync(join(source, 'many/below'), { recursive: true });
  for (let index = 0; index < 2600; index++) writeFileSync(join(source, 'many', `file ${index}`), `${index % 700}`);
  for (let index = 0; index < 20; index++) mkdirSync(join(source, 'many', `directory ${index}`));
  writeFileSync(join(source, 'many/below/last'), '');
  const real = commitReal(join(at, 'real'), 'archive', source);
  for (const workers of [0, 1, 3]) {
    const repo = await Repo.init(join(at, `ours-${workers}`), { mode: 'archive' });
    await using transaction = await Transaction.begin(repo, { workers });
    const sent: number[] = [];
    const { workers: threads } = transaction;
    const run = threads.run.bind(threads);
    // What is sent to a thread comes back when it is too much: a share is never much larger than what one takes.
    threads.run = (task, ...rest) => {
      if ('parts' in task) sent.push(task.parts.reduce((sum, part) => sum + (part.rest?.length ?? 0), 0));
      return run(task, ...rest);
    };
    const tree = MutableTree.empty();
    await commitDirectory(transaction, tree, source);
    const root = tree.write(transaction);
    await transaction.commit();
    const expected = (await Repo.open(join(at, 'real'))).readCommit(real as Checksum).root;
    assert.deepEqual(root, expected);
    assert.ok(Math.max(0, ...sent) <= 1024, sent.join(' '));
  }
});
