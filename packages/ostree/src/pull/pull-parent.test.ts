/** Pulls into a repository with `core.parent`, beside the real `ostree`: what the parent has is neither fetched nor written. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { makeRepo, ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { pull } from './pull.ts';
import { pullLocal } from './pull-local.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

for (const mode of ['archive', 'bare-user'] as const) {
  test(`what a parent repository has is not pulled: ${mode}`, { skip }, async (t) => {
    const directory = scratch(t);
    const { repo: source, first } = makeRepo(directory, 'archive');
    const parent = join(directory, 'parent');
    ostree(parent, 'init', '--mode=bare-user');
    ostree(parent, 'pull-local', source, first);
    const child = async (name: string): Promise<Repo> => {
      const path = join(directory, name);
      ostree(path, 'init', `--mode=${mode}`);
      ostree(path, 'remote', 'add', '--no-gpg-verify', 'origin', `file://${source}`);
      ostree(path, 'config', 'set', 'core.parent', parent);
      return Repo.open(path);
    };
    const objects = (repo: Repo): string[] => [...repo.listObjects()].map(({ type, checksum }) => `${checksum}.${type}`).toSorted();
    const opened = await Repo.open(source);
    const all = [...opened.listObjects()].length;

    const [theirs, ours] = [await child('local-theirs'), await child('local-ours')];
    ostree(theirs.path, 'pull-local', source, 'main');
    await pullLocal(ours, opened, { refs: ['main'] });
    assert.deepEqual(objects(ours), objects(theirs));
    assert.ok(objects(ours).length > 0 && objects(ours).length < all / 2);

    const [theirPull, ourPull] = [await child('pull-theirs'), await child('pull-ours')];
    ostree(theirPull.path, 'pull', 'origin', 'main');
    await pull(ourPull, { remote: 'origin', refs: ['main'] });
    assert.deepEqual(objects(ourPull), objects(theirPull));
    assert.deepEqual(objects(ourPull), objects(ours));
    for (const repo of [ours, ourPull]) assert.match(ostree(repo.path, 'fsck'), /no errors found/);
  });
}
