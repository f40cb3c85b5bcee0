/** We read what GNU tar, bsdtar, Python and tar-stream write. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsPeer, peer, run, scratch } from '@cambium/testkit';
import { pack } from 'tar-stream';
import { makeSparse, makeTree, parseTar, pythonReads, withoutSlashes } from './tar-oracle.test.ts';

for (const format of ['v7', 'oldgnu', 'gnu', 'ustar', 'pax']) {
  test(`GNU tar --format=${format} is read as Python reads it`, { skip: needsPeer('tar', 'python3') }, async (t) => {
    const directory = scratch(t);
    await makeTree(join(directory, 'tree'), { short: format === 'v7' || format === 'ustar' });
    // v7 has neither devices nor FIFOs: tar says so and goes on.
    await run('tar', ['-C', join(directory, 'tree'), `--format=${format}`, '-cf', join(directory, 'a.tar'), '.'], { accept: format === 'v7' ? [0, 2] : [0] });
    const ours = parseTar(readFileSync(join(directory, 'a.tar')));
    assert.ok(ours.length >= 9);
    assert.deepEqual(withoutSlashes(ours), await pythonReads(join(directory, 'a.tar')));
    assert.ok(ours.some((entry) => entry.type === 'hardlink'));
    assert.ok(ours.some((entry) => entry.type === 'directory' && entry.path.endsWith('/')));
  });
}

for (const format of ['pax', 'paxr', 'ustar', 'gnutar', 'v7']) {
  test(`bsdtar --format=${format} is read as Python reads it`, { skip: needsPeer('bsdtar', 'python3') }, async (t) => {
    const directory = scratch(t);
    await makeTree(join(directory, 'tree'), { short: format === 'v7' || format === 'ustar' });
    await run('bsdtar', ['-C', join(directory, 'tree'), `--format=${format}`, '-cf', join(directory, 'a.tar'), '.'], {
      accept: format === 'v7' ? [0, 1] : [0],
      // libarchive converts names from the locale's charset.
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
    const ours = parseTar(readFileSync(join(directory, 'a.tar')));
    assert.ok(ours.length >= 9);
    assert.deepEqual(withoutSlashes(ours), await pythonReads(join(directory, 'a.tar')));
  });
}

const SPARSE: readonly (readonly string[])[] = [
  ['--format=gnu'],
  ['--format=oldgnu'],
  ['--format=pax', '--sparse-version=0.0'],
  ['--format=pax', '--sparse-version=0.1'],
  ['--format=pax', '--sparse-version=1.0'],
];
for (const flags of SPARSE) {
  test(`sparse files of GNU tar ${flags.join(' ')} are expanded`, { skip: needsPeer('tar') }, async (t) => {
    const directory = scratch(t);
    mkdirSync(join(directory, 'tree'));
    const counts = [0, 1, 3, 4, 5, 25, 26, 80];
    for (const count of counts) makeSparse(join(directory, 'tree', `extents-${count}`), count);
    writeFileSync(join(directory, 'tree', 'tail'), 'after the sparse ones');
    await run('tar', ['-C', join(directory, 'tree'), '-S', ...flags, '--sort=name', '-cf', join(directory, 'a.tar'), '.']);
    const archive = readFileSync(join(directory, 'a.tar'));
    assert.ok(archive.length < 1_500_000, 'the archive is sparse');
    for (const holes of [false, true]) {
      const files = parseTar(archive, { holes }).filter((entry) => entry.type === 'file');
      assert.equal(files.length, counts.length + 1);
      for (const file of files) {
        const content = readFileSync(join(directory, 'tree', file.path));
        assert.equal(file.size, content.length, file.path);
        assert.equal(file.content, createHash('sha256').update(content).digest('hex'), file.path);
      }
    }
    // 80 extents of holes in every piece the archive can be cut into at one place.
    const whole = parseTar(archive);
    for (let cut = 1; cut < archive.length; cut += 31_111) assert.deepEqual(parseTar(archive, { cuts: [cut] }), whole);
  });
}

const XATTR_ARCHIVERS: readonly (readonly string[])[] = [
  ['tar', '--format=pax', '--xattrs'],
  ['bsdtar', '--format=pax', '--xattrs'],
];
for (const [program = '', ...flags] of XATTR_ARCHIVERS) {
  test(`extended attributes of ${program} come with names and values as bytes`, { skip: needsPeer(program, 'setfattr') }, async (t) => {
    const directory = scratch(t);
    const file = join(directory, 'file');
    writeFileSync(file, 'x');
    const want: Record<string, string> = { 'user.text': 'value', 'user.binary': '\x00\xff\n=', 'user.percent%': '%25', 'user.empty': '' };
    // libarchive 3.6 writes a "=" in a name as it is, and so cannot read it back itself.
    if (program === 'tar') want['user.a=b'] = 'equals';
    for (const [name, value] of Object.entries(want)) {
      const set = await run('setfattr', ['-n', name, '-v', `0x${Buffer.from(value, 'latin1').toString('hex')}`, file], { accept: [0, 1] });
      if (set.status !== 0) {
        t.skip(`the file system of ${directory} has no user attributes`);
        return;
      }
    }
    await run(program, [...flags, '-C', directory, '-cf', join(directory, 'a.tar'), 'file']);
    const [entry] = parseTar(readFileSync(join(directory, 'a.tar')));
    assert.deepEqual(entry?.xattrs, Object.fromEntries(Object.entries(want).sort()));
  });
}

const PYTHON_WRITES = `
import sys, tarfile, io
with tarfile.open(sys.argv[1], 'w', format=getattr(tarfile, sys.argv[2]), encoding='utf8', errors='surrogateescape') as t:
    for i, (name, uid, mtime) in enumerate([('plain', 0, 0), ('n' * 300, 3000000, 1.5), ('ünï/' + 'd' * 120 + '/f', 2**31, -5), ('raw\\udcff', 1, 2**34)]):
        m = tarfile.TarInfo(name); m.size = i * 700; m.uid = uid; m.gid = uid + 1; m.mtime = mtime; m.uname = 'u%d' % i
        t.addfile(m, io.BytesIO(bytes([i]) * m.size))
    m = tarfile.TarInfo('link'); m.type = tarfile.SYMTYPE; m.linkname = 'x/' * 90; t.addfile(m)
    m = tarfile.TarInfo('old-sort'); m.type = tarfile.CONTTYPE; m.size = 3; t.addfile(m, io.BytesIO(b'abc'))
`;
for (const format of ['GNU_FORMAT', 'PAX_FORMAT']) {
  test(`Python's ${format} is read as Python reads it: large ids, old and fractional times, bytes in names`, { skip: needsPeer('python3') }, async (t) => {
    const path = join(scratch(t), 'a.tar');
    await run('python3', ['-c', PYTHON_WRITES, path, format]);
    const ours = parseTar(readFileSync(path));
    assert.equal(ours.length, 6);
    assert.deepEqual(ours, await pythonReads(path));
    assert.equal(ours[2]?.mtime, -5);
    assert.equal(ours[3]?.path, 'raw\xff');
  });
}

test('tar-stream is read: PAX names and sizes', async () => {
  const archive = pack();
  archive.entry({ name: 'a'.repeat(180), uid: 5, gid: 6, mode: 0o640, mtime: new Date(86_400_000), uname: 'me' }, 'content');
  archive.entry({ name: 'dir', type: 'directory', mode: 0o700 });
  archive.entry({ name: 'ln', type: 'symlink', linkname: 'é'.repeat(80) });
  archive.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of archive) parts.push(part as Uint8Array);
  const entries = parseTar(Buffer.concat(parts));
  assert.deepEqual(
    entries.map((entry) => [entry.path, entry.type, entry.mode, entry.uid, entry.gid, entry.size, entry.userName]),
    [
      ['a'.repeat(180), 'file', 0o640, 5, 6, 7, 'me'],
      ['dir', 'directory', 0o700, 0, 0, 0, ''],
      ['ln', 'symlink', 0o644, 0, 0, 0, ''],
    ],
  );
  assert.equal(entries[0]?.mtime, 86_400);
  assert.equal(entries[2]?.linkPath, Buffer.from('é'.repeat(80)).toString('latin1'));
  assert.equal(entries[0]?.content, createHash('sha256').update('content').digest('hex'));
});

test('git archive: a global header with the commit is no entry', { skip: needsPeer('git') }, async (t) => {
  const directory = scratch(t);
  const git = (...args: string[]): Promise<unknown> => run('git', ['-C', directory, '-c', 'user.name=n', '-c', 'user.email=e', ...args]);
  await git('init', '-q');
  writeFileSync(join(directory, 'file'), 'x');
  await git('add', 'file');
  await git('commit', '-qm', 'm');
  await git('archive', '-o', join(directory, 'a.tar'), 'HEAD');
  const archive = readFileSync(join(directory, 'a.tar'));
  assert.ok(archive.includes('comment='), 'the archive has the header');
  assert.deepEqual(
    parseTar(archive).map((entry) => entry.path),
    ['file'],
  );
  assert.ok(peer('git') !== undefined);
});
