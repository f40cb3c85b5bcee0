import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { concat } from '@cambium/base';
import { signDetachedWithGpg } from './gpg-sign.ts';
import { type VerifyOptions, verifyDetachedWithGpg } from './gpg-verify.ts';

const hasGpg = spawnSync('gpg', ['--version']).status === 0 && spawnSync('gpgconf', ['--version']).status === 0;
const data = Uint8Array.from(Buffer.from('the bytes of a commit'));
const OLD = ['--faked-system-time', '20200101T000000!'];

let home = '';
let empty = '';
/** Public keys of `home`, each in a file of its own. */
const files = { ed: '', rsa: '', expired: '', revoked: '' };
const fingerprints = { ed: '', rsa: '', expired: '', revoked: '' };

function gpg(args: string[], input?: Uint8Array | string): Buffer {
  return execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', '--no-tty', ...args], { input: input ?? '', stdio: ['pipe', 'pipe', 'ignore'] });
}

function makeKey(name: keyof typeof files, user: string, options: string[], algorithm: string, expires: string): void {
  gpg([...options, '--passphrase', '', '--quick-generate-key', user, algorithm, 'sign', expires]);
  const listing = gpg(['--with-colons', '--list-keys', user]).toString();
  fingerprints[name] = /^fpr:+([0-9A-F]{40}):/m.exec(listing)?.[1] ?? '';
}

function exportKey(name: keyof typeof files, armored: boolean): void {
  files[name] = join(home, `${name}.${armored ? 'asc' : 'gpg'}`);
  writeFileSync(files[name], gpg([armored ? '--armor' : '--no-armor', '--export', fingerprints[name]]));
}

function verify(
  signature: Uint8Array,
  keyrings: readonly (string | Uint8Array)[],
  more: Partial<VerifyOptions> = {},
): ReturnType<typeof verifyDetachedWithGpg> {
  return verifyDetachedWithGpg({ data, signature, keys: { keyrings }, ...more });
}

