/** Flags that later versions of libostree have and 2022.7 has not. (main.test.ts compares the help of 2022.7.) */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { closeServer, defer, needsPeer, run, scratch, startStaticServer } from '@cambium/testkit';
import type { Command, Group, Leaf } from '../command.ts';
import { COMMAND_TREE } from '../tree.ts';
import { runOurs } from './our-command.test.ts';

const env = { ...process.env };

/** Of libostree 2026.4, by verb. */
const LATER: Readonly<Record<string, readonly string[]>> = {
  commit: ['sign-from-file', 'selinux-policy', 'selinux-policy-from-base', 'selinux-labeling-epoch', 'generate-composefs-metadata'],
  checkout: ['selinux-policy', 'selinux-prefix', 'composefs', 'composefs-noverity'],
  pull: ['low-speed-limit-bytes', 'low-speed-time-seconds', 'max-outstanding-fetcher-requests', 'disable-retry-on-network-errors'],
  'pull-local': ['disable-static-deltas'],
  refs: ['revision'],
  'remote refs': ['revision'],
  'remote summary': ['list-metadata-keys', 'print-metadata-key'],
  show: ['list-metadata-keys', 'list-detached-metadata-keys', 'print-hex'],
  sign: ['keys-file', 'keys-dir'],
  summary: ['list-metadata-keys', 'print-metadata-key', 'add-metadata', 'sign', 'sign-type'],
};

test('every flag of later versions is there; what needs a running system is refused by its name', async (t) => {
  const directory = scratch(t);
  await runOurs(['init', '--repo=repo', '--mode=archive'], { cwd: directory, env });
  const verbs = COMMAND_TREE.children.find(({ name }) => name === 'ostree');
  assert.ok(verbs !== undefined && 'children' in verbs);
  for (const [verb, names] of Object.entries(LATER)) {
    let leaf: Leaf | Group | undefined = verbs;
    for (const word of verb.split(' ')) leaf = leaf !== undefined && 'children' in leaf ? leaf.children.find(({ name }) => name === word) : undefined;
    assert.ok(leaf !== undefined && 'load' in leaf, verb);
    const { flags } = (await leaf.load()) as Command;
    for (const name of names) assert.ok(flags[name] !== undefined, `${verb} --${name}`);
  }
  // The one flag of 2022.7 beside `admin` that is not served: remotes of a system that is not running.
  const sysroot = await runOurs(['remote', 'list', '--sysroot=/'], { cwd: directory, env });
  assert.equal(sysroot.status, 1);
  assert.match(sysroot.stderr, /error: Unknown option --sysroot/);
});

test('config: what would make the repository unusable is not set; refs of a remote with their commits', async (t) => {
  const cwd = scratch(t);
  const ours = (line: string) => runOurs(line.split(' '), { cwd, env });
  await ours('init --repo=repo --mode=archive');
  const wrong = await ours('config --repo=repo set core.min-free-space-size invalidvalue');
  // As libostree 2026.4 has it.
  assert.equal(wrong.stderr, "error: Invalid min-free-space-size 'invalidvalue': It should be of the format '123MB', '123GB' or '123TB'\n");
  assert.equal((await ours('config --repo=repo set core.mode nonsense')).status, 1);
  assert.equal((await ours('config --repo=repo set core.min-free-space-size 100MB')).status, 0);
  assert.equal((await ours('config --repo=repo get core.min-free-space-size')).stdout, '100MB\n');
  const commit = (await ours('commit --repo=repo -b main --tree=dir=repo/refs --timestamp=@9')).stdout.trim();
  await ours('summary --repo=repo -u --add-metadata=org.example.note="x"');
  await ours(`remote add --repo=repo --no-gpg-verify origin file://${cwd}/repo`);
  assert.equal((await ours('remote refs --repo=repo -r origin')).stdout, `origin:main\t${commit}\n`);
  assert.equal((await ours('remote summary --repo=repo --print-metadata-key=org.example.note origin')).stdout, "'x'\n");
  assert.match((await ours('remote summary --repo=repo --list-metadata-keys origin')).stdout, /^org\.example\.note$/m);
  assert.equal((await ours('remote summary --repo=repo --print-metadata-key=no origin')).stderr, "error: No such metadata key 'no'\n");
});

test('pull: a server that trickles is given up after the time that was asked for, without another try', { skip: needsPeer('ostree') }, async (t) => {
  const directory = scratch(t);
  let asked = 0;
  const server = createServer((_request, response) => {
    asked++;
    response.writeHead(200, { 'content-length': '1000' });
    const timer = setInterval(() => response.write('x'), 50);
    response.on('close', () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  defer(t, () => closeServer(server));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cambium = (...args: string[]) => runOurs(args, { cwd: directory, env });
  await cambium('init', '--repo=repo', '--mode=archive');
  await cambium('remote', 'add', '--repo=repo', '--no-gpg-verify', 'origin', url);
  const options = ['--low-speed-limit-bytes=500', '--low-speed-time-seconds=1', '--disable-retry-on-network-errors', '--max-outstanding-fetcher-requests=1'];
  const slow = await cambium('pull', '--repo=repo', ...options, 'origin', 'main');
  assert.equal(slow.status, 1);
  assert.match(slow.stderr, /it sent less than 500 bytes per second for 1 seconds/);
  assert.ok(asked <= 3, `${asked} requests for three files`);
  for (const bad of ['--low-speed-limit-bytes=-1', '--low-speed-time-seconds=0'])
    assert.match((await cambium('pull', '--repo=repo', bad, 'origin', 'main')).stderr, /^error: Invalid --low-speed/);

  // Asked for slowly, one at a time, all comes.
  await run('ostree', ['init', '--repo=source', '--mode=archive'], { cwd: directory });
  await run('ostree', ['commit', '--repo=source', '-b', 'main', '--add-metadata=id=[byte 0x0a, 0xff]', '--add-metadata-string=name=x', 'repo'], {
    cwd: directory,
  });
  const real = await startStaticServer({ directory: join(directory, 'source') });
  defer(t, () => real.stop());
  const good = await cambium('pull', '--repo=repo', `--url=${real.url}`, '--low-speed-limit-bytes=0', '--max-outstanding-fetcher-requests=1', 'origin', 'main');
  assert.equal(good.status, 0, good.stderr);
  const shown = await cambium('show', '--repo=repo', '--print-hex', '--print-metadata-key=id', 'origin:main');
  assert.equal(shown.stdout, '0aff\n');
  assert.equal((await cambium('show', '--repo=repo', '--print-hex', '--print-metadata-key=name', 'origin:main')).stdout, "'x'\n");
});
