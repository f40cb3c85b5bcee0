/** Labels of an SELinux policy: the same commits as libostree makes, and the same refusals. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { readXattrs } from '@cambium/system';
import { firstReason, needsPeer, needsRoot, run, scratch } from '@cambium/testkit';
import { runOurs } from './our-command.test.ts';
import { compare, line, skip } from './two-worlds.test.ts';

const CONTEXTS = `# a policy of its own: libostree asks for no more
/.* u:r:default_t:s0
/usr(/.*)? u:r:usr_t:s0
/usr/(.*/)?bin(/.*)? u:r:bin_t:s0
/usr/lib.*/lib[^/]*\\.so(\\.[^/]*)* -- u:r:lib_t:s0
/usr/bin/[^/]+ -l u:r:bin_link_t:s0
/etc(/.*)? u:r:etc_t:s0
/etc/shadow.* -- u:r:shadow_t:s0
/etc -d u:r:etc_dir_t:s0
/mnt -d u:r:mnt_t:s0
/proc/.* <<none>>
/none(/.*)? <<none>>
/odd/.. u:r:two_bytes_t:s0
/odd/a\\+b\\$ u:r:odd_t:s0
/odd/line u:r:line_t:s0
/home/[^/]+ -d u:r:home_t:s0
`;

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** Puts a policy into a root, with `overrides` in place of its files; an empty one is missing. */
function putPolicy(root: string, overrides: Record<string, string> = {}): void {
  const files: Record<string, string> = {
    config: 'SELINUX=permissive\nSELINUXTYPE=test\n',
    'test/contexts/files/file_contexts': CONTEXTS,
    'test/contexts/files/file_contexts.homedirs': '/home/ann/\\.ssh(/.*)?\tu:r:ssh_t:s0\n',
    'test/contexts/files/file_contexts.local': '/usr/local/own\t--\tu:r:own_t:s0\n/usr/bin/true u:r:true_t:s0',
    'test/contexts/files/file_contexts.subs_dist': '/bin /usr/bin\n/usr/lib64 /usr/lib\n',
    'test/contexts/files/file_contexts.subs': '/srv/www /usr\n',
    'test/policy/policy.33': 'not looked at',
    ...overrides,
  };
  for (const [name, content] of Object.entries(files)) if (content !== '') write(join(root, name), content);
}

function putTree(world: string): void {
  const root = join(world, 'root');
  for (const name of ['etc/shadow', 'etc/shadow-', 'usr/etc/shadow', 'usr/bin/ls', 'usr/bin/true', 'usr/lib/liba.so', 'usr/lib64/libb.so.1.2', 'usr/lib/x.so'])
    write(join(root, name), name);
  for (const name of [
    'odd/é',
    'odd/éé',
    'odd/a+b$',
    'odd/line\n',
    'odd/line\n\n',
    'odd/[a](b)*',
    'odd/\\',
    'home/ann/.ssh/id',
    'none/file',
    'srv/www/bin/x',
    'usr/local/own',
    'bin/sh',
  ])
    write(join(root, name), name);
  for (const name of ['proc', 'mnt', 'home/bob', 'none/dir', 'etc/shadow.d']) mkdirSync(join(root, name), { recursive: true });
  symlinkSync('ls', join(root, 'usr/bin/dir'));
  symlinkSync('/etc/shadow', join(root, 'etc/shadow.link'));
  symlinkSync('usr/lib', join(root, 'lib'));
  putPolicy(join(root, 'etc/selinux'));
}

const LABEL = 'commit --owner-uid=0 --owner-gid=0 --orphan --selinux-policy=root';
const BASE = 'commit --owner-uid=0 --owner-gid=0 -P';

for (const mode of ['archive', 'bare-user', 'bare']) {
  test(`commits are labelled as by libostree: ${mode}`, { skip: firstReason(skip, mode === 'bare' ? needsRoot() : false) }, async (t) => {
    await compare(
      scratch(t),
      // How objects are stored is no concern of labels: a few lines will do for the third way.
      [
        line(`${LABEL} --tree=dir=root`, { before: putTree }),
        line(`${LABEL} root`),
        line(`${LABEL} --tree=dir=tree --tree=dir=root`),
        line(`${LABEL} --no-xattrs --tree=dir=root`),
        line(`${LABEL} --canonical-permissions --tree=dir=root`),
        line(`${BASE} -b whole root`),
        line(`${BASE} -b whole --tree=dir=root --tree=dir=second`),
        line(`ls -RX whole`),
        // As a deployment has it: only there is the policy of a commit looked for.
        line(`${BASE} -b deployed --tree=dir=root`, {
          before: (world) => putPolicy(join(world, 'root/usr/etc/selinux'), { config: 'SELINUX=Enforcing\nSELINUXTYPE=test\n' }),
        }),
        line(`commit --orphan -P --tree=ref=deployed`),
        line(`commit --orphan -P --base=deployed --tree=dir=second`),
        line(`commit --orphan -P --base=deployed --tree=ref=deployed`),
        line(`commit --orphan --selinux-policy=tree -P --tree=ref=deployed`),
        line(`commit --orphan --selinux-policy=root --tree=ref=deployed --mode-ro-executables`),
        line(`commit -b plain --tree=dir=root --no-xattrs`),
        line(`commit --orphan -P --tree=ref=plain`),
        line(`commit --orphan -P --base=plain --tree=ref=plain`),
        line(`checkout ${mode === 'bare-user' ? '-U ' : ''}plain linked`, { sameOutput: false }),
        line(`${LABEL} --link-checkout-speedup --tree=dir=linked`),
        line(`${LABEL} -I --tree=dir=linked`),
        line(`${LABEL} --consume --tree=dir=root`),
        line('fsck'),
        // Where a policy has no label libostree crashes, so not all of it.
        line('checkout --selinux-policy=second --subpath=/usr whole some', { before: (world) => putPolicy(join(world, 'second/etc/selinux')) }),
        line('checkout -U --selinux-policy=second --selinux-prefix=/etc/deep --subpath=/usr whole usr'),
        line('checkout --selinux-policy=nowhere whole none'),
        line('checkout --selinux-policy= whole none'),
        line('checkout --selinux-policy=second -H whole none'),
        line('checkout --selinux-prefix=/usr whole none'),
      ].slice(0, mode === 'bare-user' ? 3 : undefined),
      { mode },
    );
  });
}

test('archives are labelled as by libostree', { skip: firstReason(skip, needsPeer('tar')) }, async (t) => {
  const directory = scratch(t);
  const pack = (world: string): void => {
    putTree(world);
    for (const [name, paths] of Object.entries({ all: ['.'], some: ['./usr/lib64/libb.so.1.2', './usr/bin/dir', './etc'] })) {
      write(join(world, `${name}.list`), paths.join('\n'));
    }
  };
  const worlds = ['theirs', 'ours'].map((name) => join(directory, name));
  for (const world of worlds) {
    pack(world);
    for (const name of ['all', 'some']) {
      await run('tar', [
        '-C',
        join(world, 'root'),
        '--sort=name',
        '--mtime=@0',
        '--owner=0',
        '--group=0',
        '-cf',
        join(world, `${name}.tar`),
        '-T',
        join(world, `${name}.list`),
      ]);
    }
  }
  await compare(directory, [
    line('commit --orphan --selinux-policy=root --tree=tar=all.tar'),
    line('commit --orphan --selinux-policy=root --tree=tar=some.tar'),
    line('commit --orphan --selinux-policy=root --tar-autocreate-parents --tree=tar=some.tar'),
    line('commit --orphan --selinux-policy=root --tar-autocreate-parents --tar-pathname-filter=^usr/lib64,etc --tree=tar=some.tar'),
    line('commit --orphan -P --tree=tar=all.tar'),
  ]);
});

test('policies that are off, incomplete or broken', { skip }, async (t) => {
  const overrides = (name: string, files: Record<string, string>) => (world: string) => {
    rmSync(join(world, 'p'), { recursive: true, force: true });
    putPolicy(join(world, 'p', name), files);
  };
  const commit = 'commit --orphan --owner-uid=0 --owner-gid=0 --selinux-policy=p tree';
  const bad = { sameMessage: false };
  await compare(scratch(t), [
    line(commit, { before: (world) => mkdirSync(join(world, 'p')) }),
    line(commit, { before: overrides('etc/selinux', { config: 'SELINUX=disabled\nSELINUXTYPE=test\n' }) }),
    line(commit, { before: overrides('etc/selinux', { config: '' }) }),
    line(commit, { before: overrides('etc/selinux', { config: 'SELINUXTYPE=test \nSELINUX=enforcing\nSELINUX=disabled' }) }),
    line(commit, { before: overrides('usr/etc/selinux', {}) }),
    // What is not at the first place is not looked for at the second.
    line(commit, { before: (world) => mkdirSync(join(world, 'p/etc/selinux'), { recursive: true }) }),
    line(commit, { before: overrides('etc/selinux', { 'test/contexts/files/file_contexts': '' }), ...bad }),
    line(commit, { before: overrides('etc/selinux', { 'test/policy/policy.33': '' }), ...bad }),
    line(commit, { before: overrides('etc/selinux', { 'test/policy/policy.33': '', 'test/policy/policy.x': 'x' }), ...bad }),
    line(commit, { before: overrides('etc/selinux', { 'test/contexts/files/file_contexts': '/.+ u:r:t:s0\n' }), ...bad }),
    line(commit, { before: overrides('etc/selinux', { 'test/contexts/files/file_contexts': '/.* u:r:t:s0\n/x\n' }), ...bad }),
    line(commit, { before: overrides('etc/selinux', { 'test/contexts/files/file_contexts': '/.* -z u:r:t:s0\n' }), ...bad }),
    line(commit, { before: overrides('etc/selinux', { 'test/contexts/files/file_contexts.local': '/.* -- ä\n' }), ...bad }),
    // A broken pattern is nobody's concern while no path gets to it.
    line(commit, { before: overrides('etc/selinux', { 'test/contexts/files/file_contexts.local': '/elsewhere/(.* u:r:t:s0\n' }) }),
    line('commit --orphan --selinux-policy=nowhere tree'),
    line('commit --orphan --selinux-policy= tree'),
    line('commit --orphan --selinux-policy=tree/file tree'),
    line('commit --orphan --selinux-policy=p -P tree'),
  ]);
});

test('later than libostree 2022.7: what epoch 1 labels, and refusals of our own', { skip }, async (t) => {
  const cwd = scratch(t);
  putTree(cwd);
  const env = { ...process.env, SOURCE_DATE_EPOCH: '0', OSTREE_REPO: 'repo' };
  const ours = async (text: string): Promise<string> => {
    const { status, stdout, stderr } = await runOurs(line(text).args, { cwd, env });
    return status === 0 ? stdout : stderr;
  };
  await ours('init --repo=repo --mode=archive');
  const labelOf = async (path: string): Promise<string> => /b'(u:r:[^']*)'/.exec(await ours(`ls -X labelled ${path}`))?.[1] ?? '';
  await ours('commit -b labelled --selinux-policy=root --selinux-labeling-epoch=0 root');
  assert.deepEqual([await labelOf('/usr/etc/shadow'), await labelOf('/etc/shadow')], ['u:r:usr_t:s0', 'u:r:shadow_t:s0']);
  await ours('commit -b labelled --selinux-policy=root --selinux-labeling-epoch=1 root');
  assert.deepEqual([await labelOf('/usr/etc/shadow'), await labelOf('/etc/shadow')], ['u:r:shadow_t:s0', 'u:r:shadow_t:s0']);
  // As printed by `ostree commit` of libostree 2026.4 with the same flags, and SOURCE_DATE_EPOCH=0.
  for (const [epoch, checksum] of [
    [0, '8cc41d79646b53304d0ca107794623e59e11c80270214fa301509c4250b6cc25'],
    [1, 'd797a96f07159811c9d8ade9d7ffb9c7cfd3fcaf97502535cf8efb945aee89bc'],
  ] as const) {
    assert.equal(await ours(`commit --orphan --canonical-permissions --selinux-policy=root --selinux-labeling-epoch=${epoch} root`), `${checksum}\n`);
  }
  assert.match(await ours('commit --orphan --selinux-labeling-epoch=2 root'), /^error: Unknown SELinux labeling epoch: 2\n$/);
  await ours('init --repo=own --mode=bare-user-only');
  assert.match(await ours('commit --repo=own --orphan --selinux-policy=root root'), /^error: Cannot commit: bare-user-only repositories have no place/);
  write(join(cwd, 'root/etc/selinux/test/contexts/files/file_contexts.local'), '/odd/(?=x).* u:r:t:s0\n');
  assert.match(await ours('commit --orphan --selinux-policy=root root'), /^error: Unsupported pattern "\/odd\/\(\?=x\)/);
});

test('checkouts label everything they make, instead of what the commit has', { skip: firstReason(skip, needsRoot()) }, async (t) => {
  const cwd = scratch(t);
  putTree(cwd);
  const env = { ...process.env, SOURCE_DATE_EPOCH: '0', OSTREE_REPO: 'repo' };
  const ours = async (text: string): Promise<string> => {
    const { status, stdout, stderr } = await runOurs(line(text).args, { cwd, env });
    assert.equal(status, 0, stderr);
    return stdout.trim();
  };
  await ours('init --repo=repo --mode=archive');
  const plain = await ours('commit -b plain --no-xattrs --owner-uid=0 --owner-gid=0 root');
  const labelled = await ours('commit --orphan --selinux-policy=root --owner-uid=0 --owner-gid=0 root');
  await ours('checkout --selinux-policy=root plain one');
  assert.equal(await ours('commit --orphan --tree=dir=one'), labelled, 'what was checked out with labels commits as what was labelled');
  // Another policy: labels of the commit give way, and stay where it has none.
  putPolicy(join(cwd, 'other/etc/selinux'), { 'test/contexts/files/file_contexts': '/.* u:r:other_t:s0\n/usr/bin(/.*)? <<none>>\n' });
  const label = (path: string): string | undefined =>
    readXattrs(join(cwd, path))
      .find(([name]) => Buffer.from(name).toString() === 'security.selinux')
      ?.map((part) => Buffer.from(part).toString())[1];
  await ours(`checkout --selinux-policy=other ${labelled} two`);
  assert.deepEqual(['two', 'two/etc/shadow', 'two/lib', 'two/usr/bin/dir', 'two/usr/bin/ls'].map(label), [
    'u:r:other_t:s0\0',
    'u:r:other_t:s0\0',
    'u:r:other_t:s0\0',
    'u:r:bin_link_t:s0\0',
    'u:r:bin_t:s0\0',
  ]);
  // Where a tree will stand: without a prefix, where it stood.
  await ours('checkout --selinux-policy=root --subpath=/usr/etc plain three');
  await ours('checkout --selinux-policy=root --subpath=/usr/etc --selinux-prefix=/etc plain four');
  await ours('checkout --selinux-policy=root --subpath=/usr/etc/shadow --selinux-prefix=/etc/shadow- plain five');
  assert.deepEqual(['three', 'three/shadow', 'four', 'four/shadow', 'five/shadow'].map(label), [
    'u:r:usr_t:s0\0',
    'u:r:usr_t:s0\0',
    'u:r:etc_dir_t:s0\0',
    'u:r:shadow_t:s0\0',
    'u:r:shadow_t:s0\0',
  ]);
  await ours('checkout -U --selinux-policy=root plain six');
  assert.equal(label('six/etc/shadow'), undefined);
  assert.notEqual(plain, labelled);
});

test('labels are sorted among other attributes, so that later versions and bare repositories take them', {
  skip: firstReason(skip, needsPeer('setfattr'), needsRoot()),
}, async (t) => {
  const cwd = scratch(t);
  putTree(cwd);
  await run('setfattr', ['-n', 'user.first', '-v', '1', 'root/usr/bin/ls'], { cwd });
  await run('setfattr', ['-n', 'security.selinux', '-v', 'old', 'root/usr/bin/ls'], { cwd });
  const env = { ...process.env, SOURCE_DATE_EPOCH: '0', OSTREE_REPO: 'repo' };
  const ours = (text: string) => runOurs(line(text).args, { cwd, env });
  await ours('init --repo=repo --mode=bare');
  await ours('commit -b main --selinux-policy=root root');
  assert.match(
    (await run('ostree', ['ls', '-X', 'main', '/usr/bin/ls'], { cwd, env })).stdout,
    /\[\(b'security\.selinux', b'u:r:bin_t:s0'\), \(b'user\.first', \[(?:byte )?0x31\]\)\]/,
  );
  await run('ostree', ['fsck'], { cwd, env });
});
