/** Our checkouts beside those of the real `ostree`, entry by entry. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs, { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { removeXattr, setXattr } from '@cambium/system';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { S_IFLNK } from '@cambium/tree';
import { writeCommitObject } from '../commit/commit-object.ts';
import { encodeFileHeader } from '../format/object-format.ts';
import type { FileHeader, RepoMode } from '../format/types.ts';
import { MODES, makeRepo, ostree, record, removeTree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { Transaction } from '../write/transaction.ts';
import { type CheckoutOptions, checkout } from './checkout.ts';
import { parseCheckoutRecords, parseSkipList } from './checkout-lists.ts';

const NOBODY = 65534;
const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

type Case = [flags: string, options: Partial<CheckoutOptions>];

/** Both sides start from the same state of the destination, and end the same: in what stands there, and in whether they fail. */
async function compare(repoPath: string, rev: string, directory: string, [flags, options]: Case, prepare?: (destination: string) => void): Promise<void> {
  const destination = join(directory, 'out');
  const clear = (): void => {
    if (lstatSync(destination, { throwIfNoEntry: false }) !== undefined) removeTree(destination);
    // Cached copies of one side would be links of the other.
    rmSync(join(repoPath, 'uncompressed-objects-cache'), { recursive: true, force: true });
  };
  clear();
  prepare?.(destination);
  const theirs = tryOstree(repoPath, ['checkout', ...flags.split(' ').filter((flag) => flag !== ''), rev, destination]);
  const expected = record(destination);
  clear();
  prepare?.(destination);
  const repo = await Repo.open(repoPath);
  let failure: unknown;
  for (const threads of [1, 2]) {
    if (threads === 2) {
      clear();
      prepare?.(destination);
    }
    failure = undefined;
    try {
      await checkout(repo, repo.refs.resolve(rev), { destination, threads, ...options });
    } catch (error) {
      failure = error;
    }
    // libostree 2022.7 lets a file replace a directory in such a union, but not the reverse.
    if (options.whiteouts === true && options.overwrite === 'union' && /opendir\(d\): Not a directory/.test(theirs.stderr)) {
      assert.equal(failure, undefined);
      assert.equal(lstatSync(join(destination, 'd')).isDirectory(), true);
      continue;
    }
    // What a user-mode checkout made readable has another mode than the object: libostree then sees a difference in equal files.
    if (/ to unreadable: linkat: File exists/.test(theirs.stderr) && options.overwrite === 'union-identical' && failure === undefined) continue;
    assert.equal(failure === undefined, theirs.status === 0, `${flags}: ${failure instanceof Error ? failure.stack : 'no failure'}\nostree: ${theirs.stderr}`);
    const found = record(destination);
    // libostree 2022.7 forgets the owner of a symlink that replaces something.
    if (options.forceCopy === true && options.overwrite === 'union')
      for (const tree of [found, expected]) for (const entry of Object.values(tree)) if (entry.kind === S_IFLNK) entry.owner = '';
    if (failure === undefined) assert.deepEqual(found, expected, flags);
    else assert.ok(isKnownError(failure), String(failure));
  }
  clear();
}

const PLAIN: readonly Case[] = [
  ['', {}],
  ['-U', { userMode: true }],
  ['-H', { requireHardlinks: true }],
  ['-U -H', { userMode: true, requireHardlinks: true }],
  ['-C', { forceCopy: true }],
  ['-U -C', { userMode: true, forceCopy: true }],
  ['-M', { bareUserOnlyDirs: true }],
  ['-U -M', { userMode: true, bareUserOnlyDirs: true }],
  ['-U --disable-cache', { userMode: true, disableCache: true }],
  ['-U --fsync=true', { userMode: true, fsync: true }],
  ['-U --subpath=/d', { userMode: true, subpath: '/d' }],
  ['-U --subpath=d/sub', { userMode: true, subpath: 'd/sub' }],
  ['-U --subpath=/a', { userMode: true, subpath: '/a' }],
  ['-U --subpath=/link', { userMode: true, subpath: '/link' }],
  ['--subpath=/d/large', { subpath: '/d/large' }],
  ['-U --subpath=/none', { userMode: true, subpath: '/none' }],
  ['-U --subpath=/a/b', { userMode: true, subpath: '/a/b' }],
  ['-U --subpath=/none --allow-noent', { userMode: true, subpath: '/none', allowNoent: true }],
  ['-U --union-identical', { userMode: true, overwrite: 'union-identical' }],
];

