/** The commands of our own from end to end, as a user runs them. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildImageLayout, firstReason, needsPeer, needsRoot, type RunResult, run, scratch } from '@cambium/testkit';

const LAUNCHER = fileURLToPath(new URL('../../bin/cambium.js', import.meta.url));
const CHECKSUM = /^[0-9a-f]{64}\n$/;

interface World {
  directory: string;
  cambium(args: readonly string[], variables?: Readonly<Record<string, string>>): Promise<RunResult>;
}

/** An app of one image in an OCI layout, and a command line that knows nothing of this machine's settings. */
async function appWorld(t: Parameters<typeof scratch>[0]): Promise<World> {
  const directory = scratch(t);
  await buildImageLayout(join(directory, 'image'), {
    images: [
      {
        layers: [{ entries: [{ path: 'bin/hello', content: 'first layer', mode: 0o755 }] }, { entries: [{ path: 'etc/hello.conf', content: 'second layer' }] }],
      },
    ],
  });
  mkdirSync(join(directory, 'hello'));
  writeFileSync(join(directory, 'hello/docker-compose.yml'), '# An app.\nservices:\n  web:\n    image: ${IMAGE:-example.com/hello:1}   # pinned when packed\n');
  const base = {
    PATH: process.env.PATH ?? '',
    HOME: directory,
    LC_ALL: 'C.UTF-8',
    CAMBIUM_STATE: join(directory, 'state'),
    CONTAINERS_STORAGE_CONF: join(directory, 'storage.conf'),
  };
  return {
    directory,
    cambium: (args, variables = {}) => run(process.execPath, [LAUNCHER, ...args], { cwd: directory, env: { ...base, ...variables }, accept: 'any' }),
  };
}

const SOURCE = ['--image-source', 'example.com/hello:1=oci:image'];

test('pack prints the checksum alone on stdout, and libostree accepts what it wrote', { skip: needsPeer('ostree') }, async (t) => {
  const { directory, cambium } = await appWorld(t);
  const plan = await cambium(['pack', '--dry-run', '--repo', 'repo', ...SOURCE, 'apps/hello', 'hello/docker-compose.yml']);
  assert.equal(plan.status, 0, plan.stderr);
  assert.match(plan.stdout, /^example\.com\/hello:1 +2 layers, 0 known +\d+ B to fetch.*\nTotal: \d+ B to fetch.* for 1 image.*\n$/);
  assert.equal(existsSync(join(directory, 'repo')), false);

  const first = await cambium(['pack', ...SOURCE, 'apps/hello', 'hello/docker-compose.yml'], { OSTREE_REPO: 'repo', SOURCE_DATE_EPOCH: '1600000000' });
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, CHECKSUM);
  assert.match(first.stderr, /NOTICE: initialized ostree repo in .*repo\n/);
  assert.match(first.stderr, /Imported hello\/docker-compose\.yml to apps\/hello\n/);
  await run('ostree', ['fsck', '--repo=repo'], { cwd: directory });
  const { stdout: compose } = await run('ostree', ['cat', '--repo=repo', 'apps/hello', '/hello/docker-compose.yml'], { cwd: directory });
  assert.match(compose, /^# An app\.\nservices:\n {2}web:\n {4}image: example\.com\/hello:1@sha256:[0-9a-f]{64} {3}# pinned when packed\n$/);

  const again = await cambium(['pack', '--quiet', '--repo=repo', '--timestamp=@1600000000', ...SOURCE, 'apps/hello', 'hello']);
  assert.deepEqual([again.stdout, again.stderr], [first.stdout, '']);
  const told = await cambium(['pack', '--json', '--repo=repo', ...SOURCE, 'apps/hello', 'hello']);
  const result = JSON.parse(told.stdout) as {
    commit: string;
    unchanged: boolean;
    fetchBytes: number;
    images: { layers: { known: boolean }[] }[];
    seconds: number;
  };
  assert.deepEqual([`${result.commit}\n`, result.unchanged, result.fetchBytes], [first.stdout, true, 0]);
  assert.deepEqual(
    result.images.map((image) => image.layers.map((layer) => layer.known)),
    [[true, true]],
  );
  assert.match((await cambium(['pack', '--repo=repo', ...SOURCE, 'apps/hello', 'hello'])).stderr, /unchanged/);

  const lines = await cambium(['pack', '--progress=json', '--repo=other', ...SOURCE, 'apps/hello', 'hello']);
  const types = lines.stderr
    .trimEnd()
    .split('\n')
    .map((text) => (JSON.parse(text) as { type: string }).type);
  for (const type of ['image-resolved', 'layer-stored', 'note']) assert.ok(types.includes(type), type);
});

