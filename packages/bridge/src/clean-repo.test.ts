import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { Checksum, DiffId, Digest } from '@cambium/base';
import { digestOf } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { type FileHeader, MutableTree, Repo, Transaction, writeCommitObject } from '@cambium/ostree';
import { type CleanUp, needsPeer, run, scratch } from '@cambium/testkit';
import { cleanRepo, planRepoClean, type RepoCleanPlan } from './clean-repo.ts';
import { type ImageDocuments, imageRef, writeImageCommit } from './image-commit.ts';
import { findLayerCommit, type LayerCommit, layerRef, writeLayerCommit } from './layer-commit.ts';
import { appImagesMetadata } from './unused-refs.ts';

const FILE: FileHeader = { uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] };

async function emptyRepo(t: CleanUp): Promise<Repo> {
  return Repo.init(join(scratch(t), 'repo'), { mode: 'archive' });
}

/** A tree of one file with the name and content. */
async function treeOf(transaction: Transaction, name: string): Promise<ReturnType<MutableTree['write']>> {
  const content = transaction.content();
  const added = content.add(FILE, Buffer.from(`${name}\n`.repeat(200)));
  await content.flush();
  const root = MutableTree.empty();
  root.meta = transaction.writeDirMeta({ uid: 0, gid: 0, mode: 0o040755, xattrs: [] });
  root.setFile(name, await added);
  return root.write(transaction);
}

const diffIdOf = (name: string): DiffId => digestOf(`layer ${name}`) as string as DiffId;
const manifestOf = (name: string): Digest => digestOf(`image ${name}`);

async function addLayer(transaction: Transaction, name: string): Promise<LayerCommit> {
  const root = await treeOf(transaction, name);
  const facts = { diffId: diffIdOf(name), contentBytes: 1n, skipped: [], links: [] };
  const commit = writeLayerCommit(transaction, root, facts);
  transaction.setRef(layerRef(facts.diffId), commit);
  return { ...facts, commit, root };
}

/** Puts an image of these layers into the repository, and returns its commit. */
async function addImage(repo: Repo, transaction: Transaction, name: string, layers: readonly string[]): Promise<Checksum> {
  const stored: LayerCommit[] = [];
  for (const layer of layers) stored.push(findLayerCommit(repo, diffIdOf(layer)) ?? (await addLayer(transaction, layer)));
  const documents: ImageDocuments = {
    manifest: { digest: manifestOf(name), bytes: Buffer.from(`image ${name}`) },
    config: { digest: digestOf(`config ${name}`), bytes: Buffer.from(`config ${name}`) },
    diffIds: layers.map(diffIdOf),
  };
  const { commit } = writeImageCommit(repo, transaction, documents, stored);
  transaction.setRef(imageRef(documents.manifest.digest), commit);
  return commit;
}

/** Packs an app of one image; the commit keeps the image's tree, as a real one does. */
async function packApp(repo: Repo, branch: string, image: string, layers: readonly string[]): Promise<Checksum> {
  const transaction = await Transaction.begin(repo);
  const imageCommit = await addImage(repo, transaction, image, layers);
  const record = { reference: image, pinned: image, manifest: manifestOf(image), diffIds: layers.map(diffIdOf) };
  const { root } = repo.readCommit(imageCommit);
  const app = writeCommitObject(transaction, {
    root,
    subject: branch,
    timestamp: 1n,
    parent: repo.refs.read(branch),
    bindRefs: [branch],
    metadata: [appImagesMetadata([record])],
  });
  transaction.setRef(branch, app);
  await transaction.commit();
  return app;
}

function objectsIn(repo: Repo): number {
  return [...repo.listObjects()].length;
}

async function checkWithOstree(repo: Repo): Promise<void> {
  if (needsPeer('ostree') === false) await run('ostree', ['fsck', `--repo=${repo.path}`]);
}

