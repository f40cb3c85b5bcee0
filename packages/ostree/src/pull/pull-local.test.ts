/** Copies between repositories of all modes, beside the real `ostree pull-local`. */
import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { type Checksum, isKnownError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { fsck } from '../check/fsck.ts';
import { MODES, makeRepo, ostree, record, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { type PullLocalOptions, pullLocal } from './pull-local.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

/** Everything that a pull decides: refs, objects with what they hold, markers. */
function state(path: string): unknown {
  const objects = record(join(path, 'objects'));
  // Compressed bytes are nobody's promise; the content they hold is checked by fsck. Links are: by both sides, to the same source.
  const listed = Object.entries(objects).map(([name, { kind, mode, owner, content, xattrs }]) => [
    name,
    kind,
    kind === 0o040000 ? '' : mode,
    owner,
    /\.filez$/.test(name) || kind === 0o040000 ? '' : content,
    xattrs,
  ]);
  return {
    objects: listed,
    state: Object.keys(record(join(path, 'state'))),
    refs: Object.entries(record(join(path, 'refs'))).map(([name, { content }]) => [name, content]),
  };
}

async function compare(
  directory: string,
  source: string,
  mode: string,
  flags: string[],
  options: PullLocalOptions,
  prepare?: (path: string) => void,
): Promise<void> {
  const [theirs, ours] = [join(directory, 'theirs'), join(directory, 'ours')];
  for (const path of [theirs, ours]) {
    rmSync(path, { recursive: true, force: true });
    ostree(path, 'init', `--mode=${mode}`);
    prepare?.(path);
  }
  const expected = tryOstree(theirs, ['pull-local', source, ...flags]);
  let failure: unknown;
  try {
    await pullLocal(await Repo.open(ours), await Repo.open(source), options);
  } catch (error) {
    failure = error;
  }
  assert.equal(
    failure === undefined,
    expected.status === 0,
    `${mode} ${flags}: ${failure instanceof Error ? failure.stack : 'no failure'}\nostree: ${expected.stderr}`,
  );
  if (failure !== undefined) {
    assert.ok(isKnownError(failure), String(failure));
    return;
  }
  assert.deepEqual(state(ours), state(theirs), `${mode} ${flags}`);
  assert.equal(tryOstree(ours, ['fsck', '-q']).status, tryOstree(theirs, ['fsck', '-q']).status);
}

for (const from of MODES) {
  test(`pull-local from ${from} repositories`, { skip }, async (t) => {
    const directory = scratch(t);
    const { repo: source, first, second } = makeRepo(directory, from);
    ostree(source, 'commit', '-b', 'detached', '--add-detached-metadata-string=k=v', '--timestamp=@5', '--tree=ref=main');
    for (const mode of MODES) {
      // bare-user-only holds neither owners nor setuid bits: what was committed elsewhere fails there, in libostree only sometimes and late.
      if (mode === 'bare-user-only' && from !== 'bare-user-only') continue;
      const cases: [string[], PullLocalOptions][] = [
        [[], {}],
        [['main'], { refs: ['main'] }],
        [['main', '--depth=1'], { refs: ['main'], depth: 1 }],
        [['main', '--depth=-1', '--remote=origin'], { refs: ['main'], depth: -1, remote: 'origin' }],
        [['--untrusted', 'deep/other'], { untrusted: true, refs: ['deep/other'] }],
        [['--commit-metadata-only', 'main'], { commitMetadataOnly: true, refs: ['main'] }],
        [['nothing'], { refs: ['nothing'] }],
      ];
      for (const [flags, options] of cases) await compare(directory, source, mode, flags, options);
      // By commit, and on top of what an earlier pull left: a partial commit becomes whole.
      const prepare = (path: string): void => {
        ostree(path, 'pull-local', '--commit-metadata-only', '--depth=-1', source, 'main');
      };
      await compare(directory, source, mode, ['main'], { refs: ['main'] }, prepare);
      await compare(directory, source, mode, [first], { refs: [first] }, prepare);
      const again = await pullLocal(await Repo.open(join(directory, 'ours')), await Repo.open(source), { refs: [first] });
      assert.deepEqual([again.stats.contentWritten, again.commits], [0, [first]]);
    }
    const repo = await Repo.open(source);
    assert.equal(repo.refs.read('main'), second);
  });
}

test('files of bare-user repositories are linked into bare-user-only ones, as libostree does', { skip }, async (t) => {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  mkdirSync(tree);
  writeFileSync(join(tree, 'file'), 'content', { mode: 0o644 });
  writeFileSync(join(tree, 'script'), 'script', { mode: 0o755 });
  writeFileSync(join(tree, 'hidden'), 'not for its owner', { mode: 0o044 });
  symlinkSync('file', join(tree, 'link'));
  const source = join(directory, 'source');
  ostree(source, 'init', '--mode=bare-user');
  ostree(source, 'commit', '-b', 'main', '--canonical-permissions', `--tree=dir=${tree}`);
  const opened = await Repo.open(source);
  const root = opened.readDirTree(opened.readCommit(opened.refs.resolve('main')).root.tree);
  const shared = async (path: string): Promise<string[]> => {
    const repo = await Repo.open(path);
    const same = root.files.filter(({ checksum }) => lstatSync(repo.objectPath('file', checksum)).ino === lstatSync(opened.objectPath('file', checksum)).ino);
    return same.map(({ name }) => name);
  };
  for (const [flags, options] of [
    [[], {}],
    [['--untrusted'], { untrusted: true }],
  ] as const) {
    for (const name of ['theirs', 'ours']) {
      rmSync(join(directory, name), { recursive: true, force: true });
      ostree(join(directory, name), 'init', '--mode=bare-user-only');
    }
    ostree(join(directory, 'theirs'), 'pull-local', source, ...flags);
    await pullLocal(await Repo.open(join(directory, 'ours')), opened, options);
    assert.deepEqual(await shared(join(directory, 'ours')), ['file', 'script']);
    // libostree links what its owner may not read too, with the mode of the other repository: its fsck does not accept that.
    assert.deepEqual(
      (await shared(join(directory, 'theirs'))).filter((name) => name !== 'hidden'),
      ['file', 'script'],
    );
    assert.match(ostree(join(directory, 'ours'), 'fsck'), /no errors found/);
  }
});

test('links where it can, rewrites where it must', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: source } = makeRepo(directory, 'archive');
  for (const [mode, linked] of [
    ['archive', true],
    ['bare-user', false],
  ] as const) {
    const path = join(directory, mode);
    const repo = await Repo.init(path, { mode });
    const opened = await Repo.open(source);
    const result = await pullLocal(repo, opened, { refs: ['main'] });
    const files = [...repo.listObjects()];
    for (const { type, checksum } of files) {
      const shared = lstatSync(repo.objectPath(type, checksum)).ino === lstatSync(opened.objectPath(type, checksum)).ino;
      assert.equal(shared, linked || type !== 'file', type);
    }
    assert.equal(result.linked, files.filter(({ type }) => linked || type !== 'file').length);
  }
});