for (const mode of MODES) {
  test(`checkouts of ${mode} repositories`, { skip }, async (t) => {
    const directory = scratch(t);
    const { repo } = makeRepo(directory, mode);
    for (const plain of PLAIN) await compare(repo, 'main^', directory, plain);
  });

  test(`merging checkouts of ${mode} repositories`, { skip }, async (t) => {
    const directory = scratch(t);
    const { repo } = makeRepo(directory, mode);
    const user = mode === 'bare' ? '' : '-U';
    const userMode = mode !== 'bare';
    const merged = (destination: string): void => {
      mkdirSync(join(destination, 'd/keep'), { recursive: true, mode: 0o711 });
      writeFileSync(join(destination, 'a'), 'old\n');
      writeFileSync(join(destination, 'd/keep/f'), 'kept\n');
      writeFileSync(join(destination, 'd/exe'), 'old exe\n');
      symlinkSync('/etc/hosts', join(destination, 'zero'));
      symlinkSync('elsewhere', join(destination, 'link'));
      writeFileSync(join(destination, 'd/large'), 'small\n');
    };
    const fileOverDirectory = (destination: string): void => {
      mkdirSync(join(destination, 'a/b/c'), { recursive: true });
    };
    const directoryOverFile = (destination: string): void => {
      mkdirSync(destination);
      writeFileSync(join(destination, 'd'), 'file\n');
    };
    const sameCommit = (destination: string): void => {
      ostree(repo, 'checkout', ...(userMode ? ['-U'] : []), ...(mode === 'archive' ? [] : ['-H']), 'main^', destination);
    };
    const changedEmpty = (destination: string): void => {
      sameCommit(destination);
      writeFileSync(join(destination, 'zero'), 'not empty\n');
    };
    const changedLink = (destination: string): void => {
      sameCommit(destination);
      rmSync(join(destination, 'link'));
      symlinkSync('other', join(destination, 'link'));
    };
    const linkAtTop = (destination: string): void => {
      mkdirSync(`${destination}-target`, { recursive: true });
      symlinkSync(`${destination}-target`, destination);
    };
    const cases: [Case, (destination: string) => void][] = [];
    const states: ((destination: string) => void)[] = [merged, fileOverDirectory, directoryOverFile, sameCommit, changedEmpty, changedLink];
    for (const prepare of states) {
      cases.push(
        [[user, { userMode }], prepare],
        [[`${user} --union`, { userMode, overwrite: 'union' }], prepare],
        [[`${user} --union-add`, { userMode, overwrite: 'union-add' }], prepare],
        [[`${user} -H --union-identical`, { userMode, overwrite: 'union-identical', requireHardlinks: true }], prepare],
        [[`${user} -C --union`, { userMode, overwrite: 'union', forceCopy: true }], prepare],
        [[`${user} --union --whiteouts`, { userMode, overwrite: 'union', whiteouts: true }], prepare],
        [[`${user} --union-add --whiteouts`, { userMode, overwrite: 'union-add', whiteouts: true }], prepare],
        [[`${user} --union --subpath=/a`, { userMode, overwrite: 'union', subpath: '/a' }], prepare],
        [[`${user} --subpath=/a`, { userMode, subpath: '/a' }], prepare],
      );
    }
    for (const [options, prepare] of cases) await compare(repo, 'main^', directory, options, prepare);
    linkAtTop(join(directory, 'top'));
    const opened = await Repo.open(repo);
    await checkout(opened, opened.refs.resolve('main^'), { destination: join(directory, 'top'), userMode, overwrite: 'union' });
    assert.equal(readFileSync(join(directory, 'top-target/a'), 'utf8'), 'hello\n');
  });

  test(`whiteouts in ${mode} repositories`, { skip }, async (t) => {
    const directory = scratch(t);
    const tree = join(directory, 'tree');
    makeWhiteouts(tree);
    const repo = join(directory, 'repo');
    ostree(repo, 'init', `--mode=${mode}`);
    ostree(repo, 'commit', '-b', 'w', tree);
    const upper = (destination: string): void => {
      for (const name of ['o/x', 'gone/x', 'link']) mkdirSync(join(destination, name), { recursive: true });
      writeFileSync(join(destination, 'o/old'), 'old\n');
      writeFileSync(join(destination, 'dir'), 'file\n');
      writeFileSync(join(destination, 'both'), 'old\n');
    };
    const device = (destination: string): void => {
      upper(destination);
      writeFileSync(join(destination, 'foo'), 'in the way\n');
    };
    await compare(repo, 'w', directory, ['--whiteouts', { whiteouts: true }]);
    await compare(repo, 'w', directory, ['--whiteouts --union', { whiteouts: true, overwrite: 'union' }], upper);
    await compare(repo, 'w', directory, ['--whiteouts --union-add', { whiteouts: true, overwrite: 'union-add' }], upper);
    await compare(repo, 'w', directory, ['-U', { userMode: true }]);
    await compare(repo, 'w', directory, ['--process-passthrough-whiteouts', { passthroughWhiteouts: true }]);
    await compare(repo, 'w', directory, ['-U --process-passthrough-whiteouts', { userMode: true, passthroughWhiteouts: true }]);
    await compare(repo, 'w', directory, ['--union --process-passthrough-whiteouts', { passthroughWhiteouts: true, overwrite: 'union' }], device);
    await compare(repo, 'w', directory, ['--union-add --process-passthrough-whiteouts', { passthroughWhiteouts: true, overwrite: 'union-add' }], device);
  });
}

