import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { collect, digestOf, isKnownError } from '@cambium/base';
import {
  buildImageLayout,
  type CleanUp,
  needsPeer,
  needsPodman,
  podmanEnvironment,
  run,
  scratch,
  skopeoCopy,
  type TarEntrySpec,
  tarBytes,
} from '@cambium/testkit';
import fc from 'fast-check';
import { DOCKER_LAYER } from '../image/media-types.ts';
import { parsePlatform } from '../image/platform.ts';
import { resolveImage } from '../image/resolve-image.ts';
import type { ResolvedImage } from '../image/types.ts';
import { openImage } from './open-image.ts';

const LAYER_1 = tarBytes([{ path: 'a', content: 'a'.repeat(5000) }]);
const LAYER_2 = tarBytes([{ path: 'b', content: 'b' }]);
const CONFIG = JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [digestOf(LAYER_1), digestOf(LAYER_2)] } });
const MANIFEST = [{ Config: 'c.json', RepoTags: ['app:v1', 'quay.io/x/app:v2'], Layers: ['1/layer.tar', '2/layer.tar'] }];

function archive(t: CleanUp, entries: readonly TarEntrySpec[], manifest: unknown = MANIFEST): string {
  const path = join(scratch(t), 'image.tar');
  writeFileSync(path, tarBytes([{ path: 'manifest.json', content: typeof manifest === 'string' ? manifest : JSON.stringify(manifest) }, ...entries]));
  return path;
}

const GOOD: readonly TarEntrySpec[] = [
  { path: '1/layer.tar', content: LAYER_1 },
  { path: 'c.json', content: CONFIG },
  { path: '2/layer.tar', content: LAYER_2 },
];