test('a corrupt source: metadata is always verified, content when it is rewritten or not trusted', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: source, second } = makeRepo(directory, 'archive');
  const opened = await Repo.open(source);
  const { root } = opened.readCommit(second as Checksum);
  const file = opened.readDirTree(root.tree).files[0]!.checksum;
  const attempts: ['file' | 'dirtree' | 'dirmeta', PullLocalOptions, 'archive' | 'bare-user'][] = [
    ['file', { untrusted: true }, 'archive'],
    ['file', {}, 'bare-user'],
    ['dirtree', {}, 'archive'],
    ['dirmeta', {}, 'bare-user'],
  ];
  for (const [type, options, mode] of attempts) {
    const path = opened.objectPath(type, type === 'file' ? file : type === 'dirtree' ? root.tree : root.meta);
    const bytes = readFileSync(path);
    const changed = Buffer.from(bytes);
    const middle = Math.floor(changed.length / 2);
    changed[middle] = changed[middle]! ^ 0x10;
    writeFileSync(path, changed);
    const target = await Repo.init(join(directory, `${type}-${mode}`), { mode });
    await assert.rejects(pullLocal(target, opened, { refs: ['main'], ...options }), { code: 'OSTREE_OBJECT_CORRUPT' });
    assert.equal(target.refs.read('main'), undefined);
    assert.equal(target.hasObject('commit', second as Checksum), false);
    writeFileSync(path, bytes);
    // The next one carries on from there.
    await pullLocal(target, opened, { refs: ['main'], ...options });
    assert.deepEqual((await fsck(target)).bad, []);
    assert.equal(target.isPartial(second as Checksum), false);
  }
  rmSync(opened.objectPath('file', file));
  const target = await Repo.init(join(directory, 'last'), { mode: 'archive' });
  await assert.rejects(pullLocal(target, opened, { refs: ['main'] }), { code: 'OSTREE_OBJECT_MISSING' });
});

