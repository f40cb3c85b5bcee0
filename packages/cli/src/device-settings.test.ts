import assert from 'node:assert/strict';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { defer, killAtPoints, killTimes, needsPeer, needsRoot, type PodmanEnvironment, type RunResult } from '@cambium/testkit';
import { deviceState, isRootless, storageConf } from './commands/device-places.ts';
import type { Environment } from './environment.ts';
import { BUSYBOX, CAMBIUM, makeShop, needsMounting, TOOL, WEB } from './packed-apps.test.ts';

function environmentOf(uid: number, variables: Record<string, string>): Environment {
  return { uid, variables, home: '/home/me', workingDirectory: '/work', stdoutIsTerminal: false, stderrIsTerminal: false };
}

test('apps and settings are where podman looks for them', () => {
  const places = (uid: number, variables: Record<string, string> = {}): string[] => {
    const environment = environmentOf(uid, variables);
    const { path, rootlessStorage } = storageConf(environment);
    return [path, deviceState(environment).path, rootlessStorage ?? ''];
  };
  assert.deepEqual(places(0), ['/etc/containers/storage.conf', '/var/lib/cambium', '']);
  const mine = ['/home/me/.config/containers/storage.conf', '/home/me/.local/share/cambium', '/home/me/.local/share/containers/storage'];
  assert.deepEqual(places(1000), mine);
  // Inside podman unshare, and of buildah unshare.
  assert.deepEqual(places(0, { _CONTAINERS_USERNS_CONFIGURED: 'done' }), mine);
  assert.deepEqual(places(1000, { XDG_CONFIG_HOME: '/c', XDG_DATA_HOME: '/d' }), ['/c/containers/storage.conf', '/d/cambium', '/d/containers/storage']);
  assert.deepEqual(places(0, { CONTAINERS_STORAGE_CONF: 'x.conf', CAMBIUM_STATE: 'state' }), ['/work/x.conf', '/work/state', '']);
  assert.equal(isRootless(environmentOf(0, {})), false);
});

/** Writes settings that leave podman's own places as they are by default. */
function plainContainersConf(environment: PodmanEnvironment): string {
  const path = join(environment.directory, 'plain-containers.conf');
  const lines = readFileSync(environment.containersConf, 'utf8').split('\n');
  writeFileSync(path, lines.filter((line) => !/^(?:static_dir|tmp_dir|volume_path) /.test(line)).join('\n'));
  return path;
}

test('any storage.conf that podman reads keeps its other settings, its comments, mode and owner', { skip: needsMounting(false) }, async (t) => {
  const shop = await makeShop(t, { rootless: false });
  const { environment } = shop;
  const repo = join(environment.directory, 'repo');
  await shop.pack(repo);
  const other = join(environment.directory, 'other-store');
  for (const [path, text] of [
    ['overlay-images/images', '[]'],
    ['overlay-layers/layers', '[]'],
  ] as const) {
    mkdirSync(join(other, path, '..'), { recursive: true });
    writeFileSync(join(other, `${path}.json`), text);
    writeFileSync(join(other, `${path}.lock`), '');
  }
  const storage = `# ours\n[storage]\ndriver = "overlay" # kept\ngraphroot = "${environment.directory}/graph"\nrunroot = "${environment.directory}/run"\n`;
  const texts = [
    storage,
    `${storage}[storage.options.overlay]\nmountopt = "nodev"\n`,
    `${storage}[storage.options]\nsize = ""\n\n[storage.options.overlay]\nmountopt = "nodev"`,
    `${storage}[storage.options]\nadditionalimagestores = [ # all\n  '${other}', # theirs\n]\n`,
    `${storage}\n [ storage . options ] # spaced\n\tadditionalimagestores=[]\n`,
  ];
  for (const text of texts) {
    writeFileSync(environment.storageConf, text);
    chmodSync(environment.storageConf, 0o640);
    if (process.getuid?.() === 0) chownSync(environment.storageConf, 0, 7);
    const before = statSync(environment.storageConf);
    await shop.mount(repo, 'apps/shop');
    const images = (await environment.podman('images', '--format', '{{.Repository}}:{{.Tag}}')).split('\n').sort();
    assert.deepEqual(images, [TOOL, WEB], text);
    assert.ok(readFileSync(environment.storageConf, 'utf8').includes('driver = "overlay" # kept\n'));
    const during = statSync(environment.storageConf);
    assert.deepEqual([during.mode, during.uid, during.gid], [before.mode, before.uid, before.gid]);
    await shop.cambium(['unmount', 'shop']);
    assert.equal(readFileSync(environment.storageConf, 'utf8'), text);
    const after = statSync(environment.storageConf);
    assert.deepEqual([after.mode, after.uid, after.gid], [before.mode, before.uid, before.gid]);
  }
  // Some keep their settings elsewhere and link to them: the link stays.
  const elsewhere = join(environment.directory, 'elsewhere.conf');
  renameSync(environment.storageConf, elsewhere);
  symlinkSync(elsewhere, environment.storageConf);
  await shop.mount(repo, 'apps/shop');
  assert.match(readFileSync(elsewhere, 'utf8'), /checkouts/);
  assert.match(await environment.podman('images', '--format', '{{.Repository}}'), /shop\/web/);
  await shop.cambium(['unmount', 'shop']);
  assert.equal(readFileSync(elsewhere, 'utf8'), texts.at(-1));
});

