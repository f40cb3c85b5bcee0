import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { buildImageLayout, defer, needsPeer, output, pushLayout, run, scratch, skopeoCopy, startRegistry, writeDirTransport } from './index.ts';

const skip = needsPeer('docker-registry', 'skopeo', 'htpasswd');

test('skopeo pushes an index of two platforms to docker-registry and every request is counted', { skip }, async (t) => {
  const directory = scratch(t);
  const shared = { entries: [{ path: 'etc/' }, { path: 'etc/motd', content: 'hello\n' }] };
  const layout = await buildImageLayout(`${directory}/image`, {
    images: ['amd64', 'arm64'].map((architecture) => ({
      platform: { os: 'linux', architecture },
      layers: [shared, { entries: [{ path: 'arch', content: architecture }], compression: 'zstd' as const }],
    })),
  });
  const registry = await startRegistry();
  defer(t, () => registry.stop());
  await pushLayout(layout, `${registry.host}/team/app:1`);
  assert.ok(registry.requests().some(({ method, path, sentBytes }) => method === 'PUT' && path === '/v2/team/app/manifests/1' && sentBytes > 0));

  registry.forget();
  assert.deepEqual(registry.requests(), []);
  const blob = layout.images[0]?.layers[0]?.digest ?? '';
  const answer = await fetch(`${registry.url}/v2/team/app/blobs/${blob}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.deepEqual(bytes, readFileSync(layout.blobPath(blob)));
  assert.deepEqual(registry.fetchedBlobs(), [blob]);
  assert.equal(registry.requests()[0]?.receivedBytes, bytes.byteLength);

  const raw = await run('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/team/app:1`]);
  assert.deepEqual(raw.stdoutBytes, readFileSync(layout.blobPath(layout.digest)));
});

test('docker media types, all compressions and equal bytes each time', { skip }, async (t) => {
  const directory = scratch(t);
  const spec = {
    images: [
      {
        format: 'docker' as const,
        layers: [{ entries: [{ path: 'a', content: 'a' }], compression: 'none' as const }, { entries: [{ path: 'b', content: 'b' }] }],
        config: { Cmd: ['/a'] },
      },
    ],
  };
  const one = await buildImageLayout(`${directory}/one`, spec);
  const two = await buildImageLayout(`${directory}/two`, spec);
  assert.equal(one.digest, two.digest);
  await skopeoCopy(writeDirTransport(one, `${directory}/dir`), `docker-archive:${directory}/image.tar:example.com/a:1`);
  const config = JSON.parse(await output('skopeo', ['inspect', '--config', `docker-archive:${directory}/image.tar`])) as { rootfs: { diff_ids: string[] } };
  assert.deepEqual(
    config.rootfs.diff_ids,
    one.images[0]?.layers.map((layer) => layer.diffId),
  );
});

test('a registry with htpasswd refuses who does not log in', { skip }, async (t) => {
  const directory = scratch(t);
  const layout = await buildImageLayout(`${directory}/image`, { images: [{ layers: [{ entries: [{ path: 'x', content: 'x' }] }] }] });
  const registry = await startRegistry({ htpasswd: { alice: 'secret' } });
  defer(t, () => registry.stop());
  const reference = `${registry.host}/app:1`;
  await assert.rejects(pushLayout(layout, reference), { code: 'TESTKIT_COMMAND_FAILED' });
  await pushLayout(layout, reference, { credentials: 'alice:secret' });
  assert.equal((await fetch(`${registry.url}/v2/app/manifests/1`)).status, 401);
});
