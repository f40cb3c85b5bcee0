/** Signed remotes through `pull`, beside the real `ostree pull`: good, foreign, expired, revoked, stripped and swapped signatures. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { defer, firstReason, needsPeer, needsRoot, run, scratch, startStaticServer } from '@cambium/testkit';
import { encodeMetadata } from '../format/commit-format.ts';
import type { Metadata } from '../format/types.ts';
import { makeRepo, ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { makeHome } from '../sign/gpg-home.test.ts';
import { pull } from './pull.ts';

const skip = firstReason(needsPeer('ostree', 'gpg', 'gpgconf', 'cp'), needsRoot());

test('commits and summaries that the real ostree signed: believed here as there', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo: source } = makeRepo(directory, 'archive');
  const { home, gpg, id, revoke } = makeHome(t, directory);
  // Made long ago, for a day.
  gpg('--faked-system-time', '20200101T000000', '--quick-generate-key', 'Old <old@example.com>', 'ed25519', 'sign', '1d');
  const keyFile = (...users: string[]): string => {
    const path = join(directory, `${users.join('-')}.gpg`);
    writeFileSync(path, gpg('--export', ...users));
    return path;
  };
  const served = join(directory, 'served');
  const server = await startStaticServer({ directory: served });
  defer(t, () => server.stop());
  let made = 0;

  /** Serves the source as it stands, and pulls it into new repositories with both tools. */
  const both = async (what: string, keys: string, code: string | undefined, change?: () => void): Promise<void> => {
    rmSync(served, { recursive: true, force: true });
    cpSync(source, served, { recursive: true, verbatimSymlinks: true });
    change?.();
    const [ours, theirs] = ['ours', 'theirs'].map((name) => join(directory, `${name}-${made++}`)) as [string, string];
    for (const path of [ours, theirs]) {
      ostree(path, 'init', '--mode=archive');
      ostree(path, 'remote', 'add', '--set=gpg-verify=true', '--set=gpg-verify-summary=true', `--gpg-import=${keys}`, 'origin', server.url);
    }
    // Not in this thread: it serves.
    const expected = await run('ostree', [`--repo=${theirs}`, 'pull', 'origin', 'main'], { accept: 'any', timeoutMs: 30_000 });
    assert.equal(expected.status === 0, code === undefined, `${what}: ${expected.stderr}`);
    const trust = { globalKeyrings: join(directory, 'none'), keyDirectories: [] };
    const pulled = pull(await Repo.open(ours), { remote: 'origin', refs: ['main'], backoffMs: 1, networkRetries: 1, trust });
    if (code === undefined) {
      await pulled;
      assert.equal((await Repo.open(ours)).refs.read('origin:main'), (await Repo.open(theirs)).refs.read('origin:main'), what);
      // Again, with the summary that is kept.
      await pull(await Repo.open(ours), { remote: 'origin', refs: ['main'], trust });
      assert.match(ostree(ours, 'fsck'), /no errors found/);
      return;
    }
    await assert.rejects(pulled, (error: unknown) => {
      assert.ok(isKnownError(error), String(error));
      assert.equal(error.code, code, `${what}: ${error.message}\n${expected.stderr}`);
      return true;
    });
    const repo = await Repo.open(ours);
    assert.deepEqual([repo.refs.read('origin:main'), [...repo.listObjects()]], [undefined, []], what);
  };
  const sign = (user: string): void => {
    ostree(source, 'gpg-sign', `--gpg-homedir=${home}`, 'main', id(user));
    ostree(source, 'summary', '-u', `--gpg-homedir=${home}`, `--gpg-sign=${id(user)}`);
  };
  const good = keyFile('good@example.com');

  ostree(source, 'summary', '-u');
  await both('nothing signed', good, 'OSTREE_SIGNATURE_MISSING');
  ostree(source, 'summary', '-u', `--gpg-homedir=${home}`, `--gpg-sign=${id('good@example.com')}`);
  await both('only the summary signed', good, 'OSTREE_SIGNATURE_MISSING');
  sign('good@example.com');
  await both('signed', good, undefined);
  await both('signed, one of two keys known', keyFile('good@example.com', 'other@example.com'), undefined);
  await both('signed by a stranger', keyFile('other@example.com'), 'OSTREE_SIGNATURE_UNTRUSTED');
  await both('the signature is taken away', good, 'OSTREE_SIGNATURE_MISSING', () => rmSync(join(served, 'summary.sig')));
  await both('another summary under the signature', good, 'OSTREE_SIGNATURE_INVALID', () => {
    ostree(source, 'summary', '-u', '--add-metadata=x.y="z"', `--gpg-homedir=${home}`, `--gpg-sign=${id('good@example.com')}`);
    cpSync(join(source, 'summary'), join(served, 'summary'));
  });
  await both('both new', good, undefined);
  revoke('good@example.com');
  await both('signed by a key that is revoked', keyFile('good@example.com'), 'OSTREE_SIGNATURE_REVOKED');
  sign('other@example.com');
  await both('signed again by another', keyFile('good@example.com', 'other@example.com'), undefined);
  // By a key that was good then.
  const bytes = join(directory, 'bytes');
  for (const name of ['summary', 'commit'] as const) {
    const repo = await Repo.open(source);
    const commit = repo.refs.resolve('main');
    writeFileSync(bytes, name === 'summary' ? readFileSync(join(source, 'summary')) : repo.readMetadata('commit', commit));
    const signature = gpg('--faked-system-time', '20200101T000001', '-u', 'old@example.com', '--detach-sign', '--output', '-', bytes);
    const metadata: Metadata = [['ostree.gpgsigs', new Variant('aay', [signature])]];
    if (name === 'commit') repo.writeDetachedMetadata(commit, metadata);
    else writeFileSync(join(source, 'summary.sig'), encodeMetadata(metadata));
  }
  await both('signed by a key that has expired', keyFile('old@example.com'), 'OSTREE_SIGNATURE_EXPIRED');
});
