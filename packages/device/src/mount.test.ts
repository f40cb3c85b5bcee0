import assert from 'node:assert/strict';
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stableJson } from '@cambium/base';
import { Repo } from '@cambium/ostree';
import { defer, needsRoot, readOnly } from '@cambium/testkit';
import { cleanCheckouts } from './clean.ts';
import { mountApp } from './mount.ts';
import { type Device, makeDevice, writeApp } from './sample-apps.test.ts';
import { DeviceState } from './state.ts';
import { listStores } from './storage-conf.ts';
import { unmountApp } from './unmount.ts';

/** Says that there is nothing, as podman does where nothing runs. */
function quietPodman(device: Device): { podman: string } {
  const podman = join(device.directory, 'podman');
  writeFileSync(podman, '#!/bin/sh\ncase "$1" in info) echo "{}";; ps) echo "[]";; esac\n', { mode: 0o755 });
  return { podman };
}

const listed = ({ options }: Device): string[] => listStores(readFileSync(options.storageConf.path, 'utf8'));

test('an app is mounted: files, link, list', async (t) => {
  const device = await makeDevice(t);
  const commit = await writeApp(device.repo, { files: { 'shop/page/index.html': 'hello\n' } });
  const result = await mountApp({ ...device.options, ref: 'apps/shop' });
  assert.deepEqual(result, {
    name: 'shop',
    commit,
    appPath: join(device.state.path, 'apps/shop'),
    storePath: join(device.state.path, 'checkouts', `shop@${commit}`, 'storage'),
    images: { 'web:1': `docker.io/library/web:1@sha256:${'a'.repeat(64)}` },
    unchanged: false,
  });
  assert.equal(readFileSync(join(result.appPath, 'page/index.html'), 'utf8'), 'hello\n');
  assert.equal(readlinkSync(result.appPath), `../checkouts/shop@${commit}/shop`);
  assert.deepEqual(listed(device), [result.storePath]);
  // Programs of images that run with their owner's rights are not for every user of the machine.
  assert.equal(lstatSync(result.storePath).mode & 0o777, 0o700);

  const before = readFileSync(device.options.storageConf.path);
  assert.deepEqual(await mountApp({ ...device.options, ref: commit }), { ...result, unchanged: true });
  assert.deepEqual(readFileSync(device.options.storageConf.path), before);
});

test('files of an app are copies: a container that writes to them leaves the repository alone', async (t) => {
  const device = await makeDevice(t, 'bare-user');
  await writeApp(device.repo, { files: { 'shop/data/file': 'first\n' } });
  const { appPath } = await mountApp({ ...device.options, ref: 'apps/shop', fullFidelity: false });
  assert.equal(lstatSync(join(appPath, 'data/file')).nlink, 1);
});

test('another version is refused, then switched to; the old store stays listed behind the new one until it is cleaned', async (t) => {
  const device = await makeDevice(t);
  const podman = quietPodman(device);
  const one = await writeApp(device.repo, { files: { 'shop/version': '1' } });
  const first = await mountApp({ ...device.options, ref: 'apps/shop' });
  const two = await writeApp(device.repo, { files: { 'shop/version': '2' } });
  await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop' }), { code: 'DEVICE_APP_MOUNTED' });
  assert.equal(readFileSync(join(first.appPath, 'version'), 'utf8'), '1');
  assert.deepEqual(readdirSync(device.state.checkoutsPath), [`shop@${one}`]);

  const second = await mountApp({ ...device.options, ref: 'apps/shop', overwrite: true });
  assert.equal(second.replaced, one);
  assert.equal(second.appPath, first.appPath);
  assert.equal(readFileSync(join(first.appPath, 'version'), 'utf8'), '2');
  assert.deepEqual(listed(device), [second.storePath, first.storePath]);

  // Back again: no checkout is made, and its names win once more.
  const back = await mountApp({ ...device.options, ref: one, overwrite: true });
  assert.equal(back.replaced, two);
  assert.deepEqual(listed(device), [first.storePath, second.storePath]);

  const dry = await cleanCheckouts({ ...device.options, podman, dryRun: true });
  assert.deepEqual(
    dry.removed.map(({ commit }) => commit),
    [two],
  );
  assert.ok(existsSync(second.storePath));
  await cleanCheckouts({ ...device.options, podman });
  assert.deepEqual(readdirSync(device.state.checkoutsPath), [`shop@${one}`]);
  assert.deepEqual(listed(device), [first.storePath]);
});

