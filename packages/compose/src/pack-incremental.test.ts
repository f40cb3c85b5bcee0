/** What the repository knows is not fetched again: counted at the registry. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { findUnusedRefs, IMAGE_REF_PREFIX, LAYER_REF_PREFIX } from '@cambium/bridge';
import { prune, Repo } from '@cambium/ostree';
import {
  type BuiltLayout,
  defer,
  type FaultRule,
  faultyRegistry,
  needsPeer,
  output,
  pushLayout,
  type Registry,
  scratch,
  startRegistry,
} from '@cambium/testkit';
import type { PackEvent } from './index.ts';
import { BRANCH, fsck, makeProject, pack, packFails, refOf, setImages, shopImage } from './pack-project.test.ts';

const NEEDS = needsPeer('ostree');

/** Every path that was asked for with success, without the protocol's own. */
function fetched(registry: Registry): string[] {
  return registry
    .requests()
    .filter(({ status, path }) => status < 300 && /manifests|blobs/.test(path))
    .map(({ path }) => path.split('/').at(-1) as string)
    .sort();
}

function layer(layout: BuiltLayout, which: number): string {
  return layout.images[0]?.layers[which]?.digest as string;
}

test('again, and again after one file changed, from the real registry', { skip: needsPeer('ostree', 'skopeo', 'docker-registry') }, async (t) => {
  const registry = await startRegistry();
  defer(t, () => registry.stop());
  const web = await shopImage(t, 'web');
  const db = await shopImage(t, 'db');
  await pushLayout(web, `${registry.host}/web:1`);
  await pushLayout(db, `${registry.host}/db:1`);
  const [project, repo] = [makeProject(t, [`${registry.host}/web:1`, `${registry.host}/db:1`]), join(scratch(t), 'repo')];

  registry.forget();
  const first = await pack(project, repo);
  const all = [web, db].flatMap((layout) => [layout.images[0]?.config as string, layer(layout, 1), layer(layout, 2)]);
  assert.equal(layer(web, 0), layer(db, 0));
  assert.deepEqual(registry.fetchedBlobs().sort(), [...all, layer(web, 0)].sort(), 'a layer that two images share is fetched once');
  assert.equal(first.unchanged, false);

  registry.forget();
  const second = await pack(project, repo, { timestamp: 1_800_000_000n });
  assert.deepEqual(fetched(registry), ['1', '1'], 'one manifest per image, by its tag');
  assert.deepEqual([second.unchanged, second.commit, second.fetchBytes, second.stats?.contentWritten], [true, first.commit, 0, 0]);

  const changed = await shopImage(t, 'web', 'changed');
  await pushLayout(changed, `${registry.host}/web:1`);
  registry.forget();
  const third = await pack(project, repo);
  assert.deepEqual(fetched(registry), ['1', '1', changed.images[0]?.config as string, layer(changed, 2)].sort());
  assert.equal(third.unchanged, false);
  assert.equal(await output('ostree', [`--repo=${repo}`, 'rev-parse', `${BRANCH}^`]), first.commit, 'history goes on');
  assert.equal(third.fetchBytes, changed.images[0]?.layers[2]?.size);
  await fsck(repo);

  // Back to what was packed before: everything is known, though the branch moves.
  await pushLayout(web, `${registry.host}/web:1`);
  registry.forget();
  const fourth = await pack(project, repo);
  assert.deepEqual(fetched(registry), ['1', '1']);
  assert.equal(fourth.fetchBytes, 0);
});

test('a pinned reference whose image is known costs no request at all', { skip: NEEDS }, async (t) => {
  const web = await shopImage(t, 'web');
  const registry = await faultyRegistry({ layouts: { 'web:1': web } });
  defer(t, () => registry.stop());
  const [project, repo] = [makeProject(t, [`${registry.host}/web:1@${web.digest}`]), join(scratch(t), 'repo')];
  await pack(project, repo);
  registry.forget();
  const again = await pack(project, repo);
  assert.deepEqual(fetched(registry), []);
  assert.equal(again.unchanged, true);
});

test('refs that no app needs are found and dropped; packing again gives the same commit', { skip: NEEDS }, async (t) => {
  const [web, db, next] = [await shopImage(t, 'web'), await shopImage(t, 'db'), await shopImage(t, 'web', 'changed')];
  const sources = (layout: BuiltLayout): ReadonlyMap<string, string> =>
    new Map([
      ['registry.example/web:1', layout.reference],
      ['registry.example/db:1', db.reference],
    ]);
  const [project, path] = [makeProject(t, ['registry.example/web:1', 'registry.example/db:1']), join(scratch(t), 'repo')];
  const first = await pack(project, path, { imageSources: sources(web) });
  const repo = await Repo.open(path);
  assert.deepEqual(findUnusedRefs(repo), []);
  assert.equal([...repo.refs.list(LAYER_REF_PREFIX)].length, 5);

  const second = await pack(project, path, { imageSources: sources(next) });
  const unused = findUnusedRefs(repo);
  const gone = [web.images[0]?.layers[2]?.diffId.slice(7), web.images[0]?.manifest.slice(7)];
  assert.deepEqual(unused.map(({ ref }) => ref.split('/').at(-1)).sort(), gone.sort(), 'the old image and its changed layer, not what is shared');

  const drop = async (): Promise<void> => {
    for (const { ref, commit } of findUnusedRefs(repo)) {
      repo.refs.write(ref, undefined);
      await prune(repo, { deleteCommit: commit, commitOnly: true });
    }
    await prune(repo, {});
  };
  await drop();
  await fsck(path);
  assert.deepEqual(findUnusedRefs(repo), []);

  // The app itself goes: so does all that was kept for it.
  repo.refs.write(BRANCH, undefined);
  await drop();
  assert.equal(repo.refs.list().size, 0);
  await fsck(path);
  const again = await pack(project, path, { imageSources: sources(web) });
  assert.equal(again.commit, first.commit);
  assert.equal(
    again.images[0]?.layers.some(({ known }) => known),
    false,
  );
  const third = await pack(project, path, { imageSources: sources(next) });
  assert.equal(third.commit, second.commit);
  await fsck(path);
});

