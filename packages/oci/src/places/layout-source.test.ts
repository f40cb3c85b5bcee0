import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { collect, digestOf, isKnownError } from '@cambium/base';
import { type BuiltLayout, buildImageLayout, type CleanUp, needsPeer, run, scratch, skopeoCopy } from '@cambium/testkit';
import { parsePlatform } from '../image/platform.ts';
import { resolveImage } from '../image/resolve-image.ts';
import type { ResolvedImage } from '../image/types.ts';
import { openImage } from './open-image.ts';

const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };
const layers = [{ entries: [{ path: 'a', content: 'a'.repeat(300_000) }], compression: 'none' as const }, { entries: [{ path: 'b', content: 'b' }] }];

async function layoutOf(t: CleanUp, tag = 'v1'): Promise<BuiltLayout> {
  return buildImageLayout(scratch(t), { tag, images: [{ platform: AMD64, layers, config: { Cmd: ['/a'] } }] });
}

/** Opens and resolves an image and reads all its layers; their digests are checked on the way. */
async function readAll(place: string, arch = 'amd64'): Promise<ResolvedImage> {
  const source = await openImage(place);
  const image = await resolveImage(source, parsePlatform(arch));
  for (const { descriptor } of image.layers) assert.equal(digestOf(await collect(source.blob(descriptor), 1 << 24)), descriptor.digest);
  await source.close();
  return image;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.ok(isKnownError(error), String(error));
    return error.code;
  }
  return 'none';
}

test('a layout is read by tag, digest and position', async (t) => {
  const layout = await layoutOf(t);
  const { directory } = layout;
  for (const place of [`oci:${directory}`, `oci:${directory}:v1`, `oci:${directory}:@0`, `oci:${directory}@${layout.digest}`]) {
    const image = await readAll(place);
    assert.equal(image.manifest.digest, layout.digest);
    assert.equal(image.source.reference, place);
    assert.deepEqual(image.config.value.config, { Cmd: ['/a'] });
    assert.deepEqual(
      image.layers.map(({ diffId }) => diffId),
      layout.images[0]?.layers.map(({ diffId }) => diffId),
    );
  }
  assert.equal(await codeOf(openImage(`oci:${directory}:v2`)), 'OCI_MANIFEST_UNKNOWN');
  assert.equal(await codeOf(openImage(`oci:${directory}:@1`)), 'OCI_MANIFEST_UNKNOWN');
  assert.equal(await codeOf(readAll(`oci:${directory}@${digestOf('other')}`)), 'OCI_MANIFEST_UNKNOWN');
});

test('several images: one must be named, unless they are the platforms of one', async (t) => {
  const first = await layoutOf(t, 'one');
  const second = await buildImageLayout(first.directory, { tag: 'two', images: [{ platform: ARM64, layers }] });
  const entry = (layout: BuiltLayout, extra: object): object => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: layout.digest,
    size: readFileSync(layout.blobPath(layout.digest)).byteLength,
    ...extra,
  });
  const named = (name: string): object => ({ annotations: { 'org.opencontainers.image.ref.name': name } });
  const write = (...manifests: object[]): void => writeFileSync(join(first.directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));

  write(entry(first, named('one')), entry(second, named('two')));
  await assert.rejects(openImage(`oci:${first.directory}`), { code: 'OCI_IMAGE_AMBIGUOUS', data: { available: ['one', 'two'] } });
  assert.equal((await readAll(`oci:${first.directory}:two`)).manifest.digest, second.digest);
  write(entry(first, named('same')), entry(second, named('same')));
  assert.equal(await codeOf(openImage(`oci:${first.directory}:same`)), 'OCI_IMAGE_AMBIGUOUS');
  write(entry(first, named('one')), entry(first, named('two')));
  assert.equal((await readAll(`oci:${first.directory}`)).manifest.digest, first.digest);
  write(entry(first, {}), entry(second, {}));
  assert.equal(await codeOf(openImage(`oci:${first.directory}`)), 'OCI_IMAGE_AMBIGUOUS');

  write(entry(first, { platform: AMD64 }), entry(second, { platform: ARM64 }));
  assert.equal((await readAll(`oci:${first.directory}`, 'aarch64')).manifest.digest, second.digest);
  assert.equal(await codeOf(readAll(`oci:${first.directory}`, 's390x')), 'OCI_PLATFORM_MISSING');
  write(entry(first, { annotations: { 'io.containerd.image.name': 'docker.io/library/x:1' } }), entry(second, {}));
  assert.equal((await readAll(`oci:${first.directory}:docker.io/library/x:1`)).manifest.digest, first.digest);
  write();
  assert.equal(await codeOf(openImage(`oci:${first.directory}`)), 'OCI_MANIFEST_UNKNOWN');
});

