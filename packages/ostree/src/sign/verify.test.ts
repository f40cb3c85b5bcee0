/** A remote's policy against what real `ostree` has signed, and real `ostree` against what is signed here. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { firstReason, needsPeer, run, scratch, startStaticServer } from '@cambium/testkit';
import { rawSignatureEngine } from '@cambium/trust';
import { encodeMetadata, parseMetadata } from '../format/commit-format.ts';
import type { Metadata } from '../format/types.ts';
import { ostree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { readSummaryFile, regenerateSummary, SUMMARY_SIGNATURE_FILE } from '../summary/summary-write.ts';
import { makeHome } from './gpg-home.test.ts';
import { signaturesIn, signCommit, signCommitBytes } from './sign.ts';
import { rawSignaturesIn, signBytesRaw, signCommitRaw } from './sign-raw.ts';
import { readRemoteTrust, type TrustOptions } from './trust-policy.ts';
import { formatSignatureReports, type SignatureReport, verifyCommitBytes, verifySummaryBytes } from './verify.ts';

process.env.TZ = 'UTC';

const skip = firstReason(needsPeer('ostree', 'gpg'));

/** No keys of this machine count. */
const ALONE: TrustOptions = { globalKeyrings: '/nonexistent', keyDirectories: [], allowDummy: true };

interface World {
  /** Where commits are signed. */
  source: Repo;
  commit: Checksum;
  /** Where they are verified. */
  client: Repo;
  /** Adds a remote to the client's config, as real `ostree remote add`. */
  addRemote(name: string, ...options: string[]): void;
  verify(remote: string, options?: TrustOptions): Promise<SignatureReport[]>;
}

async function makeWorld(directory: string): Promise<World> {
  const source = join(directory, 'source');
  const client = join(directory, 'client');
  mkdirSync(join(directory, 'tree'));
  writeFileSync(join(directory, 'tree/a'), 'hello\n');
  ostree(source, 'init', '--mode=archive');
  ostree(client, 'init', '--mode=archive');
  const commit = ostree(source, 'commit', '-b', 'main', join(directory, 'tree')).trim() as Checksum;
  const repo = await Repo.open(source);
  return {
    source: repo,
    commit,
    client: await Repo.open(client),
    addRemote: (name, ...options) => void ostree(client, 'remote', 'add', ...options, name, `file://${source}`),
    async verify(remote, options = ALONE) {
      const trust = readRemoteTrust(await Repo.open(client), remote, options);
      return verifyCommitBytes(trust, commit, repo.readMetadata('commit', commit), repo.readDetachedMetadata(commit));
    },
  };
}

