/** Against docker-registry, filled by skopeo. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { collect, digestOf } from '@cambium/base';
import { buildImageLayout, type Compression, needsPeer, output, pushLayout, scratch, startRegistry } from '@cambium/testkit';
import { parsePlatform } from '../image/platform.ts';
import { resolveImage } from '../image/resolve-image.ts';
import { openImage } from '../places/open-image.ts';
import { createAuthFiles } from './auth-files.ts';
import { createRegistryClient } from './client.ts';

const skip = needsPeer('docker-registry', 'skopeo');
const entries = [
  { path: 'etc', kind: 'directory' as const },
  { path: 'etc/motd', content: 'hello' },
];

test('images of both formats and every compression, as skopeo pushed them', { skip }, async (t) => {
  const registry = await startRegistry();
  t.after(() => registry.stop());
  const client = createRegistryClient();
  t.after(() => client.close());
  for (const format of ['oci', 'docker'] as const) {
    // skopeo 1.9 does not know zstd in Docker's format.
    for (const compression of (format === 'oci' ? ['none', 'gzip', 'zstd'] : ['none', 'gzip']) as Compression[]) {
      const layout = await buildImageLayout(scratch(t), {
        images: [{ platform: { os: 'linux', architecture: 'amd64' }, format, layers: [{ entries, compression }] }],
      });
      const reference = `${registry.host}/${format}/${compression}:v1`;
      await pushLayout(layout, reference);
      const inspected = await output('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${reference}`]);
      const image = await resolveImage(await openImage(`docker://${reference}`, { registry: client }), parsePlatform('amd64'));
      assert.equal(image.manifest.digest, layout.digest);
      assert.deepEqual(Buffer.from(image.manifest.bytes).toString(), inspected);
      for (const { descriptor, diffId } of image.layers) {
        assert.equal(digestOf(await collect(image.source.blob(descriptor), 1 << 20)), descriptor.digest);
        assert.equal(diffId, layout.images[0]?.layers[0]?.diffId);
      }
    }
  }
});

test('an index: one platform is chosen, with three requests', { skip }, async (t) => {
  const registry = await startRegistry();
  t.after(() => registry.stop());
  const platforms = [
    { os: 'linux', architecture: 'amd64' },
    { os: 'linux', architecture: 'arm', variant: 'v6' },
    { os: 'linux', architecture: 'arm', variant: 'v7' },
  ];
  const layout = await buildImageLayout(scratch(t), { images: platforms.map((platform) => ({ platform, layers: [{ entries }] })) });
  const reference = `${registry.host}/many:v1`;
  await pushLayout(layout, reference);
  const client = createRegistryClient();
  t.after(() => client.close());
  for (const [arch, position] of [
    ['x86_64', 0],
    ['armv6l', 1],
    ['arm', 2],
  ] as const) {
    registry.forget();
    const image = await resolveImage(await openImage(reference, { registry: client }), { ...parsePlatform(arch), explicit: true });
    assert.equal(image.manifest.digest, layout.images[position]?.manifest);
    assert.equal(image.index?.digest, layout.digest);
    assert.equal(registry.requests().length, 3);
  }
  await assert.rejects(resolveImage(await openImage(reference, { registry: client }), parsePlatform('s390x')), {
    code: 'OCI_PLATFORM_MISSING',
    hint: 'It has: linux/amd64, linux/arm/v6, linux/arm/v7',
  });
  // By the digest of one platform there is no choice, only a check when it was asked for.
  const pinned = `${registry.host}/many@${layout.images[1]?.manifest}`;
  assert.equal((await resolveImage(await openImage(pinned, { registry: client }), parsePlatform('amd64'))).config.value.variant, 'v6');
  await assert.rejects(resolveImage(await openImage(pinned, { registry: client }), { ...parsePlatform('amd64'), explicit: true }), {
    code: 'OCI_PLATFORM_MISMATCH',
  });
  await assert.rejects(resolveImage(await openImage(`${registry.host}/many:v2`, { registry: client }), parsePlatform('amd64')), {
    code: 'OCI_MANIFEST_UNKNOWN',
  });
});

test('a registry that wants a password', { skip: skip || needsPeer('htpasswd') }, async (t) => {
  const registry = await startRegistry({ htpasswd: { alice: 'correct horse' } });
  t.after(() => registry.stop());
  const layout = await buildImageLayout(scratch(t), { images: [{ layers: [{ entries }] }] });
  const reference = `${registry.host}/private/app:v1`;
  await pushLayout(layout, reference, { credentials: 'alice:correct horse' });
  const read = async (password?: string): Promise<unknown> => {
    const authFile = join(scratch(t), 'auth.json');
    const auths = password === undefined ? {} : { [`${registry.host}/private`]: { auth: Buffer.from(`alice:${password}`).toString('base64') } };
    writeFileSync(authFile, JSON.stringify({ auths }));
    const client = createRegistryClient({ credentials: createAuthFiles({ authFile }) });
    t.after(() => client.close());
    return (await (await openImage(reference, { registry: client })).manifest()).digest;
  };
  assert.equal(await read('correct horse'), layout.digest);
  await assert.rejects(read('wrong'), { code: 'OCI_AUTH_DENIED' });
  await assert.rejects(read(), { code: 'OCI_AUTH_REQUIRED' });
});
