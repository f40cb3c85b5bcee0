import assert from 'node:assert/strict';
import test from 'node:test';
import { digestOf, isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { isIndex, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, parseImageConfig, parseManifestOrIndex, verifyImageManifest } from './documents.ts';
import { DOCKER_MANIFEST, layerCompression, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST } from './media-types.ts';
import type { Manifest } from './types.ts';

const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const descriptor = (mediaType: string, extra: object = {}): object => ({ mediaType, digest: digestOf(mediaType), size: 7, ...extra });
const manifest = (extra: object = {}): object => ({
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config: descriptor(OCI_CONFIG),
  layers: [descriptor(`${OCI_LAYER}+gzip`)],
  ...extra,
});
const index = (extra: object = {}): object => ({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [descriptor(OCI_MANIFEST)], ...extra });
const parse = (value: unknown, expected: object = {}): ReturnType<typeof parseManifestOrIndex> =>
  parseManifestOrIndex(bytesOf(value), { what: 'x', ...expected });

test('manifests and indexes keep their bytes, and their kind is told by their fields', () => {
  const document = parse(manifest());
  assert.equal(document.mediaType, OCI_MANIFEST);
  assert.equal(document.digest, digestOf(document.bytes));
  assert.equal(isIndex(document), false);
  assert.equal(isIndex(parse(index())), true);
  // Without a media type of its own the one announced counts, or the shape.
  assert.equal(parse(manifest({ mediaType: undefined })).mediaType, OCI_MANIFEST);
  assert.equal(parse(manifest({ mediaType: undefined }), { mediaType: `${DOCKER_MANIFEST}; charset=utf-8` }).mediaType, DOCKER_MANIFEST);
  assert.equal(parse(index({ mediaType: undefined }), { mediaType: 'application/json' }).mediaType, OCI_INDEX);
  // Go writes null for empty lists.
  assert.deepEqual((parse(index({ manifests: null })).value as { manifests: unknown }).manifests, []);
});

test('manifests that must not be believed', () => {
  const table: [name: string, value: unknown, expected: object, code: string][] = [
    ['not JSON', '{', {}, 'OCI_MANIFEST_INVALID'],
    ['not UTF-8', '"\ud800"', {}, 'OCI_MANIFEST_INVALID'],
    ['a list', [], {}, 'OCI_MANIFEST_INVALID'],
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, {}, 'OCI_MANIFEST_SCHEMA1'],
    ['schema 1 by type', manifest({ mediaType: 'application/vnd.docker.distribution.manifest.v1+prettyjws' }), {}, 'OCI_MANIFEST_SCHEMA1'],
    ['no version', manifest({ schemaVersion: undefined }), {}, 'OCI_MANIFEST_INVALID'],
    ['CVE-2021-41190: both', manifest({ manifests: [] }), {}, 'OCI_MANIFEST_INVALID'],
    ['CVE-2021-41190: index with config', index({ config: descriptor(OCI_CONFIG) }), {}, 'OCI_MANIFEST_INVALID'],
    ['type of an index', manifest({ mediaType: OCI_INDEX }), {}, 'OCI_MANIFEST_INVALID'],
    ['announced as index', manifest(), { mediaType: OCI_INDEX }, 'OCI_MANIFEST_INVALID'],
    ['unknown type', manifest({ mediaType: 'application/zip' }), {}, 'OCI_MANIFEST_INVALID'],
    ['type is no text', manifest({ mediaType: 5 }), {}, 'OCI_MANIFEST_INVALID'],
    ['look-alike field', manifest({ Layers: [] }), {}, 'OCI_MANIFEST_INVALID'],
    ['look-alike in a descriptor', manifest({ config: descriptor(OCI_CONFIG, { Digest: digestOf('') }) }), {}, 'OCI_MANIFEST_INVALID'],
    ['no config', manifest({ config: undefined }), {}, 'OCI_MANIFEST_INVALID'],
    ['layers no list', manifest({ layers: {} }), {}, 'OCI_MANIFEST_INVALID'],
    ['too many layers', manifest({ layers: Array.from({ length: 4097 }, () => descriptor(OCI_LAYER)) }), {}, 'OCI_MANIFEST_INVALID'],
    ['digest', manifest({ layers: [descriptor(OCI_LAYER, { digest: 'sha256:../../etc/passwd' })] }), {}, 'OCI_MANIFEST_INVALID'],
    ['negative size', manifest({ layers: [descriptor(OCI_LAYER, { size: -1 })] }), {}, 'OCI_MANIFEST_INVALID'],
    ['fraction', manifest({ layers: [descriptor(OCI_LAYER, { size: 1.5 })] }), {}, 'OCI_MANIFEST_INVALID'],
    ['huge size', manifest({ layers: [descriptor(OCI_LAYER, { size: 2 ** 53 })] }), {}, 'OCI_MANIFEST_INVALID'],
    ['no media type', manifest({ layers: [descriptor('')] }), {}, 'OCI_MANIFEST_INVALID'],
    ['urls', manifest({ layers: [descriptor(OCI_LAYER, { urls: [1] })] }), {}, 'OCI_MANIFEST_INVALID'],
    ['annotations', manifest({ annotations: { a: 1 } }), {}, 'OCI_MANIFEST_INVALID'],
    ['platform', index({ manifests: [descriptor(OCI_MANIFEST, { platform: { os: 'linux' } })] }), {}, 'OCI_MANIFEST_INVALID'],
    ['variant', index({ manifests: [descriptor(OCI_MANIFEST, { platform: { os: 'linux', architecture: 'arm', variant: 7 } })] }), {}, 'OCI_MANIFEST_INVALID'],
    ['digest differs', manifest(), { digest: digestOf('other') }, 'OCI_MANIFEST_MISMATCH'],
    ['size differs', manifest(), { digest: digestOf(bytesOf(manifest())), size: 3 }, 'OCI_MANIFEST_MISMATCH'],
    ['too large', `{"x":"${'x'.repeat(MAX_MANIFEST_BYTES)}"}`, {}, 'OCI_DOCUMENT_TOO_LARGE'],
  ];
  for (const [name, value, expected, code] of table) {
    const bytes = name === 'not UTF-8' ? new Uint8Array([0x7b, 0xff, 0x7d]) : bytesOf(value);
    assert.throws(() => parseManifestOrIndex(bytes, { what: 'x', ...expected }), { code }, name);
  }
});

