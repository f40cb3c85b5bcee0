import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defer, needsPeer, scratch } from '@cambium/testkit';
import { importOpenPgpKeys, listOpenPgpKeys, parseKeys } from './gpg-keys.ts';

test('keys are added to a keyring once, all or some, and listed', { skip: needsPeer('gpg') }, async (t) => {
  const directory = scratch(t);
  const home = join(directory, 'gpg');
  const temporaryDirectory = join(directory, 'tmp');
  mkdirSync(home, { mode: 0o700 });
  mkdirSync(temporaryDirectory);
  defer(t, () => execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'], { stdio: 'ignore' }));
  const gpg = (...args: string[]): Buffer =>
    execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', '--passphrase', '', ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  gpg('--quick-generate-key', 'One (work) <One.Two@Example.org>', 'ed25519', 'sign', 'never');
  gpg('--quick-generate-key', 'No address', 'ed25519', 'sign', '2099-01-01');
  const both = gpg('--export');
  const one = gpg('--armor', '--export', 'one.two@example.org');
  const first = await importOpenPgpKeys({ into: undefined, from: [one], temporaryDirectory });
  assert.equal(first.imported, 1);
  assert.equal((await importOpenPgpKeys({ into: first.keyring, from: [one], temporaryDirectory })).imported, 0);
  const path = join(directory, 'keyring');
  writeFileSync(path, first.keyring);
  const second = await importOpenPgpKeys({ into: path, from: [both], keyIds: ['No address'], temporaryDirectory });
  assert.equal(second.imported, 1);
  const listed = await listOpenPgpKeys({ keyrings: [second.keyring], temporaryDirectory });
  assert.deepEqual(
    listed.map(({ expires, userIds }) => [expires === undefined ? undefined : new Date(expires * 1000).getUTCFullYear(), userIds.map(({ text }) => text)]),
    [
      [undefined, ['One (work) <One.Two@Example.org>']],
      [2099, ['No address']],
    ],
  );
  assert.match(listed[0]?.userIds[0]?.directUpdateUrl ?? '', /^https:\/\/example\.org\/\.well-known\/openpgpkey\/hu\/[a-z0-9]{32}\?l=one\.two$/);
  assert.equal(listed[1]?.userIds[0]?.directUpdateUrl, undefined);
  assert.equal((await importOpenPgpKeys({ into: undefined, from: { homeDirectory: home }, keyIds: ['One.Two'], temporaryDirectory })).imported, 1);
  await assert.rejects(importOpenPgpKeys({ into: undefined, from: [both], keyIds: ['nobody'], temporaryDirectory }), { code: 'TRUST_GPG_KEY_MISSING' });
  await assert.rejects(importOpenPgpKeys({ into: undefined, from: [Buffer.from('junk')], temporaryDirectory }), { code: 'TRUST_KEYRING_INVALID' });
  await assert.rejects(importOpenPgpKeys({ into: Buffer.from('junk'), from: [one], temporaryDirectory }), { code: 'TRUST_KEYRING_INVALID' });
  assert.deepEqual(await listOpenPgpKeys({ keyrings: [] }), []);
  assert.deepEqual(readdirSync(temporaryDirectory), []);
});

test('revoked, expired and invalid keys, subkeys, and names with colons', () => {
  const listing = [
    'pub:r:255:22:7A937A9A63341836:1577836800:1577923200::u:::sc:',
    'fpr:::::::::AAAA:',
    'uid:r::::1577836800::X::A\\x3a B <a@x>::',
    'sub:e:255:18:81C986F9DFD52A1D:1577836800:1577923200:::::e:',
    'fpr:::::::::BBBB:',
    'pub:i:255:22:7A937A9A63341837:1577836800:::u:::sc:',
  ].join('\n');
  const [first, second, ...others] = parseKeys(Buffer.from(listing));
  assert.deepEqual(others, []);
  assert.deepEqual([first?.fingerprint, first?.revoked, first?.expires, first?.userIds[0]?.text], ['AAAA', true, 1577923200, 'A: B <a@x>']);
  assert.deepEqual([first?.subkeys[0]?.fingerprint, first?.subkeys[0]?.expired, first?.userIds[0]?.revoked], ['BBBB', true, true]);
  assert.deepEqual([second?.fingerprint, second?.invalid, second?.expires], ['7A937A9A63341837', true, undefined]);
});