test('layers and images that an app needs stay, the others go, and the plan says exactly what', async (t) => {
  const repo = await emptyRepo(t);
  await packApp(repo, 'apps/one', 'web-1', ['base', 'web-1']);
  await packApp(repo, 'apps/one', 'web-2', ['base', 'web-2']);
  await packApp(repo, 'apps/two', 'tool', ['base', 'tool']);
  const plan = planRepoClean(repo);
  assert.deepEqual([...plan.refs].sort(), [imageRef(manifestOf('web-1')), layerRef(diffIdOf('web-1'))].sort());
  const before = objectsIn(repo);
  assert.equal(planRepoClean(repo).objects, plan.objects);
  assert.equal(objectsIn(repo), before, 'a plan deletes nothing');

  const told: RepoCleanPlan[] = [];
  const done = await cleanRepo(repo, undefined, (value) => {
    told.push(value);
    assert.equal(objectsIn(repo), before, 'it is told before anything goes');
  });
  assert.deepEqual(told, [plan]);
  assert.deepEqual(done, plan);
  assert.equal(objectsIn(repo), before - plan.objects);
  assert.deepEqual([...repo.refs.list('cambium').keys()].length, 5);
  assert.ok(plan.freedBytes > 0);
  await checkWithOstree(repo);
  assert.deepEqual(planRepoClean(repo), { refs: [], commits: [], objects: 0, freedBytes: 0 });
});

test('the older version of an app stays whole: its files are its own, not those of the layers', async (t) => {
  const repo = await emptyRepo(t);
  const old = await packApp(repo, 'apps/one', 'web-1', ['base', 'web-1']);
  await packApp(repo, 'apps/one', 'web-2', ['base', 'web-2']);
  await cleanRepo(repo);
  const { root } = repo.readCommit(old);
  const names = repo.readDirTree(root.tree).files.map(({ name, checksum }) => [name, repo.readFile(checksum, 10_000).byteLength]);
  assert.deepEqual(names, [
    ['base', 1000],
    ['web-1', 1200],
  ]);
  await checkWithOstree(repo);
});

test('commits that no ref names stay, layers that somebody tagged too', async (t) => {
  const repo = await emptyRepo(t);
  await packApp(repo, 'apps/one', 'web', ['base']);
  const transaction = await Transaction.begin(repo);
  const loose = writeCommitObject(transaction, { root: await treeOf(transaction, 'loose'), subject: 'loose', timestamp: 1n, parent: undefined });
  const tagged = await addLayer(transaction, 'tagged');
  transaction.setRef('mine/tagged', tagged.commit);
  await transaction.commit();
  const plan = await cleanRepo(repo);
  assert.deepEqual(plan.refs, [layerRef(diffIdOf('tagged'))]);
  assert.equal(repo.hasObject('commit', loose), true);
  assert.equal(repo.hasObject('commit', tagged.commit), true);
  await checkWithOstree(repo);
});

test('an app in a remote or from an older pack without a list of images needs nothing, and stays', async (t) => {
  const repo = await emptyRepo(t);
  const app = await packApp(repo, 'apps/one', 'web', ['base']);
  repo.refs.write('origin:apps/one', app);
  repo.refs.write('apps/one', undefined);
  assert.deepEqual(planRepoClean(repo).refs, []);
  repo.refs.write('origin:apps/one', undefined);
  // Now nothing needs them; the commit itself has no ref and stays all the same.
  const plan = await cleanRepo(repo);
  assert.equal(plan.refs.length, 2);
  assert.equal(repo.hasObject('commit', app), true);
  await checkWithOstree(repo);
});

test('a clean that was killed after the refs, or after the commits, is finished by the next', async (t) => {
  for (const stage of ['refs', 'commits'] as const) {
    const repo = await emptyRepo(t);
    await packApp(repo, 'apps/one', 'web-1', ['base', 'web-1']);
    await packApp(repo, 'apps/one', 'web-2', ['base', 'web-2']);
    const plan = planRepoClean(repo);
    for (const ref of plan.refs) repo.refs.write(ref, undefined);
    if (stage === 'commits') for (const commit of plan.commits) rmSync(repo.objectPath('commit', commit));
    await checkWithOstree(repo);
    const again = await cleanRepo(repo);
    assert.deepEqual(again.refs, []);
    assert.equal(again.objects, stage === 'refs' ? plan.objects : plan.objects - plan.commits.length);
    assert.equal(planRepoClean(repo).objects, 0);
    await checkWithOstree(repo);
  }
});