function makeWhiteouts(tree: string): void {
  for (const name of ['d', 'o', '.wh.dir', '.ostree-wh.dir', 'again']) mkdirSync(join(tree, name), { recursive: true });
  const files = {
    '.ostree-wh.foo': '',
    'd/.ostree-wh.bar': 'content',
    '.wh.gone': '',
    '.wh.both': '',
    both: 'new\n',
    '.wh.again': '',
    'again/in': 'in\n',
    'o/.wh..wh..opq': '',
    'o/new': 'new\n',
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(tree, name), content);
  symlinkSync('x', join(tree, '.wh.link'));
  symlinkSync('y', join(tree, 'd/.ostree-wh.symlink'));
  execFileSync('chmod', ['640', join(tree, 'd/.ostree-wh.bar')]);
  execFileSync('chown', ['3:4', join(tree, 'd/.ostree-wh.bar')]);
}

test('attributes count where a union takes only what is identical', { skip }, async (t) => {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  mkdirSync(tree);
  writeFileSync(join(tree, 'f'), 'text\n', { mode: 0o644 });
  setXattr(join(tree, 'f'), Buffer.from('user.one'), Buffer.from('1'));
  writeFileSync(join(tree, 'plain'), 'text\n', { mode: 0o644 });
  symlinkSync('f', join(tree, 'link'));
  setXattr(join(tree, 'link'), Buffer.from('trusted.one'), Buffer.from('1'));
  const repo = join(directory, 'r');
  ostree(repo, 'init', '--mode=bare');
  ostree(repo, 'commit', '-b', 'main', `--tree=dir=${tree}`);
  const union: Case = ['-H --union-identical', { overwrite: 'union-identical', requireHardlinks: true }];
  const set = (path: string, name: string): void => setXattr(path, Buffer.from(name), Buffer.from('1'));
  const changes: ((destination: string) => void)[] = [
    () => undefined,
    (out) => removeXattr(join(out, 'f'), Buffer.from('user.one')),
    (out) => set(join(out, 'f'), 'user.two'),
    (out) => set(join(out, 'plain'), 'user.two'),
    (out) => removeXattr(join(out, 'link'), Buffer.from('trusted.one')),
    (out) => set(join(out, 'link'), 'trusted.two'),
  ];
  for (const change of changes) {
    await compare(repo, 'main', directory, union, (destination) => {
      ostree(repo, 'checkout', '-C', 'main', destination);
      change(destination);
    });
  }
});