async function readAll(place: string): Promise<ResolvedImage> {
  const source = await openImage(place);
  try {
    const image = await resolveImage(source, { ...parsePlatform('amd64') });
    for (const { descriptor } of image.layers) assert.equal(digestOf(await collect(source.blob(descriptor), 1 << 24)), descriptor.digest);
    return image;
  } finally {
    await source.close();
  }
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

test('an archive gets a manifest of its layers as they are stored', async (t) => {
  const path = archive(t, GOOD);
  const image = await readAll(`docker-archive:${path}`);
  assert.deepEqual(Buffer.from(image.config.bytes).toString(), CONFIG);
  assert.deepEqual(
    image.layers.map(({ descriptor }) => descriptor),
    [LAYER_1, LAYER_2].map((bytes) => ({ mediaType: DOCKER_LAYER, digest: digestOf(bytes), size: bytes.byteLength })),
  );
  // The same archive gives the same manifest.
  assert.equal((await readAll(`docker-archive:${path}`)).manifest.digest, image.manifest.digest);
  for (const name of ['app:v1', 'docker.io/library/app:v1', 'quay.io/x/app:v2', '@0']) {
    assert.equal((await readAll(`docker-archive:${path}:${name}`)).manifest.digest, image.manifest.digest, name);
  }
  for (const name of ['app', 'app:v2', '@1']) assert.equal(await codeOf(openImage(`docker-archive:${path}:${name}`)), 'OCI_MANIFEST_UNKNOWN', name);
});

test('compressed layers are told by their bytes', async (t) => {
  const stored = [gzipSync(LAYER_1), zstdCompressSync(LAYER_2)];
  const path = archive(t, [
    { path: 'c.json', content: CONFIG },
    { path: '1/layer.tar', content: stored[0] as Uint8Array },
    { path: '2/layer.tar', content: stored[1] as Uint8Array },
  ]);
  const image = await readAll(`docker-archive:${path}`);
  assert.deepEqual(
    image.layers.map(({ descriptor, diffId }) => [descriptor.mediaType, descriptor.digest, diffId]),
    [
      [`${DOCKER_LAYER}.gzip`, digestOf(stored[0] as Uint8Array), digestOf(LAYER_1)],
      [`${DOCKER_LAYER}.zstd`, digestOf(stored[1] as Uint8Array), digestOf(LAYER_2)],
    ],
  );
});

test('equal layers as links, names with ./ and long ones', async (t) => {
  const config = CONFIG.replaceAll(digestOf(LAYER_2), digestOf(LAYER_1));
  const long = `${'d'.repeat(150)}/layer.tar`;
  const manifest = [{ Config: 'c.json', RepoTags: null, Layers: [long, '2/layer.tar'] }];
  for (const link of [
    { kind: 'symlink' as const, target: `../${long}` },
    { kind: 'hardlink' as const, target: long },
  ]) {
    const path = archive(
      t,
      [
        { path: `./${long}`, content: LAYER_1 },
        { path: './c.json', content: config },
        { path: '2/', kind: 'directory' },
        { path: '2/layer.tar', ...link },
      ],
      manifest,
    );
    assert.equal((await readAll(`docker-archive:${path}`)).layers.length, 2, link.kind);
  }
  for (const target of ['../../../etc/passwd', '/etc/passwd', 'layer.tar', '../3/absent']) {
    const path = archive(
      t,
      [
        { path: long, content: LAYER_1 },
        { path: 'c.json', content: config },
        { path: '2/layer.tar', kind: 'symlink', target },
      ],
      manifest,
    );
    assert.equal(await codeOf(readAll(`docker-archive:${path}`)), 'OCI_ARCHIVE_INVALID', target);
  }
});

test('damaged archives', async (t) => {
  const cases: [name: string, entries: readonly TarEntrySpec[], manifest: unknown, code: string][] = [
    ['no JSON', GOOD, '[', 'OCI_ARCHIVE_INVALID'],
    ['no list', GOOD, {}, 'OCI_ARCHIVE_INVALID'],
    ['null', GOOD, [null], 'OCI_ARCHIVE_INVALID'],
    ['no Config', GOOD, [{ Layers: [] }], 'OCI_ARCHIVE_INVALID'],
    ['Layers no texts', GOOD, [{ Config: 'c.json', Layers: [1] }], 'OCI_ARCHIVE_INVALID'],
    ['RepoTags no list', GOOD, [{ Config: 'c.json', Layers: [], RepoTags: {} }], 'OCI_ARCHIVE_INVALID'],
    ['odd name', GOOD, [{ Config: '../c.json', Layers: [] }], 'OCI_ARCHIVE_INVALID'],
    ['empty', GOOD, [], 'OCI_MANIFEST_UNKNOWN'],
    ['two images', GOOD, [...MANIFEST, ...MANIFEST], 'OCI_IMAGE_AMBIGUOUS'],
    ['no config', GOOD.filter(({ path }) => path !== 'c.json'), MANIFEST, 'OCI_ARCHIVE_INVALID'],
    ['no layer', GOOD.slice(0, 2), MANIFEST, 'OCI_ARCHIVE_INVALID'],
    ['fewer layers', GOOD, [{ Config: 'c.json', Layers: ['1/layer.tar'] }], 'OCI_LAYERS_MISMATCH'],
    ['bad config', [...GOOD, { path: 'c.json', content: '{}' }], MANIFEST, 'OCI_CONFIG_INVALID'],
    ['another layer', [...GOOD, { path: '1/layer.tar', content: LAYER_2 }], MANIFEST, 'OCI_BLOB_MISMATCH'],
    ['longer than the file', [...GOOD, { path: 'x', content: 'x', claimedSize: 1 << 30 }], MANIFEST, 'OCI_ARCHIVE_INVALID'],
    ['checksum', [...GOOD, { path: 'x', content: 'x', badChecksum: true }], MANIFEST, 'OCI_ARCHIVE_INVALID'],
  ];
  for (const [name, entries, manifest, code] of cases) assert.equal(await codeOf(readAll(`docker-archive:${archive(t, entries, manifest)}`)), code, name);

  const path = archive(t, GOOD);
  const bytes = readFileSync(path);
  for (const [name, content] of [
    ['gzip', gzipSync(bytes)],
    ['zstd', zstdCompressSync(bytes)],
    ['no tar', Buffer.alloc(4096, 'x')],
    ['empty', Buffer.alloc(0)],
    ['cut', bytes.subarray(0, 4000)],
  ] as const) {
    writeFileSync(path, content);
    assert.equal(await codeOf(openImage(`docker-archive:${path}`)), 'OCI_ARCHIVE_INVALID', name);
  }
  assert.equal(await codeOf(openImage(`docker-archive:${path}.absent`)), 'OCI_ARCHIVE_INVALID');
  assert.equal(await codeOf(openImage(`oci-archive:${scratch(t)}`)), 'OCI_ARCHIVE_INVALID');
  assert.equal(await codeOf(openImage(`oci-archive:${archive(t, GOOD)}`)), 'OCI_LAYOUT_INVALID');
});

test('a compressed archive is unpacked where that is allowed, and cleaned up', async (t) => {
  const path = archive(t, GOOD);
  const plain = await readAll(`docker-archive:${path}`);
  const bytes = readFileSync(path);
  const temporaryDirectory = scratch(t);
  for (const compressed of [gzipSync(bytes), zstdCompressSync(bytes)]) {
    writeFileSync(path, compressed);
    const source = await openImage(`docker-archive:${path}`, { temporaryDirectory });
    assert.equal(readdirSync(temporaryDirectory).length, 1);
    assert.equal((await source.manifest()).digest, plain.manifest.digest);
    assert.equal((await resolveImage(source, parsePlatform('amd64'))).layers.length, 2);
    await source.close();
    assert.deepEqual(readdirSync(temporaryDirectory), []);
    writeFileSync(path, compressed.subarray(0, 100));
    assert.equal(await codeOf(openImage(`docker-archive:${path}`, { temporaryDirectory })), 'OCI_ARCHIVE_INVALID');
    assert.deepEqual(readdirSync(temporaryDirectory), []);
  }
});

test('property: a damaged archive gives known errors only', async (t) => {
  const path = archive(t, GOOD);
  const good = readFileSync(path);
  const change = fc.tuple(fc.nat(good.byteLength - 1), fc.integer({ min: 0, max: 255 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 5 }), fc.option(fc.nat(good.byteLength)), async (changes, cut) => {
      const bytes = Buffer.from(good);
      for (const [at, value] of changes) bytes[at] = value;
      writeFileSync(path, bytes.subarray(0, cut ?? undefined));
      await codeOf(readAll(`docker-archive:${path}`));
    }),
    { numRuns: 150 },
  );
});

