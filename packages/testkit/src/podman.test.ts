import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import {
  buildImageLayout,
  busyboxPath,
  type CleanUp,
  defer,
  firstReason,
  needsPeer,
  needsPodman,
  needsPodmanNetwork,
  needsRoot,
  type PodmanEnvironment,
  podmanEnvironment,
  pushLayout,
  startRegistry,
} from './index.ts';

const IMAGE = 'localhost/tiny:1';

/** Podman with an image of busybox in its store, put there through an `oci:` layout. */
async function withTinyImage(t: CleanUp, rootless: boolean): Promise<PodmanEnvironment> {
  const environment = await podmanEnvironment({ rootless });
  defer(t, () => environment.stop());
  const layout = await buildImageLayout(join(environment.directory, 'tiny'), {
    images: [
      {
        layers: [
          {
            entries: [
              { path: 'bin/' },
              { path: 'bin/busybox', content: readFileSync(busyboxPath() ?? ''), mode: 0o755 },
              { path: 'bin/sh', kind: 'symlink', target: 'busybox' },
              { path: 'tmp/', mode: 0o1777 },
              { path: 'home/' },
              { path: 'home/user/', uid: 1000, gid: 1000 },
            ],
          },
        ],
        config: { Cmd: ['/bin/sh', '-c', 'echo hello'] },
      },
    ],
  });
  await environment.podman('pull', '--quiet', layout.reference);
  await environment.podman('tag', layout.images[0]?.config.slice(7) ?? '', IMAGE);
  return environment;
}

for (const rootless of [false, true]) {
  const who = rootless ? 'rootless' : 'as root';
  const skip = firstReason(needsPodman({ rootless }), needsPeer('busybox', 'skopeo'));

  test(`podman runs a container ${who}, in a store of its own`, { skip }, async (t) => {
    const environment = await withTinyImage(t, rootless);
    assert.equal(await environment.podman('run', '--rm', IMAGE), 'hello');
    assert.equal(await environment.podman('run', '--rm', '--read-only', '--network', 'none', '--user', '1000:1000', IMAGE, '/bin/busybox', 'id', '-u'), '1000');
    assert.equal(await environment.podman('run', '--rm', '--network', 'host', IMAGE, '/bin/busybox', 'stat', '-c', '%u', '/home/user'), '1000');
    const info = JSON.parse(await environment.podman('info', '--format', 'json')) as {
      host: { security: { rootless: boolean } };
      store: { graphRoot: string; graphDriverName: string };
    };
    assert.equal(info.host.security.rootless, rootless);
    assert.equal(info.store.graphRoot, join(environment.directory, 'graph'));
    assert.equal(info.store.graphDriverName, 'overlay');
  });

  test(`a container goes on in the background ${who}, and stop leaves nothing`, { skip }, async (t) => {
    const environment = await withTinyImage(t, rootless);
    await environment.podman('run', '--detach', '--name', 'long', IMAGE, '/bin/busybox', 'sleep', '600');
    assert.equal(await environment.podman('exec', 'long', '/bin/busybox', 'echo', 'inside'), 'inside');
    assert.match(await environment.podman('ps', '--format', '{{.Names}} {{.Status}}'), /^long Up/);
    await environment.stop();
    assert.equal(existsSync(environment.directory), false);
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(environment.directory), false);
  });

  const composeSkip = firstReason(skip, needsPodmanNetwork({ rootless }), needsPeer('podman-compose'));
  test(`podman-compose brings two services up ${who}`, { skip: composeSkip }, async (t) => {
    const environment = await withTinyImage(t, rootless);
    const app = join(environment.directory, 'app');
    mkdirSync(app);
    environment.own(app);
    const service = { image: IMAGE, command: ['/bin/busybox', 'sleep', '600'] };
    writeFileSync(join(app, 'docker-compose.yml'), JSON.stringify({ services: { one: service, two: service } }));
    await environment.run('podman-compose', ['up', '-d'], { cwd: app });
    assert.deepEqual((await environment.podman('ps', '--format', '{{.Names}}')).split('\n').sort(), ['app_one_1', 'app_two_1']);
    assert.match(await environment.podman('exec', 'app_one_1', '/bin/busybox', 'nslookup', 'two'), /Name:\s+two/);
    await environment.run('podman-compose', ['down', '-t', '0'], { cwd: app });
    assert.equal(await environment.podman('ps', '--all', '--quiet'), '');
  });

  test(`buildah and skopeo work in the same store ${who}`, { skip: firstReason(skip, needsPeer('buildah')) }, async (t) => {
    const environment = await withTinyImage(t, rootless);
    const name = (await environment.run('buildah', ['from', '--pull-never', IMAGE])).stdout.trim();
    await environment.run('buildah', ['config', '--label', 'made=here', name]);
    await environment.run('buildah', ['commit', '--quiet', name, 'localhost/built:1']);
    await environment.run('buildah', ['rm', name]);
    assert.equal(await environment.podman('inspect', '--format', '{{.Config.Labels.made}}', 'localhost/built:1'), 'here');
    const reference = 'containers-storage:localhost/built:1';
    const inspected = await (rootless
      ? environment.run('podman', ['unshare', 'skopeo', 'inspect', '--config', reference])
      : environment.run('skopeo', ['inspect', '--config', reference]));
    assert.match(inspected.stdout, /"made": ?"here"/);
  });

  test(`podman pulls from a plain-HTTP registry ${who}`, { skip: firstReason(skip, needsPeer('docker-registry')) }, async (t) => {
    const registry = await startRegistry();
    defer(t, () => registry.stop());
    const environment = await podmanEnvironment({ rootless, insecureRegistries: [registry.host] });
    defer(t, () => environment.stop());
    const layout = await buildImageLayout(join(environment.directory, 'image'), { images: [{ layers: [{ entries: [{ path: 'x', content: 'x' }] }] }] });
    await pushLayout(layout, `${registry.host}/x:1`);
    registry.forget();
    const id = await environment.podman('pull', '--quiet', `${registry.host}/x:1`);
    assert.equal(`sha256:${id}`, layout.images[0]?.config);
    assert.ok(registry.fetchedBlobs().includes(layout.images[0]?.layers[0]?.digest ?? ''));
  });
}

test('the made-up user leaves the machine as it was', { skip: firstReason(needsPodman({ rootless: true }), needsRoot()) }, async (t) => {
  const before = ['passwd', 'group', 'subuid', 'subgid'].map((file) => readFileSync(`/etc/${file}`, 'utf8'));
  const environment = await podmanEnvironment({ rootless: true });
  defer(t, () => environment.stop());
  const said = await environment.run('sh', ['-c', 'id -un; id -u; cat /etc/subuid | tail -1']);
  const [name, uid, subordinate] = said.stdout.split('\n');
  assert.equal(uid, String(environment.uid));
  assert.ok(subordinate?.startsWith(`${name}:`));
  assert.notEqual(environment.uid, 0);
  assert.deepEqual(
    ['passwd', 'group', 'subuid', 'subgid'].map((file) => readFileSync(`/etc/${file}`, 'utf8')),
    before,
  );
});
