import assert from 'node:assert/strict';
import { existsSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { collect } from '@cambium/base';
import { needsPeer, run, scratch } from '@cambium/testkit';
import { indexTar, plainTar, readTarMember, tarMember } from './tar-index.ts';
import { END, octalText, rawHeader, rawPax, record } from './tar-oracle.test.ts';

test('members of an archive of GNU tar are found and read at their offsets', { skip: needsPeer('tar') }, async (t) => {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  mkdirSync(join(tree, 'blobs/sha256'), { recursive: true });
  const contents = new Map([
    ['manifest.json', '[]'],
    ['empty', ''],
    ['blobs/sha256/aa', 'x'.repeat(700_001)],
    [`blobs/sha256/${'b'.repeat(150)}`, 'long name'],
    ['blobs/sha256/cc', 'y'.repeat(512 * 40)],
  ]);
  for (const [name, content] of contents) writeFileSync(join(tree, name), content);
  mkdirSync(join(tree, 'id'));
  symlinkSync('../blobs/sha256/aa', join(tree, 'id/layer.tar'));
  symlinkSync('../../../etc/passwd', join(tree, 'id/outside'));
  for (const format of ['gnu', 'pax', 'oldgnu']) {
    const path = join(directory, `${format}.tar`);
    await run('tar', ['-C', tree, `--format=${format}`, '-cf', path, '.']);
    const members = await indexTar(path);
    assert.deepEqual([...members.keys()].sort(), [...contents.keys(), 'id/layer.tar'].sort());
    for (const [name, content] of contents) {
      const member = tarMember(members, `./${name}`, path);
      assert.equal(member.size, content.length);
      assert.equal(Buffer.from(await collect(readTarMember(path, member), 1 << 20)).toString(), content);
    }
    assert.deepEqual(members.get('id/layer.tar'), members.get('blobs/sha256/aa'));
    assert.throws(() => tarMember(members, 'missing', path), { code: 'ARCHIVE_TAR_MEMBER_MISSING' });
  }
});

test('contents are not read: an archive of a petabyte is indexed at once, and a cut one is refused', async (t) => {
  const path = join(scratch(t), 'large.tar');
  // A file system of 4 KiB blocks holds files up to 16 TiB; this one is nearly all hole.
  const size = 2 ** 40;
  writeFileSync(path, Buffer.concat([rawPax(record('size', `${size}`)), rawHeader({ name: 'large' })]));
  truncateSync(path, 1536 + size);
  writeFileSync(path, Buffer.concat([rawHeader({ name: 'after', size: octalText(3) }), Buffer.alloc(512, 'abc'), END]), { flag: 'a' });
  const limits = { maxTotalBytes: 2 ** 42 };
  const members = await indexTar(path, { limits });
  assert.deepEqual(Object.fromEntries(members), { large: { offset: 1536, size }, after: { offset: 1536 + size + 512, size: 3 } });
  assert.equal(Buffer.from(await collect(readTarMember(path, members.get('after') ?? assert.fail()), 10)).toString(), 'abc');
  truncateSync(path, 1536 + size - 512);
  await assert.rejects(indexTar(path, { limits }), { code: 'ARCHIVE_TAR_TRUNCATED' });
  await assert.rejects(collect(readTarMember(path, { offset: 1000 + size, size: 1000 }), 1 << 20), { code: 'ARCHIVE_TAR_TRUNCATED' });
});

test('the last of equal names counts; loops of links end', async (t) => {
  const path = join(scratch(t), 'a.tar');
  const file = (name: string, content: string): Buffer =>
    Buffer.concat([rawHeader({ name, size: octalText(content.length) }), Buffer.from(content.padEnd(512, '\0'))]);
  const link = (name: string, target: string, flag: string): Buffer => rawHeader({ name, flag, link: target });
  writeFileSync(
    path,
    Buffer.concat([
      file('a', 'old'),
      link('loop1', 'loop2', '2'),
      link('loop2', 'loop1', '2'),
      link('hard', './a', '1'),
      link('chain', 'hard', '2'),
      file('./a', 'newer'),
      END,
    ]),
  );
  const members = await indexTar(path);
  assert.deepEqual([...members.keys()].sort(), ['a', 'chain', 'hard']);
  assert.equal(members.get('a')?.size, 5);
});

test('compressed archives are refused with a hint, and unpacked to a file of the caller', async (t) => {
  const directory = scratch(t);
  const tar = Buffer.concat([rawHeader({ name: 'a', size: octalText(1) }), Buffer.from('x'.padEnd(512, '\0')), END]);
  for (const [kind, bytes] of [
    ['gzip', gzipSync(tar)],
    ['zstd', zstdCompressSync(tar)],
  ] as const) {
    const path = join(directory, kind);
    const temporary = join(directory, `${kind}.tmp`);
    writeFileSync(path, bytes);
    await assert.rejects(indexTar(path), { code: 'ARCHIVE_TAR_COMPRESSED' });
    assert.equal(await plainTar(path, temporary), temporary);
    assert.deepEqual([...(await indexTar(temporary)).keys()], ['a']);
    await assert.rejects(plainTar(path, temporary), { code: 'EEXIST' });
    await assert.rejects(plainTar(path, `${temporary}2`, { limitBytes: 100 }), { code: 'ARCHIVE_DECOMPRESS_TOO_LARGE' });
  }
  const plain = join(directory, 'plain');
  writeFileSync(plain, tar);
  assert.equal(await plainTar(plain, join(directory, 'unused')), plain);
  assert.ok(!existsSync(join(directory, 'unused')));
  // A first member whose name begins like bzip2 data.
  writeFileSync(plain, Buffer.concat([rawHeader({ name: 'BZh9' }), END]));
  assert.deepEqual([...(await indexTar(plain)).keys()], ['BZh9']);
});

test('a sparse member cannot be read at random, and says so', async (t) => {
  const path = join(scratch(t), 'a.tar');
  const records = record('GNU.sparse.size', '4096') + record('GNU.sparse.map', '0,0');
  writeFileSync(path, Buffer.concat([rawPax(records), rawHeader({ name: 'sparse' }), END]));
  await assert.rejects(indexTar(path), { code: 'ARCHIVE_TAR_UNSUPPORTED' });
});
