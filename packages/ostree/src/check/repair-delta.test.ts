/** Healing from static deltas of both makers, with the real `ostree fsck` as judge. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { generateDelta } from '../delta/generate.ts';
import { openDelta } from '../delta/open-delta.ts';
import { deltaPath } from '../format/delta-path.ts';
import type { ObjectType } from '../format/types.ts';
import { makeTree, ostree, tryOstree } from '../real-ostree.test.ts';
import { findPath } from '../repo/lookup.ts';
import { Repo } from '../repo/repo.ts';
import { repair } from './repair.ts';
import { deltaSource, repoDeltaSource } from './repair-delta.ts';
import { type RepairSource, repoSource } from './repair-source.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

interface Made {
  path: string;
  first: Checksum;
  second: Checksum;
  /** Objects that the second commit brought: new, patched from another, a link, a directory, and the commit. */
  brought: { type: ObjectType; checksum: Checksum }[];
  /** What the patched one was before. */
  before: Checksum;
}

async function make(directory: string, mode: string): Promise<Made> {
  const path = join(directory, 'original');
  const [one, two] = [join(directory, 'one'), join(directory, 'two')];
  makeTree(one);
  const content = randomBytes(400_000);
  writeFileSync(join(one, 'd/patched'), content);
  execFileSync('cp', ['-a', one, two]);
  content.write('another', 200_000);
  writeFileSync(join(two, 'd/patched'), content);
  mkdirSync(join(two, 'fresh'));
  writeFileSync(join(two, 'fresh/new'), randomBytes(5000));
  execFileSync('ln', ['-s', 'new', join(two, 'fresh/link')]);
  ostree(path, 'init', `--mode=${mode}`);
  const [first, second] = [one, two].map((tree) => ostree(path, 'commit', '-b', 'main', tree).trim()) as [Checksum, Checksum];
  const repo = await Repo.open(path);
  const { root } = repo.readCommit(second);
  const file = (commit: Checksum, at: string): Checksum => {
    const node = findPath(repo, repo.readCommit(commit).root, at);
    assert.equal(node?.kind, 'file');
    return (node as { checksum: Checksum }).checksum;
  };
  const fresh = repo.readDirTree(root.tree).dirs.find(({ name }) => name === 'fresh');
  assert.ok(fresh !== undefined);
  return {
    path,
    first,
    second,
    before: file(first, '/d/patched'),
    brought: [
      { type: 'file', checksum: file(second, '/fresh/new') },
      { type: 'file', checksum: file(second, '/fresh/link') },
      { type: 'file', checksum: file(second, '/d/patched') },
      { type: 'dirtree', checksum: fresh.tree },
      { type: 'dirtree', checksum: root.tree },
      { type: 'commit', checksum: second },
    ],
  };
}

const isSound = (path: string): boolean => tryOstree(path, ['fsck', '--all']).status === 0;
const leftovers = (path: string): string[] => readdirSync(join(path, 'tmp')).filter((name) => name.startsWith('repair'));

/** Makes a damaged copy: each object is missing, or one byte of it is another. */
async function hurtCopy(original: string, path: string, objects: Made['brought'], how: 'missing' | 'flipped'): Promise<Repo> {
  rmSync(path, { recursive: true, force: true });
  execFileSync('cp', ['-a', original, path]);
  const repo = await Repo.open(path);
  for (const { type, checksum } of objects) {
    const at = repo.objectPath(type, checksum);
    const bytes = how === 'missing' || type === 'file' ? undefined : readFileSync(at);
    rmSync(at);
    if (bytes === undefined) continue;
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
    writeFileSync(at, bytes);
  }
  return repo;
}

