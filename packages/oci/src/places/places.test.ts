/** Every place that can be written passes one suite: what goes in comes out, and skopeo reads it. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { collect, digestOf } from '@cambium/base';
import { type BuiltLayout, buildImageLayout, defer, needsPeer, output, run, scratch, startRegistry } from '@cambium/testkit';
import { type CopyOptions, type CopyResult, copyImage } from '../copy/copy-image.ts';
import { validateImage } from '../copy/validate-image.ts';
import { isIndex } from '../image/documents.ts';
import { parsePlatform } from '../image/platform.ts';
import type { Manifest } from '../image/types.ts';
import { createRegistryClient, type RegistryClient } from '../registry/client.ts';
import { deleteImage, listImages, tagImage } from './manage.ts';
import { openImage } from './open-image.ts';
import { openSink } from './open-sink.ts';
import { parsePlace } from './place.ts';

interface World {
  directory: string;
  client: RegistryClient;
  /** `docker://127.0.0.1:PORT` */
  registry: string;
  copy(from: string, to: string, options?: Partial<CopyOptions>): Promise<CopyResult>;
}

async function worldOf(t: TestContext): Promise<World> {
  const directory = scratch(t);
  const registry = await startRegistry();
  defer(t, () => registry.stop());
  const client = createRegistryClient();
  defer(t, () => client.close());
  return {
    directory,
    client,
    registry: `docker://${registry.host}`,
    async copy(from, to, options = {}) {
      const source = await openImage(from, { registry: client });
      const sink = await openSink(to, { registry: client });
      try {
        return await copyImage(source, sink, { platform: 'all', ...options });
      } finally {
        await sink.close();
        await source.close();
      }
    },
  };
}

/** Two platforms that share a layer. */
async function twoPlatforms(directory: string): Promise<BuiltLayout> {
  const shared = { entries: [{ path: 'etc/shared', content: 'both have it' }] };
  const own = (architecture: string) => ({
    platform: { os: 'linux', architecture },
    layers: [shared, { entries: [{ path: `bin/${architecture}`, content: architecture.repeat(5000) }], compression: 'zstd' as const }],
  });
  return await buildImageLayout(directory, { images: [own('amd64'), own('arm64')] });
}

const PLACES: readonly { name: string; place(world: World): string /** Begun anew each time. */; isFile?: true }[] = [
  { name: 'registry', place: ({ registry }) => `${registry}/some/image:one` },
  { name: 'oci', place: ({ directory }) => `oci:${join(directory, 'layout')}:one` },
  { name: 'oci-archive', place: ({ directory }) => `oci-archive:${join(directory, 'archive.tar')}:one`, isFile: true },
  { name: 'dir', place: ({ directory }) => `dir:${join(directory, 'dir')}` },
];
const skip = needsPeer('docker-registry') || needsPeer('skopeo');

