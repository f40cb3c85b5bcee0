/** Commits, tars and exports, beside libostree. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { firstReason, needsPeer, needsRoot, run, scratch, tarBytes } from '@cambium/testkit';
import { LAUNCHER, runOurs } from './our-command.test.ts';
import { buildWorld, COMMIT, compare, line, SECOND, setUp, skip, snapshot } from './two-worlds.test.ts';

test('commit: messages, parents, metadata, bindings', { skip }, async (t) => {
  const write = (name: string, text: string) => (world: string) => writeFileSync(join(world, name), text);
  await compare(scratch(t), [
    line(`${COMMIT} --tree=dir=tree`),
    line(`${COMMIT} tree --table-output`),
    line(`${SECOND} --table-output`),
    line(`${COMMIT} --skip-if-unchanged second`),
    line(`${COMMIT} --skip-if-unchanged tree --timestamp=@1234`),
    line('commit --orphan tree --timestamp=2001-02-03_04:05:06_+0100'),
    line('commit --orphan tree --parent=none -b other -s x'),
    line('commit -b other tree --timestamp=garbage'),
    line('commit -b third --parent=nonsense tree', { sameMessage: false }),
    line('commit tree'),
    line('commit -b main nowhere'),
    line('commit -b main --tree=dir=nowhere'),
    line('commit -b main --tree=nothing'),
    line('commit -b main --tree=zip=nothing'),
    line('commit -b main --tree=ref=nothing'),
    line('commit -b main --base=nothing tree'),
    line('commit -b bad..name tree'),
    line('commit -b main/below tree'),
    line("commit -b main --add-metadata-string=version=2 --add-metadata=n=uint32_7 --add-metadata=list=[1,2,3] --add-metadata=v=<'x'> second"),
    line('show --raw main'),
    line('commit -b main --keep-metadata=version --keep-metadata=n -s kept tree'),
    line('show --raw main'),
    line('commit -b main --keep-metadata=nope tree'),
    line('commit -b fresh --keep-metadata=version tree'),
    line('commit -b main --add-metadata-string=nothing tree'),
    line('commit -b main --add-metadata=a=b tree', { sameMessage: false }),
    line('commit -b main --add-detached-metadata-string=a=b -s detached tree'),
    line('show --print-detached-metadata-key=a main'),
    line('commit -b main --no-bindings -s unbound tree'),
    line('commit -b main --bind-ref=zeta --bind-ref=alpha -s bound tree'),
    line('commit --orphan --bind-ref=alpha -s bound tree'),
    line('commit -b body -F message tree', { before: write('message', 'first\n\nsecond\n') }),
    line('show body'),
    line('commit -b body -F nowhere tree', { sameMessage: false }),
    line('commit -b boot --bootable tree'),
    line('log main'),
    line('fsck'),
  ]);
});

for (const mode of ['archive', 'bare-user', 'bare-user-only', 'bare']) {
  test(`commit and checkout: trees and modifiers, ${mode}`, { skip: firstReason(skip, needsRoot()) }, async (t) => {
    const write = (name: string, text: string) => (world: string) => writeFileSync(join(world, name), text);
    await compare(
      scratch(t),
      [
        line(`${COMMIT} --tree=dir=tree`),
        line(`${COMMIT} --tree=dir=tree --tree=dir=second`),
        line(`${COMMIT} --tree=ref=main^ --tree=dir=tree/dir`),
        line(`${COMMIT} --base=main --tree=dir=second`),
        line('commit -b plain tree'),
        line('commit -b owned --owner-uid=1000 --owner-gid=1001 --no-xattrs tree'),
        line('commit -b canonical --canonical-permissions tree'),
        line('commit -b canonical --canonical-permissions --owner-uid=5 tree', { sameMessage: false }),
        line('commit -b ro --mode-ro-executables --no-xattrs --owner-uid=0 tree'),
        line('commit -b over --statoverride=overrides tree', { before: write('overrides', '=420 /script\n2048 /file\n\n=448 /dir\n') }),
        line('commit -b over --statoverride=overrides tree', { before: write('overrides', '=420 /nowhere\n') }),
        line('commit -b skipped --skip-list=skips tree', { before: write('skips', '/dir/deep\n/file\n') }),
        line('ls -R skipped'),
        line('commit -b skipped --skip-list=skips tree', { before: write('skips', '/nowhere\n'), sameMessage: false }),
        line('commit -b main --tree=dir=tree --tree=dir=clash', {
          before: (world) => {
            mkdirSync(join(world, 'clash/file'), { recursive: true });
          },
        }),
        line('commit -b gone --consume --tree=dir=consumed', {
          before: (world) => cpSync(join(world, 'tree'), join(world, 'consumed'), { recursive: true, verbatimSymlinks: true }),
        }),
        line('ls -RC owned'),
        line('ls -RC over'),
        line('checkout -U main out'),
        line('checkout -U main out'),
        line('checkout -U --union main^ out'),
        line('checkout -U --union-add plain out'),
        line('checkout -U --union-identical main out', { sameMessage: false }),
        line('checkout -U main taken', { before: (world) => mkdirSync(join(world, 'taken')) }),
        ...['/file', '/nothing', '/dir/link'].flatMap((path) => [
          line(`checkout -UC --subpath=${path} main taken`),
          line(`checkout -UC --subpath=${path} main taken`),
          line(`checkout -U --subpath=${path} main taken`),
          line(`checkout -U --union --subpath=${path} second taken`, { sameMessage: false }),
        ]),
        ...(mode === 'bare' ? ['/file', '/nothing', '/dir/link'].map((path) => line(`checkout -H --subpath=${path} main taken`)) : []),
        ...(mode === 'bare' ? ['/file', '/nothing', '/dir/link'].map((path) => line(`checkout -C --subpath=${path} main taken`)) : []),
        ...(mode.startsWith('bare-user') ? ['/file', '/nothing', '/dir/link'].map((path) => line(`checkout -UH --subpath=${path} main taken`)) : []),
        line('checkout -U --union --union-add main out'),
        line('checkout -U --subpath=/dir main part'),
        line('checkout -U --subpath=/dir/link main onelink'),
        line('checkout -U --subpath=/file main onedir'),
        line('checkout -U --subpath=/nope main none', { sameMessage: false }),
        line('checkout -U --subpath=/nope --allow-noent main none'),
        line('checkout -U --from-file=records many', { before: write('records', 'main\0/dir\0plain\0/dir\0'), sameMessage: false }),
        line('checkout -U --union --from-file=records many', { before: write('records', 'main\0/dir\0main\0/\0') }),
        line('checkout -UC main copied'),
        line('checkout -UCH main copied2', { sameMessage: false }),
        line('checkout -UM main masked'),
        // Where hard links cannot be, libostree leaves half a checkout behind.
        ...(mode.startsWith('bare-user') ? [line('checkout -UH main hard')] : []),
        line('checkout -U nope out2'),
        line('checkout -U'),
        line('checkout owned asroot', { sameMessage: false }),
        line('fsck'),
      ],
      { mode },
    );
  });
}

test('sizes', { skip }, async (t) => {
  await compare(scratch(t), [
    // Ours are those of other compressed bytes; in libostree's commits they are the same.
    setUp(`${COMMIT} --tree=dir=tree --generate-sizes`),
    line('show --print-sizes main'),
    setUp(`${SECOND} --generate-sizes`),
    line('show --print-sizes main'),
    setUp(`${COMMIT} --tree=dir=tree`),
    line('show --print-sizes main'),
    line('show --print-sizes nope'),
    setUp('init --repo=copy --mode=bare-user'),
    setUp('pull-local --repo=copy repo --commit-metadata-only main^', { sameOutput: false }),
    line(`show --print-sizes --repo=copy ${'0'.repeat(64)}`),
  ]);
});

test('an interrupted commit is kept under the name of the boot that the environment gives', { skip }, async (t) => {
  const directory = scratch(t);
  buildWorld(directory);
  const env = { ...process.env, OSTREE_REPO: 'repo', OSTREE_BOOTID: '3072029c-8b10-60d1-d31b-8422eeff9b42', OSTREE_REPO_TEST_ERROR: 'pre-commit' };
  await run('ostree', ['init', '--repo=repo', '--mode=archive'], { cwd: directory });
  const found = async (command: string, launcher: string[], more: Record<string, string>): Promise<string[]> => {
    await run(command, [...launcher, 'commit', '-b', 'main', 'tree'], { cwd: directory, env: { ...env, ...more }, accept: 'any' });
    return readdirSync(join(directory, 'repo/tmp')).filter((name) => name.startsWith('staging-') && !name.endsWith('-lock'));
  };
  const ours = (more: Record<string, string>) => found(process.execPath, [LAUNCHER, 'ostree'], more);
  const [kept] = await ours({});
  assert.match(kept ?? '', /^staging-3072029c-8b10-60d1-d31b-8422eeff9b42-\w{6}$/);
  // Taken over within the same boot, also by libostree; thrown away by the next.
  assert.deepEqual(await found('ostree', [], {}), [kept]);
  assert.deepEqual(await ours({}), [kept]);
  assert.deepEqual(await ours({ OSTREE_BOOTID: 'another', OSTREE_REPO_TEST_ERROR: '' }), []);
});

test('tars', { skip: firstReason(skip, needsPeer('tar', 'gzip', 'zstd')) }, async (t) => {
  const pack =
    (name: string, ...options: string[]) =>
    (world: string): void => {
      const done = spawnSync('tar', ['-C', 'tree', '--sort=name', '--owner=0', '--group=0', '--numeric-owner', ...options, '-cf', name, '.'], {
        cwd: world,
        encoding: 'utf8',
      });
      assert.equal(done.status, 0, done.stderr);
    };
  await compare(scratch(t), [
    line('commit -b plain --tree=tar=plain.tar', { before: pack('plain.tar') }),
    line('commit -b gzip --tree=tar=a.tar.gz', { before: pack('a.tar.gz', '-z') }),
    line('commit -b zstd --tree=tar=a.tar.zst', { before: pack('a.tar.zst', '--zstd') }),
    line('commit -b filtered --tree=tar=plain.tar --tar-pathname-filter=^dir/,changed/ --tar-autocreate-parents'),
    line('commit -b owned --tree=tar=plain.tar --owner-uid=5 --no-xattrs'),
    line('ls -RC filtered'),
    line('commit -b rootless --tree=tar=rootless.tar', {
      before: (world) => {
        spawnSync('tar', ['-C', 'tree', '--owner=0', '--group=0', '-cf', 'rootless.tar', 'file', 'dir/link'], { cwd: world });
      },
      sameMessage: false,
    }),
    line('commit -b rootless --tree=tar=rootless.tar --tar-autocreate-parents'),
    line('commit -b main --tree=tar=nowhere.tar', { sameMessage: false }),
    line('commit -b main --tree=tar=plain.tar --tree=dir=second'),
    line('fsck'),
  ]);
});

test('what is not available is refused by name, and leaves nothing behind', { skip: firstReason(skip, needsPeer('tar', 'xz', 'bzip2')) }, async (t) => {
  const directory = scratch(t);
  buildWorld(directory);
  const options = { cwd: directory, env: { ...process.env, OSTREE_REPO: 'repo' }, accept: 'any' as const };
  await run('ostree', ['init', '--repo=repo', '--mode=archive'], options);
  for (const [name, flag] of Object.entries({ 'a.tar.xz': '-J', 'a.tar.bz2': '-j' })) await run('tar', ['-C', 'tree', flag, '-cf', name, '.'], options);
  const before = snapshot(directory);
  for (const [text, message] of [
    ['--tree=tar=a.tar.xz', /^error: Cannot decompress xz: not supported yet/],
    ['--tree=tar=a.tar.bz2', /^error: Cannot decompress bzip2: not supported yet/],
  ] as const) {
    const done = await runOurs(line(`commit -b main ${text}`).args, options);
    assert.equal(done.status, 1, text);
    assert.match(done.stderr, message, text);
    assert.deepEqual(snapshot(directory), before, text);
  }
});

test('export gives a tar from which the same commit can be made', { skip: firstReason(skip, needsRoot(), needsPeer('tar')) }, async (t) => {
  const directory = scratch(t);
  buildWorld(directory);
  const options = { cwd: directory, env: { ...process.env, OSTREE_REPO: 'repo', SOURCE_DATE_EPOCH: '1600000000' } };
  const ours = (text: string) => runOurs(line(text).args, options);
  const theirs = (text: string) => run('ostree', line(text).args, options);
  await theirs('init --repo=repo --mode=archive');
  const first = (await theirs('commit -b main --tree=dir=tree --owner-uid=1000 --owner-gid=70000')).stdout;
  await ours('export main -o ours.tar');
  await theirs('export main -o theirs.tar');
  for (const tar of ['ours.tar', 'theirs.tar']) {
    for (const commit of [await ours(`commit -b main --parent=none --tree=tar=${tar}`), await theirs(`commit -b main --parent=none --tree=tar=${tar}`)])
      assert.equal(commit.stdout, first, tar);
  }
  const names = async (text: string, run_: typeof ours): Promise<string[]> => {
    await run_(`export main -o listed.tar ${text}`.trim());
    const { stdout } = await run('tar', ['--numeric-owner', '--utc', '--full-time', '-tvf', 'listed.tar'], options);
    return stdout.split('\n').sort();
  };
  for (const text of ['', '--subpath=/dir', '--prefix=pre/', '--prefix=pre/ --subpath=/dir/deep', '--no-xattrs'])
    assert.deepEqual(await names(text, ours), await names(text, theirs), text);
});

test('an interrupted commit ends with 130, leaves the repository as it was, and a second signal is not needed', { skip }, async (t) => {
  const directory = scratch(t);
  buildWorld(directory);
  await run('ostree', ['init', '--repo=repo', '--mode=archive'], { cwd: directory });
  const child = spawn(process.execPath, [LAUNCHER, 'ostree', '--repo=repo', 'commit', '-b', 'main', '--tree=tar=-'], {
    cwd: directory,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // The tar's first entry, and no more: the command waits for the rest.
  child.stdin.write(tarBytes([{ path: './', kind: 'directory' }], false));
  t.after(() => child.kill('SIGKILL'));
  const staging = join(directory, 'repo/tmp');
  // A command that fails before it begins to write must not be waited for.
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  while (child.exitCode === null && !readdirSync(staging).some((name) => name.startsWith('staging-'))) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill('SIGINT');
  assert.equal(await ended, 130);
  const { stdout } = await run('ostree', ['refs', '--repo=repo'], { cwd: directory });
  assert.equal(stdout, '');
  await run('ostree', ['fsck', '--repo=repo'], { cwd: directory });
});
