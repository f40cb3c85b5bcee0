import assert from 'node:assert/strict';
import { appendFileSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { type Checksum, isKnownError } from '@cambium/base';
import { makeNode } from '@cambium/system';
import { firstReason, needsRoot, scratch } from '@cambium/testkit';
import { encodeXattrList } from '../format/framing.ts';
import { checksumOf, encodeFilezHeader, fileChecksum } from '../format/object-format.ts';
import type { FileHeader } from '../format/types.ts';
import { pullLocal } from '../pull/pull-local.ts';
import { commitOurs, isRoot, makeSampleTree, WRITABLE_MODES } from '../sample-trees.test.ts';
import { Transaction } from '../write/transaction.ts';
import { Repo } from './repo.ts';

const PLAIN: FileHeader = { uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] };

async function drain(repo: Repo, checksum: Checksum): Promise<number> {
  let seen = 0;
  for await (const chunk of repo.openFile(checksum)) seen += chunk.byteLength;
  return seen;
}

for (const mode of WRITABLE_MODES.filter((mode) => isRoot || mode !== 'bare')) {
  test(`${mode}: damage anywhere in a file object is noticed, whichever way it is read`, async (t) => {
    const at = scratch(t);
    makeSampleTree(join(at, 'src'));
    const { repo } = await commitOurs(join(at, 'r'), mode, join(at, 'src'));
    const root = repo.readCommit(repo.refs.resolve('main')).root;
    const d = repo.readDirTree(root.tree).dirs.find(({ name }) => name === 'd');
    const files = repo.readDirTree(d?.tree as Checksum).files.filter(({ name }) => name === 'random' || name === 'suid');
    assert.equal(files.length, 2);
    for (const { checksum } of files) {
      const path = repo.objectPath('file', checksum);
      const bytes = readFileSync(path);
      const { sizeBytes } = repo.readFileHeader(checksum);
      assert.equal(await drain(repo, checksum), sizeBytes);
      for (const offset of [8, bytes.length >> 1, bytes.length - 1]) {
        const changed = Buffer.from(bytes);
        changed[offset % bytes.length] = (changed[offset % bytes.length] as number) ^ 0x55;
        writeFileSync(path, changed);
        assert.throws(() => repo.readFile(checksum, 1e8), { code: 'OSTREE_OBJECT_CORRUPT' });
        await assert.rejects(drain(repo, checksum), { code: 'OSTREE_OBJECT_CORRUPT' });
        if (mode === 'archive') continue;
        const actual = fileChecksum(repo.readFileHeader(checksum).header, changed);
        assert.notEqual(actual, checksum);
        assert.throws(() => repo.readFile(checksum, 1e8), { data: { checksum, type: 'file', actual } });
        await assert.rejects(drain(repo, checksum), { data: { checksum, type: 'file', actual } });
      }
      writeFileSync(path, bytes.subarray(0, bytes.length - 1));
      assert.throws(() => repo.readFile(checksum, 1e8), { code: 'OSTREE_OBJECT_CORRUPT' });
      await assert.rejects(drain(repo, checksum), { code: 'OSTREE_OBJECT_CORRUPT' });
      rmSync(path);
      assert.throws(() => repo.readFile(checksum, 1e8), { code: 'OSTREE_OBJECT_MISSING' });
      assert.throws(() => repo.openFile(checksum), { code: 'OSTREE_OBJECT_MISSING' });
    }
  });
}

test('limits hold before memory is used: sizes, headers, bombs', async (t) => {
  const repo = await Repo.init(join(scratch(t), 'r'), { mode: 'archive' });
  const put = (bytes: Uint8Array, header = PLAIN, content: Uint8Array = new Uint8Array(0)): Checksum => {
    const checksum = fileChecksum(header, content);
    mkdirSync(dirname(repo.objectPath('file', checksum)), { recursive: true });
    writeFileSync(repo.objectPath('file', checksum), bytes);
    return checksum;
  };
  const bomb = put(Buffer.concat([encodeFilezHeader(PLAIN, 10), deflateRawSync(Buffer.alloc(50_000_000))]));
  assert.throws(() => repo.readFile(bomb, 100), { code: 'OSTREE_OBJECT_CORRUPT' });
  const streamed = put(Buffer.concat([encodeFilezHeader(PLAIN, 2_000_000), deflateRawSync(Buffer.alloc(50_000_000))]));
  await assert.rejects(drain(repo, streamed), { code: 'OSTREE_OBJECT_CORRUPT' });
  const claim = put(encodeFilezHeader(PLAIN, 2 ** 50));
  assert.throws(() => repo.readFile(claim, 1e9), { code: 'OSTREE_OBJECT_TOO_LARGE' });
  const long = put(Buffer.from('7fffffff00000000', 'hex'));
  assert.throws(
    () => repo.readFileHeader(long),
    (error) => isKnownError(error, 'OSTREE_OBJECT_CORRUPT'),
  );
  const empty = put(new Uint8Array(0));
  assert.throws(() => repo.readFileHeader(empty), { code: 'OSTREE_OBJECT_CORRUPT' });
  // libostree takes bytes after the stream too: nothing depends on them.
  const content = Buffer.from('content');
  const trailing = put(Buffer.concat([encodeFilezHeader(PLAIN, 7), deflateRawSync(content)]), PLAIN, content);
  appendFileSync(repo.objectPath('file', trailing), 'garbage');
  assert.equal(Buffer.from(repo.readFile(trailing, 7)).toString(), 'content');
  rmSync(repo.objectPath('file', trailing));
  symlinkSync('/etc/passwd', repo.objectPath('file', trailing));
  assert.throws(() => repo.readFile(trailing, 1e6), { code: 'OSTREE_OBJECT_CORRUPT' });
});