for (const { name, place, isFile } of PLACES) {
  test(`${name}: an image of several platforms arrives with its digest, and is sent once`, { skip }, async (t) => {
    const world = await worldOf(t);
    const built = await twoPlatforms(join(world.directory, 'built'));
    const target = place(world);
    const plan = await world.copy(built.reference, target, { dryRun: true });
    assert.deepEqual([plan.blobs.sent, plan.blobs.present], [5, 0]);
    assert.equal(
      ['layout', 'dir', 'archive.tar'].some((path) => existsSync(join(world.directory, path))),
      false,
      'a dry run writes nothing',
    );

    const first = await world.copy(built.reference, target);
    assert.deepEqual([first.digest, first.sourceDigest, first.manifests], [built.digest, built.digest, 2]);
    assert.deepEqual(first.blobs, { present: 0, sent: 5, mounted: 0 }, 'two configurations, two layers of their own, one shared');
    const again = await world.copy(built.reference, target);
    assert.deepEqual([again.digest, again.blobs.sent], [built.digest, isFile ? 5 : 0]);

    // Every byte comes back: reading verifies it.
    const source = await openImage(target, { registry: world.client });
    const index = await source.manifest();
    assert.ok(isIndex(index));
    for (const entry of index.value.manifests) {
      const { config, layers } = (await source.manifest(entry.digest)).value as Manifest;
      for (const blob of [config, ...layers]) assert.equal((await collect(source.blob(blob), 1 << 20)).byteLength, blob.size);
    }
    await source.close();

    const inspected = await output('skopeo', ['inspect', '--raw', ...insecure(name), target]);
    assert.equal(inspected, readFileSync(built.blobPath(built.digest), 'utf8'));
  });

  test(`${name}: one platform of an index`, { skip }, async (t) => {
    const world = await worldOf(t);
    const built = await twoPlatforms(join(world.directory, 'built'));
    const target = place(world);
    const result = await world.copy(built.reference, target, { platform: { ...parsePlatform('arm64'), explicit: true } });
    assert.equal(result.digest, built.images[1]?.manifest);
    assert.deepEqual(result.blobs, { present: 0, sent: 3, mounted: 0 });
    const inspected = JSON.parse(await output('skopeo', ['inspect', ...insecure(name), target])) as { Architecture: string; Digest: string };
    assert.deepEqual([inspected.Architecture, inspected.Digest], ['arm64', result.digest]);
  });

  test(`${name}: what skopeo puts there is read, and passed on by skopeo from ours`, { skip }, async (t) => {
    const world = await worldOf(t);
    const built = await buildImageLayout(join(world.directory, 'built'), {
      images: [{ layers: [{ entries: [{ path: 'a', content: 'first' }] }, { entries: [{ path: 'b', content: 'second' }] }] }],
    });
    const target = place(world);
    await run('skopeo', ['copy', '--dest-tls-verify=false', built.reference, target]);
    const there = join(world.directory, 'there');
    const read = await world.copy(target, `oci:${there}:two`);
    assert.equal(read.digest, built.digest);
    await run('skopeo', ['copy', '--src-tls-verify=false', target, `oci:${join(world.directory, 'onward')}:three`]);
    await run('skopeo', ['copy', `oci:${there}:two`, `oci:${join(world.directory, 'theirs')}:four`]);
    assert.deepEqual(readdirSync(join(world.directory, 'onward/blobs/sha256')).sort(), readdirSync(join(world.directory, 'theirs/blobs/sha256')).sort());
  });

  test(`${name}: a blob that does not arrive whole leaves nothing under its name`, { skip }, async (t) => {
    const world = await worldOf(t);
    const built = await buildImageLayout(join(world.directory, 'built'), {
      images: [{ layers: [{ entries: [{ path: 'a', content: 'x'.repeat(300_000) }], compression: 'none', lie: { digest: `sha256:${'ab'.repeat(32)}` } }] }],
    });
    const liar = built.images[0]?.layers[0];
    assert.ok(liar !== undefined);
    await world.copy(built.reference, place(world)).then(
      () => assert.fail('it was taken'),
      (error: { code?: string }) => assert.match(error.code ?? '', /^OCI_BLOB_(?:UNKNOWN|MISMATCH)$/),
    );
    const sink = await openSink(place(world), { registry: world.client });
    assert.equal(await sink.hasBlob(liar), false);
    await sink.close();
    await assert.rejects(
      openImage(place(world), { registry: world.client }).then((image) => image.manifest()),
      { code: /^OCI_(?:MANIFEST_UNKNOWN|LAYOUT_INVALID|ARCHIVE_INVALID)$/ },
    );
  });
}

