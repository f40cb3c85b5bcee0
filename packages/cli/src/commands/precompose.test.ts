/** `cambium pack` in the place of precompose: what scripts rely on. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildImageLayout, defer, faultyRegistry, needsPeer, type RunResult, run, scratch } from '@cambium/testkit';

const LAUNCHER = fileURLToPath(new URL('../../bin/cambium.js', import.meta.url));
const PLATFORMS = ['linux/amd64', 'linux/arm64', 'linux/arm/v6', 'linux/arm/v7'];

interface World {
  directory: string;
  env: Record<string, string>;
  cambium(args: readonly string[], variables?: Readonly<Record<string, string>>): Promise<RunResult>;
}

/** An app whose image is for four platforms. */
async function world(t: TestContext): Promise<World> {
  const directory = scratch(t);
  await buildImageLayout(join(directory, 'image'), {
    images: PLATFORMS.map((text) => {
      const [os = '', architecture = '', variant] = text.split('/');
      return { platform: { os, architecture, ...(variant === undefined ? {} : { variant }) }, layers: [{ entries: [{ path: 'which', content: text }] }] };
    }),
  });
  mkdirSync(join(directory, 'hello'));
  writeFileSync(join(directory, 'hello/docker-compose.yml'), 'services:\n  web:\n    image: hello\n');
  const env = { PATH: process.env.PATH ?? '', HOME: directory, LC_ALL: 'C.UTF-8' };
  const cambium: World['cambium'] = (args, variables = {}) =>
    run(process.execPath, [LAUNCHER, ...args], { cwd: directory, env: { ...env, ...variables }, accept: 'any' });
  return { directory, env, cambium };
}

const SOURCE = ['--image-source', 'hello=oci:image'];

test('stdout, notices, subject, body and layout', { skip: needsPeer('ostree') }, async (t) => {
  const { directory, cambium } = await world(t);
  const packed = await cambium(['pack', '--repo', 'repo', '--arch', 'arm64', ...SOURCE, 'apps/hello', 'hello/docker-compose.yml']);
  assert.equal(packed.status, 0, packed.stderr);
  const ostree = async (...args: string[]): Promise<string> => (await run('ostree', ['--repo=repo', ...args], { cwd: directory })).stdout;
  assert.equal(packed.stdout, await ostree('rev-parse', 'apps/hello'));
  assert.match(packed.stderr, /^NOTICE: initialized ostree repo in .*\/repo$/m);
  assert.match(packed.stderr, /^Imported hello\/docker-compose\.yml to apps\/hello$/m);
  assert.match(await ostree('config', 'get', 'core.mode'), /^archive/);

  const text = await ostree('cat', 'apps/hello', '/precompose.json');
  const pinned = /image: (\S+)\n/.exec(await ostree('cat', 'apps/hello', '/hello/docker-compose.yml'))?.[1] ?? '';
  assert.match(pinned, /^docker\.io\/library\/hello:latest@sha256:[0-9a-f]{64}$/);
  assert.deepEqual(JSON.parse(text), { precompose: { app: 'hello', images: { hello: pinned }, version: 0 } });
  const shown = await ostree('show', 'apps/hello');
  assert.match(shown, /^ {4}precompose of hello$/m);
  assert.ok(shown.includes(text.trimEnd()), 'the body is the same text');
  const top = (await ostree('ls', 'apps/hello', '/')).trimEnd().split('\n');
  assert.deepEqual(
    top.map((line) => line.split(' ').at(-1)),
    ['/', '/precompose.json', '/hello', '/storage'],
  );
});