test('pack fails with a code, a hint and the status of its kind', async (t) => {
  const { cambium, directory } = await appWorld(t);
  writeFileSync(join(directory, 'bad.yml'), 'services: [\n');
  const CASES: [args: string[], status: number, stderr: RegExp][] = [
    [['pack', 'apps/hello', 'hello'], 2, /No repository is given \[CLI_OPTION_VALUE_MISSING\]\nhint: Name it with --repo=PATH/],
    [['pack', '--repo=r', 'apps/hello', 'nowhere.yml'], 4, /nowhere\.yml.*\[COMPOSE_/],
    [['pack', '--repo=r', 'apps/hello', 'bad.yml'], 3, /\[COMPOSE_/],
    [['pack', '--repo=r', '--image-source=x', 'apps/hello', 'hello'], 2, /Cannot use "x" for --image-source/],
    [['pack', '--repo=r', '--arch=pdp11', 'apps/hello', 'hello'], 2, /pdp11/],
    [['pack', '--repo=r', '--timestamp=soon', ...SOURCE, 'apps/hello', 'hello'], 2, /Could not parse 'soon' \[CLI_DATE_INVALID\]/],
    [['pack', '--repo=r', '--jobs=0', 'apps/hello', 'hello'], 2, /Cannot fetch 0 layers/],
    [['pack', '--repo=r', '--image-source=example.com/hello:1=oci:absent', 'apps/hello', 'hello'], 3, /absent.*\[OCI_LAYOUT_INVALID\]/],
  ];
  for (const [args, status, stderr] of CASES) {
    const result = await cambium(args);
    assert.equal(result.status, status, `${args.join(' ')}: ${result.stderr}`);
    assert.equal(result.stdout, '');
    assert.match(result.stderr, stderr);
    assert.match(result.stderr, /^error: /m);
  }
  assert.equal(existsSync(join(directory, 'r')), false);
});

test('SOURCE_DATE_EPOCH is seconds, also before there were many', async (t) => {
  const { cambium } = await appWorld(t);
  for (const [seconds, date] of [
    ['0', '1970-01-01 00:00:00'],
    ['86400', '1970-01-02 00:00:00'],
    ['20200101', '1970-08-22 19:08:21'],
  ] as const) {
    const packed = await cambium(['pack', '--repo=repo', ...SOURCE, `apps/${seconds}`, 'hello'], { SOURCE_DATE_EPOCH: seconds });
    assert.equal(packed.status, 0, packed.stderr);
    assert.match((await cambium(['ostree', '--repo=repo', 'show', `apps/${seconds}`])).stdout, new RegExp(`^Date: {2}${date}`, 'm'));
  }
});

test('compose config prints the resolved model', async (t) => {
  const { cambium } = await appWorld(t);
  assert.match((await cambium(['compose', 'config', 'hello'])).stdout, /image: example\.com\/hello:1\n/);
  assert.equal((await cambium(['compose', 'config', '--images', '-f', 'hello/docker-compose.yml'], { IMAGE: 'other:2' })).stdout, 'other:2\n');
  assert.equal((await cambium(['compose', 'config', '--services', 'hello'])).stdout, 'web\n');
  assert.equal((JSON.parse((await cambium(['compose', 'config', '--json', 'hello'])).stdout) as { name: string }).name, 'hello');
  for (const [flag, names] of Object.entries({ '--services': ['web'], '--images': ['example.com/hello:1'], '--profiles': [] })) {
    assert.deepEqual(JSON.parse((await cambium(['compose', 'config', '--json', flag, 'hello'])).stdout), names, flag);
  }
  assert.match((await cambium(['compose', 'config', '--no-interpolate', 'hello'])).stdout, /\$\{IMAGE:-example\.com\/hello:1\}/);
  assert.equal((await cambium(['compose', 'config', 'nowhere.yml'])).status, 4);
});

test('mount, unmount and clean', { skip: firstReason(needsRoot(), needsPeer('podman')) }, async (t) => {
  const { cambium, directory } = await appWorld(t);
  const conf = (): string => readFileSync(join(directory, 'storage.conf'), 'utf8');
  const original = '[storage]\ndriver = "overlay"\nrunroot = "/run/cambium-test"\ngraphroot = "/var/lib/cambium-test"\n';
  writeFileSync(join(directory, 'storage.conf'), original);
  await cambium(['pack', '--repo=repo', ...SOURCE, 'apps/hello', 'hello']);
  const mounted = await cambium(['mount', '--repo=repo', 'apps/hello']);
  assert.equal(mounted.status, 0, mounted.stderr);
  const app = mounted.stdout.trimEnd();
  assert.match(readFileSync(join(app, 'docker-compose.yml'), 'utf8'), /hello:1@sha256/);
  assert.match(conf(), /additionalimagestores = \[".*\/storage"\]/);
  assert.match((await cambium(['mount', '--repo=repo', 'apps/hello'])).stderr, /was mounted already/);
  const told = JSON.parse((await cambium(['mount', '--json', '--repo=repo', 'apps/hello', '--override-name=second'])).stdout) as {
    name: string;
    images: object;
  };
  assert.deepEqual([told.name, Object.keys(told.images)], ['second', ['example.com/hello:1']]);
  assert.equal((await cambium(['mount', '--repo=repo', 'nope'])).status, 4);

  assert.equal((await cambium(['unmount', 'nope'])).status, 4);
  for (const name of ['hello', 'second']) assert.equal((await cambium(['unmount', '--force', name])).status, 0, name);
  assert.doesNotMatch(conf(), /\/storage"/);
  assert.equal(existsSync(app), false);

  const plan = JSON.parse((await cambium(['clean', '--json', '--dry-run'])).stdout) as { removed: { name: string; path: string }[] };
  assert.deepEqual(plan.removed.map(({ name }) => name).sort(), ['hello', 'second']);
  assert.equal((await cambium(['clean'])).status, 0);
  for (const { path } of plan.removed) assert.equal(existsSync(path), false);
});

test('clean --repo drops what no app needs, and says first what that frees', { skip: needsPeer('ostree') }, async (t) => {
  const { cambium, directory } = await appWorld(t);
  await cambium(['pack', '--repo=repo', ...SOURCE, 'apps/hello', 'hello']);
  const ostree = async (...args: string[]): Promise<string> => (await run('ostree', [...args, '--repo=repo'], { cwd: directory })).stdout;
  const nothing = JSON.parse((await cambium(['clean', '--json', '--dry-run', '--repo=repo'])).stdout) as { refs: string[]; freedBytes: number };
  assert.deepEqual(nothing, { dryRun: true, refs: [], commits: 0, objects: 0, freedBytes: 0 });
  // An orphan of someone else stays, whatever is cleaned.
  const orphan = (await ostree('commit', '--orphan', '-s', 'mine', 'hello')).trim();
  await ostree('refs', '--delete', 'apps/hello');
  await ostree('prune', '--refs-only', '--depth=0', '--no-prune');
  const plan = JSON.parse((await cambium(['clean', '--json', '--dry-run', '--repo=repo'])).stdout) as { refs: string[]; objects: number; freedBytes: number };
  assert.equal(plan.refs.length, 3);
  assert.ok(plan.freedBytes > 0);
  assert.equal((await ostree('refs')).trim().split('\n').length, 3);
  const done = await cambium(['clean', '--repo=repo']);
  assert.equal(done.status, 0, done.stderr);
  assert.equal(done.stdout, `${plan.refs.join('\n')}\n`);
  assert.equal(await ostree('refs'), '');
  await ostree('show', orphan);
  await ostree('fsck');
});