test('skip lists and lists of checkouts', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo } = makeRepo(directory, 'bare-user');
  for (const text of ['/d/sub/\n/a\n', '/d/sub\n/d/exe\n', 'a\n\n/link\n', '/\n', '/empty/\n/zero\n']) {
    const file = join(directory, 'skip');
    writeFileSync(file, text);
    for (const sub of [undefined, '/d', '/a']) {
      const flags = sub === undefined ? '' : ` --subpath=${sub}`;
      await compare(repo, 'main^', directory, [
        `-U --skip-list=${file}${flags}`,
        { userMode: true, skipList: parseSkipList(text), ...(sub === undefined ? {} : { subpath: sub }) },
      ]);
    }
  }
  const first = [
    { rev: 'main^', subpath: '/a' },
    { rev: 'main', subpath: '/d' },
  ];
  assert.deepEqual(parseCheckoutRecords(Buffer.from('main^\0/a\0main\0/d\0deep/other')), first);
  const records = Buffer.from('main^\0/a\0main\0/d\0deep/other\0/new');
  assert.deepEqual(parseCheckoutRecords(records), [...first, { rev: 'deep/other', subpath: '/new' }]);
  const file = join(directory, 'records');
  writeFileSync(file, records);
  const [theirs, ours] = [join(directory, 'theirs'), join(directory, 'ours')];
  ostree(repo, 'checkout', '-U', '--union', `--from-file=${file}`, theirs);
  const expected = record(theirs);
  removeTree(theirs);
  const opened = await Repo.open(repo);
  for (const { rev, subpath } of parseCheckoutRecords(records)) {
    await checkout(opened, opened.refs.resolve(rev), { destination: ours, userMode: true, overwrite: 'union', subpath });
  }
  assert.deepEqual(record(ours), expected);
});

test('a parent repository of another mode', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: parent } = makeRepo(directory, 'archive');
  for (const mode of MODES) {
    const repo = join(directory, `child-${mode}`);
    ostree(repo, 'init', `--mode=${mode}`);
    ostree(repo, 'config', 'set', 'core.parent', parent);
    for (const options of [{ userMode: true }, { userMode: mode === 'bare-user-only' }]) {
      const opened = await Repo.open(repo);
      const [ours, theirs] = [join(directory, 'ours'), join(directory, 'theirs')];
      await checkout(opened, opened.refs.resolve('main'), { destination: ours, ...options });
      ostree(parent, 'checkout', ...(options.userMode ? ['-U'] : []), '-C', ...(mode === 'bare-user-only' ? ['-M'] : []), 'main', theirs);
      const strip = (tree: ReturnType<typeof record>): unknown => Object.entries(tree).map(([path, { kind, content, owner }]) => [path, kind, content, owner]);
      assert.deepEqual(strip(record(ours)), strip(record(theirs)), mode);
      removeTree(ours);
      removeTree(theirs);
    }
  }
});

test('symlinks below the destination are not followed', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo } = makeRepo(directory, 'archive');
  const outside = join(directory, 'outside');
  for (const overwrite of ['union', 'union-add'] as const) {
    for (const whiteouts of [false, true]) {
      const destination = join(directory, 'out');
      mkdirSync(outside);
      mkdirSync(destination);
      symlinkSync(outside, join(destination, 'd'));
      const opened = await Repo.open(repo);
      const work = checkout(opened, opened.refs.resolve('main^'), { destination, userMode: true, overwrite, whiteouts });
      if (overwrite === 'union' && whiteouts) {
        await work;
        assert.equal(lstatSync(join(destination, 'd')).isDirectory(), true);
      } else await assert.rejects(work, (error) => isKnownError(error, 'OSTREE_CHECKOUT_EXISTS'));
      assert.deepEqual(record(outside)[''] && Object.keys(record(outside)), ['']);
      removeTree(destination);
      rmSync(outside, { recursive: true });
    }
  }
});

