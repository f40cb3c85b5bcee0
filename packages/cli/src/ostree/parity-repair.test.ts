/** Checks, repairs and comparisons, beside libostree. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, scratch } from '@cambium/testkit';
import { ANY_ORDER, COMMIT, compare, line, SECOND, setUp, skip } from './two-worlds.test.ts';

test('fsck of damaged repositories', { skip }, async (t) => {
  const damage = (kind: 'remove' | 'swap') => (world: string) => {
    const objects = join(world, 'repo/objects');
    const files = readdirSync(objects)
      .flatMap((name) => readdirSync(join(objects, name)).map((rest) => join(objects, name, rest)))
      .filter((path) => path.endsWith('.filez'))
      .sort();
    const [first, second] = files as [string, string];
    if (kind === 'remove') rmSync(first);
    else cpSync(first, second);
  };
  const steps = [setUp(`${COMMIT} --tree=dir=tree`), setUp(`${SECOND}`), line('fsck'), line('fsck -q')];
  await compare(scratch(t), [...steps, line('fsck', { before: damage('remove') }), line('fsck'), line('fsck -q'), line('ls main')]);
  for (const options of ['', ' -a', ' --delete', ' -q -a']) {
    await compare(scratch(t), [
      ...steps,
      // Which of two commits is named first is up to a hash table.
      line(`fsck${options}`, { before: damage('swap'), sameMessage: false }),
      line(`fsck${options}`, { sameMessage: false }),
    ]);
    await compare(scratch(t), [setUp(`${COMMIT} --tree=dir=tree`), line(`fsck${options}`, { before: damage('swap') }), line(`fsck${options}`)]);
  }
  const damageCommit = (change: (path: string) => void) => (world: string) => {
    const at = join(world, 'repo/objects', readFileSync(join(world, 'repo/refs/heads/main'), 'latin1').trim().replace(/^../, '$&/'));
    change(`${at}.commit`);
  };
  for (const options of ['', ' -a', ' --delete', ' -q']) {
    for (const change of [rmSync, (path: string) => writeFileSync(path, 'nonsense')]) {
      // With --all libostree goes on with what it has read, and fails of it.
      const same = { sameMessage: options !== ' -a', sameOutput: options !== ' -a' };
      await compare(scratch(t), [
        setUp(`${COMMIT} --tree=dir=tree`),
        line(`fsck${options}`, { before: damageCommit(change), ...same }),
        line(`fsck${options}`, same),
      ]);
    }
  }
});

test('fsck of bindings', { skip }, async (t) => {
  await compare(scratch(t), [
    setUp(`${COMMIT} --tree=dir=tree --bind-ref=elsewhere`),
    line('fsck --verify-bindings'),
    line('fsck --verify-back-refs'),
    line('fsck --verify-bindings --verify-back-refs'),
    setUp('refs --create=elsewhere main'),
    line('fsck --verify-back-refs'),
    setUp('refs --create=third main'),
    line('fsck --verify-bindings'),
    // Alone it does not look at the refs' own commits.
    line('fsck --verify-back-refs'),
    line('fsck --verify-back-refs --verify-bindings'),
    line('fsck'),
  ]);
  await compare(scratch(t), [
    setUp(`${COMMIT} --tree=dir=tree --bind-ref=away`),
    // A ref of a remote will do.
    setUp('refs --create=origin:away main'),
    line('fsck --verify-back-refs'),
    setUp('commit -b away second'),
    line('fsck --verify-back-refs'),
    line('fsck --verify-back-refs -q'),
  ]);
  await compare(scratch(t), [
    line('fsck --verify-bindings', {
      before: (world) => writeFileSync(join(world, 'repo/config'), `${readFileSync(join(world, 'repo/config'), 'utf8')}collection-id=org.example.Mine\n`),
    }),
    setUp(`${COMMIT} --tree=dir=tree --bind-ref=away`),
    line('fsck --verify-back-refs'),
    setUp('refs --create=away main'),
    line('fsck --verify-back-refs'),
    line('fsck --verify-bindings'),
    setUp('refs --collections --create=org.example.Other:away main'),
    line('fsck --verify-bindings'),
  ]);
});

test('diff', { skip }, async (t) => {
  await compare(scratch(t), [
    setUp(`${COMMIT} --tree=dir=tree`),
    line('diff main'),
    setUp(`${SECOND}`),
    setUp('commit -b kinds second', {
      before: (world) => {
        rmSync(join(world, 'second/dir'), { recursive: true });
        writeFileSync(join(world, 'second/dir'), 'a file now');
        rmSync(join(world, 'second/file'));
        mkdirSync(join(world, 'second/file/below'), { recursive: true });
        symlinkSync('x', join(world, 'second/zlink'));
      },
    }),
    line('diff main'),
    line('diff main^ main'),
    line('diff main main^'),
    line('diff main kinds'),
    line('diff kinds main'),
    line('diff --stats main'),
    line('diff --stats --fs-diff main'),
    line('diff main ./tree'),
    line('diff ./tree main'),
    line('diff main ./tree --owner-uid=0 --owner-gid=0 --no-xattrs'),
    line('diff ./tree ./second', ANY_ORDER),
    line('diff main ./nowhere', { sameMessage: false }),
    line('diff main nope'),
    line('diff'),
  ]);
});

test('prune', { skip }, async (t) => {
  const history = ['1', '2', '3', '4'].map((n) =>
    setUp(`commit -b main -s ${n} --timestamp=@${n}00000000 --owner-uid=0 tree`, { before: (world) => writeFileSync(join(world, 'tree/file'), n) }),
  );
  const steps = [
    ...history,
    setUp('commit -b other -s one second'),
    setUp('commit -b other -s two tree'),
    setUp('commit --orphan -s lost second --add-metadata-string=a=b'),
  ];
  for (const options of [
    [''],
    ['--refs-only --no-prune', '--refs-only', '--refs-only'],
    ['--refs-only --depth=1 --no-prune', '--refs-only --depth=1'],
    ['--depth=0', '--refs-only --depth=0'],
    ['--keep-younger-than=@250000000 --no-prune', '--keep-younger-than=@250000000'],
    ['--only-branch=main --depth=0 --no-prune', '--only-branch=main --depth=0'],
    ['--only-branch=nope --depth=0'],
    ['--keep-younger-than=@250000000 --retain-branch-depth=main=2 --no-prune', '--keep-younger-than=@250000000 --retain-branch-depth=main=2'],
    ['--keep-younger-than=@350000000 --retain-branch-depth=other=0', '--keep-younger-than=@999999999 --retain-branch-depth=main=0'],
    ['--only-branch=other --retain-branch-depth=main=1 --depth=0', '--retain-branch-depth=main=x', '--retain-branch-depth=main=-1 --depth=0'],
    ['--commit-only --refs-only --depth=0', ''],
    ['--retain-branch-depth=main=1', '--retain-branch-depth=main', '--keep-younger-than=garbage', '--static-deltas-only'],
    ['--delete-commit=main --no-prune'],
  ]) {
    const lines = options.map((text) => line(`prune ${text}`.trim()));
    await compare(scratch(t), [...steps, ...lines, line('log main'), line('fsck')]);
  }
});

test('prune --delete-commit', { skip }, async (t) => {
  const first = setUp(`${COMMIT} --tree=dir=tree`);
  const directory = scratch(t);
  await compare(directory, [first]);
  const env = { ...process.env, OSTREE_REPO: join(directory, 'ours/repo') };
  const commit = (await run('ostree', ['rev-parse', 'main'], { env })).stdout.trim();
  await compare(scratch(t), [first, line(`prune --delete-commit=${'0'.repeat(64)}`), line('config get core.tombstone-commits')]);
  await compare(scratch(t), [
    first,
    line(`prune --delete-commit=${commit}`),
    setUp(`${SECOND}`),
    line(`prune --delete-commit=${commit}`),
    line('log main'),
    line(`prune --delete-commit=${commit}`),
    line('fsck'),
  ]);
});

test('checksum', { skip }, async (t) => {
  await compare(scratch(t), [
    line('checksum tree/file'),
    line('checksum tree/script'),
    line('checksum tree/dir'),
    line('checksum tree/dir/link'),
    line('checksum tree/nothing tree/file'),
    line('checksum --ignore-xattrs tree/dir/deep/😀'),
    line('checksum nowhere', { sameMessage: false }),
    line('checksum'),
    line('checksum --repo=repo tree/file'),
  ]);
});