test('root without a storage.conf: mount makes the one of the system, unmount removes it', { skip: needsMounting(false) || needsRoot() }, async (t) => {
  const shop = await makeShop(t, { rootless: false });
  const { directory } = shop.environment;
  const repo = join(directory, 'repo');
  await shop.pack(repo);
  // A machine of its own as far as podman and cambium are concerned: /etc/containers, /var/lib and /run are the test's.
  for (const name of ['etc-containers', 'var-lib']) mkdirSync(join(directory, name));
  cpSync(join(shop.environment.home, '.config/containers/policy.json'), join(directory, 'etc-containers/policy.json'));
  const enter = `set -e; mkdir -p /etc/containers; mount --bind '${directory}/etc-containers' /etc/containers; mount --bind '${directory}/var-lib' /var/lib; mount -t tmpfs tmpfs /run; exec "$@"`;
  const containersConf = plainContainersConf(shop.environment);
  const here = (...args: string[]): Promise<RunResult> =>
    shop.environment.run('unshare', ['--mount', 'env', '-u', 'CONTAINERS_STORAGE_CONF', 'sh', '-c', enter, 'sh', ...args], {
      env: { CONTAINERS_CONF: containersConf, NODE_V8_COVERAGE: '' },
    });
  const conf = join(directory, 'etc-containers/storage.conf');
  const { stdout } = await here(process.execPath, CAMBIUM, 'mount', '--repo', repo, 'apps/shop');
  assert.equal(stdout, '/var/lib/cambium/apps/shop\n');
  assert.match(
    readFileSync(conf, 'utf8'),
    /^# Made by cambium mount\.[\s\S]*graphroot = "\/var\/lib\/containers\/storage"[\s\S]*\/var\/lib\/cambium\/checkouts/,
  );
  const info = JSON.parse((await here('podman', 'info', '--format', 'json')).stdout) as { store: { configFile: string; graphRoot: string } };
  assert.deepEqual([info.store.configFile, info.store.graphRoot], ['/etc/containers/storage.conf', '/var/lib/containers/storage']);
  assert.equal((await here('podman', 'run', '--rm', '--pull=never', '--network=none', WEB, BUSYBOX, 'cat', '/etc/version')).stdout, '1\n');
  await here(process.execPath, CAMBIUM, 'unmount', 'shop');
  assert.equal(existsSync(conf), false);
  assert.equal((await here('podman', 'images', '--quiet')).stdout, '');
});