test('an app has another name when asked, and its directory too', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  const first = await mountApp({ ...device.options, ref: 'apps/shop' });
  const second = await mountApp({ ...device.options, ref: 'apps/shop', name: 'shop-2' });
  assert.deepEqual(device.state.mountedApps(), ['shop', 'shop-2']);
  assert.notEqual(first.storePath, second.storePath);
  // Compose tools call a project by the directory that the link leads to.
  assert.match(readlinkSync(second.appPath), /\/shop-2$/);
  await unmountApp('shop-2', { ...device.options, podman: quietPodman(device) });
  assert.deepEqual(device.state.mountedApps(), ['shop']);
  assert.deepEqual(listed(device), [first.storePath]);
  await assert.rejects(unmountApp('shop-2', { ...device.options, podman: quietPodman(device) }), { code: 'DEVICE_APP_UNKNOWN' });
});

test('names that are no names are refused before anything is made', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  for (const name of ['', '.', '..', '../x', 'a/b', '-x', 'a b', 'a\n', 'ü', 'a@b', 'storage', 'x'.repeat(129)]) {
    await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop', name }), { code: 'DEVICE_NAME_INVALID' }, JSON.stringify(name));
  }
  assert.equal(existsSync(device.state.path), false);
});

test('a packed app with an odd name can be mounted under another', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo, { app: 'my shop é' });
  await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop' }), { code: 'DEVICE_NAME_INVALID' });
  const { appPath } = await mountApp({ ...device.options, ref: 'apps/shop', name: 'my-shop' });
  assert.ok(existsSync(join(appPath, 'docker-compose.yml')));
});

const NOT_APPS: [what: string, spec: Parameters<typeof writeApp>[1]][] = [
  ['has no body', { body: '' }],
  ['has a body that is not JSON', { body: '{' }],
  ['is of a later version', { body: stableJson({ precompose: { app: 'shop', images: {}, version: 1 } }) }],
  ...['..', '.', '', 'storage', 'precompose.json', 'a/b', '../../etc', 'x\0y', 'missing'].map((app): [string, Parameters<typeof writeApp>[1]] => [
    `names ${JSON.stringify(app)} as its directory`,
    { body: stableJson({ precompose: { app, images: {}, version: 0 } }) },
  ]),
  ['has a link as its directory', { files: { 'shop/docker-compose.yml': undefined, shop: { link: '/etc' } } }],
  ['has a file as its directory', { files: { 'shop/docker-compose.yml': undefined, shop: 'x' } }],
  [
    'has no image store',
    {
      files: Object.fromEntries(
        ['images.json', 'images.lock'].flatMap((n) => [
          [`storage/overlay-images/${n}`, undefined],
          [`storage/overlay-layers/${n.replace('image', 'layer')}`, undefined],
        ]),
      ),
    },
  ],
  ['has a store without a lock file', { files: { 'storage/overlay-layers/layers.lock': undefined } }],
  ['has a store whose list is a link', { files: { 'storage/overlay-images/images.json': { link: '/var/lib/containers/storage/overlay-images/images.json' } } }],
  [
    'has a store with a link in place of a directory',
    { files: { 'storage/overlay-images/images.json': undefined, 'storage/overlay-images/images.lock': undefined, 'storage/overlay-images': { link: '/etc' } } },
  ],
];