test('the environment stands in for flags, in the order of precompose; what is empty counts as not set', async (t) => {
  const { cambium } = await world(t);
  const CASES: [variables: Record<string, string>, flags: string[], platform: string][] = [
    [{ PRECOMPOSE_ARCH: 'arm64', CONTAINER_ARCH: 'amd64' }, [], 'linux/arm64'],
    [{ PRECOMPOSE_ARCH: '', CONTAINER_ARCH: 'arm64' }, [], 'linux/arm64'],
    [{ PRECOMPOSE_ARCH: 'amd64' }, ['--arch=arm64'], 'linux/arm64'],
    [{ PRECOMPOSE_ARCH: 'arm', PRECOMPOSE_VARIANT: 'v6', CONTAINER_VARIANT: 'v7' }, [], 'linux/arm/v6'],
    [{ CONTAINER_ARCH: 'arm', PRECOMPOSE_VARIANT: '', CONTAINER_VARIANT: 'v6' }, [], 'linux/arm/v6'],
    [{ CONTAINER_ARCH: 'arm', CONTAINER_VARIANT: 'v6' }, ['--variant=v7'], 'linux/arm/v7'],
  ];
  for (const [variables, flags, platform] of CASES) {
    const told = await cambium(['pack', '--json', '--dry-run', ...flags, ...SOURCE, 'apps/hello', 'hello'], { OSTREE_REPO: 'repo', ...variables });
    assert.equal(told.status, 0, told.stderr);
    const { images } = JSON.parse(told.stdout) as { images: { platform: string }[] };
    assert.deepEqual(
      images.map((image) => image.platform),
      [platform],
      JSON.stringify([variables, flags]),
    );
  }
});

test('GPG_KEY_ID signs, unless it is empty', { skip: needsPeer('gpg') }, async (t) => {
  const { cambium } = await world(t);
  const args = ['pack', '--arch=amd64', ...SOURCE, 'apps/hello', 'hello'];
  const missing = await cambium(args, { OSTREE_REPO: 'repo', GPG_KEY_ID: 'nobody@example.org' });
  assert.deepEqual([missing.status, missing.stdout], [4, '']);
  assert.match(missing.stderr, /"nobody@example\.org" \[TRUST_GPG_KEY_MISSING\]/);
  assert.equal((await cambium(args, { OSTREE_REPO: 'repo', GPG_KEY_ID: '' })).status, 0);
});

test('Ctrl-C in the middle of a transfer: status 130, no ref, nothing on stdout', { skip: needsPeer('ostree') }, async (t) => {
  const { directory, env } = await world(t);
  const layout = await buildImageLayout(join(directory, 'large'), {
    images: [{ layers: [{ entries: [{ path: 'x', content: Buffer.alloc(300_000, 'x') }] }] }],
  });
  const layer = layout.images[0]?.layers[0]?.digest ?? '';
  const registry = await faultyRegistry({ layouts: { 'team/app:1': layout }, rules: [{ on: new RegExp(layer), fault: { do: 'hang', afterBytes: 100 } }] });
  defer(t, () => registry.stop());
  writeFileSync(join(directory, 'hello/docker-compose.yml'), `services:\n  web:\n    image: ${registry.host}/team/app:1\n`);
  const args = [LAUNCHER, 'pack', '--progress=json', '--repo=repo', 'apps/hello', 'hello'];
  const child = spawn(process.execPath, args, { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'] });
  defer(t, () => child.kill('SIGKILL'));
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    said.stdout += chunk.toString();
  });
  let interrupted = false;
  child.stderr.on('data', (chunk: Buffer) => {
    said.stderr += chunk.toString();
    // Once: the second signal has the system's effect.
    if (!interrupted && said.stderr.includes('"layer-progress"')) interrupted = child.kill('SIGINT');
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  assert.deepEqual([status, said.stdout], [130, ''], said.stderr);
  assert.equal((await run('ostree', ['--repo=repo', 'refs'], { cwd: directory })).stdout, '');
  await run('ostree', ['--repo=repo', 'fsck', '--quiet'], { cwd: directory });
});

test('a reader that has gone ends the command as SIGPIPE would, without a word', { skip: needsPeer('mkfifo') }, async (t) => {
  const fifo = join(scratch(t), 'fifo');
  execFileSync('mkfifo', [fifo]);
  for (const args of [['help'], ['doctor', '--json'], ['ostree', '--help']]) {
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(fifo, constants.O_WRONLY);
    closeSync(reader);
    const { status, stderr } = spawnSync(process.execPath, [LAUNCHER, ...args], { stdio: ['ignore', writer, 'pipe'], encoding: 'utf8' });
    closeSync(writer);
    assert.deepEqual([status, stderr], [141, ''], args.join(' '));
  }
});
