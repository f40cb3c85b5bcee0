/** Flags and settings that few use, beside libostree. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setXattr } from '@cambium/system';
import { defer, type RunResult, run, scratch, startStaticServer } from '@cambium/testkit';
import { runOurs } from './our-command.test.ts';
import { ANY_ORDER, buildWorld, COMMIT, compare, line, type Step, setUp, skip } from './two-worlds.test.ts';

const write = (name: string, text: string) => (world: string) => writeFileSync(join(world, name), text);

test('commit: messages, editors, dates, links of checkouts', { skip }, async (t) => {
  const edited = (text: string, script: string): Step =>
    line(text, { before: (world) => writeFileSync(join(world, 'editor'), `#!/bin/sh\n${script}\n`, { mode: 0o755 }), sameMessage: false });
  process.env.OSTREE_EDITOR = './editor';
  t.after(() => delete process.env.OSTREE_EDITOR);
  await compare(
    scratch(t),
    [
      line('config set core.fsync false'),
      line('commit -b main -m body tree'),
      line('commit -b main -m body -F tree/file tree --disable-fsync'),
      line('commit -b main -F tree/nothing second'),
      edited('commit -b main -e tree', String.raw`printf 'subject\n\nbody\n\nmore\n# comment\n' > "$1"`),
      edited('commit -b main -e -s ignored second', `echo 'one line' > "$1"`),
      edited('commit -b main -e tree', 'true'),
      edited('commit -b main -e tree', 'exit 3'),
      line('log main'),
      line('commit -b times tree --timestamp=@-5'),
      line('commit -b times tree --timestamp=2020-02-03T10:00:00Z'),
      line('commit -b times tree --timestamp=Mon,_03_Feb_2020_10:00:00_+0200'),
      line('commit -b times tree --timestamp=2020-02-30'),
      setUp('checkout -UH main linked'),
      line('commit -b linked --link-checkout-speedup --table-output linked'),
      // A link is taken for what it was, also when its mode is another now.
      line('commit -b linked -I --table-output linked', { before: (world) => chmodSync(join(world, 'linked/script'), 0o700) }),
      line('commit -b linked --devino-canonical --consume linked'),
      line('commit -b through --tree=dir=way/', { before: (world) => symlinkSync('tree', join(world, 'way')) }),
      line('commit -b through --tree=dir=way', { sameMessage: false }),
      line('fsck'),
    ],
    { mode: 'bare-user' },
  );
});

test('checkout: caches, whiteouts, lists; show of files', { skip }, async (t) => {
  await compare(scratch(t), [
    line('config set core.fsync false'),
    setUp(`${COMMIT} --tree=dir=tree`),
    line('checkout -Uz main zero'),
    line('checkout -U --disable-cache main fresh'),
    line('checkout -U main cached'),
    setUp('commit -b layer layer', {
      before: (world) => {
        mkdirSync(join(world, 'layer/dir'), { recursive: true });
        for (const name of ['.wh.file', 'dir/.wh..wh..opq', 'dir/x']) writeFileSync(join(world, 'layer', name), '');
      },
    }),
    line('checkout -U --fsync=yes --union --whiteouts layer cached'),
    line('checkout -U --skip-list=skips main most', { before: write('skips', '/dir/\n/file\n') }),
    line('checkout -U --from-stdin some', { input: 'main\0/dir\0' }),
    line('checkout -U --from-file=skips some', { sameMessage: false }),
    line('show --print-variant-type=s text', { before: write('text', 'text\0') }),
    line('show --print-variant-type=(uuua(ayay)) repo/objects/44/6a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488.dirmeta'),
    line('show -B --print-variant-type=(uuua(ayay)) repo/objects/44/6a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488.dirmeta'),
    line('show --gpg-verify-remote=nowhere main'),
    line('show --gpg-homedir=nowhere main'),
    line('refs --delete ', { sameMessage: true }),
    line('refs --delete layer/'),
    line('refs', ANY_ORDER),
    line('prune --static-deltas-only'),
    line('prune --commit-only --no-prune'),
    line('config get core.mode extra'),
  ]);
});

test('pulls on one machine: every flag', { skip }, async (t) => {
  const served = join(scratch(t), 'served');
  const source = (text: string): Promise<RunResult> => run('ostree', line(text).args, { env: { ...process.env, OSTREE_REPO: served } });
  const tree = scratch(t);
  buildWorld(tree);
  await source(`init --repo=${served} --mode=archive`);
  for (const [branch, time, name] of ['main 100 tree', 'main 200 second', 'older 50 tree'].map((row) => row.split(' ')))
    await source(`commit -b ${branch} --timestamp=@${time} --owner-uid=0 --owner-gid=0 --no-xattrs ${tree}/${name}`);
  // libostree adds a rate for what its fetcher read.
  const pull = (text: string): Step => line(`pull --repo=copy ${text}`, { sameOutput: false, sameMessage: false });
  const local = (text: string): Step => line(`pull-local --repo=copy ${served} ${text}`, { sameOutput: false, sameMessage: false });
  for (const mode of ['archive', 'bare-user']) {
    await compare(scratch(t), [
      setUp(`init --repo=copy --mode=${mode}`),
      // Nothing here is about crashes.
      line('config set --repo=copy core.fsync false'),
      setUp('init --repo=cache --mode=archive'),
      setUp(`pull-local --repo=cache ${served} older`),
      line(`remote add --repo=copy --no-gpg-verify origin file://${served}`),
      // With nothing to fetch ours goes well.
      pull('origin main --require-static-deltas'),
      pull('origin main --mirror --commit-metadata-only'),
      local('--disable-fsync'),
      local('main --per-object-fsync --bareuseronly-files'),
      local('main --require-static-deltas'),
      local('main --gpg-verify-summary'),
      local('main --remote=new --untrusted'),
      pull('origin main --commit-metadata-only'),
      pull('origin main --subpath=/dir'),
      pull('origin main --disable-fsync'),
      pull('origin older --per-object-fsync --update-frequency=10 --network-retries=2 -L cache'),
      pull('origin main --depth=-1 --untrusted --http-trusted --bareuseronly-files'),
      pull('origin main -T --disable-static-deltas --disable-verify-bindings'),
      pull('origin older --timestamp-check-from-rev=origin:main'),
      pull('origin main --dry-run'),
      pull('origin main --url=file:///nowhere'),
      pull('origin nope'),
      pull('origin:older main'),
      line('refs --repo=copy', ANY_ORDER),
      line('log --repo=copy main'),
      line('fsck --repo=copy'),
    ]);
  }
});

test('settings of core, each with what it changes', { skip }, async (t) => {
  const settings = (text: string, more: (world: string) => void = () => undefined): Partial<Step> => ({
    before: (world) => {
      writeFileSync(join(world, 'repo/config'), `[core]\nrepo_version=1\nmode=archive-z2\n${text.includes('fsync') ? '' : 'fsync=false\n'}${text}\n`);
      more(world);
    },
  });
  const attribute = (world: string): void => setXattr(join(world, 'tree/file'), Buffer.from('user.a'), Buffer.from('b'));
  const old = (world: string): void => {
    writeFileSync(join(world, 'repo/tmp/left'), '');
    utimesSync(join(world, 'repo/tmp/left'), 1, 1);
    mkdirSync(join(world, 'repo/tmp/fresh'));
  };
  const seen = (world: string): void => {
    writeFileSync(join(world, 'seen'), ['left', 'fresh'].filter((name) => existsSync(join(world, 'repo/tmp', name))).join());
    rmSync(join(world, 'repo/tmp/fresh'), { recursive: true });
  };
  await compare(scratch(t), [
    line('commit -b plain tree', settings('disable-xattrs=true', attribute)),
    line('ls -RX plain'),
    line('commit -b plain tree', settings('disable-xattrs=false')),
    line('ls -RX plain'),
    line('checkout -U plain out', settings('enable-uncompressed-cache=false')),
    line('checkout -U plain out2', settings('enable-uncompressed-cache=true')),
    line('commit -b plain second', settings('tmp-expiry-secs=3600', old)),
    line('refs', { ...ANY_ORDER, before: seen }),
    ...['fsync=false', 'per-object-fsync=true', 'locking=false', 'lock-timeout-secs=0', '[archive]\nzlib-level=99', '[archive]\nzlib-level=1'].flatMap(
      (text, index) => [line(`commit -b b${index} second -s ${index}`, settings(text))],
    ),
    // Said in other words: which setting it is, and what is wrong with it.
    ...[
      'archive=true',
      'fsync=maybe',
      'mode=weird',
      'repo_version=2',
      'parent=/nowhere',
      'min-free-space-size=5XB',
      'min-free-space-percent=100',
      'min-free-space-size=99999999TB',
    ].map((text) => line('commit -b refused tree --repo=repo', { ...settings(text), sameMessage: false })),
    line('commit -b refused tree', { ...settings('min-free-space-percent=99', (world) => writeFileSync(join(world, 'tree/new'), 'new')), sameMessage: false }),
    line('fsck', settings('min-free-space-percent=0')),
  ]);
});

test('settings about summaries and deltas', { skip }, async (t) => {
  const directory = scratch(t);
  buildWorld(directory);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', OSTREE_REPO: 'repo', OSTREE_DUMMY_SIGN_ENABLED: '1' };
  const theirs = (text: string): Promise<RunResult> => run('ostree', line(text).args, { cwd: directory, env, accept: 'any' });
  const ours = (text: string): Promise<RunResult> => runOurs(line(text).args, { cwd: directory, env });
  const summary = join(directory, 'repo/summary');
  await theirs('init --repo=repo --mode=archive');
  await theirs('config set core.fsync false');
  await theirs('commit -b main tree');
  await theirs('commit -b main second');
  for (const side of [theirs, ours]) {
    await side('config set core.commit-update-summary true');
    await side('refs --create=copy main');
    assert.equal(existsSync(summary), true);
    await side('config set core.commit-update-summary false');
    rmSync(summary);
    await side('refs --delete copy');
    assert.equal(existsSync(summary), false);
    await side('static-delta generate main --inline --swap-endianness -n');
    for (const hides of [true, false]) {
      await side(`config set core.no-deltas-in-summary ${hides}`);
      await side('summary -u');
      assert.equal(readFileSync(summary, 'latin1').includes('ostree.static-deltas'), !hides);
    }
    rmSync(summary);
    rmSync(join(directory, 'repo/deltas'), { recursive: true });
  }
  // Each flag of the generator: libostree applies what we make, and the reverse.
  const commit = (await theirs('rev-parse main')).stdout.trim();
  for (const [maker, taker] of [
    [ours, theirs],
    [theirs, ours],
  ] as const) {
    for (const [index, flags] of [
      '--empty --sign=k1 --sign-type=dummy',
      '--from=main^ --to=main --inline --disable-bsdiff --set-endianness=B',
      '--max-chunk-size=1 --max-bsdiff-size=1 --min-fallback-size=0 --set-endianness=l',
    ].entries()) {
      const name = `${maker === ours ? 'ours' : 'theirs'}-${index}`;
      const made = await maker(`static-delta generate main --filename=${name}.delta ${flags}`);
      assert.equal(made.status, 0, made.stderr);
      const copy = `--repo=${name}`;
      await theirs(`init ${copy} --mode=bare-user`);
      await theirs(`config ${copy} set core.fsync false`);
      if (index !== 0) await theirs(`pull-local ${copy} repo ${(await theirs('rev-parse main^')).stdout.trim()}`);
      await taker(`config ${copy} set core.sign-verify-deltas true`);
      // libostree asks for a key, and looks at it, only when there is a signature: so it takes what anybody made.
      if (index === 0 || taker === ours) {
        const keyless = await taker(`static-delta apply-offline ${copy} ${name}.delta --sign-type=dummy`);
        assert.match(keyless.stderr, /error: Key is mandatory to check delta signature\n$/);
        const signed = await taker(`static-delta apply-offline ${copy} ${name}.delta k1 --sign-type=dummy`);
        assert.equal(signed.status, index === 0 ? 0 : 1, signed.stderr);
      }
      for (const side of [maker, taker]) assert.equal((await side(`static-delta verify ./${name}.delta k1 --sign-type=dummy`)).status, index === 0 ? 0 : 1);
      await taker(`config ${copy} set core.sign-verify-deltas false`);
      const applied = await taker(`static-delta apply-offline ${copy} ${name}.delta`);
      assert.equal(applied.status, 0, applied.stderr);
      assert.equal((await theirs(`fsck ${copy}`)).status, 0);
      assert.equal((await ours(`rev-parse ${copy} ${commit}`)).stdout.trim(), commit);
    }
  }
  assert.deepEqual(readdirSync(join(directory, 'repo')).includes('deltas'), false);
  await theirs('static-delta generate main');
  await ours('static-delta generate main --empty');
  const parent = (await theirs('rev-parse main^')).stdout.trim();
  for (const text of [
    'static-delta list',
    `static-delta show ${parent}-${commit}`,
    'static-delta indexes',
    'static-delta reindex',
    `static-delta reindex --to=${commit}`,
    'static-delta reindex --to=main',
    'static-delta indexes',
    'static-delta delete nothing',
    `static-delta delete ${parent}-${parent}`,
  ]) {
    const [mine, peers] = [await ours(text), await theirs(text)];
    assert.deepEqual([mine.status, mine.stdout.split('\n').sort()], [peers.status, peers.stdout.split('\n').sort()], text);
  }
  assert.equal((await ours(`static-delta delete ${parent}-${commit}`)).status, 0);
  assert.equal((await theirs(`static-delta delete ${commit}`)).status, 0);
  for (const side of [ours, theirs]) assert.equal((await side('static-delta list')).stdout, '(No static deltas)\n');
});

test('summaries kept at another place', { skip }, async (t) => {
  const directory = scratch(t);
  buildWorld(directory);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', OSTREE_REPO: 'repo', OSTREE_DUMMY_SIGN_ENABLED: '1' };
  const theirs = (text: string): Promise<RunResult> => run('ostree', line(text).args, { cwd: directory, env, accept: 'any' });
  const ours = (text: string): Promise<RunResult> => runOurs(line(text).args, { cwd: directory, env });
  await theirs('init --repo=repo --mode=archive');
  await theirs('commit -b main tree');
  // Only signed ones are kept.
  await theirs('summary -u --sign=k1 --sign-type=dummy');
  const server = await startStaticServer({ directory: join(directory, 'repo') });
  defer(t, () => server.stop());
  const found = new Map<unknown, unknown[]>();
  for (const [side, name] of [
    [ours, 'ours'],
    [theirs, 'theirs'],
  ] as const) {
    await theirs(`init --repo=${name} --mode=archive`);
    await theirs(`remote add --repo=${name} --no-gpg-verify origin ${server.url}`);
    mkdirSync(join(directory, `${name}-cache`));
    const rows: unknown[] = [];
    for (const text of ['pull OPTIONS origin main', 'remote refs OPTIONS origin', 'remote summary OPTIONS origin']) {
      const done = await side(text.replace('OPTIONS', `--repo=${name} --cache-dir=${name}-cache`));
      // libostree adds a rate to what a pull says.
      const said = text.startsWith('pull') ? '' : done.stdout;
      rows.push([text, done.status, said, readdirSync(join(directory, `${name}-cache`), { recursive: true }).sort()]);
    }
    found.set(name, rows);
  }
  assert.deepEqual(found.get('ours'), found.get('theirs'));
  assert.match(JSON.stringify(found.get('ours')), /summaries/);
});

test('init makes no repository where none was named', { skip }, async (t) => {
  const directory = scratch(t);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', OSTREE_REPO: join(directory, 'named') };
  const ours = await runOurs(['init'], { cwd: directory, env });
  const theirs = await run('ostree', ['init'], { cwd: directory, env, accept: 'any' });
  assert.deepEqual([ours.status, ours.stderr.split('\n').at(-2)], [theirs.status, theirs.stderr.split('\n').at(-2)]);
  assert.deepEqual(readdirSync(directory), []);
});
