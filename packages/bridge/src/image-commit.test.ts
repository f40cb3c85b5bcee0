/** Image and layer commits as caches: found again, refused when they are something else, made again when of another version. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum, Digest } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { type Metadata, type Repo, Transaction } from '@cambium/ostree';
import { type BuiltLayout, buildImageLayout, type CleanUp, needsPeer, output, scratch } from '@cambium/testkit';
import { newRepo, storeImage } from './image-trees.test.ts';
import {
  type AppImage,
  appImagesMetadata,
  appImagesOf,
  findImageCommit,
  findLayerCommit,
  findUnusedRefs,
  imageRef,
  layerRef,
  storedDocuments,
} from './index.ts';

async function twoLayers(t: CleanUp, name = 'x'): Promise<BuiltLayout> {
  return await buildImageLayout(join(scratch(t), 'layout'), {
    images: [{ layers: [{ entries: [{ path: 'base', content: 'base' }] }, { entries: [{ path: name, content: name }] }] }],
  });
}

/** Writes a commit with other metadata over the same tree, and points a ref at it. */
async function replace(repo: Repo, ref: string, change: (metadata: Metadata) => Metadata): Promise<Checksum> {
  const commit = repo.readCommit(repo.refs.read(ref) as Checksum);
  const transaction = await Transaction.begin(repo);
  const changed = transaction.writeCommit({ ...commit, metadata: change(commit.metadata) });
  transaction.setRef(ref, changed);
  await transaction.commit();
  return changed;
}

test('a stored image is found with its documents and facts', async (t) => {
  const repo = await newRepo(t);
  const image = await storeImage(repo, await twoLayers(t));
  const { layers, ...stored } = image;
  assert.deepEqual(findImageCommit(repo, image.manifest.digest), { ...stored, manifest: plain(stored.manifest), config: plain(stored.config) });
  assert.deepEqual(findLayerCommit(repo, image.diffIds[1] as (typeof image.diffIds)[number]), layers[1]?.layer);
  assert.equal(findImageCommit(repo, `sha256:${'0'.repeat(64)}` as Digest), undefined);
  const documents = storedDocuments(repo);
  assert.deepEqual(documents.get(image.config.digest), new Uint8Array(image.config.bytes));
  assert.deepEqual(documents.get(image.manifest.digest), new Uint8Array(image.manifest.bytes));
  assert.equal(documents.get(`sha256:${'0'.repeat(64)}` as Digest), undefined);
});

function plain({ digest, bytes }: { digest: Digest; bytes: Uint8Array }): { digest: Digest; bytes: Uint8Array } {
  return { digest, bytes: new Uint8Array(bytes) };
}

test('the same image gives the same commits anywhere; order of layers matters', async (t) => {
  const layout = await twoLayers(t);
  const [a, b] = [await storeImage(await newRepo(t), layout), await storeImage(await newRepo(t, 'bare-user'), layout)];
  assert.equal(a.commit, b.commit);
  assert.deepEqual(
    a.layers.map(({ layer }) => layer.commit),
    b.layers.map(({ layer }) => layer.commit),
  );
});

test('a commit of another version is made again; one that is no image or layer is refused', { skip: needsPeer('ostree') }, async (t) => {
  const repo = await newRepo(t);
  const image = await storeImage(repo, await twoLayers(t));
  const digest = image.manifest.digest;
  const diffId = image.diffIds[0] as (typeof image.diffIds)[number];

  await replace(repo, imageRef(digest), (all) => all.map(([key, value]) => [key, key === 'cambium.image.version' ? new Variant('u', 99) : value]));
  assert.equal(findImageCommit(repo, digest), undefined);
  await replace(repo, imageRef(digest), (all) =>
    all.flatMap(([key, value]) => (key === 'cambium.image.config' ? [] : [[key, key === 'cambium.image.version' ? new Variant('u', 1) : value] as const])),
  );
  assert.throws(() => findImageCommit(repo, digest), { code: 'BRIDGE_IMAGE_COMMIT_INVALID', message: /config/ });
  await replace(repo, layerRef(diffId), (all) => all.filter(([key]) => key !== 'cambium.layer.diffid'));
  assert.throws(() => findLayerCommit(repo, diffId), { code: 'BRIDGE_LAYER_COMMIT_INVALID', message: new RegExp(layerRef(diffId)) });

  // As the hints say: without the refs everything is made again.
  for (const ref of [imageRef(digest), layerRef(diffId)]) await output('ostree', [`--repo=${repo.path}`, 'refs', '--delete', ref]);
  assert.equal(findImageCommit(repo, digest), undefined);
  assert.equal(findLayerCommit(repo, diffId), undefined);
});

test('what an app was made of is recorded, and all else below cambium/ is unused', async (t) => {
  const repo = await newRepo(t);
  const [used, other] = [await storeImage(repo, await twoLayers(t, 'used')), await storeImage(repo, await twoLayers(t, 'other'))];
  const all = [...repo.refs.list('cambium')];
  assert.equal(all.length, 5, 'three layers, two images');
  assert.equal(findUnusedRefs(repo).length, 5, 'nothing is needed while there is no app');

  const images: AppImage[] = [{ reference: 'web', pinned: `web@${used.manifest.digest}`, manifest: used.manifest.digest, diffIds: used.diffIds }];
  const transaction = await Transaction.begin(repo);
  const app = transaction.writeCommit({
    metadata: [['ostree.ref-binding', new Variant('as', ['app'])], appImagesMetadata(images)],
    parent: undefined,
    related: [],
    subject: '',
    body: '',
    timestamp: 0n,
    root: used.root,
  });
  transaction.setRef('app', app);
  await transaction.commit();
  assert.deepEqual(appImagesOf(repo.readCommit(app)), images);
  assert.deepEqual(appImagesOf(repo.readCommit(used.commit)), []);
  const unused = findUnusedRefs(repo).map(({ ref }) => ref);
  assert.deepEqual(unused.sort(), [imageRef(other.manifest.digest), layerRef(other.diffIds[1] as (typeof other.diffIds)[number])].sort());
});
