/** Local pulls, remotes and signatures, beside libostree. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { firstReason, needsPeer, run, scratch } from '@cambium/testkit';
import { runOurs } from './our-command.test.ts';
import { ANY_ORDER, buildWorld, COMMIT, compare, line, SECOND, type Step, setUp, skip } from './two-worlds.test.ts';

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
  const ours = (text: string) => runOurs(line(text).args, options);
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
    line('remote list one two'),
    line('remote show-url file:///somewhere'),
    line('remote gpg-import'),
    line('static-delta nonsense'),
    line('static-delta show'),
    line('static-delta delete'),
    line('static-delta apply-offline'),
    line('static-delta verify'),
    line('static-delta generate', { sameMessage: false }),
  ]);
});

test('remote refs and remote summary of a URL', { skip }, async (t) => {
  // Both worlds name one repository: its path stands in what is printed.
  const served = join(scratch(t), 'served');
  await run('ostree', ['init', `--repo=${served}`, '--mode=archive']);
  await run('ostree', ['commit', `--repo=${served}`, '-b', 'main', '--timestamp=2026-01-01', join(served, 'refs')]);
  await run('ostree', ['summary', `--repo=${served}`, '-u']);
  await compare(scratch(t), [
    line(`remote refs file://${served}`),
    line(`remote summary file://${served}`),
    line(`remote refs file://${served}/nowhere`, { sameMessage: false }),
    // A pull wants the name of a remote.
    line(`pull file://${served} main`),
    line(`pull file://${served}`),
    line(`pull ${served} main`),
  ]);
});

test('cookies', { skip }, async (t) => {
  // When a cookie ends depends on when it was made.
  const settle = (world: string): void => {
    const jar = join(world, 'repo/origin.cookies.txt');
    writeFileSync(jar, readFileSync(jar, 'utf8').replace(/\t2\d{9}\t/g, '\t2600000000\t'));
  };
  await compare(scratch(t), [
    line('remote add-cookie'),
    line('remote add-cookie origin'),
    line('remote add-cookie origin example.com / name'),
    line('remote delete-cookie'),
    line('remote delete-cookie origin example.com /'),
    line('remote list-cookies'),
    line('remote list-cookies origin'),
    setUp('remote add-cookie origin example.com / first one'),
    setUp('remote add-cookie origin example.com / second two'),
    setUp('remote add-cookie origin .example.com /p third three'),
    line('remote delete-cookie origin example.com / second and_more', { before: settle }),
    line('remote delete-cookie origin example.com / second'),
    line('remote delete-cookie origin example.com /p third'),
    line('remote delete-cookie origin example.com / third'),
    line('remote delete-cookie origin .example.com / third'),
    line('remote delete-cookie origin .example.com /p third'),
    line('remote delete-cookie origin example.com / first'),
  ]);
});

test('each writes cookies that the other lists, deletes and sends', { skip }, async (t) => {
  const directory = scratch(t);
  const repo = join(directory, 'repo');
  const env = { ...process.env, LC_ALL: 'C.UTF-8' };
  const theirs = async (...args: string[]) => (await run('ostree', ['remote', ...args], { env, cwd: repo })).stdout;
  const ours = async (...args: string[]) => {
    const { status, stdout, stderr } = await runOurs(['remote', ...args], { env, cwd: repo });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  await run('ostree', ['init', `--repo=${repo}`, '--mode=archive'], { env });
  const jar = (): string => readFileSync(join(repo, 'origin.cookies.txt'), 'latin1');
  for (const [write, read] of [
    [ours, theirs],
    [theirs, ours],
  ] as const) {
    await write('add-cookie', 'origin', '127.0.0.1', '/', 'foo', 'bar');
    await write('add-cookie', 'origin', '.example.com', '/p', 'baz', 'badger');
    assert.match(jar(), /^127\.0\.0\.1\tFALSE\t\/\tFALSE\t2\d{9}\tfoo\tbar\n\.example\.com\tTRUE\t\/p\tFALSE\t2\d{9}\tbaz\tbadger\n$/);
    const listed = await read('list-cookies', 'origin');
    assert.equal(listed, await write('list-cookies', 'origin'));
    assert.match(listed, /^--\nDomain: 127\.0\.0\.1\nPath: \/\nName: foo\nSecure: FALSE\nExpires: 20\d\d-[-\d: ]+ \+0000\nValue: bar\n--\n/);
    await read('delete-cookie', 'origin', '127.0.0.1', '/', 'foo');
    assert.match(jar(), /^\.example\.com\t.*\n$/);
    await read('delete-cookie', 'origin', '.example.com', '/p', 'baz');
    assert.equal(jar(), '');
  }
  // Ours alone keeps what it does not understand, and refuses what would make two cookies of one.
  writeFileSync(join(repo, 'origin.cookies.txt'), '# Netscape HTTP Cookie File\nhalf a line');
  await ours('add-cookie', 'origin', 'example.com', '/', 'a', 'b c');
  assert.match(jar(), /^# Netscape HTTP Cookie File\nhalf a line\nexample\.com\t/);
  await ours('delete-cookie', 'origin', 'example.com', '/', 'a');
  assert.equal(jar(), '# Netscape HTTP Cookie File\nhalf a line\n');
  for (const fields of [
    ['origin', 'example.com', '/', 'a\tb', 'c'],
    ['origin', 'example.com', '/', 'a', 'c\nevil.example\tTRUE'],
    ['origin', '', '/', 'a', 'b'],
    ['../origin', 'example.com', '/', 'a', 'b'],
  ]) {
    await assert.rejects(ours('add-cookie', ...fields));
  }
  assert.equal(jar(), '# Netscape HTTP Cookie File\nhalf a line\n');
});
