/** Checks beside the real `ostree fsck`: what it accepts, we accept; what we mark and remove, it sees. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { MODES, makeRepo, ostree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { type BadObject, type FsckEvent, type FsckOptions, fsck } from './fsck.ts';
import { formatFsckEvent, formatFsckResult, fsckFailure } from './fsck-text.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

/** What belongs on either channel, as libostree has it: damage is said on stderr. */
async function check(path: string, options: FsckOptions = {}): Promise<{ text: string; said: string; failure: string | undefined; bad: BadObject[] }> {
  let text = '';
  let said = '';
  const on = (event: FsckEvent): void => {
    if (event.type === 'bad' || event.type === 'partial') said += formatFsckEvent(event);
    else if (event.type !== 'progress') text += formatFsckEvent(event);
  };
  const result = await fsck(await Repo.open(path), options, undefined, on);
  return { text: text + formatFsckResult(result), said, failure: fsckFailure(result), bad: result.bad };
}

function theirs(path: string, ...flags: string[]): { text: string; said: string; failure: string | undefined } {
  const { status, stdout, stderr } = tryOstree(path, ['fsck', ...flags]);
  const failure =
    status === 0
      ? undefined
      : stderr
          .trim()
          .split('\n')
          .at(-1)
          ?.replace(/^error: /, '');
  const said = stderr.split('\n').filter((line) => !line.startsWith('error: '));
  // Its progress depends on time; the commits of a message stand in the order of a hash table.
  const text = stdout.split('\n').filter((line) => !/^fsck objects \(/.test(line));
  return { text: text.join('\n'), said: normal(said.join('\n')), failure };
}

function normal(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => line.replace(/(?<=commits )[0-9a-f]{64}(?:, [0-9a-f]{64})*/, (commits) => commits.split(', ').sort().join(', ')));
  const marks = lines.filter((line) => line.startsWith('Marking')).sort();
  return lines.map((line) => (line.startsWith('Marking') ? marks.shift() : line)).join('\n');
}

function copy(from: string, to: string): string {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['-a', from, to]);
  return to;
}

for (const mode of MODES) {
  test(`fsck of ${mode} repositories: sound, missing, corrupt`, { skip }, async (t) => {
    const directory = scratch(t);
    const { repo: original, first, second, other } = makeRepo(directory, mode);
    const sound = await check(original);
    const words = ({ text, said, failure }: Awaited<ReturnType<typeof check>>): unknown => ({ text, said: normal(said), failure });
    assert.deepEqual(words(sound), theirs(original));
    const repo = await Repo.open(original);
    const { root } = repo.readCommit(second as Checksum);
    const a = repo.readDirTree(root.tree).files.find(({ name }) => name === 'a')!.checksum;
    const large = repo
      .readDirTree(repo.readDirTree(root.tree).dirs.find(({ name }) => name === 'd')!.tree)
      .files.find(({ name }) => name === 'large')!.checksum;
    const relative = (type: 'file' | 'dirtree' | 'dirmeta' | 'commit', checksum: Checksum): string => repo.objectPath(type, checksum).slice(repo.path.length);
    // Missing: the same words, the same marks, the same second opinion.
    for (const [type, checksum] of [
      ['file', a],
      ['file', large],
      ['dirmeta', root.meta],
    ] as const) {
      const [ours, real] = [copy(original, join(directory, 'ours')), copy(original, join(directory, 'real'))];
      for (const at of [ours, real]) rmSync(at + relative(type, checksum));
      const expected = theirs(real);
      const found = await check(ours);
      assert.deepEqual(words(found), expected);
      assert.deepEqual(readdirSync(join(ours, 'state')), readdirSync(join(real, 'state')));
      for (const name of readdirSync(join(ours, 'state'))) assert.equal(readFileSync(join(ours, 'state', name), 'latin1'), 'f');
      const again = await check(ours);
      assert.deepEqual(words(again), theirs(real));
      assert.deepEqual(words(again), theirs(ours));
      const path = checksum === a ? '/a' : type === 'file' ? '/d/large' : '/';
      assert.ok(found.bad[0]?.paths.includes(`${second}:${path}`), String(found.bad[0]?.paths));
    }
    // Corrupt in many ways; libostree must agree that it is.
    const flip = (at: string): void => {
      const bytes = readFileSync(at);
      const i = Math.floor(bytes.length / 2);
      bytes[i] = (bytes[i] as number) ^ 1;
      writeFileSync(at, bytes);
    };
    const damages: ((at: string) => void)[] = [flip, (at) => truncateSync(at, readFileSync(at).length - 1), (at) => truncateSync(at, 0)];
    for (const damage of damages) {
      for (const [type, checksum] of [
        ['file', a],
        ['file', large],
        ['dirtree', root.tree],
        ['dirmeta', root.meta],
      ] as const) {
        const ours = copy(original, join(directory, 'ours'));
        damage(ours + relative(type, checksum));
        assert.notEqual(theirs(ours).failure, undefined, `${type} ${damage}`);
        await assert.rejects(check(ours), (error) => isKnownError(error, 'OSTREE_OBJECT_CORRUPT') && error.message.includes(checksum));
        const all = await check(ours, { all: true });
        assert.equal(all.failure, 'Repository corruption encountered');
        assert.deepEqual(
          all.bad.map(({ type: kind, checksum: sum, missing }) => [kind, sum, missing]),
          [[type, checksum, false]],
        );
        assert.deepEqual(readdirSync(join(ours, 'state')), []);
        const removed = await check(ours, { delete: true });
        assert.equal(removed.failure, 'Repository corruption encountered');
        assert.equal(existsSync(ours + relative(type, checksum)), false);
        assert.ok(readdirSync(join(ours, 'state')).includes(`${second}.commitpartial`));
        assert.match((await check(ours)).failure ?? '', /^[123] partial commits from fsck-detected corruption$/);
        // What was removed can be had again.
        ostree(ours, 'pull-local', original, 'main', '--depth=-1');
        ostree(ours, 'pull-local', original, 'deep/other');
        assert.equal((await check(ours)).failure, undefined);
      }
    }
    // Things after which libostree gives up, and we say what is wrong.
    const ours = copy(original, join(directory, 'ours'));
    rmSync(ours + relative('dirtree', root.tree));
    const found = await check(ours);
    assert.deepEqual(
      found.bad.map(({ type, missing, commits }) => [type, missing, commits]),
      [['dirtree', true, [second]]],
    );
    flip(ours + relative('commit', first as Checksum));
    const worse = await check(ours, { all: true });
    assert.deepEqual(
      worse.bad.map(({ type, checksum }) => [type, checksum]),
      [['commit', first]],
    );
    rmSync(ours + relative('commit', other as Checksum));
    await assert.rejects(check(ours), (error) => isKnownError(error, 'OSTREE_OBJECT_MISSING') && /ref deep\/other/.test(error.message));
    assert.match(theirs(ours).failure ?? '', /Loading commit for ref deep\/other/);
  });
}