test('a user who never used podman gets storage that can use image stores', { skip: needsMounting(true) }, async (t) => {
  const shop = await makeShop(t, { rootless: true });
  const { environment } = shop;
  const repo = join(environment.directory, 'repo');
  await shop.pack(repo);
  rmSync(environment.storageConf);
  const containersConf = plainContainersConf(environment);
  environment.own(containersConf);
  const here = (...args: string[]): Promise<RunResult> =>
    environment.run('env', ['-u', 'CONTAINERS_STORAGE_CONF', '-u', 'CAMBIUM_STATE', ...args], {
      env: { CONTAINERS_CONF: containersConf, NODE_V8_COVERAGE: '' },
    });
  defer(t, async () => {
    // What is mounted at this moment goes with the rest, when the environment stops.
    await environment.run('podman', ['unshare', 'rm', '-rf', join(environment.home, '.local')], { accept: 'any' });
    environment.setImageStores([]);
  });
  const { stdout } = await here(process.execPath, CAMBIUM, 'mount', '--repo', repo, 'apps/shop');
  assert.equal(stdout, `${environment.home}/.local/share/cambium/apps/shop\n`);
  const info = JSON.parse((await here('podman', 'info', '--format', 'json')).stdout) as { store: Record<string, string> };
  const share = join(environment.home, '.local/share');
  assert.deepEqual(
    [info.store.configFile, info.store.graphRoot, info.store.graphDriverName],
    [environment.storageConf, `${share}/containers/storage`, 'overlay'],
  );
  assert.equal((await here('podman', 'run', '--rm', '--pull=never', '--network=none', WEB, BUSYBOX, 'stat', '-c', '%u', '/home/user/mine')).stdout, '1000\n');
  await here(process.execPath, CAMBIUM, 'unmount', 'shop');
  // The file stays: without it podman would complain that its storage was made with another driver than it would choose now.
  assert.equal(readFileSync(environment.storageConf, 'utf8').replace(/^#.*\n/, ''), '[storage]\ndriver = "overlay"\n');
  const images = await here('podman', 'images', '--quiet');
  assert.equal(images.stdout, '');
  assert.doesNotMatch(images.stderr, /overwritten by graph driver/);
});

test('storage that podman keeps with another driver is refused, and podman goes on as before', { skip: needsMounting(true) }, async (t) => {
  const shop = await makeShop(t, { rootless: true });
  const { environment } = shop;
  const repo = join(environment.directory, 'repo');
  await shop.pack(repo);
  const overlay = readFileSync(environment.storageConf, 'utf8');
  writeFileSync(environment.storageConf, overlay.replace('"overlay"', '"vfs"'));
  await environment.podman('info');
  // The file may say what it wants now: podman remembers.
  writeFileSync(environment.storageConf, overlay);
  const { stderr } = await shop.cambium(['mount', '--repo', repo, 'apps/shop'], { accept: [11] });
  assert.match(stderr, /DEVICE_STORAGE_DRIVER/);
  assert.equal(readFileSync(environment.storageConf, 'utf8'), overlay);
  await environment.podman('images');
});

test('a mount that is killed anywhere leaves podman working, and the next one finishes', { skip: needsMounting(false) }, async (t) => {
  const shop = await makeShop(t, { rootless: false });
  const { environment } = shop;
  const repo = join(environment.directory, 'repo');
  await shop.pack(repo);
  const env: Record<string, string> = { ...environment.env, CAMBIUM_STATE: shop.state };
  const mount = [CAMBIUM, 'mount', '--repo', repo, 'apps/shop'];

  // At its questions to podman: before anything is checked out, and when the store is listed but not yet linked.
  const bin = join(environment.directory, 'bin');
  mkdirSync(bin);
  for (const question of ['info', 'images']) {
    writeFileSync(join(bin, 'podman'), `#!/bin/sh\n[ "$1" = ${question} ] && kill -KILL $PPID && exit 1\nexec /usr/bin/env PATH="\${PATH#*:}" podman "$@"\n`, {
      mode: 0o755,
    });
    const killed = await environment.run(process.execPath, mount, { accept: 'any', env: { ...env, PATH: `${bin}:${env.PATH}`, NODE_V8_COVERAGE: '' } });
    assert.equal(killed.signal, 'SIGKILL', question);
    assert.equal(existsSync(join(shop.state, 'apps/shop')), false);
    await environment.podman('images');
  }
  const listed = readFileSync(environment.storageConf, 'utf8');
  assert.match(listed, /checkouts\/shop@/);
  assert.equal((await shop.mount(repo, 'apps/shop')).unchanged, false);
  assert.equal(readFileSync(environment.storageConf, 'utf8'), listed);
  const checkout = join(environment.directory, '..', /([^/]+\/state\/checkouts\/shop@[0-9a-f]{64})/.exec(listed)?.[1] as string);
  const filesOf = async (): Promise<string> =>
    (await environment.run('find', ['-printf', '%P %s %m\\n'], { cwd: checkout })).stdout.split('\n').sort().join('\n');
  const whole = await filesOf();
  await shop.cambium(['unmount', 'shop']);
  await shop.cambium(['clean']);

  // Anywhere: how far each gets is up to the machine, what must hold is not.
  const runs = await killAtPoints(
    process.execPath,
    mount,
    killTimes(6, 450),
    async () => {
      await environment.podman('images');
      // Half of a checkout has no final name.
      if (existsSync(checkout)) assert.equal(await filesOf(), whole);
      await shop.cambium(['clean']);
      await environment.podman('images');
    },
    { env },
  );
  assert.ok(runs.some(({ killed }) => killed));
  await shop.mount(repo, 'apps/shop');
  assert.equal(await environment.podman('run', '--rm', '--pull=never', '--network=none', WEB, BUSYBOX, 'cat', '/etc/version'), '1');
  await shop.cambium(['unmount', 'shop']);
  await shop.cambium(['clean']);
  assert.equal((await environment.run('ls', [join(shop.state, 'checkouts')])).stdout, '');
});

test('clean --repo says what it frees, frees it, and the next pack fetches only what went', { skip: needsMounting(false) }, async (t) => {
  const shop = await makeShop(t, { rootless: false });
  const repo = join(shop.environment.directory, 'repo');
  await shop.pack(repo);
  await shop.setVersion(2);
  const commit = await shop.pack(repo);
  const dry = JSON.parse((await shop.cambium(['clean', '--repo', repo, '--dry-run', '--json'])).stdout) as Record<string, unknown>;
  assert.equal(dry.dryRun, true);
  assert.equal((dry.refs as string[]).length, 2, 'the first image and its upper layer');
  const cleaned = await shop.cambium(['clean', '--repo', repo]);
  assert.deepEqual(cleaned.stdout.trim().split('\n'), dry.refs);
  assert.match(cleaned.stderr, new RegExp(`^Frees .* in ${dry.objects} objects; 2 layers and images are not needed any more\n$`));
  const again = JSON.parse((await shop.cambium(['clean', '--repo', repo, '--json'])).stdout) as Record<string, unknown>;
  assert.deepEqual(again, { dryRun: false, refs: [], commits: 0, objects: 0, freedBytes: 0 });
  if (needsPeer('ostree') === false) await shop.environment.run('ostree', ['fsck', `--repo=${repo}`]);
  assert.equal(await shop.pack(repo), commit);
  assert.equal((await shop.mount(repo, 'apps/shop')).commit, commit);
});
