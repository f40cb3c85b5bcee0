/** Local pulls, remotes and signatures, beside libostree. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { firstReason, needsPeer, run, scratch } from '@cambium/testkit';
import { ANY_ORDER, buildWorld, COMMIT, compare, LAUNCHER, line, SECOND, type Step, setUp, skip } from './two-worlds.test.ts';

test('pull-local', { skip }, async (t) => {
  // libostree adds a rate for what its fetcher read.
  const pull = (text: string, options: Partial<Step> = {}): Step => line(`pull-local ${text}`, { sameOutput: false, ...options });
  for (const mode of ['archive', 'bare-user', 'bare-user-only']) {
    await compare(scratch(t), [
      setUp(`${COMMIT} --tree=dir=tree --no-xattrs`),
      setUp(`${SECOND} --no-xattrs --add-detached-metadata-string=a=b`),
      setUp('refs --create=alpha/beta main'),
      setUp(`init --repo=copy --mode=${mode}`),
      pull('--repo=copy repo nope', { sameMessage: false }),
      pull('--repo=copy repo main'),
      line('log --repo=copy main'),
      line('show --repo=copy --print-detached-metadata-key=a main'),
      pull('--repo=copy repo main --depth=-1'),
      pull('--repo=copy repo main'),
      pull('--repo=copy repo alpha/beta --disable-verify-bindings'),
      pull('--repo=copy repo alpha/beta'),
      pull('--repo=copy repo main --remote=origin --untrusted'),
      line('refs --repo=copy', ANY_ORDER),
      pull('--repo=copy nowhere'),
      pull('--repo=copy'),
      pull('--repo=copy repo main --gpg-verify'),
      line('fsck --repo=copy'),
    ]);
  }
});

test('pull-local of metadata alone leaves a partial commit', { skip }, async (t) => {
  await compare(scratch(t), [
    setUp(`${COMMIT} --tree=dir=tree`),
    setUp('init --repo=copy --mode=bare-user'),
    line('pull-local --repo=copy repo main --commit-metadata-only', { sameOutput: false }),
    line('fsck --repo=copy'),
    line('pull-local --repo=copy repo main', { sameOutput: false }),
    line('fsck --repo=copy'),
  ]);
});

test('gpg signatures are read as libostree reads them, and libostree reads ours', { skip: firstReason(skip, needsPeer('gpg')) }, async (t) => {
  const directory = scratch(t);
  buildWorld(directory);
  const home = join(directory, 'gnupg');
  const trusted = join(directory, 'trusted');
  mkdirSync(home, { mode: 0o700 });
  mkdirSync(trusted);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC', GNUPGHOME: home, OSTREE_REPO: 'repo', OSTREE_GPG_HOME: trusted };
  t.after(() => run('gpgconf', ['--kill', 'all'], { env, accept: 'any' }));
  const options = { cwd: directory, env, accept: 'any' as const };
  const theirs = (text: string) => run('ostree', line(text).args, options);
  const ours = (text: string) => run(process.execPath, [LAUNCHER, 'ostree', ...line(text).args], options);
  const same = async (text: string): Promise<string> => {
    const [mine, peers] = [await ours(text), await theirs(text)];
    assert.deepEqual([mine.status, mine.stdout], [peers.status, peers.stdout], text);
    return mine.stdout;
  };
  for (const name of ['One', 'Two'])
    await run('gpg', ['--batch', '--passphrase', '', '--quick-generate-key', `${name} <${name}@example.com>`, 'rsa2048', 'sign', 'never'], options);
  const list = await run('gpg', ['--batch', '--with-colons', '--list-secret-keys'], options);
  const [one, two] = list.stdout.split('\n').flatMap((row) => (row.startsWith('fpr:') ? [row.split(':')[9] as string] : [])) as [string, string];

  await theirs('init --mode=archive --repo=repo');
  assert.equal((await ours(`commit -b main tree --gpg-sign=${one} --gpg-homedir=gnupg`)).status, 0);
  assert.match(await same('show main'), /Found 1 signature:\n\n.*\n {2}Can't check signature: public key not found/);
  await run('gpg', ['--batch', '--output', join(trusted, 'one.gpg'), '--export', one], options);
  assert.match(await same('show main'), /Good signature from "One <One@example.com>"/);
  assert.match((await ours(`gpg-sign main ${one}`)).stderr, /already signed/);
  assert.equal((await ours(`gpg-sign main ${two}`)).status, 0);
  assert.match(await same('show main'), /Found 2 signatures/);
  await theirs(`commit -b main second --gpg-sign=${two} --gpg-homedir=gnupg`);
  assert.match(await same('show main'), /Can't check signature/);
  await run('gpg', ['--batch', '--output', join(trusted, 'two.gpg'), '--export', two], options);
  assert.match(await same('show main'), /Good signature from "Two/);
  await same('show main^');
  assert.equal((await ours(`gpg-sign --delete main^ ${two}`)).stdout, 'Signatures deleted: 1\n');
  assert.match(await same('show main^'), /Found 1 signature/);
  assert.equal((await theirs(`gpg-sign --delete main^ ${one}`)).stdout, 'Signatures deleted: 1\n');
  assert.doesNotMatch(await same('show main^'), /signature/);
  assert.equal(await same(`gpg-sign --delete main^ ${one}`), 'Signatures deleted: 0\n');
  assert.equal((await ours('commit -b main tree --gpg-sign=nobody')).status, 1);
  assert.match(await same('log main'), /^commit /);
  await same('show --gpg-verify-remote=nope main');
});

test('remote', { skip }, async (t) => {
  await compare(scratch(t), [
    line('remote'),
    line('remote nonsense'),
    line('remote add'),
    line('remote add one http://x/'),
    line('remote add one http://x/'),
    line('remote add --if-not-exists one http://other/'),
    line('remote add --force one http://y/'),
    line('remote add two http://z main dev --set=tls-permissive=true --no-gpg-verify --no-sign-verify --contenturl=http://c --collection-id=org.a.B'),
    line('remote list -u'),
    line('remote add five http://z --no-sign-verify --custom-backend=q --set=k=v --contenturl=http://c'),
    line('remote add six --custom-backend=q'),
    line('remote add --force --if-not-exists six http://x'),
    line('remote show-url six'),
    line('remote delete six'),
    line('remote --set=a=b add three metalink=http://m'),
    line('remote add bad/name http://x'),
    line('remote add four http://x --collection-id=bad'),
    line('remote list'),
    line('remote show-url one'),
    line('remote show-url nope'),
    line('remote delete nope'),
    line('remote delete --if-exists nope'),
    line('remote delete one'),
    line('remote delete'),
    line('remote list'),
  ]);
});