test('an index inside, nested or without platforms', async (t) => {
  const layout = await buildImageLayout(scratch(t), {
    images: [
      { platform: AMD64, layers },
      { platform: ARM64, layers },
    ],
  });
  const put = (value: object): object => {
    const bytes = JSON.stringify(value);
    writeFileSync(layout.blobPath(digestOf(bytes)), bytes);
    return { mediaType: 'application/vnd.oci.image.index.v1+json', digest: digestOf(bytes), size: bytes.length };
  };
  const point = (descriptor: object): void =>
    writeFileSync(join(layout.directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [descriptor] }));
  assert.equal((await readAll(layout.reference, 'arm64')).manifest.digest, layout.images[1]?.manifest);

  const inner = JSON.parse(readFileSync(layout.blobPath(layout.digest), 'utf8')) as { manifests: { platform?: object }[] };
  const size = readFileSync(layout.blobPath(layout.digest)).byteLength;
  const nested = put({ schemaVersion: 2, manifests: [{ mediaType: 'application/vnd.oci.image.index.v1+json', digest: layout.digest, size }] });
  point(nested);
  const image = await readAll(`oci:${layout.directory}`, 'arm64');
  assert.equal(image.manifest.digest, layout.images[1]?.manifest);
  assert.equal(image.index?.digest, (nested as { digest: string }).digest);
  assert.equal(await codeOf(readAll(`oci:${layout.directory}`, 's390x')), 'OCI_PLATFORM_MISSING');

  let deep = nested;
  for (let i = 0; i < 3; i++) deep = put({ schemaVersion: 2, manifests: [deep] });
  point(deep);
  assert.equal(await codeOf(readAll(`oci:${layout.directory}`)), 'OCI_MANIFEST_INVALID');

  for (const manifest of inner.manifests) delete manifest.platform;
  point(put(inner));
  assert.equal((await readAll(`oci:${layout.directory}`, 'arm64')).manifest.digest, layout.images[1]?.manifest);
  assert.equal(await codeOf(readAll(`oci:${layout.directory}`, 's390x')), 'OCI_PLATFORM_MISSING');
});

