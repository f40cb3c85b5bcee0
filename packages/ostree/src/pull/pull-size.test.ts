/** Sizes said beforehand, beside what the real `ostree` then writes. */
import assert from 'node:assert/strict';
import { appendFileSync, lstatSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import type { RepoMode } from '../format/types.ts';
import { MODES, makeRepo, makeTree, ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { type PullSize, pullSize } from './pull-size.ts';

const skip = firstReason(needsPeer('ostree'), needsRoot());

/** Sizes of what lies in `objects/`, by path. */
async function stored(path: string): Promise<Map<string, number>> {
  const repo = await Repo.open(path);
  return new Map([...repo.listObjects()].map(({ type, checksum }) => [`${checksum}.${type}`, lstatSync(repo.objectPath(type, checksum)).size]));
}

test('what an update moves is what the real pull writes, in each mode', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: source, first, second } = makeRepo(directory, 'archive');
  const repo = await Repo.open(source);
  const update = pullSize(repo, first as Checksum, second as Checksum);
  const fresh = pullSize(repo, undefined, first as Checksum);
  assert.equal(update.known, 'archive');
  assert.ok(update.total.objects > 3 && update.total.objects < fresh.total.objects && update.dropped.objects > 0);
  for (const mode of MODES) {
    const target = join(directory, `target-${mode}`);
    ostree(target, 'init', `--mode=${mode}`);
    let before = new Map<string, number>();
    for (const [commit, size] of [
      [first, fresh],
      [second, update],
    ] as const) {
      // A tree of root's own modes fits a bare-user-only repository only in part.
      const pulled = (): unknown => ostree(target, 'pull-local', source, commit);
      if (mode === 'bare-user-only') {
        try {
          pulled();
        } catch {
          continue;
        }
      } else pulled();
      const after = await stored(target);
      const added = [...after].filter(([name]) => !before.has(name));
      assert.equal(
        added.reduce((sum, [, bytes]) => sum + bytes, 0),
        size.writes[mode as keyof PullSize['writes']]?.bytes,
        `${mode} ${commit}`,
      );
      assert.equal(added.filter(([name]) => !name.endsWith('.commitmeta')).length, size.total.objects);
      before = after;
    }
  }
  const nothing = pullSize(repo, second as Checksum, second as Checksum);
  assert.deepEqual([nothing.total.objects, nothing.total.archivedBytes, nothing.writes.archive?.peakBytes], [0, 0, 0]);
});

test('sizes from metadata alone: a commit pulled without its files, which libostree made with --generate-sizes', { skip }, async (t) => {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  makeTree(tree);
  const [source, mirror] = ['source', 'mirror'].map((name) => join(directory, name)) as [string, string];
  ostree(source, 'init', '--mode=archive');
  const commit = (): Checksum => ostree(source, 'commit', '-b', 'm', '--generate-sizes', tree).trim() as Checksum;
  const first = commit();
  writeFileSync(join(tree, 'new'), Buffer.alloc(50_000, 'new'));
  appendFileSync(join(tree, 'a'), 'more');
  const second = commit();
  ostree(mirror, 'init', '--mode=bare-user');
  ostree(mirror, 'pull-local', '--commit-metadata-only', source, first, second);
  const here = pullSize(await Repo.open(source), first, second);
  const there = pullSize(await Repo.open(mirror), first, second);
  assert.equal(there.known, 'ostree.sizes');
  assert.deepEqual([there.kinds, there.total, there.dropped, there.writes.archive], [here.kinds, here.total, here.dropped, here.writes.archive]);
  // The mode of the repository at hand does not matter when the commit is whole.
  ostree(mirror, 'pull-local', source, second, first);
  assert.deepEqual(pullSize(await Repo.open(mirror), first, second), { ...here, known: 'ostree.sizes' });
});

test('without an archive or recorded sizes, what is not known is left out', { skip }, async (t) => {
  const { repo: source, first, second } = makeRepo(scratch(t), 'bare-user' satisfies RepoMode);
  const size = pullSize(await Repo.open(source), first as Checksum, second as Checksum);
  assert.deepEqual([size.known, size.total.archivedBytes, size.writes.archive], ['contents', undefined, undefined]);
  assert.ok((size.writes.bare?.bytes ?? 0) > 0 && size.writes.bare?.peakBytes === undefined);
  rmSync((await Repo.open(source)).objectPath('dirtree', (await Repo.open(source)).readCommit(second as Checksum).root.tree));
  const broken = await Repo.open(source);
  assert.throws(() => pullSize(broken, undefined, second as Checksum), { code: 'OSTREE_OBJECT_MISSING' });
});

test('deltas are weighed by the files that libostree made', { skip }, async (t) => {
  const { repo: source, first, second } = makeRepo(scratch(t), 'archive');
  ostree(source, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`);
  ostree(source, 'static-delta', 'generate', '--inline', '--empty', `--to=${second}`);
  const weights = readdirSync(join(source, 'deltas')).flatMap((directory) =>
    readdirSync(join(source, 'deltas', directory)).map((rest) => {
      const path = join(source, 'deltas', directory, rest);
      return readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
    }),
  );
  const repo = await Repo.open(source);
  const both = pullSize(repo, first as Checksum, second as Checksum).deltas;
  assert.deepEqual(both.map(({ from, fallbacks }) => [from ?? '', fallbacks]).sort(), [
    ['', 0],
    [first, 0],
  ]);
  assert.deepEqual(both.map(({ wireBytes }) => wireBytes).sort(), weights.sort());
  assert.deepEqual(
    pullSize(repo, undefined, second as Checksum).deltas.map(({ from }) => from),
    [undefined],
  );
  assert.deepEqual(pullSize(repo, undefined, first as Checksum).deltas, []);
});
