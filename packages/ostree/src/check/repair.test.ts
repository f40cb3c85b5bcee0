/** Healing, with the real `ostree fsck` as judge. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import type { ObjectType } from '../format/types.ts';
import { MODES, makeRepo, ostree, tryOstree } from '../real-ostree.test.ts';
import { findPath } from '../repo/lookup.ts';
import { Repo } from '../repo/repo.ts';
import { repair } from './repair.ts';
import { directorySource } from './repair-directory.ts';
import { repoSource } from './repair-source.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

function flip(path: string): void {
  if (lstatSync(path).isSymbolicLink()) {
    rmSync(path);
    symlinkSync('elsewhere', path);
    return;
  }
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] as number) ^ 1;
  writeFileSync(path, bytes);
}

/** The objects to hurt: one of each kind, contents small and large. */
function victims(repo: Repo, commit: Checksum): { type: ObjectType; checksum: Checksum }[] {
  const { root } = repo.readCommit(commit);
  const file = (path: string): Checksum => {
    const node = findPath(repo, root, path);
    assert.equal(node?.kind, 'file');
    return (node as { checksum: Checksum }).checksum;
  };
  const d = repo.readDirTree(root.tree).dirs.find(({ name }) => name === 'd')!;
  return [
    { type: 'file', checksum: file('/a') },
    { type: 'file', checksum: file('/d/large') },
    { type: 'file', checksum: file('/d/absolute') },
    { type: 'dirtree', checksum: d.tree },
    { type: 'dirmeta', checksum: d.meta },
    { type: 'commit', checksum: commit },
  ];
}

const isSound = (path: string): boolean => tryOstree(path, ['fsck', '--all']).status === 0;

for (const mode of MODES) {
  test(`a ${mode} repository heals from one of another mode`, { skip }, async (t) => {
    const directory = scratch(t);
    const { repo: original, second } = makeRepo(directory, mode);
    // Of the same objects in another mode; bare-user-only ones fit everywhere.
    const other = join(directory, 'other');
    ostree(other, 'init', `--mode=${mode === 'archive' ? 'bare-user' : 'archive'}`);
    ostree(other, 'pull-local', '--depth=-1', original);
    const sources = [repoSource(await Repo.open(other))];
    const damages: ((path: string) => void)[] = [
      (path) => rmSync(path),
      (path) => flip(path),
      (path) => (lstatSync(path).isSymbolicLink() ? flip(path) : truncateSync(path, 0)),
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
    ];
    for (const [i, damage] of damages.entries()) {
      const hurt = join(directory, `hurt-${i}`);
      execFileSync('cp', ['-a', original, hurt]);
      const repo = await Repo.open(hurt);
      const hit = victims(repo, second as Checksum);
      for (const { type, checksum } of hit) damage(repo.objectPath(type, checksum));
      const trial = await repair(repo, sources, { dryRun: true });
      assert.equal(
        trial.bad.every(({ healedFrom }) => healedFrom === other),
        true,
      );
      assert.equal(isSound(hurt), false);
      const result = await repair(repo, sources);
      assert.deepEqual(result.bad.map(({ type, checksum }) => `${checksum}.${type}`).sort(), hit.map(({ type, checksum }) => `${checksum}.${type}`).sort());
      assert.deepEqual(
        trial.bad.map(({ checksum }) => checksum),
        result.bad.map(({ checksum }) => checksum),
      );
      assert.deepEqual(
        result.bad.map(({ healedFrom }) => healedFrom),
        hit.map(() => other),
      );
      assert.deepEqual(result.damaged, []);
      assert.ok(result.bad.find(({ checksum }) => checksum === hit[0]?.checksum)?.paths.includes(`${second}:/a`));
      assert.equal(isSound(hurt), true, `${mode} ${damage}`);
      assert.deepEqual([...readdirSync(join(hurt, 'state')), ...readdirSync(join(hurt, 'tmp')).filter((name) => name.startsWith('repair'))], []);
      assert.deepEqual((await repair(repo, sources)).bad, []);
    }
  });
}