describe('gpg', hasGpg ? {} : { skip: 'gpg is not installed' }, () => {
  before(() => {
    home = mkdtempSync(join(tmpdir(), 'cg-'));
    empty = mkdtempSync(join(tmpdir(), 'cg-'));
    makeKey('ed', 'Édith Key (release) <ed@example.org>', [], 'ed25519', 'never');
    makeKey('rsa', 'rsa@example.org', [], 'rsa2048', '2099-12-31');
    makeKey('expired', 'Expired <expired@example.org>', OLD, 'ed25519', '1d');
    makeKey('revoked', 'Revoked <revoked@example.org>', [], 'ed25519', 'never');
    exportKey('ed', false);
    exportKey('rsa', true);
    exportKey('expired', false);
  });
  after(() => {
    for (const directory of [home, empty]) {
      if (directory === '') continue;
      spawnSync('gpgconf', ['--homedir', directory, '--kill', 'all']);
      // An agent that ends removes its sockets at the same time.
      rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    }
  });

  const sign = (keyId: string): Promise<Uint8Array<ArrayBuffer>> => signDetachedWithGpg({ data, keyId, homeDirectory: home });

  test('an ed25519 signature verifies with the key alone', async () => {
    const signature = await sign(fingerprints.ed);
    assert.notEqual(signature[0], 0x2d); // not armored
    const before = Math.floor(Date.now() / 1000) + 60;
    const [found, ...others] = await verify(signature, [files.ed]);
    assert.deepEqual(others, []);
    assert.ok(found?.created !== undefined && found.created > 1_700_000_000 && found.created <= before);
    assert.deepEqual(
      { ...found, created: 0, hashAlgorithm: '' },
      {
        keyId: fingerprints.ed.slice(-16),
        fingerprint: fingerprints.ed,
        primaryFingerprint: fingerprints.ed,
        valid: true,
        bad: false,
        expired: false,
        keyExpired: false,
        revoked: false,
        missingKey: false,
        unsupported: false,
        created: 0,
        expires: undefined,
        keyExpires: undefined,
        primaryKeyExpires: undefined,
        userId: 'Édith Key (release) <ed@example.org>',
        userName: 'Édith Key',
        userEmail: 'ed@example.org',
        pubkeyAlgorithm: 'EdDSA',
        hashAlgorithm: '',
      },
    );
    assert.match(found.hashAlgorithm ?? '', /^SHA/);
  });

  test('gpgv accepts what is signed', async () => {
    const path = join(home, 'signature');
    writeFileSync(path, await sign('ed@example.org'));
    writeFileSync(join(home, 'data'), data);
    execFileSync('gpgv', ['--keyring', files.ed, path, join(home, 'data')], { stdio: 'ignore' });
  });

  test('rsa, armored keys, and data that comes in chunks', async () => {
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < data.length; i += 5) yield data.subarray(i, i + 5);
    }
    const signature = await signDetachedWithGpg({ data: chunks(), keyId: 'rsa@example.org', homeDirectory: home });
    const [found] = await verify(signature, [files.rsa], { data: chunks() });
    assert.equal(found?.valid, true);
    assert.equal(found?.pubkeyAlgorithm, 'RSA');
    assert.equal(found?.userName, 'rsa@example.org');
    assert.equal(new Date((found?.keyExpires ?? 0) * 1000).getUTCFullYear(), 2099);
  });

  test('several signatures in one have a verdict each, in their order', async () => {
    const all = concat([await sign(fingerprints.rsa), await sign(fingerprints.ed), await sign(fingerprints.rsa)]);
    const keys = readFileSync(files.ed);
    const found = await verify(all, [keys]);
    assert.deepEqual(
      found.map(({ valid, missingKey, keyId }) => [valid, missingKey, keyId]),
      [
        [false, true, fingerprints.rsa.slice(-16)],
        [true, false, fingerprints.ed.slice(-16)],
        [false, true, fingerprints.rsa.slice(-16)],
      ],
    );
    const both = await verify(all, [keys, files.rsa]);
    assert.deepEqual(
      both.map(({ valid }) => valid),
      [true, true, true],
    );
  });

  test('a keybox and a home hold keys too', async () => {
    const signature = await sign(fingerprints.ed);
    const boxPath = join(home, 'pubring.kbx');
    assert.equal((await verify(signature, [boxPath]))[0]?.valid, true);
    const [byHome] = await verifyDetachedWithGpg({ data, signature, keys: { homeDirectory: home } });
    assert.equal(byHome?.valid, true);
    const [byOther] = await verifyDetachedWithGpg({ data, signature, keys: { homeDirectory: empty } });
    assert.equal(byOther?.missingKey, true);
  });

  test('other data makes a signature bad', async () => {
    const [found] = await verify(await sign(fingerprints.ed), [files.ed], { data: Uint8Array.from([...data, 0]) });
    assert.equal(found?.bad, true);
    assert.equal(found?.valid, false);
    assert.equal(found?.keyId, fingerprints.ed.slice(-16));
  });

  test('no keys at all leave every signature unchecked', async () => {
    const [found] = await verify(await sign(fingerprints.ed), []);
    assert.equal(found?.missingKey, true);
    assert.equal(found?.valid, false);
    assert.equal(found?.fingerprint, fingerprints.ed);
    assert.equal(found?.pubkeyAlgorithm, 'EdDSA');
  });

  test('an expired key signs nothing, and its old signatures are not valid', async () => {
    await assert.rejects(sign(fingerprints.expired), { code: 'TRUST_GPG_KEY_UNUSABLE' });
    const old = gpg([...OLD, '--local-user', fingerprints.expired, '--detach-sign'], data);
    const [found] = await verify(old, [files.expired]);
    assert.equal(found?.keyExpired, true);
    assert.equal(found?.valid, false);
    assert.equal(found?.created, 1577836800);
    assert.equal(found?.keyExpires, 1577836800 + 86400);
  });

  test('a signature can expire by itself', async () => {
    makeKey('ed', 'Old <old@example.org>', OLD, 'ed25519', 'never');
    exportKey('ed', false);
    const old = gpg([...OLD, '--default-sig-expire', '1d', '--local-user', fingerprints.ed, '--detach-sign'], data);
    const [found] = await verify(old, [files.ed]);
    assert.equal(found?.expired, true);
    assert.equal(found?.keyExpired, false);
    assert.equal(found?.valid, false);
    assert.equal(found?.expires, 1577836800 + 86400);
    assert.equal(found?.userEmail, 'old@example.org');
  });

  test('a revoked key signs nothing, and its old signatures are not valid', async () => {
    const signature = await sign(fingerprints.revoked);
    const certificate = readFileSync(join(home, 'openpgp-revocs.d', `${fingerprints.revoked}.rev`), 'utf8');
    gpg(['--import'], certificate.replace(/^:---/m, '---'));
    exportKey('revoked', false);
    await assert.rejects(sign(fingerprints.revoked), { code: 'TRUST_GPG_KEY_UNUSABLE' });
    const [found] = await verify(signature, [files.revoked]);
    assert.equal(found?.revoked, true);
    assert.equal(found?.valid, false);
  });

  test('a key that is not there is named', async () => {
    for (const keyId of ['nobody@example.org', '0123456789ABCDEF', '']) {
      await assert.rejects(sign(keyId), (error: Error & { code?: string; data?: { keyId?: string } }) => {
        assert.equal(error.code, 'TRUST_GPG_KEY_MISSING');
        assert.equal(error.data?.keyId, keyId);
        assert.ok(error.message.includes(`"${keyId}"`));
        return true;
      });
    }
  });

  test('a public key alone does not sign', async () => {
    execFileSync('gpg', ['--homedir', empty, '--batch', '--quiet', '--import', files.rsa], { stdio: 'ignore' });
    await assert.rejects(signDetachedWithGpg({ data, keyId: fingerprints.rsa, homeDirectory: empty }), { code: 'TRUST_GPG_KEY_MISSING' });
  });

  test('much data, more than any pipe holds, also when gpg does not want it', async () => {
    const chunk = new Uint8Array(1 << 16);
    async function* much(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 64; i++) yield chunk;
    }
    const signature = await signDetachedWithGpg({ data: much(), keyId: 'rsa@example.org', homeDirectory: home });
    assert.equal((await verify(signature, [files.rsa], { data: much() }))[0]?.valid, true);
    await assert.rejects(signDetachedWithGpg({ data: much(), keyId: 'nobody@example.org', homeDirectory: home }), { code: 'TRUST_GPG_KEY_MISSING' });
  });

  test('a failure of the data is passed on', async () => {
    const reason = new Error('source broke');
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield data;
      throw reason;
    }
    await assert.rejects(signDetachedWithGpg({ data: broken(), keyId: 'rsa@example.org', homeDirectory: home }), (error) => error === reason);
    const signature = await sign('rsa@example.org');
    await assert.rejects(verify(signature, [files.rsa], { data: broken() }), (error) => error === reason);
  });

  test('the caller can stop it', async () => {
    const reason = new Error('enough');
    const controller = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        yield data;
        controller.abort(reason);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await assert.rejects(
      signDetachedWithGpg({ data: endless(), keyId: 'rsa@example.org', homeDirectory: home, signal: controller.signal }),
      (error) => error === reason,
    );
    await assert.rejects(verify(await sign('rsa@example.org'), [files.rsa], { signal: AbortSignal.abort(reason) }), (error) => error === reason);
  });

  test('keys and signatures that are none are refused, and nothing is left behind', async () => {
    const temporaryDirectory = mkdtempSync(join(tmpdir(), 'cg-'));
    try {
      const signature = await sign('rsa@example.org');
      const more = { temporaryDirectory };
      await assert.rejects(verify(signature, [join(home, 'missing')], more), { code: 'TRUST_KEYRING_INVALID' });
      await assert.rejects(verify(signature, [Buffer.from('not keys')], more), { code: 'TRUST_KEYRING_INVALID' });
      await assert.rejects(verify(signature.subarray(0, -1), [files.rsa], more), { code: 'TRUST_SIGNATURE_INVALID' });
      await assert.rejects(verify(new Uint8Array(0), [files.rsa], more), { code: 'TRUST_SIGNATURE_INVALID' });
      await assert.rejects(verify(readFileSync(files.expired), [files.rsa], more), { code: 'TRUST_SIGNATURE_INVALID' });
      const [odd] = await verify(Uint8Array.of(0x88, 2, 4, 0), [files.rsa], more);
      assert.deepEqual([odd?.valid, odd?.unsupported, odd?.missingKey], [false, true, false]);
      assert.equal((await verify(signature, [files.rsa], more))[0]?.valid, true);
      assert.deepEqual(readdirSync(temporaryDirectory), []);
    } finally {
      rmSync(temporaryDirectory, { recursive: true, force: true });
    }
  });

  test('verifying starts no agent', async () => {
    const signature = await sign('rsa@example.org');
    const temporaryDirectory = mkdtempSync(join(tmpdir(), 'cg-'));
    try {
      await verify(signature, [files.rsa], { temporaryDirectory });
      const commands = readdirSync('/proc').flatMap((name) => {
        const path = `/proc/${name}/cmdline`;
        try {
          return /^\d+$/.test(name) && existsSync(path) ? [readFileSync(path, 'latin1')] : [];
        } catch {
          return [];
        }
      });
      assert.deepEqual(
        commands.filter((command) => command.includes(temporaryDirectory)),
        [],
      );
    } finally {
      rmSync(temporaryDirectory, { recursive: true, force: true });
    }
  });
});

test('a missing program is a known error', async () => {
  await assert.rejects(signDetachedWithGpg({ data, keyId: 'x', program: '/nonexistent/gpg' }), { code: 'TRUST_GPG_MISSING' });
});

test('a program that fails in its own way is quoted', async () => {
  await assert.rejects(signDetachedWithGpg({ data, keyId: 'x', program: '/bin/false' }), {
    code: 'TRUST_GPG_FAILED',
    message: 'gpg --detach-sign failed: it said nothing',
  });
});