test('a FIFO, an endless device or a dangling link in the place of an object is a known error, at once', async (t) => {
  const at = scratch(t);
  mkdirSync(join(at, 'src'));
  writeFileSync(join(at, 'src/f'), 'content');
  for (const mode of WRITABLE_MODES.filter((mode) => isRoot || mode !== 'bare')) {
    const { repo, checksum } = await commitOurs(join(at, mode), mode, join(at, 'src'));
    const { tree } = repo.readCommit(checksum).root;
    const [file] = repo.readDirTree(tree).files;
    repo.writeDetachedMetadata(checksum, []);
    const target = await Repo.init(join(at, `${mode}-copy`), { mode });
    for (const [kind, put] of Object.entries({
      fifo: (path: string) => makeNode(path, 0o010644),
      zero: (path: string) => symlinkSync('/dev/zero', path),
      dangling: (path: string) => symlinkSync('nowhere', path),
    })) {
      for (const [path, read] of [
        [repo.objectPath('dirtree', tree), () => repo.readDirTree(tree)],
        [repo.objectPath('commitmeta', checksum), () => repo.readDetachedMetadata(checksum)],
        [repo.objectPath('file', file?.checksum as Checksum), () => repo.readFile(file?.checksum as Checksum, 100)],
      ] as const) {
        const bytes = `${path}.aside`;
        renameSync(path, bytes);
        put(path);
        assert.throws(read, (error) => isKnownError(error) && /^OSTREE_OBJECT_(CORRUPT|MISSING)$/.test(error.code), `${mode} ${kind} ${path}`);
        await assert.rejects(pullLocal(target, repo, { refs: ['main'], untrusted: true }), (error) => isKnownError(error));
        assert.equal(target.hasObject('commit', checksum), false);
        rmSync(path);
        renameSync(bytes, path);
      }
    }
  }
});

test('metadata that is a link is read, and never linked into another repository', async (t) => {
  const at = scratch(t);
  const { repo, checksum } = await commitOurs(join(at, 'r'), 'archive', scratch(t));
  const path = repo.objectPath('commit', checksum);
  renameSync(path, join(at, 'elsewhere'));
  symlinkSync(join(at, 'elsewhere'), path);
  const target = await Repo.init(join(at, 'copy'), { mode: 'archive' });
  await pullLocal(target, repo, { refs: ['main'] });
  assert.ok(lstatSync(target.objectPath('commit', checksum)).isFile());
});

test('bare-split-xattrs repositories are read', { skip: firstReason(needsRoot()) }, async (t) => {
  const at = scratch(t);
  const { repo } = await commitOurs(join(at, 'r'), 'bare', scratch(t));
  const header: FileHeader = { ...PLAIN, xattrs: [[Buffer.from('user.split'), Buffer.from('v')]] };
  const content = Buffer.from('content');
  const checksum = fileChecksum(header, content);
  const list = encodeXattrList(header.xattrs);
  for (const path of [repo.objectPath('file', checksum), repo.objectPath('file-xattrs', checksumOf(list))]) mkdirSync(dirname(path), { recursive: true });
  writeFileSync(repo.objectPath('file', checksum), content);
  writeFileSync(repo.objectPath('file-xattrs', checksumOf(list)), list);
  linkSync(repo.objectPath('file-xattrs', checksumOf(list)), repo.objectPath('file-xattrs-link', checksum));
  repo.config.set('core', 'mode', 'bare-split-xattrs');
  writeFileSync(join(repo.path, 'config.new'), repo.config.toString());
  renameSync(join(repo.path, 'config.new'), join(repo.path, 'config'));
  const split = await Repo.open(repo.path);
  assert.equal(Buffer.from(split.readFile(checksum, 100)).toString(), 'content');
  assert.equal(split.readFileHeader(checksum).header.xattrs.length, 1);
  await assert.rejects(Transaction.begin(split), { code: 'OSTREE_REPO_UNSUPPORTED' });
  assert.ok(readdirSync(join(repo.path, 'objects')).length > 0);
});
