/** Exported archives against `ostree export`, and back through `ostree commit` and GNU tar. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readTar } from '@cambium/archive';
import { type Bytes, bytesOf, collect, sha256Hex } from '@cambium/base';
import { setXattr } from '@cambium/system';
import { needsPeer, run, scratch } from '@cambium/testkit';
import { readRev } from '../repo/lookup.ts';
import { Repo } from '../repo/repo.ts';
import { type ExportTarOptions, exportTar } from './export-tar.ts';

const SKIP = { skip: needsPeer('ostree') };
const LIMIT = 1 << 28;

interface Listed {
  path: string;
  type: string;
  mode: string;
  owner: string;
  mtime: number;
  target: string;
  content: string;
  xattrs: string[];
}

async function entriesOf(archive: Bytes): Promise<Listed[]> {
  const entries: Listed[] = [];
  for await (const file of readTar(archive)) {
    entries.push({
      path: Buffer.from(file.path).toString(),
      type: file.type,
      mode: file.mode.toString(8),
      owner: `${file.uid}:${file.gid}`,
      mtime: file.mtime,
      target: Buffer.from(file.linkPath).toString(),
      content: file.type === 'file' ? sha256Hex(await collect(file.body(), LIMIT)) : '',
      xattrs: file.xattrs.map(([name, value]) => `${Buffer.from(name)}=${Buffer.from(value)}`),
    });
  }
  return entries;
}

/** Makes a bare-user repository with one commit: owners and attributes need no root there. Returns whether attributes could be set. */
async function makeRepo(directory: string): Promise<{ repo: string; hasXattrs: boolean }> {
  const repo = join(directory, 'repo');
  const tree = join(directory, 'tree');
  mkdirSync(join(tree, 'd/sub/deep'), { recursive: true });
  mkdirSync(join(tree, 'private'));
  const write = (name: string, content: string | Uint8Array, mode = 0o644): void => {
    writeFileSync(join(tree, name), content);
    chmodSync(join(tree, name), mode);
  };
  write('file', 'hello\n');
  write('empty', '');
  write('zz-suid', 'suid', 0o4755);
  write('naïve ☃', 'unicode');
  write('d/same', 'hello\n');
  write('d/large', Buffer.alloc(5_000_000, 'larger than what is read at once '));
  write(`d/${'n'.repeat(200)}`, 'long');
  write('d/sub/x', 'x', 0o600);
  symlinkSync('../file', join(tree, 'd/link'));
  symlinkSync('t'.repeat(300), join(tree, 'd/long-target'));
  chmodSync(join(tree, 'private'), 0o700);
  chmodSync(join(tree, 'd/sub'), 0o1777);
  let hasXattrs = true;
  try {
    setXattr(join(tree, 'file'), 'user.foo', Buffer.from('bar'));
    setXattr(join(tree, 'd'), 'user.dir', Buffer.from('value'));
  } catch {
    hasXattrs = false;
  }
  await run('ostree', [`--repo=${repo}`, 'init', '--mode=bare-user']);
  await run('ostree', [`--repo=${repo}`, 'commit', '-b', 'main', '-s', 's', '--timestamp=@1500000000', '--owner-uid=1234', '--owner-gid=3000000', tree]);
  return { repo, hasXattrs };
}

async function ours(repo: string, options: ExportTarOptions = {}): Promise<Uint8Array> {
  const open = await Repo.open(repo);
  return collect(exportTar(open, readRev(open, 'main').commit, options), LIMIT);
}

