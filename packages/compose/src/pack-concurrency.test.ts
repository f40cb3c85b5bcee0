/** Several at once in one repository: of ours, and of the real ostree. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findUnusedRefs } from '@cambium/bridge';
import { prune, Repo } from '@cambium/ostree';
import { type BuiltLayout, buildImageLayout, defer, faultyRegistry, needsPeer, output, run, scratch } from '@cambium/testkit';
import type { PackResult } from './index.ts';
import { fsck, makeProject, noise, pack, refOf, shopImage, shopLayers } from './pack-project.test.ts';

const CAMBIUM = fileURLToPath(new URL('../../cli/bin/cambium.js', import.meta.url));
const NEEDS = needsPeer('ostree');

async function manyFiles(t: Parameters<typeof scratch>[0], name: string): Promise<BuiltLayout> {
  const entries = Array.from({ length: 300 }, (_, i) => ({ path: `f${i}`, content: noise(`shared ${i}`, 1000) }));
  return await buildImageLayout(join(scratch(t), name), { images: [{ layers: [...shopLayers(name), { entries }] }] });
}

test('two packs at once, in two processes, of apps that share layers', { skip: NEEDS }, async (t) => {
  const layouts = { 'web:1': await manyFiles(t, 'web'), 'db:1': await manyFiles(t, 'db') };
  const registry = await faultyRegistry({ layouts });
  defer(t, () => registry.stop());
  const repo = join(scratch(t), 'repo');
  const projects = [makeProject(t, [`${registry.host}/web:1`]), makeProject(t, [`${registry.host}/db:1`])];
  await output('ostree', [`--repo=${repo}`, 'init', '--mode=archive']);
  const go = (branch: string, project: string, target: string): Promise<string> =>
    output(process.execPath, [CAMBIUM, 'pack', '--repo', target, '--timestamp', '@1700000000', branch, join(project, 'docker-compose.yml')], {
      env: { ...process.env, OSTREE_REPO: '' },
    });
  const commits = await Promise.all(projects.map((project, i) => go(`apps/${i}`, project, repo)));
  await fsck(repo);
  for (const [i, project] of projects.entries()) {
    assert.equal(await refOf(repo, `apps/${i}`), commits[i]);
    assert.equal(await go(`apps/${i}`, project, join(scratch(t), 'alone')), commits[i], 'as if it had been alone');
  }
  assert.deepEqual(findUnusedRefs(await Repo.open(repo)), []);

  // The same app to the same branch, twice at once, into a repository that neither has made yet.
  const fresh = join(scratch(t), 'repo');
  const twice = await Promise.all([1, 2].map(() => go('apps/same', projects[0] as string, fresh)));
  await fsck(fresh);
  assert.equal(await refOf(fresh, 'apps/same'), (await Repo.open(fresh)).refs.read('apps/same'));
  for (const commit of twice) {
    const tree = await output('ostree', [`--repo=${fresh}`, 'ls', '-d', '-C', commit, '/']);
    assert.equal(tree, await output('ostree', [`--repo=${repo}`, 'ls', '-d', '-C', commits[0] as string, '/']));
  }
});

test('packs beside commits of the real ostree', { skip: NEEDS }, async (t) => {
  const layouts = [await manyFiles(t, 'a'), await manyFiles(t, 'b'), await manyFiles(t, 'c')];
  const repo = join(scratch(t), 'repo');
  await output('ostree', [`--repo=${repo}`, 'init', '--mode=archive']);
  const tree = join(scratch(t), 'tree');
  mkdirSync(tree);
  // Files that the images hold too: both write the same objects.
  for (let i = 0; i < 300; i++) writeFileSync(join(tree, `f${i}`), noise(`shared ${i}`, 1000));

  let packing = true;
  let commits = 0;
  const peer = (async (): Promise<void> => {
    do {
      writeFileSync(join(tree, 'count'), String(commits));
      await output('ostree', [`--repo=${repo}`, 'commit', '--branch=peer', `--tree=dir=${tree}`, '--owner-uid=0', '--owner-gid=0', '--no-xattrs']);
      commits++;
    } while (packing);
  })();
  const results: PackResult[] = [];
  try {
    for (const layout of layouts) {
      const project = makeProject(t, ['registry.example/web:1']);
      results.push(await pack(project, repo, { imageSources: new Map([['registry.example/web:1', layout.reference]]) }));
    }
  } finally {
    packing = false;
    await peer;
  }
  await fsck(repo);
  assert.ok(commits >= 1);
  assert.equal((await output('ostree', [`--repo=${repo}`, 'log', 'peer'])).match(/^commit /gm)?.length, commits, 'no commit of the other is lost');
  assert.equal(await refOf(repo), results.at(-1)?.commit);
  assert.equal(new Set(results.map(({ commit }) => commit)).size, 3);
});

test('a pack waits for who holds the repository, and prune waits for a pack', { skip: NEEDS }, async (t) => {
  const web = await shopImage(t, 'web');
  const [project, path] = [makeProject(t, ['registry.example/web:1']), join(scratch(t), 'repo')];
  const repo = await Repo.init(path, { mode: 'archive' });
  const imageSources = new Map([['registry.example/web:1', web.reference]]);

  const lock = await repo.lock('exclusive');
  const order: string[] = [];
  const packing = pack(project, path, {
    imageSources,
    on: (event) => {
      if (event.type === 'image-resolved') {
        // Planned without the lock; from here on it needs one.
        setImmediate(() => {
          order.push('released');
          lock.release();
        });
      }
      if (event.type === 'layer-started') order.push('layer');
    },
  });
  const { commit } = await packing;
  assert.deepEqual(order, ['released', 'layer', 'layer', 'layer']);

  // The other way round: objects of an open transaction are nobody's yet, and must survive a prune that wants to start.
  await output('ostree', [`--repo=${path}`, 'config', 'set', 'core.lock-timeout-secs', '0']);
  const changed = await shopImage(t, 'web', 'changed');
  let refused: unknown;
  let asked: Promise<unknown> | undefined;
  await pack(project, path, {
    imageSources: new Map([['registry.example/web:1', changed.reference]]),
    on: (event) => {
      if (event.type !== 'layer-stored') return;
      asked = Repo.open(path)
        .then((other) => prune(other, {}))
        .catch((error: unknown) => {
          refused = error;
        });
    },
  });
  await asked;
  assert.equal((refused as { code?: string } | undefined)?.code, 'OSTREE_LOCK_TIMEOUT');
  await fsck(path);
  assert.notEqual(await refOf(path), commit);
  const { status } = await run('ostree', [`--repo=${path}`, 'prune', '--refs-only'], { accept: 'any' });
  assert.equal(status, 0);
  await fsck(path);
});