test('what GNU tar writes', { skip: needsPeer('tar') }, async (t) => {
  const layout = await buildImageLayout(scratch(t), {
    tag: 'v1',
    images: [{ platform: { os: 'linux', architecture: 'amd64' }, layers: [{ entries: [{ path: 'x', content: 'x' }] }] }],
  });
  const path = join(scratch(t), 'image.tar');
  for (const format of ['gnu', 'pax', 'ustar']) {
    await run('tar', ['-C', layout.directory, `--format=${format}`, '-cf', path, '.']);
    assert.equal((await readAll(`oci-archive:${path}:v1`)).manifest.digest, layout.digest);
  }
  // A sparse member would stand at other offsets than it seems to.
  const sparse = join(scratch(t), 'sparse');
  writeFileSync(sparse, '');
  await run('truncate', ['-s', '1M', sparse]);
  assert.equal(statSync(sparse).size, 1 << 20);
  for (const format of ['gnu', 'pax']) {
    await run('tar', ['-C', join(sparse, '..'), `--format=${format}`, '--sparse', '-cf', path, 'sparse']);
    assert.equal(await codeOf(openImage(`docker-archive:${path}`)), 'OCI_ARCHIVE_INVALID', format);
  }
});

test('what skopeo and podman write', { skip: needsPeer('skopeo') || needsPodman({ rootless: false }) }, async (t) => {
  const layout = await buildImageLayout(scratch(t), {
    tag: 'v1',
    images: [
      {
        platform: { os: 'linux', architecture: 'amd64' },
        layers: [{ entries: [{ path: 'x', content: 'x'.repeat(10_000) }] }, { entries: [{ path: 'y', content: 'y' }] }],
      },
    ],
  });
  const directory = scratch(t);
  const diffIds = layout.images[0]?.layers.map(({ diffId }) => diffId);
  const verify = async (place: string): Promise<void> => {
    const image = await readAll(place);
    assert.equal(image.config.digest, layout.images[0]?.config);
    assert.deepEqual(
      image.layers.map(({ diffId }) => diffId),
      diffIds,
    );
  };
  await skopeoCopy(layout.reference, `docker-archive:${directory}/skopeo.tar:quay.io/a/b:v1`);
  await verify(`docker-archive:${directory}/skopeo.tar`);
  await verify(`docker-archive:${directory}/skopeo.tar:quay.io/a/b:v1`);

  const environment = await podmanEnvironment({ rootless: false });
  t.after(() => environment.stop());
  await environment.podman('pull', '--quiet', layout.reference);
  const id = layout.images[0]?.config.slice(7) as string;
  await environment.podman('tag', id, 'localhost/first:v1');
  await environment.podman('tag', id, 'localhost/second:v1');
  await environment.podman('save', '--format', 'docker-archive', '-o', `${directory}/podman.tar`, 'localhost/first:v1');
  await verify(`docker-archive:${directory}/podman.tar:localhost/first:v1`);
  await environment.podman('save', '--format', 'oci-archive', '-o', `${directory}/podman-oci.tar`, 'localhost/first:v1');
  await verify(`oci-archive:${directory}/podman-oci.tar`);
  await environment.podman('save', '--multi-image-archive', '-o', `${directory}/many.tar`, 'localhost/first:v1', 'localhost/second:v1');
  await verify(`docker-archive:${directory}/many.tar:localhost/second:v1`);
});