test('bindings and back-references', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: original } = makeRepo(directory, 'archive');
  const repo = join(directory, 'collected');
  ostree(repo, 'init', '--mode=archive', '--collection-id=org.example.Test');
  ostree(repo, 'commit', '-b', 'main', '--timestamp=@1', `--tree=dir=${join(directory, 'archive-one')}`);
  const steps: (() => void)[] = [
    () => undefined,
    () => ostree(repo, 'commit', '-b', 'unbound', '--no-bindings', `--tree=dir=${join(directory, 'archive-one')}`),
    () => ostree(repo, 'refs', '--delete', 'unbound'),
    () => ostree(repo, 'refs', '--create=more', 'main'),
    () => ostree(repo, 'refs', '--delete', 'main'),
    () => ostree(repo, 'config', 'set', 'core.collection-id', 'org.example.Other'),
    () => ostree(original, 'refs', '--create=more', 'main'),
    () => ostree(original, 'refs', '--delete', 'main'),
  ];
  for (const step of steps) {
    step();
    for (const path of [repo, original]) {
      for (const [flags, options] of [
        [['--verify-bindings'], { verifyBindings: true }],
        [['--verify-back-refs'], { verifyBackRefs: true }],
      ] as const) {
        const { status, stderr } = tryOstree(path, ['fsck', ...flags]);
        const work = check(path, options);
        if (status === 0) await work;
        else await assert.rejects(work, (error) => isKnownError(error, 'OSTREE_BINDING_MISMATCH'), stderr);
      }
    }
  }
});

test('tombstones of missing parents', { skip }, async (t) => {
  const { repo: path, first } = makeRepo(scratch(t), 'archive');
  const repo = await Repo.open(path);
  // Where none is missing, neither side touches the config.
  const config = readFileSync(join(path, 'config'), 'utf8');
  for (const run of [() => tryOstree(path, ['fsck', '--add-tombstones']), () => check(path, { addTombstones: true })]) {
    await run();
    assert.equal(readFileSync(join(path, 'config'), 'utf8'), config);
  }
  rmSync(repo.objectPath('commit', first as Checksum));
  assert.equal((await check(path)).failure, undefined);
  assert.match((await check(path, { addTombstones: true })).text, new RegExp(`Adding tombstone for commit ${first}`));
  assert.equal(existsSync(repo.objectPath('tombstone-commit', first as Checksum)), true);
  assert.match(readFileSync(join(path, 'config'), 'utf8'), /^tombstone-commits=true$/m);
  assert.equal(tryOstree(path, ['fsck']).status, 0);
});

test('many objects go through worker threads', { skip }, async (t) => {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  mkdirSync(tree);
  for (let i = 0; i < 2500; i++) writeFileSync(join(tree, `f${i}`), `file ${i}`);
  const path = join(directory, 'repo');
  ostree(path, 'init', '--mode=archive');
  ostree(path, 'commit', '-b', 'm', tree);
  const repo = await Repo.open(path);
  const result = await fsck(repo, { workers: 2 });
  assert.deepEqual([result.objects, result.bad.length], [2503, 0]);
  const files = [...repo.listObjects()]
    .filter(({ type }) => type === 'file')
    .map(({ checksum }) => checksum)
    .sort();
  const [missing, corrupt] = [files[7] as Checksum, files[2400] as Checksum];
  rmSync(repo.objectPath('file', missing));
  writeFileSync(repo.objectPath('file', corrupt), 'x');
  const bad = (await fsck(repo, { workers: 2, all: true })).bad.map((object) => [object.checksum, object.missing]);
  assert.deepEqual(bad, [
    [missing, true],
    [corrupt, false],
  ]);
  await assert.rejects(fsck(repo, { workers: 2 }, AbortSignal.abort()), { name: 'AbortError' });
});