test('damaged layouts', async (t) => {
  const cases: [name: string, damage: (layout: BuiltLayout) => void, code: string][] = [
    ['no such directory', ({ directory }) => rmSync(directory, { recursive: true }), 'OCI_LAYOUT_INVALID'],
    ['no oci-layout', ({ directory }) => rmSync(join(directory, 'oci-layout')), 'OCI_LAYOUT_INVALID'],
    ['version 2', ({ directory }) => writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}'), 'OCI_LAYOUT_INVALID'],
    ['version no JSON', ({ directory }) => writeFileSync(join(directory, 'oci-layout'), '1.0.0'), 'OCI_LAYOUT_INVALID'],
    ['no index', ({ directory }) => rmSync(join(directory, 'index.json')), 'OCI_LAYOUT_INVALID'],
    ['index no JSON', ({ directory }) => writeFileSync(join(directory, 'index.json'), '{'), 'OCI_MANIFEST_INVALID'],
    ['huge index', ({ directory }) => writeFileSync(join(directory, 'index.json'), ' '.repeat(5 << 20)), 'OCI_DOCUMENT_TOO_LARGE'],
    ['no manifest', ({ blobPath, digest }) => rmSync(blobPath(digest)), 'OCI_MANIFEST_UNKNOWN'],
    ['another manifest', ({ blobPath, digest }) => writeFileSync(blobPath(digest), '{}'), 'OCI_MANIFEST_MISMATCH'],
    ['no config', ({ blobPath, images }) => rmSync(blobPath(images[0]?.config ?? '')), 'OCI_BLOB_UNKNOWN'],
    ['short layer', ({ blobPath, images }) => truncateSync(blobPath(images[0]?.layers[0]?.digest ?? ''), 5), 'OCI_BLOB_MISMATCH'],
    [
      'another layer of the same size',
      ({ blobPath, images }) => {
        const path = blobPath(images[0]?.layers[0]?.digest ?? '');
        writeFileSync(path, Buffer.alloc(readFileSync(path).byteLength));
      },
      'OCI_BLOB_MISMATCH',
    ],
    [
      'a directory for a layer',
      ({ blobPath, images }) => {
        rmSync(blobPath(images[0]?.layers[0]?.digest ?? ''));
        mkdirSync(blobPath(images[0]?.layers[0]?.digest ?? ''));
      },
      'OCI_LAYOUT_INVALID',
    ],
  ];
  for (const [name, damage, code] of cases) {
    const layout = await layoutOf(t);
    damage(layout);
    assert.equal(await codeOf(readAll(layout.reference)), code, name);
  }
  const lying = await buildImageLayout(scratch(t), { images: [{ platform: AMD64, layers, extra: { rootfs: { type: 'layers', diff_ids: [] } } }] });
  assert.equal(await codeOf(readAll(lying.reference)), 'OCI_LAYERS_MISMATCH');
  const foreign = await buildImageLayout(scratch(t), {
    images: [{ layers: [{ entries: [], mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', urls: ['https://x'] }], format: 'docker' }],
  });
  assert.equal(await codeOf(readAll(foreign.reference)), 'OCI_LAYER_FOREIGN');
});

test('blobs may be links into a shared store', async (t) => {
  const layout = await layoutOf(t);
  const shared = join(scratch(t), 'blob');
  const path = layout.blobPath(layout.images[0]?.layers[0]?.digest ?? '');
  writeFileSync(shared, readFileSync(path));
  rmSync(path);
  symlinkSync(shared, path);
  await readAll(layout.reference);
});

test('what skopeo writes: directories, archives, dir:, every compression', { skip: needsPeer('skopeo') }, async (t) => {
  const layout = await layoutOf(t);
  const directory = scratch(t);
  for (const compression of ['gzip', 'zstd', 'none'] as const) {
    const args = compression === 'none' ? [] : ['--dest-compress', '--dest-compress-format', compression];
    for (const place of [`oci:${directory}/${compression}:v1`, `oci-archive:${directory}/${compression}.tar:v1`, `dir:${directory}/${compression}-dir`]) {
      await skopeoCopy(layout.reference, place, { args: place.startsWith('oci-archive') ? [] : args });
      const image = await readAll(place);
      assert.deepEqual(
        image.layers.map(({ diffId }) => diffId),
        layout.images[0]?.layers.map(({ diffId }) => diffId),
      );
      assert.equal(image.config.digest, layout.images[0]?.config);
      if (compression === 'zstd' && place.startsWith('oci:')) {
        assert.deepEqual(new Set(image.layers.map(({ descriptor }) => descriptor.mediaType)), new Set(['application/vnd.oci.image.layer.v1.tar+zstd']));
      }
    }
  }
});

test('what umoci writes', { skip: needsPeer('umoci') }, async (t) => {
  const directory = join(scratch(t), 'image');
  await run('umoci', ['init', '--layout', directory]);
  await run('umoci', ['new', '--image', `${directory}:v1`]);
  const rootfs = join(scratch(t), 'tree');
  mkdirSync(rootfs);
  writeFileSync(join(rootfs, 'file'), 'content');
  await run('umoci', ['insert', '--image', `${directory}:v1`, '--rootless', rootfs, '/opt']);
  const source = await openImage(`oci:${directory}:v1`);
  const image = await resolveImage(source, parsePlatform(process.arch));
  assert.equal(image.layers.length, 1);
  await readAll(`oci:${directory}:v1`, process.arch);
});