test('what is dropped between plan and lock is fetched after all', { skip: NEEDS }, async (t) => {
  const web = await shopImage(t, 'web');
  const [project, path] = [makeProject(t, ['registry.example/web:1']), join(scratch(t), 'repo')];
  const imageSources = new Map([['registry.example/web:1', web.reference]]);
  const first = await pack(project, path, { imageSources });
  const repo = await Repo.open(path);
  for (const which of ['images', 'all']) {
    let dropped = 0;
    const again = await pack(project, path, {
      imageSources,
      on: (event: PackEvent) => {
        // The plan is made of what was there a moment ago.
        if (event.type !== 'image-resolved') return;
        assert.equal(event.fetchBytes, 0);
        for (const ref of repo.refs.list('cambium').keys()) {
          if (which === 'images' && !ref.includes('/images/')) continue;
          repo.refs.write(ref.startsWith('cambium/') ? ref : `cambium/${ref}`, undefined);
          dropped++;
        }
      },
    });
    assert.ok(dropped > 0);
    assert.equal(again.commit, first.commit);
    assert.deepEqual(findUnusedRefs(repo), []);
    assert.equal(repo.refs.list(LAYER_REF_PREFIX).size, 3);
    assert.equal(repo.refs.list(IMAGE_REF_PREFIX).size, 1);
  }
  await fsck(path);
});

test('an interrupted transfer goes on where it broke', { skip: NEEDS }, async (t) => {
  const web = await shopImage(t, 'web');
  const victim = layer(web, 0);
  const size = web.images[0]?.layers[0]?.size as number;
  const rules: FaultRule[] = [{ on: new RegExp(`GET .*${victim}`), times: 2, fault: { do: 'reset', afterBytes: 10_000 } }];
  const registry = await faultyRegistry({ layouts: { 'web:1': web }, rules });
  defer(t, () => registry.stop());
  const [project, repo] = [makeProject(t, [`${registry.host}/web:1`]), join(scratch(t), 'repo')];
  const result = await pack(project, repo);
  await fsck(repo);
  const requests = registry.requests().filter(({ path }) => path.includes(victim));
  assert.deepEqual(
    requests.map(({ status }) => status),
    [200, 206, 206],
  );
  const sent = requests.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0);
  assert.ok(sent <= size + 20_000, `${sent} bytes sent for ${size}`);
  assert.match(requests[1]?.range ?? '', /^bytes=[1-9]\d*-$/);

  const clean = await faultyRegistry({ layouts: { 'web:1': web } });
  defer(t, () => clean.stop());
  const other = join(scratch(t), 'repo');
  const undisturbed = await pack(project, other, { imageSources: new Map([[`${registry.host}/web:1`, `docker://${clean.host}/web:1`]]) });
  assert.equal(result.commit, undisturbed.commit);
});

test('what arrived before the registry failed is kept: the next run fetches the rest', { skip: NEEDS }, async (t) => {
  const [old, web] = [await shopImage(t, 'old'), await shopImage(t, 'web')];
  const victim = layer(web, 2);
  const broken: { rules: FaultRule[]; code: string }[] = [
    { rules: [{ on: new RegExp(victim), fault: { do: 'status', status: 503 } }], code: 'OCI_REGISTRY_ERROR' },
    { rules: [{ on: new RegExp(victim), fault: { do: 'corrupt', atByte: 5000 } }], code: 'OCI_BLOB_MISMATCH|ARCHIVE_DECOMPRESS_CORRUPT' },
    { rules: [{ on: new RegExp(victim), fault: { do: 'status', status: 404 } }], code: 'OCI_BLOB_UNKNOWN' },
  ];
  for (const { rules, code } of broken) {
    const registry = await faultyRegistry({ layouts: { 'old:1': old, 'web:1': web }, rules });
    defer(t, () => registry.stop());
    const [project, repo] = [makeProject(t, [`${registry.host}/old:1`]), join(scratch(t), 'repo')];
    const first = await pack(project, repo);
    setImages(project, [`${registry.host}/web:1`]);
    await packFails(pack(project, repo, { concurrency: 1 }), new RegExp(code), repo, first.commit);
    rules.splice(0);
    registry.forget();
    const result = await pack(project, repo);
    assert.equal(await refOf(repo), result.commit);
    const blobs = registry.fetchedBlobs().filter((digest) => digest !== web.images[0]?.config);
    assert.deepEqual(blobs, [victim], code);
    await fsck(repo);
  }
});