for (const mode of ['archive', 'bare', 'bare-user']) {
  for (const maker of ['theirs', 'ours']) {
    test(`a ${mode} repository heals from the static deltas in it, made by ${maker === 'ours' ? 'us' : 'libostree'}`, { skip }, async (t) => {
      const directory = scratch(t);
      const { path, first, second, brought } = await make(directory, mode);
      if (maker === 'theirs') ostree(path, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`);
      else await generateDelta(await Repo.open(path), { from: first, to: second });
      for (const how of ['missing', 'flipped'] as const) {
        const hurt = join(directory, 'hurt');
        const repo = await hurtCopy(path, hurt, brought, how);
        assert.equal(isSound(hurt), false);
        const source = repoDeltaSource(repo);
        t.after(() => source.close?.());
        const trial = await repair(repo, [source], { dryRun: true });
        // Without the commit in place only what leads there is found.
        assert.deepEqual(
          trial.bad.filter(({ healedFrom }) => healedFrom !== `static deltas of ${hurt}`),
          [],
        );
        assert.equal(isSound(hurt), false);
        const result = await repair(repo, [source]);
        assert.deepEqual(new Set(result.bad.map(({ checksum }) => checksum)), new Set(brought.map(({ checksum }) => checksum)));
        assert.deepEqual([...new Set(result.bad.map(({ healedFrom }) => healedFrom))], [`static deltas of ${hurt}`]);
        await source.close?.();
        assert.deepEqual([result.damaged, leftovers(hurt), isSound(hurt)], [[], [], true], how);
        assert.deepEqual((await repair(repo, [])).bad, []);
      }
    });
  }
}

test('where what a delta copies from is bad too, the rest of its part still heals', { skip }, async (t) => {
  const directory = scratch(t);
  const { path, first, second, brought, before } = await make(directory, 'bare-user');
  ostree(path, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`);
  const hurt = join(directory, 'hurt');
  const repo = await hurtCopy(path, hurt, [...brought, { type: 'file', checksum: before }], 'missing');
  const source = repoDeltaSource(repo);
  t.after(() => source.close?.());
  const result = await repair(repo, [source]);
  const patched = brought[2]?.checksum;
  const lost = result.bad.filter(({ healedFrom }) => healedFrom === undefined);
  assert.deepEqual(new Set(lost.map(({ checksum }) => checksum)), new Set([patched, before]));
  assert.match(String(lost.find(({ checksum }) => checksum === patched)?.refused), /^static deltas of .*not in the repository/);
  // With that from elsewhere the delta does the rest.
  const partly = repoSource(await Repo.open(path));
  const onlyBefore: RepairSource = {
    ...partly,
    file: (wanted, ...rest) => (wanted.checksum === before ? partly.file(wanted, ...rest) : Promise.resolve(false)),
  };
  const again = await repair(repo, [onlyBefore, source]);
  assert.deepEqual(
    again.bad.map(({ checksum, healedFrom }) => [checksum, healedFrom]).sort(),
    [
      [before, path],
      [patched, source.name],
    ].sort(),
  );
  assert.equal(isSound(hurt), true);
});

test('a file with all of a commit heals a repository that lost everything; one that lies heals nothing', { skip }, async (t) => {
  const directory = scratch(t);
  const { path, second } = await make(directory, 'archive');
  const file = join(directory, 'whole.delta');
  ostree(path, 'static-delta', 'generate', '--empty', '--inline', '--min-fallback-size=0', `--to=${second}`, `--filename=${file}`);
  const bytes = readFileSync(file);
  const empty = join(directory, 'empty');
  ostree(empty, 'init', '--mode=archive');
  const repo = await Repo.open(empty);
  const open = (at: string): RepairSource => {
    const source = deltaSource(repo, at, [() => openDelta(at)]);
    t.after(() => source.close?.());
    return source;
  };
  for (const at of [0.3, 0.6, 0.9]) {
    const liar = join(directory, `liar-${at}`);
    const copy = Buffer.from(bytes);
    copy.fill(0x5a, Math.floor(copy.length * at), Math.floor(copy.length * at) + 64);
    writeFileSync(liar, copy);
    const result = await repair(repo, [open(liar)], { commits: [second], dryRun: true });
    assert.ok(result.bad.some(({ healedFrom }) => healedFrom === undefined));
  }
  const result = await repair(repo, [open(file)], { commits: [second] });
  assert.ok(result.bad.length > 10);
  assert.deepEqual([...new Set(result.bad.map(({ healedFrom }) => healedFrom))], [file]);
  ostree(empty, 'refs', '--create=main', second);
  assert.equal(isSound(empty), true);
});

test('deltas that cannot be read, or whose parts are gone, are passed over', { skip }, async (t) => {
  const directory = scratch(t);
  const { path, first, second, brought } = await make(directory, 'archive');
  ostree(path, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`);
  const delta = join(path, deltaPath({ from: first, to: second }));
  const hurt = join(directory, 'hurt');
  const repo = await hurtCopy(path, hurt, brought.slice(0, 2), 'missing');
  const copy = join(hurt, deltaPath({ from: first, to: second }));
  const heals = async (): Promise<(string | undefined)[]> => {
    const source = repoDeltaSource(repo);
    try {
      const { bad } = await repair(repo, [source], { dryRun: true });
      return bad.map(({ healedFrom }) => healedFrom);
    } finally {
      await source.close?.();
    }
  };
  assert.deepEqual(await heals(), [`static deltas of ${hurt}`, `static deltas of ${hurt}`]);
  rmSync(join(copy, '0'));
  assert.deepEqual(await heals(), [undefined, undefined]);
  writeFileSync(join(copy, '0'), Buffer.alloc(100));
  assert.deepEqual(await heals(), [undefined, undefined]);
  writeFileSync(join(copy, '0'), readFileSync(join(delta, '0')));
  writeFileSync(join(copy, 'superblock'), 'no delta');
  assert.deepEqual(await heals(), [undefined, undefined]);
  assert.deepEqual(leftovers(hurt), []);
});