for (const [what, spec] of NOT_APPS) {
  test(`a commit that ${what} is not mounted`, async (t) => {
    const device = await makeDevice(t);
    await writeApp(device.repo, spec);
    await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop' }), { code: 'DEVICE_NOT_AN_APP' });
    assert.deepEqual(readdirSync(device.directory).sort(), ['etc', 'repo']);
    assert.deepEqual(readdirSync(join(device.directory, 'etc')), []);
  });
}

for (const how of ['missing', 'corrupt'] as const) {
  test(`an object that is ${how} stops the mount, and nothing of it is left`, async (t) => {
    const device = await makeDevice(t);
    await writeApp(device.repo, { files: { 'storage/overlay/x/diff/file': 'content of the file\n' } });
    const { repo } = device;
    const doomed = [...repo.listObjects()].find(({ type, checksum }) => type === 'file' && Buffer.from(repo.readFile(checksum, 1000)).includes('content'));
    assert.ok(doomed);
    const path = repo.objectPath('file', doomed.checksum);
    if (how === 'missing') rmSync(path);
    else {
      const bytes = readFileSync(path);
      writeFileSync(path, bytes.fill(1, bytes.byteLength - 8));
    }
    await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop' }), { code: /^OSTREE_OBJECT_(MISSING|CORRUPT)$/ });
    assert.deepEqual(readdirSync(device.state.checkoutsPath), []);
    assert.deepEqual(readdirSync(device.state.appsPath), []);
    assert.equal(existsSync(device.options.storageConf.path), false);
  });
}

/** States that a kill at any step leaves, made by hand. */
const INTERRUPTED: [when: string, make: (device: Device, store: string) => void | Promise<void>][] = [
  ['in the middle of the checkout', ({ state }, store) => renameSync(join(store, '..'), `${join(store, '..')}.unfinished`) ?? removeRest(state)],
  [
    'before the list',
    ({ state, options }) => {
      rmSync(options.storageConf.path);
      removeRest(state);
    },
  ],
  ['before the link', ({ state }) => removeRest(state)],
  [
    'while the link was made',
    ({ state }) => {
      removeRest(state);
      symlinkSync('../checkouts/x', join(state.appsPath, '.shop.new'));
    },
  ],
];

function removeRest(state: DeviceState): void {
  rmSync(state.appPath('shop'), { force: true });
}

for (const [when, make] of INTERRUPTED) {
  test(`a mount that was killed ${when} is finished by the next, or cleaned away`, async (t) => {
    for (const next of ['mount', 'clean'] as const) {
      const device = await makeDevice(t);
      await writeApp(device.repo);
      const { storePath } = await mountApp({ ...device.options, ref: 'apps/shop' });
      await make(device, storePath);
      if (next === 'mount') {
        const result = await mountApp({ ...device.options, ref: 'apps/shop' });
        assert.equal(result.unchanged, false);
        assert.ok(existsSync(join(result.appPath, 'docker-compose.yml')));
        assert.deepEqual(listed(device), [storePath]);
      }
      await cleanCheckouts({ ...device.options, podman: quietPodman(device) });
      assert.deepEqual(readdirSync(device.state.checkoutsPath).length, next === 'mount' ? 1 : 0);
      assert.deepEqual(readdirSync(device.state.appsPath), next === 'mount' ? ['shop'] : []);
      if (next === 'clean') assert.equal(existsSync(device.options.storageConf.path), false);
    }
  });
}

test('a clean that was killed while deleting is finished by the next', async (t) => {
  const device = await makeDevice(t);
  const podman = quietPodman(device);
  await writeApp(device.repo);
  const { storePath } = await mountApp({ ...device.options, ref: 'apps/shop' });
  await unmountApp('shop', { ...device.options, podman });
  renameSync(join(storePath, '..'), `${join(storePath, '..')}.removing`);
  const { leftovers } = await cleanCheckouts({ ...device.options, podman });
  assert.equal(leftovers.length, 1);
  assert.deepEqual(readdirSync(device.state.checkoutsPath), []);
});