test('configurations', () => {
  const config = (extra: object = {}): object => ({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [digestOf('1')] }, ...extra });
  const read = (value: unknown, expected: object = {}): ReturnType<typeof parseImageConfig> => parseImageConfig(bytesOf(value), { what: 'x', ...expected });
  const document = read(config({ config: null, history: null, vendor: 1 }));
  assert.deepEqual(document.value.rootfs.diff_ids, [digestOf('1')]);
  assert.equal(document.value.config, undefined);
  assert.equal(read({ rootfs: { type: 'layers' } }).value.os, '');
  assert.deepEqual(read({ rootfs: { type: 'layers', diff_ids: null } }).value.rootfs.diff_ids, []);
  for (const extra of [
    { rootfs: undefined },
    { rootfs: { type: 'base', diff_ids: [] } },
    { rootfs: { type: 'layers', diff_ids: ['x'] } },
    { rootfs: { type: 'layers', diff_ids: {} } },
    { os: 1 },
    { architecture: [] },
    { variant: 6 },
    { config: [] },
    { history: {} },
    { history: [1] },
    { Rootfs: {} },
  ]) {
    assert.throws(() => read(config(extra)), { code: 'OCI_CONFIG_INVALID' }, JSON.stringify(extra));
  }
  assert.throws(() => read(config(), { digest: digestOf('other') }), { code: 'OCI_BLOB_MISMATCH' });
  assert.throws(() => parseImageConfig(new Uint8Array(MAX_CONFIG_BYTES + 1), { what: 'x' }), { code: 'OCI_DOCUMENT_TOO_LARGE' });
});

test('layers that cannot be read are refused with their name', () => {
  const check = (mediaType: string, configType: string = OCI_CONFIG): void =>
    verifyImageManifest(parse(manifest({ config: descriptor(configType), layers: [descriptor(mediaType)] })).value as Manifest, 'x');
  check(OCI_LAYER);
  check('application/vnd.docker.image.rootfs.diff.tar.gzip', 'application/vnd.docker.container.image.v1+json');
  for (const foreign of [
    'application/vnd.oci.image.layer.nondistributable.v1.tar',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ]) {
    assert.throws(() => check(foreign), { code: 'OCI_LAYER_FOREIGN' });
  }
  for (const unknown of ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted', 'application/x-lz4', `${OCI_LAYER}+xz`]) {
    assert.throws(
      () => check(unknown),
      (error: Error & { code: string }) => error.code === 'OCI_LAYER_UNSUPPORTED' && error.message.includes(unknown),
    );
  }
  assert.throws(() => check(OCI_LAYER, 'application/vnd.cncf.helm.config.v1+json'), { code: 'OCI_NOT_AN_IMAGE' });
  assert.equal(layerCompression(`${OCI_LAYER}+zstd`), 'zstd');
});

test('property: damaged documents give known errors only', () => {
  const good = [manifest(), index(), { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [digestOf('1')] } }].map((value) =>
    bytesOf(value),
  );
  fc.assert(
    fc.property(fc.constantFrom(...good), fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }), (bytes, changes) => {
      const damaged = bytes.slice();
      for (const [at, value] of changes) damaged[at % damaged.length] = value;
      for (const read of [parseManifestOrIndex, parseImageConfig]) {
        try {
          read(damaged, { what: 'x' });
        } catch (error) {
          assert.ok(isKnownError(error), String(error));
        }
      }
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.json(), (text) => {
      for (const read of [parseManifestOrIndex, parseImageConfig]) {
        try {
          read(bytesOf(text), { what: 'x' });
        } catch (error) {
          assert.ok(isKnownError(error), String(error));
        }
      }
    }),
    { numRuns: 500 },
  );
});
