import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { type CleanUp, firstReason, needsPeer, needsPodmanNetwork, readOnly } from '@cambium/testkit';
import { BUSYBOX, makeShop, needsMounting, type Shop, TOOL, WEB } from './packed-apps.test.ts';

const isRoot = process.getuid?.() === 0;

/** Runs a command in a container of an image and returns what it says; nothing may be pulled. */
/** Returns what a command prints; all that are run here print something. */
async function inContainer(shop: Shop, image: string, ...command: string[]): Promise<string> {
  let printed = '';
  // Podman 4.3.1 loses the output of a container that ends at once, now and then on a busy machine; its status is right.
  for (let tries = 0; printed === '' && tries < 3; tries++)
    printed = await shop.environment.podman('run', '--rm', '--pull=never', '--network=none', image, ...command);
  return printed;
}

/** Packs into a repository of the mode, as the user of the environment. */
async function packed(t: CleanUp, rootless: boolean, mode = 'archive'): Promise<{ shop: Shop; repo: string; commit: string }> {
  const shop = await makeShop(t, { rootless });
  const repo = join(shop.environment.directory, 'repo');
  await shop.cambium(['ostree', 'init', `--repo=${repo}`, `--mode=${mode}`]);
  return { shop, repo, commit: await shop.pack(repo) };
}

function pinnedIn(composeFile: string): string[] {
  return [...readFileSync(composeFile, 'utf8').matchAll(/image: (\S+)/g)].map((match) => match[1] as string);
}

async function podmanWorks(shop: Shop): Promise<void> {
  await shop.environment.podman('images', '--all');
  await shop.environment.podman('ps', '--all');
}