for (const lost of ['the checkout', 'the store', 'a lock file'] as const) {
  test(`where ${lost} is lost, mount repairs, and clean and unmount take the store off the list`, async (t) => {
    const device = await makeDevice(t);
    const podman = quietPodman(device);
    await writeApp(device.repo);
    const { storePath } = await mountApp({ ...device.options, ref: 'apps/shop' });
    const lose = (): void =>
      rmSync(lost === 'the checkout' ? join(storePath, '..') : lost === 'the store' ? storePath : join(storePath, 'overlay-images/images.lock'), {
        recursive: true,
      });
    lose();
    assert.equal((await mountApp({ ...device.options, ref: 'apps/shop' })).unchanged, false);
    assert.ok(existsSync(join(storePath, 'overlay-images/images.lock')));
    assert.deepEqual(listed(device), [storePath]);
    lose();
    const cleaned = await cleanCheckouts({ ...device.options, podman });
    assert.deepEqual([cleaned.lostStores, cleaned.lostApps], [[storePath], ['shop']]);
    assert.equal(existsSync(device.options.storageConf.path), false);
    assert.deepEqual(device.state.mountedApps(), ['shop']);
    await unmountApp('shop', { ...device.options, podman });
    assert.deepEqual(device.state.mountedApps(), []);
  });
}

test('stores that are not ours are left on the list, lost or not', async (t) => {
  const device = await makeDevice(t);
  writeFileSync(
    device.options.storageConf.path,
    '[storage]\ndriver = "overlay"\n[storage.options]\nadditionalimagestores = ["/nowhere/checkouts/x/storage"]\n',
  );
  const { lostStores } = await cleanCheckouts({ ...device.options, podman: quietPodman(device) });
  assert.deepEqual(lostStores, []);
  assert.deepEqual(listed(device), ['/nowhere/checkouts/x/storage']);
});

test('something else in the place of the link is an error, and is left alone', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  mkdirSync(device.state.appPath('shop'), { recursive: true });
  await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop' }), { code: 'DEVICE_STATE_INVALID' });
  assert.ok(lstatSync(device.state.appPath('shop')).isDirectory());
  await cleanCheckouts({ ...device.options, podman: quietPodman(device) });
  assert.equal(existsSync(device.options.storageConf.path), false);
});

test('a link of somebody else is left alone, and is no app to unmount', async (t) => {
  const device = await makeDevice(t);
  const commit = await writeApp(device.repo);
  device.state.create();
  symlinkSync('/etc', device.state.appPath('shop'));
  // What a name with ".." would lead to looks like one of ours.
  symlinkSync(`../checkouts/shop@${commit}/shop`, join(device.state.path, 'other'));
  await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop' }), { code: 'DEVICE_STATE_INVALID' });
  const podman = quietPodman(device);
  for (const name of ['shop', '../other', '', '..']) await assert.rejects(unmountApp(name, { ...device.options, podman }), { code: 'DEVICE_APP_UNKNOWN' });
  assert.equal(readlinkSync(device.state.appPath('shop')), '/etc');
  assert.ok(lstatSync(join(device.state.path, 'other')).isSymbolicLink());
});

test('a state directory that cannot be made is an error that names it', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  writeFileSync(join(device.directory, 'file'), '');
  const state = new DeviceState(join(device.directory, 'file/state'));
  await assert.rejects(mountApp({ ...device.options, state, ref: 'apps/shop' }), { code: 'DEVICE_STATE_INVALID', message: /file\/state/ });
});

test('a state directory that may not be written is an error that names it', {
  skip: process.getuid?.() === 0 ? 'root may write anywhere' : false,
}, async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  chmodSync(join(device.directory, 'etc'), 0o500);
  defer(t, () => chmodSync(join(device.directory, 'etc'), 0o700));
  const state = new DeviceState(join(device.directory, 'etc/state'));
  await assert.rejects(mountApp({ ...device.options, state, ref: 'apps/shop' }), { code: 'SYSTEM_DENIED', message: /etc\/state/ });
});

