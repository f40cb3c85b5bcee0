/** Volumes with repositories, and where refs can be had: made by one command and read by the other. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CleanUp, defer, firstReason, needsPeer, needsRoot, run, scratch, startStaticServer, unmountAll } from '@cambium/testkit';
import { LAUNCHER, snapshot } from './two-worlds.test.ts';

const COLLECTION = 'org.example.Shop';
const OTHER = 'org.example.Tools';
const skip = firstReason(needsPeer('ostree', 'gpg'));
/** libostree asks the desktop's library for volumes: it shows disks below /media, and no file systems in memory. */
const needsVolume = firstReason(
  skip,
  needsRoot(),
  needsPeer('mkfs.ext4', 'mount'),
  existsSync('/dev/loop-control') && existsSync('/media') ? false : 'no loop devices, or no /media',
);

type Tool = (...args: string[]) => Promise<{ status: number | null; stdout: string; stderr: string }>;

interface Shop {
  directory: string;
  /** Two signed repositories of a collection each, as pulled by one who trusts both. */
  source: string;
  commits: { app: string; old: string; tool: string };
  key: string;
  theirs: Tool;
  ours: Tool;
}

async function makeShop(t: CleanUp): Promise<Shop> {
  const directory = scratch(t);
  const home = join(directory, 'gnupg');
  mkdirSync(home, { mode: 0o700 });
  const env = { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC', GNUPGHOME: home };
  const options = { cwd: directory, env, accept: 'any' as const, timeoutMs: 60_000 };
  defer(t, async () => void (await run('gpgconf', ['--kill', 'all'], options)));
  await run('gpg', ['--batch', '--passphrase', '', '--quick-generate-key', 'Shop <shop@example.com>', 'rsa2048', 'sign', 'never'], { ...options, accept: [0] });
  const list = await run('gpg', ['--batch', '--with-colons', '--list-secret-keys'], options);
  const id = list.stdout.split('\n').flatMap((row) => (row.startsWith('fpr:') ? [row.split(':')[9] as string] : []))[0] as string;
  const key = join(directory, 'key.gpg');
  await run('gpg', ['--batch', '--output', key, '--export', id], options);
  const theirs: Tool = (...args) => run('ostree', args, options);
  const ours: Tool = (...args) => run(process.execPath, [LAUNCHER, 'ostree', ...args], options);
  const must = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await theirs(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  const commit = (repo: string, ref: string, seconds: number, content: string): Promise<string> => {
    const tree = mkdtempSync(join(directory, 'tree-'));
    writeFileSync(join(tree, 'file'), content);
    return must('commit', `--repo=${repo}`, '-b', ref, `--timestamp=@${seconds}`, `--gpg-sign=${id}`, '--owner-uid=0', '--owner-gid=0', tree);
  };
  await must('init', '--repo=shop', '--mode=archive', `--collection-id=${COLLECTION}`);
  await must('init', '--repo=tools', '--mode=archive', `--collection-id=${OTHER}`);
  const old = await commit('shop', 'apps/shop', 1_500_000_000, 'old\n');
  await must('summary', '--repo=shop', '-u', `--gpg-sign=${id}`);
  await run('cp', ['-a', 'shop', 'behind'], options);
  const app = await commit('shop', 'apps/shop', 1_600_000_000, 'new\n');
  const tool = await commit('tools', 'saw', 1_550_000_000, 'saw\n');
  for (const repo of ['shop', 'tools']) await must('summary', `--repo=${repo}`, '-u', `--gpg-sign=${id}`);
  await must('init', '--repo=source', '--mode=bare-user');
  await must('remote', 'add', '--repo=source', `--gpg-import=${key}`, `--collection-id=${COLLECTION}`, 'shop', `file://${directory}/shop`);
  await must('remote', 'add', '--repo=source', `--gpg-import=${key}`, `--collection-id=${OTHER}`, 'tools', `file://${directory}/tools`);
  await must('pull', '--repo=source', '--depth=-1', 'shop', 'apps/shop');
  await must('pull', '--repo=source', 'tools', 'saw');
  return { directory, source: join(directory, 'source'), commits: { app, old, tool }, key, theirs, ours };
}

/** What either prints of places, but for the time of the summary. */
function settled(text: string): string {
  return text.replace(/(Summary last modified: ).*/g, '$1…');
}

/** Places of equal worth, and the refs of each, come in the order of libostree's hash tables. */
function places(text: string): string[][] {
  return text
    .replace(/^Result \d+/gm, 'Result')
    .split('\n\n')
    .sort()
    .map((place) => place.split('\n').sort());
}

/** What is on a volume, but for the times in summaries, and what only one process left. */
function contents(volume: string): Record<string, string> {
  const entries = Object.entries(snapshot(volume)).filter(([path]) => !/\/(?:tmp|state|extensions)(?:\/|$)|\/\.lock$|\/objects\/..$/.test(path));
  return Object.fromEntries(entries.map(([path, what]) => [path, path.endsWith('/summary') ? 'a summary' : what]));
}

test('a volume that either made is found and pulled from by both', { skip: needsVolume }, async (t) => {
  const shop = await makeShop(t);
  const { directory, commits, key, theirs, ours } = shop;
  const image = join(directory, 'image');
  writeFileSync(image, '');
  truncateSync(image, 48 * 1024 * 1024);
  await run('mkfs.ext4', ['-q', image]);
  const volume = mkdtempSync('/media/cambium-test-');
  defer(t, async () => {
    await unmountAll([volume]);
    rmSync(volume, { recursive: true, force: true });
  });
  await run('mount', ['-o', 'loop', image, volume]);
  rmSync(join(volume, 'lost+found'), { recursive: true, force: true });
  const made: Record<string, string>[] = [];
  for (const maker of [theirs, ours]) {
    for (const name of readdirSync(volume)) rmSync(join(volume, name), { recursive: true });
    const done = await maker('create-usb', '--repo=source', volume, COLLECTION, 'apps/shop', OTHER, 'saw');
    assert.deepEqual([done.status, done.stderr], [0, '']);
    assert.match(done.stdout, /^Copied 2\/2 refs successfully from ‘.*source’ to ‘\.ostree\/repo’ repository in ‘\/media\/.*’\.\n$/);
    made.push(contents(volume));
    assert.equal((await theirs('fsck', `--repo=${volume}/.ostree/repo`)).status, 0);
    const found: string[] = [];
    for (const [i, finder] of [theirs, ours].entries()) {
      const target = `target-${i}`;
      rmSync(join(directory, target), { recursive: true, force: true });
      await theirs('init', `--repo=${target}`, '--mode=bare-user');
      // Where the remotes are does not count: nobody answers there.
      await theirs('remote', 'add', `--repo=${target}`, `--gpg-import=${key}`, `--collection-id=${COLLECTION}`, 'shop', 'http://127.0.0.1:1/');
      await theirs('remote', 'add', `--repo=${target}`, `--gpg-import=${key}`, `--collection-id=${OTHER}`, 'tools', 'http://127.0.0.1:1/');
      const refs = [COLLECTION, 'apps/shop', OTHER, 'saw', OTHER, 'axe'];
      const look = await finder('find-remotes', `--repo=${target}`, '--finders=mount', ...refs);
      assert.equal(look.status, 0, look.stderr);
      found.push(settled(look.stdout));
      const pulled = await finder('find-remotes', `--repo=${target}`, '--finders=mount', '--pull', ...refs.slice(0, 4));
      assert.equal(pulled.status, 0, pulled.stderr);
      assert.match(pulled.stdout, /Pulled 2\/2 refs successfully\.\n$/);
      assert.equal((await theirs('rev-parse', `--repo=${target}`, 'shop:apps/shop')).stdout.trim(), commits.app);
      assert.equal((await theirs('rev-parse', `--repo=${target}`, 'tools:saw')).stdout.trim(), commits.tool);
      assert.equal((await theirs('fsck', `--repo=${target}`)).status, 0);
    }
    assert.match(found[0] as string, new RegExp(`\\(${COLLECTION}, apps/shop\\) = ${commits.app}\n`));
    assert.deepEqual(places(found[1] as string), places(found[0] as string));
  }
  assert.deepEqual(made[1], made[0]);
});

test('a volume gets more with each run, at another place too, and an older commit when asked', { skip }, async (t) => {
  const { directory, commits, theirs, ours } = await makeShop(t);
  for (const [i, maker] of [theirs, ours].entries()) {
    const volume = join(directory, `volume-${i}`);
    mkdirSync(volume);
    const steps = [
      [volume, OTHER, 'saw'],
      ['--commit', commits.old, volume, COLLECTION, 'apps/shop'],
      [volume, COLLECTION, 'apps/shop'],
      ['--destination-repo=some/where', volume, OTHER, 'saw'],
      ['--destination-repo=some/where', volume, COLLECTION, 'apps/shop'],
    ];
    for (const step of steps) assert.equal((await maker('create-usb', '--repo=source', ...step)).status, 0, String(step));
    for (const repo of ['.ostree/repo', 'some/where']) assert.equal((await theirs('fsck', `--repo=${volume}/${repo}`)).status, 0);
    const links = readdirSync(join(volume, '.ostree/repos.d'));
    // libostree names the same place anew with each run.
    assert.deepEqual(links, maker === ours ? ['00-generated'] : ['00-generated', '01-generated']);
    for (const name of links.slice(1)) rmSync(join(volume, '.ostree/repos.d', name));
    assert.match((await theirs('refs', `--repo=${volume}/.ostree/repos.d/00-generated`, '-c')).stdout, /apps\/shop/);
  }
  assert.deepEqual(contents(join(directory, 'volume-1')), contents(join(directory, 'volume-0')));
  // Wrong calls: nothing is made.
  const volume = join(directory, 'empty');
  mkdirSync(volume);
  for (const step of [
    [volume],
    [volume, COLLECTION],
    [volume, COLLECTION, 'nope'],
    [volume, 'org.example.Nobody', 'apps/shop'],
    [volume, OTHER, 'apps/shop'],
    [join(directory, 'missing'), OTHER, 'saw'],
    ['--commit', commits.app, volume, OTHER, 'saw'],
    ['--commit', commits.app, volume, OTHER, 'saw', COLLECTION, 'apps/shop'],
  ]) {
    for (const maker of [theirs, ours]) assert.equal((await maker('create-usb', '--repo=source', ...step)).status, 1, String(step));
    assert.deepEqual(
      Object.keys(contents(volume)).filter((path) => path.includes('refs/mirrors/')),
      [],
    );
  }
  // What libostree crashes on, and a path that leaves the volume, are refused by us alone.
  assert.equal((await ours('create-usb', '--repo=source', '--commit', 'garbage', volume, OTHER, 'saw')).status, 1);
  assert.equal((await ours('create-usb', '--repo=source', '--destination-repo=../outside', volume, OTHER, 'saw')).status, 1);
  assert.equal(existsSync(join(directory, 'outside')), false);
});

test('remotes are found as libostree finds them: the newest counts, and who does not answer is passed over', { skip }, async (t) => {
  const { directory, commits, key, theirs, ours } = await makeShop(t);
  const servers = await Promise.all(['shop', 'behind'].map((name) => startStaticServer({ directory: join(directory, name) })));
  defer(t, async () => void (await Promise.all(servers.map((server) => server.stop()))));
  const [current, behind] = servers.map(({ url }) => url) as [string, string];
  await theirs('init', '--repo=target', '--mode=bare-user');
  for (const [name, url, collection] of [
    ['current', current, COLLECTION],
    ['behind', behind, COLLECTION],
    ['elsewhere', `file://${directory}/nowhere`, COLLECTION],
    ['tools', `file://${directory}/tools`, OTHER],
  ] as const) {
    await theirs('remote', 'add', '--repo=target', `--gpg-import=${key}`, `--collection-id=${collection}`, name, url);
  }
  for (const refs of [
    [COLLECTION, 'apps/shop'],
    [COLLECTION, 'apps/shop', OTHER, 'saw', OTHER, 'axe'],
    [OTHER, 'axe'],
    ['org.example.Nobody', 'apps/shop'],
  ]) {
    const [mine, peers] = [
      await ours('find-remotes', '--repo=target', '--finders=config', ...refs),
      await theirs('find-remotes', '--repo=target', '--finders=config', ...refs),
    ];
    assert.equal(mine.status, peers.status);
    assert.deepEqual(places(mine.stdout), places(peers.stdout), String(refs));
  }
  const pulled = await ours('find-remotes', '--repo=target', '--finders=config', '--pull', COLLECTION, 'apps/shop', OTHER, 'saw');
  assert.equal(pulled.status, 0, pulled.stderr);
  assert.equal((await theirs('rev-parse', '--repo=target', 'current:apps/shop')).stdout.trim(), commits.app);
  assert.equal((await theirs('fsck', '--repo=target')).status, 0);
  // Without signatures to go by nothing is believed.
  await theirs('init', '--repo=trusting', '--mode=bare-user');
  await theirs('remote', 'add', '--repo=trusting', '--no-gpg-verify', `--collection-id=${OTHER}`, 'tools', `file://${directory}/tools`);
  for (const tool of [theirs, ours]) {
    const refused = await tool('find-remotes', '--repo=trusting', '--finders=config', '--pull', OTHER, 'saw');
    assert.deepEqual([refused.status, refused.stderr.trimEnd().split('\n').at(-1)], [1, `error: Failed to pull some refs from the remotes: (${OTHER}, saw)`]);
  }
  for (const finders of ['nonsense', 'config,config', 'config,nonsense']) {
    for (const tool of [theirs, ours]) {
      const refused = await tool('find-remotes', '--repo=target', `--finders=${finders}`, OTHER, 'saw');
      assert.equal(refused.status, 1);
      assert.match(refused.stderr, /error: Unknown or duplicate finder type given in --finders option/);
    }
  }
});