test('gpg: the same commits are believed here and there', { skip }, async (t) => {
  const directory = scratch(t);
  const { source, commit, client, addRemote, verify } = await makeWorld(directory);
  const { home, gpg, id, revoke } = makeHome(t, directory);
  const keyFile = (user: string): string => {
    const path = join(directory, `${user}.gpg`);
    writeFileSync(path, gpg('--export', user));
    return path;
  };
  addRemote('good', `--gpg-import=${keyFile('good@example.com')}`);
  addRemote('other', `--gpg-import=${keyFile('other@example.com')}`);
  addRemote('none');
  addRemote('path', `--set=gpgkeypath=${keyFile('good@example.com')}`);
  addRemote('off', '--no-gpg-verify');
  /** Both verdicts, which must agree. */
  const both = async (remote: string, code: string | undefined): Promise<void> => {
    const theirs = tryOstree(client.path, ['pull', remote, 'main']);
    assert.equal(theirs.status === 0, code === undefined, `${remote}: ${theirs.stderr}`);
    if (code === undefined) return void (await verify(remote));
    await assert.rejects(verify(remote), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, code, `${remote}: ${error.message}`);
      // libostree has its own order for several signatures.
      const lines = (text: string): string[] =>
        text
          .replace(/^(?:error: )?Commit \w+: /, '')
          .trimEnd()
          .split('\n')
          .sort();
      assert.deepEqual(lines(error.message), lines(theirs.stderr));
      assert.ok(error.hint !== undefined);
      return true;
    });
  };
  for (const remote of ['good', 'none', 'path']) await both(remote, 'OSTREE_SIGNATURE_MISSING');
  await both('off', undefined);
  assert.deepEqual(await verify('off'), []);
  await signCommit(source, commit, { keyId: id('good@example.com'), homeDirectory: home });
  for (const remote of ['good', 'path']) await both(remote, undefined);
  for (const remote of ['other', 'none']) await both(remote, 'OSTREE_SIGNATURE_UNTRUSTED');
  ostree(source.path, 'gpg-sign', `--gpg-homedir=${home}`, commit, id('other@example.com'));
  await both('other', undefined);
  const [first, second] = await verify('good');
  assert.deepEqual(
    [first?.valid, first?.key, first?.signer, first?.source, second?.valid, second?.problem, second?.key],
    [true, id('good@example.com'), 'Good <good@example.com>', join(client.path, 'good.trustedkeys.gpg'), false, 'key-unknown', id('other@example.com')],
  );
  assert.match(
    formatSignatureReports(await verify('good')),
    /^gpg: valid: Good <good@example.com>, key [0-9A-F]{40}, made .*\ngpg: not valid \(the key is not trusted here\): key /,
  );
  // A global keyring counts for remotes without their own only.
  assert.equal((await verify('none', { ...ALONE, globalKeyrings: keyFile('good@example.com') }))[0]?.valid, true);
  // Changed bytes under the same signatures.
  const changed = Buffer.from(source.readMetadata('commit', commit));
  changed[changed.length - 1] = (changed.at(-1) as number) ^ 1;
  await assert.rejects(verifyCommitBytes(await reopened(client, 'good'), commit, changed, source.readDetachedMetadata(commit)), {
    code: 'OSTREE_SIGNATURE_INVALID',
  });
  revoke('good@example.com');
  addRemote('revoked', `--gpg-import=${keyFile('good@example.com')}`);
  await both('revoked', 'OSTREE_SIGNATURE_REVOKED');
  // An expired key: made and used long ago.
  gpg('--faked-system-time', '20200101T000000', '--quick-generate-key', 'Old <old@example.com>', 'ed25519', 'sign', '1d');
  const bytes = source.readMetadata('commit', commit);
  writeFileSync(join(directory, 'data'), bytes);
  const old = gpg('--faked-system-time', '20200101T000001', '-u', 'old@example.com', '--detach-sign', '--output', '-', join(directory, 'data'));
  source.writeDetachedMetadata(commit, [['ostree.gpgsigs', new Variant('aay', [old])]]);
  addRemote('old', `--gpg-import=${keyFile('old@example.com')}`);
  await both('old', 'OSTREE_SIGNATURE_EXPIRED');
});

async function reopened(client: Repo, remote: string): Promise<ReturnType<typeof readRemoteTrust>> {
  return readRemoteTrust(await Repo.open(client.path), remote, ALONE);
}

test('dummy: what is signed here is believed there, and the reverse', { skip }, async (t) => {
  const { source, commit, client, addRemote, verify } = await makeWorld(scratch(t));
  addRemote('named', '--no-gpg-verify', '--sign-verify=dummy=inline:k1');
  addRemote('any', '--no-gpg-verify', '--set=sign-verify=true', '--set=verification-dummy-key=k1');
  addRemote('keyless', '--no-gpg-verify', '--set=sign-verify=dummy');
  const both = async (remote: string, code: string | undefined): Promise<void> => {
    assert.equal(tryOstree(client.path, ['pull', remote, 'main']).status === 0, code === undefined, remote);
    if (code === undefined) assert.ok((await verify(remote)).some(({ valid, key }) => valid && key === 'k1'));
    else await assert.rejects(verify(remote), { code }, remote);
  };
  await both('named', 'OSTREE_SIGNATURE_MISSING');
  const engine = rawSignatureEngine('dummy', { allowDummy: true });
  await signCommitRaw(source, commit, 'dummy', [engine.secretKey('k2')]);
  for (const remote of ['named', 'any']) await both(remote, 'OSTREE_SIGNATURE_UNTRUSTED');
  await both('keyless', 'OSTREE_KEYS_MISSING');
  ostree(source.path, 'sign', '--sign-type=dummy', commit, 'k1');
  for (const remote of ['named', 'any']) await both(remote, undefined);
  await assert.rejects(verify('named', { ...ALONE, allowDummy: false }), { code: 'TRUST_TYPE_UNSUPPORTED' });
  await assert.rejects(verify('nowhere'), { code: 'OSTREE_REMOTE_UNKNOWN' });
});