test('entries, order and fields are those of ostree export', SKIP, async (t) => {
  const { repo, hasXattrs } = await makeRepo(scratch(t));
  const cases: [ExportTarOptions, string[]][] = [
    [{}, []],
    [{ noXattrs: true }, ['--no-xattrs']],
    [{ prefix: 'pre/fix/' }, ['--prefix=pre/fix/']],
    [{ prefix: 'joined' }, ['--prefix=joined']],
    [{ subpath: '/d' }, ['--subpath=/d']],
    [{ subpath: 'd/sub', prefix: '/absolute/' }, ['--subpath=d/sub', '--prefix=/absolute/']],
  ];
  for (const [options, flags] of cases) {
    const { stdoutBytes } = await run('ostree', [`--repo=${repo}`, 'export', 'main', ...flags]);
    const theirs = await entriesOf(bytesOf(stdoutBytes));
    const mine = await entriesOf(bytesOf(await ours(repo, options)));
    assert.ok(theirs.length >= 3);
    const count = mine.filter((entry) => entry.xattrs.length > 0).length;
    if (options.noXattrs === true) assert.equal(count, 0);
    else if (hasXattrs && options.subpath === undefined) assert.equal(count, 2);
    // The GNU form that libostree writes has no room for them.
    assert.deepEqual(
      mine.map((entry) => ({ ...entry, xattrs: [] })),
      theirs,
      flags.join(' '),
    );
  }
});

test('ostree commits the archive to the very same tree, attributes included', SKIP, async (t) => {
  const directory = scratch(t);
  const { repo } = await makeRepo(directory);
  const path = join(directory, 'export.tar');
  writeFileSync(path, await ours(repo));
  await run('ostree', [`--repo=${repo}`, 'commit', '-b', 'again', '-s', 's', `--tree=tar=${path}`]);
  const root = async (rev: string): Promise<string> => (await run('ostree', [`--repo=${repo}`, 'ls', '-d', '-C', rev])).stdout;
  assert.equal(await root('again'), await root('main'));
});

test('tar extracts what ostree checks out', { skip: needsPeer('ostree', 'tar', 'diff') }, async (t) => {
  const directory = scratch(t);
  const { repo } = await makeRepo(directory);
  mkdirSync(join(directory, 'extracted'));
  const { stderr } = await run('tar', ['-C', join(directory, 'extracted'), '--no-same-owner', '-xpf', '-'], { input: await ours(repo) });
  assert.equal(stderr, '');
  await run('ostree', [`--repo=${repo}`, 'checkout', '-U', 'main', join(directory, 'checkout')]);
  await run('diff', ['-r', '--no-dereference', join(directory, 'extracted'), join(directory, 'checkout')]);
});

test('equal commits give equal bytes', SKIP, async (t) => {
  const { repo } = await makeRepo(scratch(t));
  assert.deepEqual(await ours(repo), await ours(repo));
});

test('a path that is missing or a file, and a corrupt object, have codes', SKIP, async (t) => {
  const { repo } = await makeRepo(scratch(t));
  await assert.rejects(ours(repo, { subpath: '/nope' }), { code: 'OSTREE_PATH_NOT_FOUND' });
  // The real one aborts here with a failed assertion.
  await assert.rejects(ours(repo, { subpath: '/file' }), { code: 'OSTREE_PATH_NOT_DIRECTORY' });
  const open = await Repo.open(repo);
  for (const name of ['empty', 'd/large']) {
    const { stdout } = await run('ostree', [`--repo=${repo}`, 'ls', '-C', 'main', `/${name}`]);
    const checksum = stdout.split(/\s+/).find((word) => word.length === 64) ?? '';
    const path = open.objectPath('file', checksum as never);
    const content = readFileSync(path);
    writeFileSync(path, Buffer.concat([Buffer.from('!'), content.subarray(1)]));
    await assert.rejects(ours(repo), { code: 'OSTREE_OBJECT_CORRUPT' }, name);
    writeFileSync(path, content);
  }
  const { stdout } = await run('ostree', [`--repo=${repo}`, 'ls', '-C', 'main', '/d/same']);
  rmSync(open.objectPath('file', (stdout.split(/\s+/).find((word) => word.length === 64) ?? '') as never));
  await assert.rejects(ours(repo), { code: 'OSTREE_OBJECT_MISSING' });
});