test('what fsck removed and marked comes back, and the marks go; marks of a pull stay', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: original, first, second, other } = makeRepo(directory, 'archive');
  const hurt = join(directory, 'hurt');
  execFileSync('cp', ['-a', original, hurt]);
  const repo = await Repo.open(hurt);
  const [, large] = victims(repo, second as Checksum);
  flip(repo.objectPath('file', large!.checksum));
  assert.equal(tryOstree(hurt, ['fsck', '--delete']).status, 1);
  const marks = readdirSync(join(hurt, 'state'));
  assert.ok(marks.length > 0);
  // Without a source all stays as it is.
  const lost = await repair(repo, []);
  assert.deepEqual([lost.bad.length, lost.bad[0]?.healedFrom, lost.completed], [1, undefined, []]);
  assert.deepEqual(lost.damaged.length, marks.length);
  assert.deepEqual(readdirSync(join(hurt, 'state')), marks);
  const healed = await repair(repo, [repoSource(await Repo.open(original))]);
  assert.deepEqual(healed.completed.map((commit) => `${commit}.commitpartial`).sort(), marks.sort());
  assert.deepEqual(readdirSync(join(hurt, 'state')), []);
  assert.equal(isSound(hurt), true);

  // A commit without its files, on purpose.
  const partial = join(directory, 'partial');
  ostree(partial, 'init', '--mode=archive');
  ostree(partial, 'pull-local', '--commit-metadata-only', original, first, second, other);
  const sparse = await Repo.open(partial);
  const result = await repair(sparse, [repoSource(await Repo.open(original))]);
  assert.deepEqual([result.bad, result.completed, result.damaged], [[], [], []]);
  assert.equal(readdirSync(join(partial, 'state')).length, 3);
});

test('a source that lies heals nothing, and the next one is asked', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: original, second } = makeRepo(directory, 'archive');
  const [hurt, liar] = ['hurt', 'liar'].map((name) => join(directory, name)) as [string, string];
  for (const path of [hurt, liar]) execFileSync('cp', ['-a', original, path]);
  const repo = await Repo.open(hurt);
  const hit = victims(repo, second as Checksum);
  const before: Buffer[] = [];
  for (const { type, checksum } of hit) {
    flip(repo.objectPath(type, checksum));
    before.push(readFileSync(repo.objectPath(type, checksum)));
  }
  const wrong = await Repo.open(liar);
  // Sound objects under the names of others, and damaged ones.
  const [a, large, ...metadata] = hit.map(({ type, checksum }) => wrong.objectPath(type, checksum));
  renameSync(large as string, a as string);
  writeFileSync(large as string, 'no object');
  for (const path of metadata) flip(path);
  const honest: string = original;
  for (const [sources, healed] of [
    [[repoSource(wrong)], undefined],
    [[repoSource(wrong), directorySource(directory), repoSource(await Repo.open(honest))], honest],
  ] as const) {
    const result = await repair(repo, sources, { commits: [second as Checksum] });
    for (const object of result.bad.filter(({ type }) => type !== 'file')) assert.equal(object.healedFrom, healed);
    const commit = result.bad.find(({ type }) => type === 'commit');
    assert.ok(
      commit?.refused.some((reason) => reason.startsWith(liar)),
      String(commit?.refused),
    );
    // What was not healed lies there as it was.
    if (healed === undefined) for (const [i, { type, checksum }] of hit.entries()) assert.deepEqual(readFileSync(repo.objectPath(type, checksum)), before[i]);
  }
  assert.equal(isSound(hurt), true);
});

test('contents heal from a directory, also from one that lost owners, modes and attributes', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: original, second, trees } = makeRepo(directory, 'archive');
  const sound = await Repo.open(original);
  const { root } = sound.readCommit(second as Checksum);
  const paths = ['/a', '/d/large', '/d/exe', '/d/absolute', '/zero'].filter((path) => findPath(sound, root, path) !== undefined);
  assert.ok(paths.length >= 4);
  const files = paths.map((path) => (findPath(sound, root, path) as { checksum: Checksum }).checksum);
  const checkout = join(directory, 'checkout');
  ostree(original, 'checkout', '-U', second, checkout);
  // The same files in other places.
  const moved = join(directory, 'moved');
  mkdirSync(join(moved, 'deep'), { recursive: true });
  for (const path of paths) execFileSync('cp', ['-a', join(trees[1], path), join(moved, 'deep', path.replaceAll('/', '-'))]);
  for (const [source, keepsHeaders] of [
    [trees[1], true],
    [moved, true],
    [checkout, false],
  ] as const) {
    for (const missing of [true, false]) {
      const hurt = join(directory, 'hurt');
      rmSync(hurt, { recursive: true, force: true });
      execFileSync('cp', ['-a', original, hurt]);
      const repo = await Repo.open(hurt);
      for (const checksum of files) {
        const path = repo.objectPath('file', checksum);
        if (missing) rmSync(path);
        // Header sound, content damaged.
        else if (statSync(path).size > 200) truncateSync(path, statSync(path).size - 3);
      }
      const result = await repair(repo, [directorySource(source)]);
      assert.ok(result.bad.length > 0);
      const lost = result.bad.filter(({ healedFrom }) => healedFrom === undefined).map(({ checksum }) => paths[files.indexOf(checksum)]);
      // An owner or attribute that neither the copy nor the damaged object tells cannot be guessed.
      if (keepsHeaders || !missing) assert.deepEqual(lost, [], `${source} ${missing}`);
      else assert.deepEqual(new Set(lost), new Set(['/a', '/d/exe']));
      assert.equal(isSound(hurt), lost.length === 0);
    }
  }
});