test('on a read-only file system nothing can be mounted, and the error says why', { skip: needsRoot() }, async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  await readOnly(t, join(device.directory, 'etc'));
  const state = new DeviceState(join(device.directory, 'etc/state'));
  await assert.rejects(mountApp({ ...device.options, state, ref: 'apps/shop' }), { code: 'SYSTEM_READ_ONLY', message: /etc\/state/ });
  // storage.conf cannot be written: the checkout is there, nothing points to it, and the next clean takes it away.
  await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop' }), { code: 'SYSTEM_READ_ONLY', message: /storage\.conf/ });
  assert.deepEqual(device.state.mountedApps(), []);
});

test('a path that podman would take apart is refused, and nothing is listed', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  const state = new DeviceState(join(device.directory, 'a,b'));
  await assert.rejects(mountApp({ ...device.options, state, ref: 'apps/shop' }), { code: 'DEVICE_STORAGE_CONF_INVALID' });
  assert.equal(existsSync(device.options.storageConf.path), false);
});

test('a driver without additional stores is refused, and the file stays as it is', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  const text = '[storage]\ndriver = "vfs"\n';
  writeFileSync(device.options.storageConf.path, text);
  await assert.rejects(mountApp({ ...device.options, ref: 'apps/shop' }), { code: 'DEVICE_STORAGE_DRIVER' });
  assert.equal(readFileSync(device.options.storageConf.path, 'utf8'), text);
});

test('a podman that does not see the images, or chokes on them, brings everything back', async (t) => {
  const answers: [string, string][] = [
    ['info) echo \'{"store":{"graphDriverName":"overlay","configFile":"/else"}}\';; images) echo other;;', 'DEVICE_STORE_UNSEEN'],
    ['info) echo \'{"store":{"graphDriverName":"overlay"}}\';; images) echo broken >&2; exit 125;;', 'DEVICE_STORE_REFUSED'],
    ['info) echo \'{"store":{"graphDriverName":"vfs"}}\';;', 'DEVICE_STORAGE_DRIVER'],
    ['info) echo no >&2; exit 1;;', 'DEVICE_PODMAN_FAILED'],
  ];
  for (const [cases, code] of answers) {
    const device = await makeDevice(t);
    await writeApp(device.repo, { files: { 'storage/overlay-images/images.json': JSON.stringify([{ id: 'a'.repeat(64) }]) } });
    const podman = join(device.directory, 'podman');
    writeFileSync(podman, `#!/bin/sh\ncase "$1" in ${cases} esac\n`, { mode: 0o755 });
    await assert.rejects(mountApp({ ...device.options, podman: { podman }, ref: 'apps/shop' }), { code });
    assert.equal(existsSync(device.options.storageConf.path), false);
    assert.deepEqual(readdirSync(device.state.checkoutsPath), []);
    assert.deepEqual(device.state.mountedApps(), []);
  }
});

test('without podman nobody can say what is used: unmount and clean refuse, --force does not ask', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  await mountApp({ ...device.options, ref: 'apps/shop' });
  const podman = { podman: join(device.directory, 'nowhere') };
  await assert.rejects(unmountApp('shop', { ...device.options, podman }), { code: 'DEVICE_PODMAN_MISSING' });
  await unmountApp('shop', { ...device.options, podman, force: true });
  await assert.rejects(cleanCheckouts({ ...device.options, podman }), { code: 'DEVICE_PODMAN_MISSING' });
  assert.equal(readdirSync(device.state.checkoutsPath).length, 1);
});

test('the repository may be read-only', { skip: needsRoot() }, async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  await readOnly(t, device.repo.path);
  const repo = await Repo.open(device.repo.path);
  assert.equal((await mountApp({ ...device.options, repo, ref: 'apps/shop' })).name, 'shop');
});

test('two mounts at once wait for each other', async (t) => {
  const device = await makeDevice(t);
  await writeApp(device.repo);
  const results = await Promise.all([1, 2, 3].map(async () => mountApp({ ...device.options, repo: await Repo.open(device.repo.path), ref: 'apps/shop' })));
  assert.deepEqual(results.map(({ unchanged }) => unchanged).sort(), [false, true, true]);
});