test('ed25519 and spki: files of keys, system keys, revoked keys', { skip }, async (t) => {
  const directory = scratch(t);
  const { source, commit, addRemote, verify } = await makeWorld(directory);
  const pair = generateKeyPairSync('ed25519');
  const seed = pair.privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  const point = pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const publicText = point.toString('base64');
  const secret = rawSignatureEngine('ed25519').secretKey(Buffer.concat([seed, point]).toString('base64'));
  await signCommitRaw(source, commit, 'ed25519', [secret]);
  const pem = join(directory, 'key.pem');
  writeFileSync(pem, pair.publicKey.export({ format: 'pem', type: 'spki' }));
  // OpenSSL's own verdict on the bytes that were stored.
  const stored = rawSignaturesIn(source.readDetachedMetadata(commit), 'ed25519')[0] as Uint8Array;
  writeFileSync(join(directory, 'signature'), stored);
  const object = source.findObject('commit', commit) as string;
  execFileSync('openssl', ['pkeyutl', '-verify', '-pubin', '-inkey', pem, '-rawin', '-in', object, '-sigfile', join(directory, 'signature')], {
    stdio: 'ignore',
  });

  addRemote('inline', '--no-gpg-verify', '--set=sign-verify=ed25519', `--set=verification-ed25519-key=${publicText}`);
  addRemote('system', '--no-gpg-verify', '--set=sign-verify=true');
  addRemote(
    'file',
    '--no-gpg-verify',
    '--set=sign-verify=ed25519;spki',
    `--set=verification-ed25519-file=${join(directory, 'keys')}`,
    `--set=verification-spki-file=${pem}`,
  );
  const system = join(directory, 'system');
  mkdirSync(join(system, 'trusted.ed25519.d'), { recursive: true });
  writeFileSync(join(system, 'trusted.ed25519.d/one'), `${publicText}\n`);
  writeFileSync(join(directory, 'keys'), `${Buffer.alloc(32, 1).toString('base64')}\n${publicText}\n`);
  assert.deepEqual(
    (await verify('inline')).map(({ engine, valid, key }) => [engine, valid, key]),
    [['ed25519', true, point.toString('hex')]],
  );
  await assert.rejects(verify('system'), { code: 'OSTREE_KEYS_MISSING' });
  const withSystem = { ...ALONE, keyDirectories: [system, join(directory, 'nowhere')] };
  assert.equal((await verify('system', withSystem))[0]?.source, join(system, 'trusted.ed25519.d/one'));
  assert.equal((await verify('file'))[0]?.valid, true);
  // Revoked by the system: nowhere believed, also where the remote names it.
  writeFileSync(join(system, 'revoked.ed25519'), `${publicText}\n`);
  for (const remote of ['inline', 'file', 'system']) await assert.rejects(verify(remote, withSystem), { code: 'OSTREE_SIGNATURE_REVOKED' }, remote);
  // One of the named types is enough.
  const spki = rawSignatureEngine('spki').secretKey(pair.privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'));
  await signCommitRaw(source, commit, 'spki', [spki]);
  assert.deepEqual(
    (await verify('file', withSystem)).map(({ engine, valid, problem }) => [engine, valid, problem]),
    [
      ['ed25519', false, 'key-revoked'],
      ['spki', true, undefined],
    ],
  );
  writeFileSync(join(directory, 'keys'), 'not a key\n');
  await assert.rejects(verify('file'), { code: 'TRUST_KEY_INVALID' });
  writeFileSync(join(directory, 'keys'), `${Buffer.alloc(32, 1).toString('base64')}\n`);
  source.writeDetachedMetadata(commit, signBytesRaw(source.readMetadata('commit', commit), undefined, 'ed25519', [secret]));
  await assert.rejects(verify('file'), { code: 'OSTREE_SIGNATURE_UNTRUSTED' });
});

test('summaries signed here and there, over HTTP', { skip }, async (t) => {
  const directory = scratch(t);
  const { source, client } = await makeWorld(directory);
  const { home, gpg, id } = makeHome(t, directory);
  const server = await startStaticServer({ directory: source.path });
  t.after(() => server.stop());
  const keys = join(directory, 'good.gpg');
  writeFileSync(keys, gpg('--export', 'good@example.com'));
  const add = (name: string, ...options: string[]): void => void ostree(client.path, 'remote', 'add', ...options, name, server.url);
  add('gpg', '--set=gpg-verify=false', '--set=gpg-verify-summary=true', `--gpg-import=${keys}`);
  add('raw', '--no-gpg-verify', '--set=sign-verify-summary=dummy', '--set=verification-dummy-key=k1');
  // Not while this process waits: the server is in it.
  const env = { ...process.env, LC_ALL: 'C.UTF-8', OSTREE_DUMMY_SIGN_ENABLED: '1' };
  const peer = (...args: string[]) => run('ostree', [`--repo=${client.path}`, ...args], { env, accept: 'any' });
  const both = async (remote: string, code: string | undefined): Promise<void> => {
    // Without a cache each verdict is on what is there now.
    const theirs = await peer('pull', `--cache-dir=${mkdtempSync(join(directory, 'cache-'))}`, remote, 'main');
    assert.equal(theirs.status === 0, code === undefined, `${remote}: ${theirs.stderr}`);
    const summary = readSummaryFile(source) as Uint8Array;
    const verdict = verifySummaryBytes(await reopened(client, remote), summary, readSummaryFile(source, SUMMARY_SIGNATURE_FILE));
    if (code === undefined) assert.ok((await verdict).some(({ valid }) => valid));
    else await assert.rejects(verdict, { code }, remote);
  };
  const signWith =
    (user: string, dummy: string) =>
    async (bytes: Uint8Array): Promise<Metadata> => {
      const detached = await signCommitBytes(bytes, undefined, { keyId: id(user), homeDirectory: home });
      return signBytesRaw(bytes, detached, 'dummy', [rawSignatureEngine('dummy', { allowDummy: true }).secretKey(dummy)]);
    };
  await regenerateSummary(source);
  for (const remote of ['gpg', 'raw']) await both(remote, 'OSTREE_SIGNATURE_MISSING');
  await regenerateSummary(source, { sign: signWith('other@example.com', 'k2') });
  for (const remote of ['gpg', 'raw']) await both(remote, 'OSTREE_SIGNATURE_UNTRUSTED');
  const bytes = await regenerateSummary(source, { sign: signWith('good@example.com', 'k1') });
  for (const remote of ['gpg', 'raw']) await both(remote, undefined);
  assert.match((await peer('remote', 'summary', 'gpg')).stdout, /^\* main\n/);
  // gpg itself, on the files as they are.
  const signatures = signaturesIn(parseMetadata(readFileSync(join(source.path, 'summary.sig'))));
  writeFileSync(join(directory, 'summary.gpg'), signatures[0] as Uint8Array);
  execFileSync('gpg', ['--homedir', home, '--verify', join(directory, 'summary.gpg'), join(source.path, 'summary')], { stdio: 'ignore' });
  // A summary that was changed after it was signed.
  const changed = Buffer.from(bytes);
  changed[changed.indexOf('archive')] = 0x41;
  writeFileSync(join(source.path, 'summary'), changed);
  await both('gpg', 'OSTREE_SIGNATURE_INVALID');
  ostree(source.path, 'summary', '--update', `--gpg-sign=${id('good@example.com')}`, `--gpg-homedir=${home}`, '--sign=k1', '--sign-type=dummy');
  for (const remote of ['gpg', 'raw']) await both(remote, undefined);
  const trust = await reopened(client, 'gpg');
  await assert.rejects(verifySummaryBytes(trust, bytes, Buffer.from('junk')), { code: 'OSTREE_SIGNATURE_MISSING' });
  await assert.rejects(verifySummaryBytes(trust, bytes, encodeMetadata([['ostree.gpgsigs', new Variant('s', 'x')]])), { code: 'OSTREE_OBJECT_CORRUPT' });
});
