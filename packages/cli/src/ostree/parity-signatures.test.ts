/** Summaries, bare-key signatures and keys of remotes, beside libostree. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defer, firstReason, needsPeer, run, scratch } from '@cambium/testkit';
import { runOurs } from './our-command.test.ts';
import { buildWorld, line, skip } from './two-worlds.test.ts';

interface Sides {
  directory: string;
  theirs(text: string): Promise<{ status: number | null; stdout: string; stderr: string }>;
  ours(text: string): Promise<{ status: number | null; stdout: string; stderr: string }>;
  /** Both, which must agree in status, output and last message. */
  same(text: string): Promise<string>;
}

/** One world: each side goes on from what the other has done. */
function oneWorld(directory: string, more: Record<string, string> = {}): Sides {
  buildWorld(directory);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC', OSTREE_REPO: 'repo', OSTREE_DUMMY_SIGN_ENABLED: '1', SOURCE_DATE_EPOCH: '1600000000', ...more };
  const options = { cwd: directory, env, accept: 'any' as const };
  const theirs: Sides['theirs'] = (text) => run('ostree', line(text).args, options);
  const ours: Sides['ours'] = (text) => runOurs(line(text).args, options);
  const same = async (text: string): Promise<string> => {
    const [mine, peers] = [await ours(text), await theirs(text)];
    const last = (stderr: string): string | undefined => stderr.trimEnd().split('\n').at(-1);
    assert.deepEqual([mine.status, mine.stdout, last(mine.stderr)], [peers.status, peers.stdout, last(peers.stderr)], text);
    return mine.stdout;
  };
  return { directory, theirs, ours, same };
}

test('summary', { skip }, async (t) => {
  const { theirs, ours, same } = oneWorld(scratch(t));
  await theirs('init --mode=archive --repo=repo');
  await theirs('commit -b main tree --add-metadata-string=version=1.2');
  await theirs('refs --create=app/é main');
  await same('summary --view');
  await same('summary');
  await same('summary --update --add-metadata=x');
  await same('summary --update --sign=k1 --sign-type=nope');
  for (const side of [theirs, ours]) {
    assert.equal((await side('summary --update --add-metadata=a.b=uint32_7 --sign=k1 --sign-type=dummy')).status, 0);
    assert.match(await same('summary -v'), /^\* app\/é\n[\s\S]*a\.b: 7\n/);
    await same('summary --raw');
  }
  assert.match((await ours('summary --list-metadata-keys')).stdout, /^a\.b\n[\s\S]*ostree\.summary\.mode\n/);
  assert.equal((await ours('summary --print-metadata-key=ostree.summary.mode')).stdout, "'archive-z2'\n");
  assert.equal((await ours('summary --print-metadata-key=nope')).status, 1);
});

test('sign', { skip }, async (t) => {
  const { theirs, ours, same } = oneWorld(scratch(t));
  await theirs('init --mode=archive --repo=repo');
  assert.equal((await ours('commit -b main tree --sign=k1 --sign-type=dummy')).status, 0);
  await same('sign -s dummy --verify main k1');
  await same('sign -s dummy --verify main k2');
  await same('sign -s dummy main k3');
  await same('sign -s dummy --verify main k2 k3');
  await same('sign -s nope main k1');
  await same('sign -s dummy --verify nope k1');
  assert.equal((await ours('sign -s dummy -d main k1')).stdout, 'Signatures deleted: 1\n');
  await same('sign -s dummy --verify main k1');
  assert.equal((await ours('sign main notakey')).status, 1);
});