test('docker-archive: one platform, unpacked layers; skopeo reads it, and so do we', { skip }, async (t) => {
  const world = await worldOf(t);
  const built = await twoPlatforms(join(world.directory, 'built'));
  const target = `docker-archive:${join(world.directory, 'archive.tar')}:example.com/some/image:one`;
  await assert.rejects(world.copy(built.reference, target), { code: 'OCI_FORMAT_IMPOSSIBLE' });
  assert.deepEqual(
    readdirSync(world.directory).filter((name) => name.startsWith('archive')),
    [],
    'nothing is left of it',
  );
  const platform = { ...parsePlatform('arm64'), explicit: true };
  await world.copy(built.reference, target, { platform });
  const inspected = JSON.parse(await output('skopeo', ['inspect', target])) as { Architecture: string; Layers: string[] };
  assert.equal(inspected.Architecture, 'arm64');
  assert.deepEqual(
    inspected.Layers,
    built.images[1]?.layers.map(({ diffId }) => diffId),
  );
  const read = await openImage(target);
  // Such an archive has no manifest, so nothing in it has the digest of one: the configuration says what image it is.
  assert.equal(((await read.manifest()).value as Manifest).config.digest, built.images[1]?.config);
  assert.deepEqual(await listImages(target, { registry: world.client }), [{ name: 'example.com/some/image:one' }]);
  await read.close();
  await run('skopeo', ['copy', target, `oci:${join(world.directory, 'onward')}:x`]);
});

test('between repositories of one registry nothing is sent', { skip }, async (t) => {
  const world = await worldOf(t);
  const built = await twoPlatforms(join(world.directory, 'built'));
  await world.copy(built.reference, `${world.registry}/first:1`);
  const result = await world.copy(`${world.registry}/first:1`, `${world.registry}/second:1`);
  assert.deepEqual([result.blobs, result.digest], [{ present: 0, sent: 0, mounted: 5 }, built.digest]);
});

test('compression and format change when asked, and skopeo reads what comes of it', { skip }, async (t) => {
  const world = await worldOf(t);
  const built = await buildImageLayout(join(world.directory, 'built'), {
    images: [{ layers: [{ entries: [{ path: 'a', content: 'a'.repeat(9000) }] }, { entries: [{ path: 'b', content: 'b' }], compression: 'none' }] }],
  });
  const changes: readonly [Partial<CopyOptions>, string[]][] = [
    // A plain layer is compressed where it stays; others are left alone.
    [{}, ['tar+gzip', 'tar+gzip']],
    [{ compression: 'zstd' }, ['tar+zstd', 'tar+zstd']],
    [{ compression: 'none' }, ['tar', 'tar']],
  ];
  for (const [i, [options, types]] of changes.entries()) {
    const target = `oci:${join(world.directory, 'out')}:${i}`;
    const result = await world.copy(built.reference, target, options);
    assert.notEqual(result.digest, built.digest);
    const raw = JSON.parse(await output('skopeo', ['inspect', '--raw', target])) as Manifest;
    assert.deepEqual(
      raw.layers.map(({ mediaType }) => mediaType.replace(/^.*(?:v1|diff)\.(?=tar)/, '')),
      types,
    );
    const plain = raw.layers.map(({ digest, mediaType }) => {
      const bytes = readFileSync(join(world.directory, 'out/blobs/sha256', digest.slice(7)));
      return digestOf(mediaType.endsWith('gzip') ? gunzipSync(bytes) : mediaType.endsWith('zstd') ? zstdDecompressSync(bytes) : bytes) as string;
    });
    assert.deepEqual(
      plain,
      built.images[0]?.layers.map(({ diffId }) => diffId),
    );
  }
  await assert.rejects(world.copy(built.reference, `oci:${join(world.directory, 'out')}:no`, { preserveDigests: true }), { code: 'OCI_DIGEST_CHANGES' });
  await assert.rejects(world.copy(built.reference, `oci:${join(world.directory, 'out')}:no`, { format: 'docker', compression: 'zstd' }), {
    code: 'OCI_FORMAT_IMPOSSIBLE',
  });
});