for (const rootless of [false, true]) {
  const who = rootless ? 'rootless' : 'as root';
  const skip = needsMounting(rootless);

  for (const mode of rootless ? ['archive', 'bare-user'] : ['archive', 'bare', 'bare-user']) {
    test(`podman runs a packed app from a read-only checkout ${who}, packed into a repository of mode ${mode}`, { skip }, async (t) => {
      const { shop, repo, commit } = await packed(t, rootless, mode);
      const { environment } = shop;
      const before = readFileSync(environment.storageConf, 'utf8');
      const mounted = await shop.mount(repo, 'apps/shop');
      assert.equal(mounted.commit, commit);
      if (isRoot) await readOnly(t, join(mounted.storePath, '..'));

      const listed = (await environment.podman('images', '--no-trunc', '--format', '{{.Repository}}:{{.Tag}} {{.ID}} {{.ReadOnly}}')).split('\n').sort();
      const [web, tool] = [shop.web.images[0], shop.tool.images[0]];
      assert.deepEqual(listed, [`${TOOL} ${tool?.config} true`, `${WEB} ${web?.config} true`]);

      const pins = pinnedIn(join(mounted.appPath, 'docker-compose.yml'));
      assert.deepEqual(pins, [`${WEB}@${shop.web.digest}`, `${TOOL}@${shop.tool.digest}`]);
      assert.deepEqual(Object.values(mounted.images).sort(), pins.toSorted());
      // Whiteouts, owners, setuid bits; and a capability that works for a user who is not root.
      const look =
        'cd /; ls etc/gone 2>&1; ls opt/dir; stat -c "%u:%g %a" home/user/mine bin/setuid closed; cat home/user/mine; for i in busybox busybox-capable; do $i grep CapEff /proc/self/status; done';
      assert.deepEqual((await inContainer(shop, pins[0] as string, BUSYBOX, 'sh', '-c', look)).split('\n'), [
        'ls: etc/gone: No such file or directory',
        'new',
        '1000:1000 600',
        '0:0 4755',
        '0:0 0',
        'mine',
        'CapEff:\t0000000000000000',
        'CapEff:\t0000000000000400',
      ]);
      const repository = WEB.replace(/:1$/, '');
      const references = [WEB, `${repository}@${shop.web.digest}`, `${repository}@${web?.manifest}`, web?.config.slice(7) as string];
      // How names resolve does not depend on where the files came from.
      for (const reference of mode === 'archive' ? references : []) {
        assert.equal(await inContainer(shop, reference, BUSYBOX, 'cat', '/etc/version'), '1', reference);
      }
      assert.equal(await inContainer(shop, pins[1] as string, BUSYBOX, 'cat', '/etc/tool'), 'tool');
      // A store that is there already is not listed or checked out twice, and nothing is written to it.
      assert.equal((await shop.mount(repo, 'apps/shop')).unchanged, true);

      await shop.cambium(['unmount', 'shop']);
      assert.equal(readFileSync(environment.storageConf, 'utf8'), before);
      assert.equal(await environment.podman('images', '--quiet'), '');
    });
  }

  test(`podman-compose starts a packed app ${who}; unmount and clean wait for its containers`, {
    skip: firstReason(skip, needsPodmanNetwork({ rootless }), needsPeer('podman-compose')),
  }, async (t) => {
    const { shop, repo } = await packed(t, rootless);
    const { environment } = shop;
    const before = readFileSync(environment.storageConf, 'utf8');
    const { appPath, storePath } = await shop.mount(repo, 'apps/shop');
    const compose = (...args: string[]): Promise<unknown> => environment.run('podman-compose', ['-f', join(appPath, 'docker-compose.yml'), ...args]);
    await compose('up', '-d');
    assert.deepEqual((await environment.podman('ps', '--format', '{{.Names}}')).split('\n').sort(), ['shop_tool_1', 'shop_web_1']);
    assert.equal(await environment.podman('exec', 'shop_web_1', BUSYBOX, 'cat', '/page/index.html'), 'hello');

    const refused = await shop.cambium(['unmount', 'shop'], { accept: [9] });
    assert.match(refused.stderr, /used by containers "shop_web_1", "shop_tool_1"|used by containers "shop_tool_1", "shop_web_1"/);
    assert.match(refused.stderr, /DEVICE_APP_IN_USE/);
    assert.equal(await environment.podman('exec', 'shop_web_1', BUSYBOX, 'cat', '/etc/version'), '1');

    await shop.cambium(['unmount', '--force', 'shop']);
    assert.equal(readFileSync(environment.storageConf, 'utf8'), before);
    await podmanWorks(shop);
    assert.equal(existsSync(appPath), false);
    // The checkout stays while containers were made from it, so that mounting again brings them back.
    const kept = await shop.cambium(['clean']);
    assert.match(kept.stderr, /Kept .*used by shop_(web|tool)_1, shop_(web|tool)_1/);
    assert.ok(existsSync(storePath));
    await shop.mount(repo, 'apps/shop');
    await environment.podman('stop', '--time', '0', 'shop_web_1');
    await environment.podman('start', 'shop_web_1');
    assert.equal(await environment.podman('exec', 'shop_web_1', BUSYBOX, 'cat', '/etc/version'), '1');

    await compose('down', '-t', '0');
    assert.equal(await environment.podman('ps', '--all', '--quiet'), '');
    await shop.cambium(['unmount', 'shop']);
    const cleaned = await shop.cambium(['clean', '--quiet']);
    assert.equal(cleaned.stdout, `${join(storePath, '..')}\n`);
    assert.equal(existsSync(join(storePath, '..')), false);
    await podmanWorks(shop);
  });

  test(`a new version takes over ${who}; the old one stays until its containers are gone`, { skip }, async (t) => {
    const { shop, repo, commit } = await packed(t, rootless, rootless ? 'bare-user' : 'bare');
    const { environment } = shop;
    const first = await shop.mount(repo, 'apps/shop');
    await environment.podman('create', '--pull=never', '--network=none', '--name', 'old', WEB);
    await environment.podman('create', '--pull=never', '--network=none', '--name', 'page', '--volume', `${join(first.storePath, '../shop/page')}:/page`, TOOL);
    await shop.setVersion(2);
    const next = await shop.pack(repo);
    const refused = await shop.cambium(['mount', '--repo', repo, 'apps/shop'], { accept: [5] });
    assert.match(refused.stderr, /DEVICE_APP_MOUNTED/);
    assert.equal(await inContainer(shop, WEB, BUSYBOX, 'cat', '/etc/version'), '1');

    const second = await shop.mount(repo, '--overwrite', 'apps/shop');
    assert.deepEqual([second.commit, second.replaced, second.appPath], [next, commit, first.appPath]);
    // By tag and by pin podman takes the new one; what was made from the old one still starts.
    assert.equal(await inContainer(shop, WEB, BUSYBOX, 'cat', '/etc/version'), '2');
    assert.equal(await inContainer(shop, pinnedIn(join(second.appPath, 'docker-compose.yml'))[0] as string, BUSYBOX, 'cat', '/etc/version'), '2');
    await environment.podman('start', 'old');
    assert.equal(await environment.podman('exec', 'old', BUSYBOX, 'cat', '/etc/version'), '1');

    const oldCheckout = join(first.storePath, '..');
    const clean = async (...args: string[]): Promise<{ removed: { path: string }[]; inUse: { path: string; containers: string[] }[] }> =>
      JSON.parse((await shop.cambium(['clean', '--json', ...args])).stdout) as never;
    assert.deepEqual(
      (await clean()).inUse.map(({ path, containers }) => [path, containers.toSorted()]),
      [[oldCheckout, ['old', 'page']]],
    );
    await environment.podman('rm', '--force', '--time', '0', 'old');
    // Its image is in the new version too, but a file of the old one is mounted into it.
    assert.deepEqual(
      (await clean()).inUse.map(({ path, containers }) => [path, containers]),
      [[oldCheckout, ['page']]],
    );
    await environment.podman('rm', 'page');
    assert.deepEqual(
      (await clean('--dry-run')).removed.map(({ path }) => path),
      [oldCheckout],
    );
    assert.ok(existsSync(oldCheckout));
    assert.deepEqual(
      (await clean()).removed.map(({ path }) => path),
      [oldCheckout],
    );
    assert.equal(existsSync(oldCheckout), false);
    assert.equal(await inContainer(shop, WEB, BUSYBOX, 'cat', '/etc/version'), '2');
    assert.equal(readFileSync(environment.storageConf, 'utf8').includes(commit), false);
  });

  if (!rootless)
    test('two apps share their images: one can go while containers of the other run', { skip }, async (t) => {
      const { shop, repo } = await packed(t, rootless);
      const { environment } = shop;
      await shop.mount(repo, 'apps/shop');
      await environment.podman('run', '--detach', '--pull=never', '--network=none', '--name', 'busy', WEB);
      assert.match((await shop.cambium(['unmount', 'shop'], { accept: [9] })).stderr, /"busy"/);
      const second = await shop.mount(repo, '--override-name', 'second', 'apps/shop');
      assert.match(second.appPath, /\/apps\/second$/);
      await shop.cambium(['unmount', 'shop']);
      await shop.cambium(['clean']);
      await environment.podman('stop', '--time', '0', 'busy');
      await environment.podman('start', 'busy');
      assert.equal(await environment.podman('exec', 'busy', BUSYBOX, 'cat', '/etc/version'), '1');
      assert.match((await shop.cambium(['unmount', 'second'], { accept: [9] })).stderr, /"busy"/);
      await environment.podman('rm', '--force', '--time', '0', 'busy');
      await shop.cambium(['unmount', 'second']);
      assert.match((await shop.cambium(['unmount', 'second'], { accept: [4] })).stderr, /DEVICE_APP_UNKNOWN/);
    });

  if (rootless)
    test('a checkout that is lost stops podman, and clean, mount or unmount bring it back', { skip }, async (t) => {
      const { shop, repo } = await packed(t, rootless);
      const { environment } = shop;
      const before = readFileSync(environment.storageConf, 'utf8');
      const { storePath } = await shop.mount(repo, 'apps/shop');
      const lose = async (): Promise<void> => {
        await environment.run(rootless ? 'podman' : 'rm', rootless ? ['unshare', 'rm', '-rf', join(storePath, '..')] : ['-rf', join(storePath, '..')]);
        assert.match((await environment.run('podman', ['images'], { accept: [125] })).stderr, /can't stat imageStore dir/);
      };
      await lose();
      const cleaned = await shop.cambium(['clean']);
      assert.match(cleaned.stderr, /off podman's list/);
      assert.match(cleaned.stderr, /the files of "shop" are lost/);
      await podmanWorks(shop);
      await shop.mount(repo, 'apps/shop');
      assert.equal(await inContainer(shop, WEB, BUSYBOX, 'cat', '/etc/version'), '1');
      await lose();
      assert.equal((await shop.mount(repo, 'apps/shop')).unchanged, false);
      assert.equal(await inContainer(shop, WEB, BUSYBOX, 'cat', '/etc/version'), '1');
      await lose();
      await shop.cambium(['unmount', 'shop']);
      assert.equal(readFileSync(environment.storageConf, 'utf8'), before);
      await podmanWorks(shop);
    });

  if (rootless)
    test('an object that is lost from the repository stops the mount; podman goes on as before', { skip }, async (t) => {
      const { shop, repo, commit } = await packed(t, rootless);
      const before = readFileSync(shop.environment.storageConf, 'utf8');
      const listed = (await shop.cambium(['ostree', 'ls', `--repo=${repo}`, '-R', '-C', commit, '/storage/overlay'])).stdout;
      const checksum = /([0-9a-f]{64}) \/storage\/overlay\/[0-9a-f]+\/diff\/etc\/version/.exec(listed)?.[1] as string;
      const object = join(repo, 'objects', checksum.slice(0, 2), `${checksum.slice(2)}.filez`);
      rmSync(object);
      const failed = await shop.cambium(['mount', '--repo', repo, 'apps/shop'], { accept: 'any' });
      assert.notEqual(failed.status, 0);
      assert.match(failed.stderr, /OSTREE_OBJECT_MISSING/);
      assert.equal(readFileSync(shop.environment.storageConf, 'utf8'), before);
      await podmanWorks(shop);
    });
}

test('in user mode everything belongs to the user: it says what is lost, and runs', { skip: needsMounting(true) }, async (t) => {
  const { shop, repo } = await packed(t, true, 'bare-user');
  const { environment } = shop;
  const mounted = await shop.cambium(['mount', '--user-mode', '--repo', repo, 'apps/shop']);
  assert.match(mounted.stderr, /setuid bits and capabilities are lost/);
  const store = join(shop.state, 'checkouts');
  assert.equal(statSync(store).uid, environment.uid);
  const look = 'cd /; stat -c "%u:%g %a" home/user/mine bin/setuid; ls opt/dir';
  assert.deepEqual((await environment.podman('run', '--rm', '--pull=never', '--user=0', WEB, BUSYBOX, 'sh', '-c', look)).split('\n'), [
    '0:0 600',
    '0:0 755',
    'new',
  ]);
  assert.equal(await inContainer(shop, WEB, '/bin/busybox-capable', 'grep', 'CapEff', '/proc/self/status'), 'CapEff:\t0000000000000000');
  await shop.cambium(['unmount', 'shop']);
  await shop.cambium(['clean']);
  assert.equal((await environment.run('ls', [store])).stdout, '');

  // Owners beyond those that the user was given exist in no container of hers, but in user mode nobody needs them.
  const project = join(environment.directory, 'project/base');
  mkdirSync(project);
  writeFileSync(join(project, 'docker-compose.yml'), 'services: { base: { image: registry.example/base:1 } }\n');
  const base = await shop.buildBase([{ path: 'far', content: 'far\n', uid: 70_000, gid: 70_000 }]);
  await shop.cambium(['pack', '--repo', repo, '--image-source', `registry.example/base:1=${base.reference}`, 'apps/base', project]);
  const refused = await shop.cambium(['mount', '--repo', repo, 'apps/base'], { accept: [11] });
  assert.match(refused.stderr, /DEVICE_IDS_UNMAPPED/);
  assert.equal((await environment.run('ls', [store])).stdout, '');
  await shop.cambium(['mount', '--user-mode', '--repo', repo, 'apps/base']);
  assert.equal(await inContainer(shop, 'registry.example/base:1', BUSYBOX, 'cat', '/far'), 'far');
});

test('an image that stands on one of an app keeps that app mounted', { skip: needsMounting(false) }, async (t) => {
  const { shop, repo } = await packed(t, false);
  const { environment } = shop;
  // Podman builds on images of one layer only: of others the store has fewer layers than their configuration tells of.
  const project = join(environment.directory, 'project/base');
  mkdirSync(project);
  writeFileSync(join(project, 'docker-compose.yml'), 'services: { base: { image: registry.example/base:1 } }\n');
  const base = await shop.buildBase();
  await shop.cambium(['pack', '--repo', repo, '--image-source', `registry.example/base:1=${base.reference}`, 'apps/base', project]);
  await shop.mount(repo, 'apps/base');
  await environment.podman('run', '--pull=never', '--network=none', '--name', 'work', 'registry.example/base:1', BUSYBOX, 'true');
  await environment.podman('commit', '--quiet', 'work', 'localhost/mine:1');
  await environment.podman('rm', 'work');
  assert.match((await shop.cambium(['unmount', 'base'], { accept: [9] })).stderr, /used by image "localhost\/mine:1"/);
  await environment.podman('rmi', 'localhost/mine:1');
  await shop.cambium(['unmount', 'base']);
  await podmanWorks(shop);
});