test('ed25519: keys in files', { skip }, async (t) => {
  const { directory, theirs, ours } = oneWorld(scratch(t));
  // RFC 8032, section 7.1, test 1.
  const seed = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60';
  const point = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
  writeFileSync(join(directory, 'secret'), `${Buffer.from(seed + point, 'hex').toString('base64')}\n`);
  writeFileSync(join(directory, 'public'), `${Buffer.from(point, 'hex').toString('base64')}\n`);
  await theirs('init --mode=archive --repo=repo');
  assert.equal((await ours('commit -b main tree --sign-from-file=secret')).status, 0);
  const verified = await ours('sign --verify --keys-file=public main');
  assert.equal(verified.stdout, `ed25519: Signature verified successfully with key '${point}'\n`);
  mkdirSync(join(directory, 'keys/trusted.ed25519.d'), { recursive: true });
  writeFileSync(join(directory, 'keys/trusted.ed25519.d/a'), `${Buffer.from(point, 'hex').toString('base64')}\n`);
  assert.equal((await ours('sign --verify --keys-dir=keys main')).status, 0);
  writeFileSync(join(directory, 'keys/revoked.ed25519'), `${Buffer.from(point, 'hex').toString('base64')}\n`);
  assert.match((await ours('sign --verify --keys-dir=keys main')).stderr, /error: ed25519: no signatures found/);
  assert.equal((await ours('sign --delete --keys-file=public main')).stdout, 'Signatures deleted: 1\n');
  assert.equal((await ours('sign --verify --keys-file=public main')).status, 1);
  assert.equal((await ours('sign --keys-file=secret main')).status, 0);
  assert.equal((await ours('sign --verify --keys-file=public main')).status, 0);
});

test('keys of remotes', { skip: firstReason(skip, needsPeer('gpg')) }, async (t) => {
  const home = join(scratch(t), 'gnupg');
  mkdirSync(home, { mode: 0o700 });
  const directory = join(home, '..', 'world');
  const { theirs, ours, same } = oneWorld(directory, { GNUPGHOME: home });
  defer(t, () => execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'], { stdio: 'ignore' }));
  const gpg = (...args: string[]): void =>
    void execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', '--passphrase', '', ...args], { stdio: 'ignore' });
  for (const name of ['one', 'two']) {
    gpg('--quick-generate-key', `${name} <${name}@example.com>`, 'ed25519', 'sign', name === 'one' ? 'never' : '2099-01-01');
    gpg('--output', join(directory, `${name}.gpg`), '--export', `${name}@example.com`);
  }
  await theirs('init --mode=archive --repo=repo');
  assert.equal((await ours('remote add --repo=repo --gpg-import=one.gpg origin http://example.com')).stdout, 'Imported 1 GPG key to remote "origin"\n');
  assert.match(await same('remote gpg-list-keys --repo=repo origin'), /^Key: [0-9A-F]{40}\n {2}Created: .*\n {2}UID: one <one@example.com>\n/);
  assert.equal((await theirs('remote gpg-import --repo=repo origin -k two.gpg')).status, 0);
  await same('remote gpg-import --repo=repo origin -k two.gpg');
  await same('remote gpg-import --repo=repo origin');
  await same('remote gpg-import --repo=repo nope -k two.gpg');
  await same('remote gpg-import --repo=repo origin -k nowhere');
  await same('remote gpg-list-keys --repo=repo nope');
  assert.match(await same('remote gpg-list-keys --repo=repo origin'), /\n {2}Expires: /);
  await same('remote add --repo=repo --sign-verify=dummy bad http://example.com');
  await same('remote add --repo=repo --sign-verify=dummy=foo:k bad http://example.com');
  await same('remote add --repo=repo --sign-verify=nope=inline:k bad http://example.com');
  await same('remote add --repo=repo --sign-verify=dummy=inline:k --no-sign-verify bad http://example.com');
  for (const side of ['theirs', 'ours'] as const)
    await (side === 'ours' ? ours : theirs)(`remote add --repo=repo --sign-verify=dummy=inline:k ${side} http://example.com`);
  for (const key of ['verification-dummy-key', 'sign-verify']) {
    const [mine, peers] = [
      await ours(`config get --repo=repo --group=remote_"ours" ${key}`),
      await ours(`config get --repo=repo --group=remote_"theirs" ${key}`),
    ];
    assert.deepEqual([mine.status, mine.stdout], [0, peers.stdout]);
  }
});

test('core.auto-update-summary', { skip }, async (t) => {
  const { theirs, ours, same } = oneWorld(scratch(t));
  await theirs('init --mode=archive --repo=repo');
  await theirs('config set core.auto-update-summary true');
  assert.equal((await ours('commit -b main tree')).status, 0);
  for (const change of ['refs --create=copy main', 'refs --create=alias --alias main', 'refs --delete copy']) {
    assert.equal((await ours(change)).status, 0);
    const shown = (await same('summary --view')).split('\n').flatMap((row) => (row.startsWith('* ') ? [row.slice(2)] : []));
    assert.deepEqual(shown, (await ours('refs')).stdout.trim().split('\n'), change);
  }
});