test('without privilege: unreadable files and directories nobody may write to', { skip }, async (t) => {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  mkdirSync(join(tree, 'closed/in'), { recursive: true });
  mkdirSync(join(tree, 'none'));
  for (const [name, mode] of Object.entries({ 'closed/in/f': 0o644, unreadable: 0, 'none/z': 0o600 })) {
    writeFileSync(join(tree, name), name);
    chmodSync(join(tree, name), mode);
  }
  for (const [name, mode] of Object.entries({ 'closed/in': 0o500, closed: 0o500, none: 0 })) chmodSync(join(tree, name), mode);
  const repo = join(directory, 'repo');
  ostree(repo, 'init', '--mode=bare-user');
  ostree(repo, 'commit', '-b', 'u', tree);
  execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, repo]);
  // The tests' own directory may be closed to others: theirs is a copy that is not.
  chmodSync(directory, 0o777);
  const code = `import { checkout } from ${JSON.stringify(import.meta.resolve('./checkout.js'))};
    import { Repo } from ${JSON.stringify(import.meta.resolve('../repo/repo.js'))};
    const repo = await Repo.open(process.argv[1]);
    await checkout(repo, repo.refs.resolve('u'), { destination: process.argv[2], ...JSON.parse(process.argv[3]) })
      .catch((error) => { console.log(error.code); });`;
  const asNobody = (destination: string, options: object): string =>
    execFileSync(process.execPath, ['--input-type=module', '-e', code, repo, destination, JSON.stringify(options)], {
      uid: NOBODY,
      gid: NOBODY,
      encoding: 'utf8',
      cwd: '/',
    });
  if (spawnSync('test', ['-r', import.meta.filename], { uid: NOBODY, gid: NOBODY }).status !== 0) {
    t.skip('the build is in a directory that only root may read');
    return;
  }
  for (const options of [{}, { forceCopy: true }]) {
    const destination = join(directory, `out${Object.keys(options).length}`);
    assert.equal(asNobody(destination, { userMode: true, ...options }), '');
    const modes = Object.entries(record(destination)).map(([path, { mode }]) => `${path} ${mode}`);
    assert.deepEqual(modes, [' 755', 'closed 500', 'closed/in 500', 'closed/in/f 644', 'none 0', 'none/z 600', 'unreadable 400']);
  }
  assert.equal(asNobody(join(directory, 'denied'), {}), 'SYSTEM_DENIED\n');
});

test('many files go through worker threads', { skip }, async (t) => {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  for (let d = 0; d < 12; d++) {
    mkdirSync(join(tree, `d${d}`), { recursive: true });
    for (let f = 0; f < 150; f++) writeFileSync(join(tree, `d${d}/f${f}`), `${d % 7} ${f} `.repeat(f));
  }
  mkdirSync(join(tree, 'flat'));
  for (let f = 0; f < 1500; f++) writeFileSync(join(tree, `flat/f${f}`), `flat ${f}`);
  for (const mode of ['archive', 'bare-user'] as const satisfies RepoMode[]) {
    const repo = join(directory, mode);
    ostree(repo, 'init', `--mode=${mode}`);
    ostree(repo, 'commit', '-b', 'm', tree);
    for (const [flags, options] of [
      ['-U', {}],
      ['-U -C', { forceCopy: true }],
    ] as const) {
      const destination = join(directory, 'out');
      ostree(repo, 'checkout', ...flags.split(' '), 'm', destination);
      const expected = record(destination);
      rmSync(destination, { recursive: true });
      rmSync(join(repo, 'uncompressed-objects-cache'), { recursive: true, force: true });
      const opened = await Repo.open(repo);
      const result = await checkout(opened, opened.refs.resolve('m'), { destination, userMode: true, threads: 2, ...options });
      assert.equal(result.linked + result.copied, 3300);
      assert.deepEqual(record(destination), expected);
      rmSync(destination, { recursive: true });
      rmSync(join(repo, 'uncompressed-objects-cache'), { recursive: true, force: true });
    }
    // A corrupt object found by a worker keeps its code, and its file does not appear.
    const { checksum } = [...(await Repo.open(repo)).listObjects()].find(({ type }) => type === 'file') as { checksum: string };
    const broken = await Repo.open(repo);
    const object = broken.objectPath('file', checksum as never);
    const bytes = readFileSync(object);
    writeFileSync(object, bytes.fill(0x20, bytes.length - 4));
    const work = checkout(broken, broken.refs.resolve('m'), { destination: join(directory, 'broken'), userMode: true, forceCopy: true, threads: 2 });
    await assert.rejects(work, (error) => isKnownError(error, 'OSTREE_OBJECT_CORRUPT'));
    rmSync(join(directory, 'broken'), { recursive: true });
  }
});

