import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type CleanUp, defer, needsPeer, run, scratch, testCertificates } from '@cambium/testkit';

const LAUNCHER = fileURLToPath(new URL('../../bin/cambium.js', import.meta.url));

interface Served {
  child: ChildProcess;
  url: string;
  said(): string;
}

async function serve(t: CleanUp, args: readonly string[]): Promise<Served> {
  const child = spawn(process.execPath, [LAUNCHER, 'ostree', 'serve', '--verbose', '--port=0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  defer(t, () => child.kill('SIGKILL'));
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const [first] = (await Promise.race([once(child.stdout.setEncoding('utf8'), 'data'), once(child, 'close').then(() => [''])])) as [string];
  assert.match(first, /^https?:\/\/127\.0\.0\.1:[0-9]+\n$/, said);
  return { child, url: first.trim(), said: () => said };
}

test('cambium ostree serve: libostree pulls from it, and it ends in good order', { skip: needsPeer('ostree', 'openssl') }, async (t) => {
  const top = scratch(t);
  const [repo, tree, keys] = [join(top, 'repo'), join(top, 'tree'), join(top, 'keys')];
  for (const directory of [tree, keys]) mkdirSync(directory);
  writeFileSync(join(tree, 'file'), 'content\n');
  await run('ostree', ['init', `--repo=${repo}`, '--mode=archive']);
  const head = (await run('ostree', ['commit', `--repo=${repo}`, '--branch=main', `--tree=dir=${tree}`])).stdout.trim();
  const { authority, server: tls } = await testCertificates(keys);
  for (const secure of [false, true]) {
    const served = await serve(t, [`--repo=${repo}`, ...(secure ? [`--tls-cert=${tls.certPath}`, `--tls-key=${tls.keyPath}`] : [])]);
    assert.equal(served.url.startsWith('https:'), secure);
    const client = join(top, `client-${secure}`);
    await run('ostree', ['init', `--repo=${client}`, '--mode=archive']);
    const trust = secure ? [`--set=tls-ca-path=${authority.certPath}`] : [];
    await run('ostree', ['remote', 'add', `--repo=${client}`, '--no-gpg-verify', ...trust, 'origin', served.url]);
    await run('ostree', ['pull', `--repo=${client}`, 'origin', 'main']);
    assert.equal((await run('ostree', ['rev-parse', `--repo=${client}`, 'origin:main'])).stdout.trim(), head);
    const ended = once(served.child, 'close');
    served.child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    assert.match(
      served.said(),
      new RegExp(`127\\.0\\.0\\.1 GET /objects/${head.slice(0, 2)}/${head.slice(2)}\\.commit HTTP/${secure ? '2\\.0' : '1\\.1'} 200 `),
    );
  }
});

test('cambium ostree serve refuses what makes no sense', async (t) => {
  const repo = join(scratch(t), 'repo');
  const cambium = (...args: string[]): Promise<{ status: number | null; stderr: string }> =>
    run(process.execPath, [LAUNCHER, 'ostree', ...args], { accept: 'any' });
  await cambium('init', `--repo=${repo}`, '--mode=bare-user');
  for (const [args, words] of [
    [['--port=99999'], /error: Invalid port 99999/],
    [['--tls-cert=x'], /error: --tls-cert and --tls-key must be given together/],
    [['--tls-cert=/absent', '--tls-key=/absent'], /error: .*No such file or directory|error: .*ENOENT/],
    [['--port=0'], /error: Cannot serve repository .*: its mode is bare-user/],
  ] as const) {
    const { status, stderr } = await cambium('serve', `--repo=${repo}`, ...args);
    assert.equal(status, 1);
    assert.match(stderr, words);
  }
});