test('bindings, pins, and files that bare-user-only cannot hold', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: source, first, second } = makeRepo(directory, 'bare-user');
  ostree(source, 'refs', '--create=alias', 'main');
  const opened = await Repo.open(source);
  await compare(directory, source, 'archive', ['alias'], { refs: ['alias'] });
  await compare(directory, source, 'archive', ['--disable-verify-bindings', 'alias'], { refs: ['alias'], disableVerifyBindings: true });
  const repo = await Repo.init(join(directory, 'pinned'), { mode: 'archive' });
  await pullLocal(repo, opened, { refs: [`main@${first}`] });
  assert.equal(repo.refs.read('main'), first);
  const strict = await Repo.init(join(directory, 'strict'), { mode: 'bare-user-only' });
  await assert.rejects(pullLocal(strict, opened, { refs: ['main'], bareUserOnlyFiles: true }), { code: 'OSTREE_FILE_UNSUPPORTED' });
  await assert.rejects(pullLocal(strict, opened, { refs: ['main'] }), { code: 'OSTREE_FILE_UNSUPPORTED' });
  assert.equal(strict.refs.read('main'), undefined);
  opened.writeDetachedMetadata(second as Checksum, [['later', new Variant('s', 'x')]]);
  await pullLocal(repo, opened, { refs: ['main'] });
  opened.writeDetachedMetadata(second as Checksum, [['later', new Variant('s', 'y')]]);
  await pullLocal(repo, opened, { refs: ['main'] });
  assert.equal(ostree(repo.path, 'show', '--print-detached-metadata-key=later', 'main'), "'y'\n");
});

test('damaged content: refused where it is looked at, or copied as libostree does and told', { skip }, async (t) => {
  const directory = scratch(t);
  const content = Buffer.from('hello world content\n');
  const large = Buffer.alloc(3_000_000, 'large content ');
  mkdirSync(join(directory, 'tree'));
  writeFileSync(join(directory, 'tree/a'), content);
  writeFileSync(join(directory, 'tree/large'), large);
  const modes = ['archive', 'bare', 'bare-user', 'bare-user-only'] as const;
  for (const from of modes) {
    const source = join(directory, `source-${from}`);
    ostree(source, 'init', `--mode=${from}`);
    ostree(source, 'commit', '-b', 'main', '--canonical-permissions', '--timestamp=@1', join(directory, 'tree'));
    const opened = await Repo.open(source);
    const damaged = opened.readDirTree(opened.readCommit(opened.refs.resolve('main')).root.tree).files.map(({ checksum }) => checksum);
    for (const checksum of damaged) {
      const path = opened.objectPath('file', checksum);
      const bytes = readFileSync(path);
      if (from === 'archive') {
        const contentAt = 8 + bytes.readUInt32BE(0);
        const upper = Buffer.from(inflateRawSync(bytes.subarray(contentAt)).toString().toUpperCase());
        writeFileSync(path, Buffer.concat([bytes.subarray(0, contentAt), deflateRawSync(upper)]));
      } else writeFileSync(path, bytes.toString().toUpperCase());
    }
    for (const mode of modes) {
      const [theirs, ours] = [join(directory, 'theirs'), join(directory, 'ours')];
      for (const path of [theirs, ours]) {
        rmSync(path, { recursive: true, force: true });
        ostree(path, 'init', `--mode=${mode}`);
      }
      const what = `${from} to ${mode}`;
      assert.equal(tryOstree(theirs, ['pull-local', source, 'main']).status, 0, what);
      const target = await Repo.open(ours);
      const isLinked = from === mode || (from === 'bare-user' && mode === 'bare-user-only');
      if (!isLinked) await assert.rejects(pullLocal(target, opened, { refs: ['main'] }), { code: 'OSTREE_OBJECT_CORRUPT' }, what);
      await assert.rejects(pullLocal(target, opened, { refs: ['main'], untrusted: true }), { code: 'OSTREE_OBJECT_CORRUPT' }, what);
      assert.equal(target.refs.read('main'), undefined);
      const told: string[] = [];
      await pullLocal(target, opened, { refs: ['main'], acceptCorrupt: true }, undefined, (event) => {
        if (event.type === 'corrupt') told.push(event.checksum);
      });
      assert.deepEqual(told.sort(), isLinked ? [] : [...damaged].sort(), what);
      for (const name of ['/a', '/large']) assert.equal(ostree(ours, 'cat', 'main', name), ostree(theirs, 'cat', 'main', name), what);
      await assert.rejects(fsck(target), { code: 'OSTREE_OBJECT_CORRUPT' }, what);
    }
  }
  // What cannot be read at all is no content to copy.
  const cut = join(directory, 'source-archive');
  const opened = await Repo.open(cut);
  for (const { checksum } of opened.readDirTree(opened.readCommit(opened.refs.resolve('main')).root.tree).files) {
    const path = opened.objectPath('file', checksum);
    writeFileSync(path, readFileSync(path).subarray(0, -3));
  }
  const target = await Repo.init(join(directory, 'cut'), { mode: 'bare-user' });
  await assert.rejects(pullLocal(target, opened, { refs: ['main'], acceptCorrupt: true }), { code: 'OSTREE_OBJECT_CORRUPT' });
  assert.equal(target.refs.read('main'), undefined);
});