test('missing and corrupt objects, a missing parent directory, an abort', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo } = makeRepo(directory, 'archive');
  const opened = await Repo.open(repo);
  const commit = opened.refs.resolve('main^');
  const { root } = opened.readCommit(commit);
  const { files } = opened.readDirTree(root.tree);
  const destination = join(directory, 'out');
  const fails = async (code: string, options: Partial<CheckoutOptions> = {}): Promise<void> => {
    await assert.rejects(checkout(opened, commit, { destination, userMode: true, ...options }), (error) => isKnownError(error, code));
    if (existsSync(destination)) removeTree(destination);
  };
  await fails('OSTREE_PATH_NOT_FOUND', { destination: join(directory, 'no/such/parent') });
  await fails('OSTREE_CHECKOUT_HARDLINK', { requireHardlinks: true });
  await assert.rejects(checkout(opened, commit, { destination, userMode: true }, AbortSignal.abort()), { name: 'AbortError' });
  if (existsSync(destination)) removeTree(destination);
  const path = opened.objectPath('file', files[0]!.checksum);
  const bytes = readFileSync(path);
  for (const broken of [
    bytes.subarray(0, bytes.length - 3),
    bytes.subarray(0, 12),
    Buffer.alloc(0),
    Buffer.concat([bytes.subarray(0, 20), Buffer.of(bytes[20]! ^ 1), bytes.subarray(21)]),
  ]) {
    writeFileSync(path, broken);
    await fails('OSTREE_OBJECT_CORRUPT', { disableCache: true });
  }
  rmSync(path);
  await fails('OSTREE_OBJECT_MISSING', { disableCache: true });
  rmSync(opened.objectPath('dirmeta', root.meta));
  await fails('OSTREE_OBJECT_MISSING', { disableCache: true });
});

test('a file of over 2 GiB is compared in pieces', async (t) => {
  const directory = scratch(t);
  const repo = await Repo.init(join(directory, 'repo'), { mode: 'bare-user-only' });
  const size = 2 ** 31 + 2 ** 20;
  const header: FileHeader = { uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] };
  const hash = createHash('sha256').update(encodeFileHeader(header));
  const zeros = new Uint8Array(2 ** 20);
  for (let at = 0; at < size; at += zeros.length) hash.update(zeros);
  const checksum = hash.digest('hex') as Checksum;
  // Holes all of them: they take no room.
  const holes = (path: string): void => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, '', { mode: 0o644 });
    truncateSync(path, size);
  };
  holes(repo.objectPath('file', checksum));
  const transaction = await Transaction.begin(repo);
  const meta = transaction.writeDirMeta({ uid: 0, gid: 0, mode: 0o040755, xattrs: [] });
  const tree = transaction.writeDirTree({ files: [{ name: 'large', checksum }], dirs: [] });
  const commit = writeCommitObject(transaction, { root: { tree, meta }, timestamp: 1n });
  await transaction.commit();
  const destination = join(directory, 'out');
  holes(join(destination, 'large'));
  const { kept } = await checkout(repo, commit, { destination, overwrite: 'union-identical', requireHardlinks: true });
  assert.equal(kept, 1);
});

test('an object in the cache is on disk before it has its name', { skip: firstReason(skip, needsPeer('ostree', 'cp')) }, async (t) => {
  const directory = scratch(t);
  mkdirSync(join(directory, 'tree'));
  writeFileSync(join(directory, 'tree/small'), 'small');
  writeFileSync(join(directory, 'tree/large'), Buffer.alloc(2_000_000, 'large'));
  const path = join(directory, 'repo');
  ostree(path, 'init', '--mode=archive');
  ostree(path, 'commit', '-b', 'main', join(directory, 'tree'));
  for (const [fsync, expected] of [
    ['true', ['sync', 'name', 'sync', 'name']],
    ['false', ['name', 'name']],
  ] as const) {
    ostree(path, 'config', 'set', 'core.fsync', fsync);
    rmSync(join(path, 'uncompressed-objects-cache'), { recursive: true, force: true });
    const repo = await Repo.open(path);
    const seen: string[] = [];
    const { fsyncSync, linkSync } = fs;
    fs.fsyncSync = (fd) => {
      seen.push('sync');
      fsyncSync(fd);
    };
    fs.linkSync = (from, to) => {
      if (String(to).includes('uncompressed-objects-cache')) seen.push('name');
      linkSync(from, to);
    };
    syncBuiltinESMExports();
    try {
      await checkout(repo, repo.refs.resolve('main'), { destination: join(directory, `out-${fsync}`), userMode: true, threads: 1 });
    } finally {
      Object.assign(fs, { fsyncSync, linkSync });
      syncBuiltinESMExports();
    }
    assert.deepEqual(seen, expected);
  }
});