test('beside a pack: it waits for it, and what the pack came to need is not dropped', async (t) => {
  const repo = await emptyRepo(t);
  await packApp(repo, 'apps/one', 'web-1', ['base', 'web-1']);
  await packApp(repo, 'apps/one', 'web-2', ['base', 'web-2']);
  const packer = await Repo.open(repo.path);
  assert.equal(planRepoClean(repo).refs.length, 2);

  // The pack has begun and relies on a layer that at this instant no app needs.
  const transaction = await Transaction.begin(packer);
  const image = await addImage(packer, transaction, 'other', ['base', 'web-1']);
  let told: RepoCleanPlan | undefined;
  const cleaning = cleanRepo(repo, undefined, (plan) => {
    told = plan;
  });
  // Locks are tried at once: were it free to go on, it would have planned by now.
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(told, undefined);
  const record = { reference: 'other', pinned: 'other', manifest: manifestOf('other'), diffIds: ['base', 'web-1'].map(diffIdOf) };
  const app = writeCommitObject(transaction, {
    root: packer.readCommit(image).root,
    subject: 'two',
    timestamp: 1n,
    parent: undefined,
    metadata: [appImagesMetadata([record])],
  });
  transaction.setRef('apps/two', app);
  await transaction.commit();

  const plan = await cleaning;
  assert.deepEqual(plan.refs, [imageRef(manifestOf('web-1'))]);
  assert.ok(findLayerCommit(repo, diffIdOf('web-1')) !== undefined);
  await checkWithOstree(repo);
});

test('a pack that begins while a clean is at work waits, and sees what is gone', async (t) => {
  const repo = await emptyRepo(t);
  await packApp(repo, 'apps/one', 'web-1', ['base', 'web-1']);
  await packApp(repo, 'apps/one', 'web-2', ['base', 'web-2']);
  const packer = await Repo.open(repo.path);
  const order: string[] = [];
  let packing: Promise<unknown> | undefined;
  await cleanRepo(repo, undefined, () => {
    packing = packApp(packer, 'apps/two', 'web-1', ['base', 'web-1']).then(() => order.push('packed'));
  });
  order.push('cleaned');
  await packing;
  assert.deepEqual(order, ['cleaned', 'packed']);
  assert.deepEqual(planRepoClean(repo).refs, []);
  await checkWithOstree(repo);
});

test('nothing goes when an app is damaged, when interrupted before, or where one may not write', async (t) => {
  const repo = await emptyRepo(t);
  await packApp(repo, 'apps/one', 'web-1', ['base', 'web-1']);
  const app = await packApp(repo, 'apps/one', 'web-2', ['base', 'web-2']);
  const before = objectsIn(repo);
  await assert.rejects(cleanRepo(repo, AbortSignal.abort(new Error('stop'))), /stop/);
  const controller = new AbortController();
  await assert.rejects(
    cleanRepo(repo, controller.signal, () => controller.abort(new Error('stop'))),
    /stop/,
  );
  assert.equal(objectsIn(repo), before);
  if (process.getuid?.() !== 0) {
    chmodSync(join(repo.path, 'objects'), 0o500);
    await assert.rejects(cleanRepo(await Repo.open(repo.path)), { code: 'OSTREE_REPO_READ_ONLY' });
    chmodSync(join(repo.path, 'objects'), 0o755);
  }
  const { root } = repo.readCommit(app);
  rmSync(repo.objectPath('dirtree', root.tree));
  const left = objectsIn(repo);
  await assert.rejects(cleanRepo(repo), { code: 'OSTREE_OBJECT_MISSING' });
  assert.equal(objectsIn(repo), left);
  assert.equal(repo.refs.list('cambium').size, 5);
});

test('a commit of another kind under a name like ours is no cache', async (t) => {
  const repo = await emptyRepo(t);
  const transaction = await Transaction.begin(repo);
  const commit = writeCommitObject(transaction, {
    root: await treeOf(transaction, 'x'),
    subject: 'layer of paint',
    timestamp: 1n,
    parent: undefined,
    metadata: [['cambium.layer.diffid', new Variant('s', 'sha256:x')]],
    bindRefs: ['mine'],
  });
  await transaction.commit();
  await cleanRepo(repo);
  assert.equal(repo.hasObject('commit', commit), true);
  assert.ok(existsSync(repo.objectPath('commit', commit)));
  assert.ok(readdirSync(join(repo.path, 'objects')).length > 0);
});
