import assert from 'node:assert/strict';
import { chmodSync, linkSync, mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { collect } from '@cambium/base';
import { needsPeer, needsRoot, run, scratch } from '@cambium/testkit';
import { type WalkedEntry, walkDirectory } from './walk-directory.ts';

test('entries are what find sees, parents first, siblings by bytes', { skip: needsPeer('find', 'mkfifo') }, async (t) => {
  const root = join(scratch(t), 'tree');
  mkdirSync(join(root, 'b/deep/er'), { recursive: true });
  // UTF-16 would put the second before the first.
  for (const name of ['\uffee', '\u{1f600}', 'B', 'a', 'a-b', 'a.b', 'é', 'new\nline']) writeFileSync(join(root, name), name);
  mkdirSync(join(root, 'a-dir'));
  writeFileSync(join(root, 'b/deep/er/file'), Buffer.alloc(600_000, 'x'));
  linkSync(join(root, 'b/deep/er/file'), join(root, 'b/again'));
  symlinkSync('../outside/ü', join(root, 'link'));
  symlinkSync('b', join(root, 'link-to-directory'));
  chmodSync(join(root, 'B'), 0o4751);
  utimesSync(join(root, 'a'), 1_000_000_000, 1_234_567_890.5);
  await run('mkfifo', [join(root, 'fifo')]);
  if (needsRoot() === false) await run('mknod', [join(root, 'disk'), 'b', '259', '1000000']);
  const server = createServer().listen(join(root, 'socket'));
  t.after(() => server.close());

  const entries = [...walkDirectory(root)];
  const kinds: Record<string, string> = { f: 'file', d: 'directory', l: 'symlink', p: 'fifo', s: 'socket', b: 'block' };
  const { stdout } = await run('find', [root, '-printf', '%P\\0%y\\0%m\\0%U\\0%G\\0%s\\0%l\\0%T@\\0']);
  const fields = stdout.split('\0');
  const found = new Map<string, unknown[]>();
  for (let i = 0; i + 8 <= fields.length; i += 8) {
    const [path = '', kind = '', mode = '', uid, gid, size, target, mtime] = fields.slice(i, i + 8);
    found.set(path, [
      kinds[kind],
      Number.parseInt(mode, 8),
      Number(uid),
      Number(gid),
      kind === 'f' ? Number(size) : 0,
      target,
      Math.floor(Number(mtime) * 1000),
    ]);
  }
  assert.equal(entries.length, found.size);
  for (const e of entries) {
    assert.deepEqual([e.kind, e.mode, e.uid, e.gid, e.size, e.target ?? '', Math.floor(e.mtime * 1000)], found.get(e.path), e.path);
    assert.equal(e.fullPath, e.path === '' ? root : join(root, e.path));
  }
  const sorted = (paths: string[]): string[] =>
    paths.sort((a, b) => Buffer.compare(Buffer.from(a.replaceAll('/', '\0')), Buffer.from(b.replaceAll('/', '\0'))));
  const paths = entries.map((entry) => entry.path);
  assert.deepEqual(paths, sorted([...paths]));
  const file = entries.find((entry) => entry.path === 'b/deep/er/file');
  const again = entries.find((entry) => entry.path === 'b/again');
  assert.equal(file?.linkTo, 'b/again');
  assert.equal(again?.linkTo, undefined);
  assert.equal(again?.fileId, file?.fileId);
  if (needsRoot() === false) {
    const disk = entries.find((entry) => entry.path === 'disk');
    assert.deepEqual([disk?.deviceMajor, disk?.deviceMinor], [259, 1_000_000]);
  }
  for (let times = 0; times < 2; times++) assert.equal((await collect(file?.open?.() ?? assert.fail(), 1 << 20)).length, 600_000);
});

test('attributes come from the function given, and what is not selected is left out with all below', (t) => {
  const root = scratch(t);
  mkdirSync(join(root, 'no/below'), { recursive: true });
  writeFileSync(join(root, 'yes'), '');
  const asked: string[] = [];
  const readXattrs = (path: string): [Uint8Array, Uint8Array][] => {
    asked.push(path);
    return [[Buffer.from('user.x'), Buffer.from('y')]];
  };
  const entries = [...walkDirectory(root, { readXattrs, select: (entry) => entry.path !== 'no' })];
  assert.deepEqual(
    entries.map((entry) => [entry.path, entry.xattrs.length]),
    [
      ['', 1],
      ['yes', 1],
    ],
  );
  assert.deepEqual(asked, [root, join(root, 'no'), join(root, 'yes')]);
  assert.deepEqual([...walkDirectory(root, { select: () => false })], []);
});

test('names and targets that are not UTF-8 are refused; a real replacement character is not', async (t) => {
  const root = scratch(t);
  writeFileSync(join(root, 'real \ufffd'), '');
  symlinkSync('to \ufffd', join(root, 'link'));
  assert.deepEqual(
    [...walkDirectory(root)].map((entry) => [entry.path, entry.target]),
    [
      ['', undefined],
      ['link', 'to \ufffd'],
      ['real \ufffd', undefined],
    ],
  );
  const bad = Buffer.concat([Buffer.from(`${root}/bad`), Buffer.from([0xff])]);
  symlinkSync(Buffer.from([0x74, 0xff]), join(root, 'z-link'));
  assert.throws(() => [...walkDirectory(root)], { code: 'TREE_PATH_NOT_UTF8' });
  rmSync(join(root, 'z-link'));
  writeFileSync(bad, '');
  assert.throws(
    () => [...walkDirectory(root)],
    (error: Error & { code?: string }) => error.code === 'TREE_PATH_NOT_UTF8' && error.message.includes('bad\\xff'),
  );
});

test('what is missing, no directory, changed, or not allowed has a code', async (t) => {
  const root = scratch(t);
  assert.throws(() => [...walkDirectory(join(root, 'missing'))], { code: 'TREE_DIRECTORY_NOT_FOUND' });
  writeFileSync(join(root, 'file'), 'four');
  assert.throws(() => [...walkDirectory(join(root, 'file'))], { code: 'TREE_DIRECTORY_NOT_FOUND' });
  const entries = [...walkDirectory(root)];
  const file = entries[1] as WalkedEntry;
  writeFileSync(join(root, 'file'), 'five!');
  await assert.rejects(collect(file.open?.() ?? assert.fail(), 100), { code: 'TREE_FILE_CHANGED' });
  rmSync(join(root, 'file'));
  await assert.rejects(collect(file.open?.() ?? assert.fail(), 100), { code: 'TREE_FILE_CHANGED' });
  symlinkSync('/etc/passwd', join(root, 'file'));
  await assert.rejects(collect(file.open?.() ?? assert.fail(), 100_000), { code: 'TREE_FILE_CHANGED' });
  // A link in the place of the root is not followed either.
  assert.throws(() => [...walkDirectory(join(root, 'file'))], { code: 'TREE_DIRECTORY_NOT_FOUND' });
});

test('a file that goes while its directory is walked is said to have changed', (t) => {
  const root = scratch(t);
  for (const name of ['a', 'b']) writeFileSync(join(root, name), '');
  assert.throws(
    () => {
      for (const entry of walkDirectory(root)) if (entry.path === 'a') rmSync(join(root, 'b'));
    },
    { code: 'TREE_FILE_CHANGED' },
  );
});

test('a walk stops when told to', (t) => {
  const root = scratch(t);
  mkdirSync(join(root, 'a/b'), { recursive: true });
  const controller = new AbortController();
  assert.throws(() => {
    for (const entry of walkDirectory(root, { signal: controller.signal })) if (entry.path === 'a') controller.abort(new Error('stop'));
  }, /stop/);
  assert.equal(readdirSync(root).length, 1);
});
