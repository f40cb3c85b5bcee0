/** Signatures: ours by the real `ostree`, its by us. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { pullLocal } from '../pull/pull-local.ts';
import { makeRepo, ostree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { makeHome } from './gpg-home.test.ts';
import {
  deleteSignatures,
  GPG_SIGNATURES_KEY,
  keyFiles,
  readSignatures,
  remoteKeyrings,
  signaturesIn,
  signCommit,
  signCommitBytes,
  verifyCommitSignature,
  withSignatures,
} from './sign.ts';
import { formatSignatures } from './signature-text.ts';

// Times of signatures are local ones, on both sides.
process.env.TZ = 'UTC';

const skip = firstReason(needsPeer('ostree', 'gpg', 'cp'), needsRoot());

test('signatures made here are good there, and the reverse', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: path, first, second } = makeRepo(directory, 'archive');
  const { home, gpg, id } = makeHome(t, directory);
  const keyring = join(home, 'trusted.gpg');
  const repo = await Repo.open(path);
  const commit = second as Checksum;
  repo.writeDetachedMetadata(commit, [['kept', new Variant('s', 'value')]]);
  // What ostree shows, ours must be, byte for byte.
  const shown = async (): Promise<void> => {
    const found = await readSignatures(repo, commit, { keyrings: [readFileSync(keyring)] });
    const text = ostree(path, 'show', `--gpg-homedir=${home}`, commit);
    assert.equal(formatSignatures(found, Date.now() / 1000), text.slice(text.indexOf('Found ')));
  };
  writeFileSync(keyring, gpg('--export', 'good@example.com'));
  await signCommit(repo, commit, { keyId: id('good@example.com'), homeDirectory: home });
  await shown();
  ostree(path, 'gpg-sign', `--gpg-homedir=${home}`, commit, id('other@example.com'));
  await shown(); // the other key is not known yet
  writeFileSync(keyring, gpg('--export'));
  await shown();
  assert.equal(ostree(path, 'show', '--print-detached-metadata-key=kept', commit), "'value'\n");
  const found = await verifyCommitSignature(repo, commit, { keyrings: [keyring] });
  assert.deepEqual(
    found.map(({ valid, userEmail }) => [valid, userEmail]),
    [
      [true, 'good@example.com'],
      [true, 'other@example.com'],
    ],
  );
  for (const user of ['good@example.com', 'other@example.com']) {
    await assert.rejects(signCommit(repo, commit, { keyId: id(user), homeDirectory: home }), { code: 'OSTREE_SIGNATURE_EXISTS' });
    assert.match(tryOstree(path, ['gpg-sign', `--gpg-homedir=${home}`, commit, id(user)]).stderr, /already signed/);
  }
  await assert.rejects(signCommit(repo, commit, { keyId: 'nobody@example.com', homeDirectory: home }), { code: 'TRUST_GPG_KEY_MISSING' });

  // A pull with gpg-verify, over HTTP in everything but the wire: `file://` goes through the same checks.
  const other = join(directory, 'client');
  ostree(other, 'init', '--mode=bare-user');
  ostree(other, 'remote', 'add', `--gpg-import=${keyring}`, 'origin', `file://${path}`);
  ostree(other, 'pull', 'origin', 'main');
  assert.equal(ostree(other, 'rev-parse', 'origin:main').trim(), second);
  const client = await Repo.open(other);
  assert.deepEqual(remoteKeyrings(client, 'origin'), [join(other, 'origin.trustedkeys.gpg')]);
  await verifyCommitSignature(client, commit, { keyrings: remoteKeyrings(client, 'origin') });

  // A signature of another commit, a changed one, none at all.
  const target = await Repo.init(join(directory, 'target'), { mode: 'archive' });
  const gpgVerify = { keyrings: [keyring] };
  await assert.rejects(pullLocal(target, repo, { refs: [first], gpgVerify }), { code: 'OSTREE_SIGNATURE_MISSING' });
  const signatures = signaturesIn(repo.readDetachedMetadata(commit));
  repo.writeDetachedMetadata(first as Checksum, withSignatures(undefined, signatures));
  await assert.rejects(pullLocal(target, repo, { refs: [first], gpgVerify }), { code: 'OSTREE_SIGNATURE_INVALID' });
  await assert.rejects(pullLocal(target, repo, { refs: ['main'], gpgVerify: { keyrings: [gpg('--export', 'nobody')] } }), /./);
  assert.equal(target.hasObject('commit', first as Checksum), false);
  await pullLocal(target, repo, { refs: ['main'], gpgVerify });
  assert.match(ostree(target.path, 'show', `--gpg-homedir=${home}`, 'main'), /Good signature from "Good <good@example.com>"/);

  assert.equal(await deleteSignatures(repo, commit, ['nobody@example.com', '0123456789ABCDEF']), 0);
  assert.equal(await deleteSignatures(repo, commit, [id('good@example.com').slice(-16)]), 1);
  assert.match(ostree(path, 'show', `--gpg-homedir=${home}`, commit), /Found 1 signature:\n\n.*\n {2}Good signature from "Other/);
  assert.equal(await deleteSignatures(repo, commit, ['other@example.com'], { keyrings: [keyring] }), 1);
  assert.doesNotMatch(ostree(path, 'show', commit), /Found/);
  assert.equal(ostree(path, 'show', '--print-detached-metadata-key=kept', commit), "'value'\n");
});

test('verdicts in the words of ostree: expired, revoked, subkeys, changed', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: path, second } = makeRepo(directory, 'archive');
  const { home, gpg, id } = makeHome(t, directory);
  const keyring = join(home, 'trusted.gpg');
  const repo = await Repo.open(path);
  const commit = second as Checksum;
  const data = repo.objectPath('commit', commit);
  gpg('--faked-system-time', '20200101T000000', '--quick-generate-key', 'Expired <e@x>', 'ed25519', 'sign', '1d');
  gpg('--quick-generate-key', 'Revoked <r@x>', 'ed25519', 'sign', '1y');
  gpg('--quick-generate-key', 'Sub <s@x>', 'ed25519', 'cert', '2y');
  gpg('--quick-add-key', id('s@x'), 'ed25519', 'sign', '1y');
  gpg('--quick-generate-key', 'Name Only', 'ed25519', 'sign', 'never');
  const changed = join(directory, 'changed');
  writeFileSync(changed, 'something else');
  const sign = (file: string, ...args: string[]): Buffer => gpg(...args, '--detach-sign', '--output', '-', file);
  const made = {
    expiredKey: sign(data, '--faked-system-time', '20200101T010000', '-u', 'e@x'),
    revoked: sign(data, '-u', 'r@x'),
    subkey: sign(data, '-u', 's@x'),
    nameOnly: sign(data, '-u', 'Name Only'),
    expires: sign(data, '--default-sig-expire', '1y', '-u', 'good@example.com'),
    changed: sign(changed, '-u', 'good@example.com'),
  };
  const revocation = readFileSync(join(home, 'openpgp-revocs.d', `${id('r@x')}.rev`), 'utf8').replace(/^:---/m, '---');
  writeFileSync(join(directory, 'revocation'), revocation);
  gpg('--import', join(directory, 'revocation'));
  writeFileSync(keyring, gpg('--export'));
  for (const [name, signature] of Object.entries(made)) {
    repo.writeDetachedMetadata(commit, withSignatures(undefined, [signature]));
    const found = await readSignatures(repo, commit, { keyrings: [keyring] });
    const text = ostree(path, 'show', `--gpg-homedir=${home}`, commit);
    assert.equal(formatSignatures(found, Date.now() / 1000), text.slice(text.indexOf('Found ')), name);
    assert.equal(found[0]?.valid, name === 'subkey' || name === 'nameOnly' || name === 'expires', name);
  }
});

test('signing bytes that are in no repository, key files, and hostile detached metadata', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: path, second } = makeRepo(directory, 'archive');
  const { home, gpg } = makeHome(t, directory);
  const repo = await Repo.open(path);
  const commit = second as Checksum;
  const detached = await signCommitBytes(repo.readMetadata('commit', commit), undefined, { keyId: 'good@example.com', homeDirectory: home });
  repo.writeDetachedMetadata(commit, detached);
  await verifyCommitSignature(repo, commit, { homeDirectory: home });
  const keys = join(directory, 'keys');
  mkdirSync(keys);
  for (const name of ['b.gpg', 'a.asc', 'c.txt']) writeFileSync(join(keys, name), gpg('--export'));
  // A gpg home has files of these names that hold no public keys; a file that is named itself must hold some.
  for (const [name, content] of Object.entries({ 'empty.gpg': '', 'trustdb.gpg': '\x01gpg', 'secring.gpg': gpg('--export-secret-keys'), 'note.asc': 'text' }))
    writeFileSync(join(keys, name), content);
  mkdirSync(join(keys, 'directory.gpg'));
  writeFileSync(join(keys, 'z.gpg'), gpg('--armor', '--export'));
  assert.deepEqual(keyFiles(keys), [join(keys, 'a.asc'), join(keys, 'b.gpg'), join(keys, 'z.gpg')]);
  await verifyCommitSignature(repo, commit, { keyrings: keyFiles(keys) });
  assert.deepEqual(keyFiles(join(keys, 'empty.gpg')), [join(keys, 'empty.gpg')]);
  assert.deepEqual(keyFiles(join(keys, 'b.gpg')), [join(keys, 'b.gpg')]);
  repo.writeDetachedMetadata(commit, [['ostree.gpgsigs', new Variant('s', 'no list')]]);
  await assert.rejects(verifyCommitSignature(repo, commit, { keyrings: [] }), { code: 'OSTREE_OBJECT_CORRUPT' });
  repo.writeDetachedMetadata(commit, withSignatures(undefined, [Buffer.from('garbage')]));
  await assert.rejects(verifyCommitSignature(repo, commit, { keyrings: [] }), { code: 'TRUST_SIGNATURE_INVALID' });
  rmSync(repo.objectPath('commitmeta', commit));
  await assert.rejects(verifyCommitSignature(repo, commit, { keyrings: [] }), { code: 'OSTREE_SIGNATURE_MISSING' });
});

test('a commit with more signatures than anyone makes is refused before gpg runs', () => {
  const metadata = (count: number) =>
    [
      [
        GPG_SIGNATURES_KEY,
        new Variant(
          'aay',
          Array.from({ length: count }, () => new Uint8Array(3)),
        ),
      ],
    ] as const;
  assert.equal(signaturesIn(metadata(64)).length, 64);
  assert.throws(() => signaturesIn(metadata(65)), { code: 'OSTREE_OBJECT_TOO_LARGE' });
});