test("Docker's format and back: a layout has OCI's, unless the digest is to stay", { skip }, async (t) => {
  const world = await worldOf(t);
  const built = await buildImageLayout(join(world.directory, 'built'), { images: [{ layers: [{ entries: [{ path: 'a', content: 'a' }] }] }] });
  const docker = `${world.registry}/docker:1`;
  const there = await world.copy(built.reference, docker, { format: 'docker' });
  const theirs = JSON.parse(await output('skopeo', ['inspect', '--raw', '--tls-verify=false', docker])) as Manifest;
  assert.deepEqual(
    [theirs.mediaType, theirs.config.mediaType, theirs.layers[0]?.mediaType],
    ['distribution.manifest.v2+json', 'container.image.v1+json', 'image.rootfs.diff.tar.gzip'].map((type) => `application/vnd.docker.${type}`),
  );
  const back = `oci:${join(world.directory, 'back')}:1`;
  assert.deepEqual([(await world.copy(docker, back)).sourceDigest, (await world.copy(docker, back)).digest], [there.digest, built.digest]);
  await run('skopeo', ['copy', back, `oci:${join(world.directory, 'onward')}:1`]);
  assert.equal((await world.copy(docker, `oci:${join(world.directory, 'kept')}:1`, { preserveDigests: true })).digest, there.digest);
});

test('images of a layout and of a registry are listed, tagged and deleted', { skip }, async (t) => {
  const world = await worldOf(t);
  const built = await twoPlatforms(join(world.directory, 'built'));
  const options = { registry: world.client };
  for (const at of [`oci:${join(world.directory, 'layout')}`, `${world.registry}/named`]) {
    await world.copy(built.reference, `${at}:one`);
    await tagImage(parsePlace(`${at}:one`), 'two', options);
    assert.deepEqual((await listImages(at, options)).map(({ name }) => name).sort(), ['one', 'two']);
  }
  const layout = `oci:${join(world.directory, 'layout')}`;
  assert.deepEqual(await deleteImage(parsePlace(`${layout}:one`), options), { blobs: 0 });
  assert.deepEqual(await deleteImage(parsePlace(`${layout}:two`), options), { blobs: 8 });
  assert.deepEqual(await listImages(layout, options), []);
  await deleteImage(parsePlace(`${world.registry}/named@${built.digest}`), options);
  await assert.rejects(
    openImage(`${world.registry}/named:one`, options).then((image) => image.manifest()),
    { code: 'OCI_MANIFEST_UNKNOWN' },
  );
});

test('two copies into one layout at once do not meet, and what one of them needs is not deleted', { skip }, async (t) => {
  const world = await worldOf(t);
  const images = await Promise.all(
    ['a', 'b', 'c'].map((name) =>
      buildImageLayout(join(world.directory, name), {
        images: [{ layers: [{ entries: [{ path: name, content: name.repeat(3_000_000) }], compression: 'zstd' }] }],
      }),
    ),
  );
  const layout = join(world.directory, 'layout');
  const results = await Promise.all(images.map(({ reference }, i) => world.copy(reference, `oci:${layout}:${i}`)));
  assert.deepEqual(
    results.map(({ digest }) => digest),
    images.map(({ digest }) => digest),
  );
  for (const i of [0, 1, 2]) assert.deepEqual((await validateImage(await openImage(`oci:${layout}:${i}`))).problems, []);

  // Something in the index that nobody here understands may lead to any blob.
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: object[] };
  const entry = { mediaType: 'application/vnd.example.list', digest: images[1]?.images[0]?.config, size: 1 };
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ ...index, manifests: [...index.manifests, entry] }));
  const before = readdirSync(join(layout, 'blobs/sha256')).length;
  await assert.rejects(deleteImage(parsePlace(`oci:${layout}:0`), { registry: world.client }), { code: 'OCI_LAYOUT_INVALID' });
  assert.equal(readdirSync(join(layout, 'blobs/sha256')).length, before);
});

test('an archive is not written over what is no file, and leaves nothing when it cannot get its name', async (t) => {
  const directory = scratch(t);
  for (const kind of ['oci-archive', 'docker-archive']) await assert.rejects(openSink(`${kind}:${directory}`), { code: 'OCI_ARCHIVE_INVALID' });
});

test('a directory that holds other things is not written to', async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}');
  for (const place of [`dir:${directory}`, `oci:${directory}:x`]) await assert.rejects(openSink(place), { code: 'OCI_LAYOUT_INVALID' });
});

function insecure(place: string): string[] {
  return place === 'registry' ? ['--tls-verify=false'] : [];
}
