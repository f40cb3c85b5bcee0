/** What we write is read by GNU tar, bsdtar, Python, tar-stream and ourselves. */
import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Bytes, bytesOf, collect } from '@cambium/base';
import { needsPeer, peer, run, scratch } from '@cambium/testkit';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import type { TarType } from './tar-entry.ts';
import { parseTar, pythonReads, withoutSlashes } from './tar-oracle.test.ts';
import { type TarWriteEntry, type TarWriteItem, tarHeader, writeTar } from './tar-writer.ts';

const LIMIT = 1 << 24;

function file(path: string | Uint8Array, content: string, more: Partial<TarWriteEntry> = {}): TarWriteItem {
  const bytes = Buffer.from(content);
  return { entry: { path, type: 'file', size: bytes.length, ...more }, open: () => bytesOf(bytes) };
}

const LONG = 'l'.repeat(90);
const ITEMS: readonly TarWriteItem[] = [
  { entry: { path: 'dir', type: 'directory', mode: 0o1777, mtime: 1_000_000_000 } },
  file('dir/plain', 'content', { uid: 1, gid: 2, mode: 0o4711, mtime: 1_600_000_000, userName: 'root', groupName: 'daemon' }),
  file(`dir/${LONG}/${LONG}`, 'fits a prefix', { mtime: 5 }),
  file(`dir/${'n'.repeat(200)}`, 'needs a record', { mtime: 1_600_000_000.25 }),
  file('dir/ünï', 'x'.repeat(512), { userName: 'jürgen', uid: 3_000_000, gid: 2 ** 31 }),
  file('dir/empty', ''),
  { entry: { path: 'dir/hard', type: 'hardlink', linkPath: 'dir/plain', mode: 0o4711, uid: 1, gid: 2 } },
  { entry: { path: 'dir/soft', type: 'symlink', linkPath: `../${'t'.repeat(150)}` } },
  { entry: { path: 'dir/fifo', type: 'fifo', mode: 0o600 } },
];

const archive = async (items: Iterable<TarWriteItem>): Promise<Uint8Array> => collect(writeTar(items), LIMIT);

test('Python reads the same as we do', { skip: needsPeer('python3') }, async (t) => {
  const path = join(scratch(t), 'a.tar');
  const items = [
    ...ITEMS,
    file(Buffer.from('dir/\xff\xfe', 'latin1'), 'not UTF-8', { mtime: -3 }),
    { entry: { path: 'dir/null', type: 'char', deviceMajor: 1, deviceMinor: 3 } },
    { entry: { path: 'dir/disk', type: 'block', deviceMajor: 259, deviceMinor: 1_000_000 } },
    file('dir/attributes', '', {
      xattrs: [
        [Buffer.from('user.b=%3D'), Buffer.from('v\n')],
        [Buffer.from('user.a'), Buffer.from([0, 255])],
      ],
    }),
  ] as TarWriteItem[];
  const bytes = await archive(items);
  writeFileSync(path, bytes);
  const ours = parseTar(bytes);
  assert.equal(ours.length, items.length);
  // Python knows nothing of how GNU tar spells attributes with "=", nor of libarchive's.
  const python = (await pythonReads(path)).map((entry, i) => ({ ...entry, xattrs: ours[i]?.xattrs }));
  assert.deepEqual(withoutSlashes(ours), python);
  assert.deepEqual(ours.at(-1)?.xattrs, { 'user.a': '\x00\xff', 'user.b=%3D': 'v\n' });
});

for (const program of ['tar', 'bsdtar']) {
  test(`${program} extracts it without a word, attributes included`, { skip: needsPeer(program, 'getfattr', 'setfattr') }, async (t) => {
    const directory = scratch(t);
    const name = Buffer.from('user.answer');
    const probe = await run('setfattr', ['-n', 'user.probe', '-v', 'x', directory], { accept: [0, 1] });
    if (probe.status !== 0) {
      t.skip(`the file system of ${directory} has no user attributes`);
      return;
    }
    const items = [...ITEMS, file('dir/attributes', 'x', { xattrs: [[name, Buffer.from('42\0\xff', 'latin1')]] })];
    writeFileSync(join(directory, 'a.tar'), await archive(items));
    mkdirSync(join(directory, 'out'));
    const flags = program === 'tar' ? ['--xattrs', '--xattrs-include=*', '--no-same-owner', '-p'] : ['--xattrs', '--no-same-owner', '-p'];
    const { stderr } = await run(program, [...flags, '-C', join(directory, 'out'), '-xf', join(directory, 'a.tar')], {
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
    assert.equal(stderr, '');
    const out = (path: string): string => join(directory, 'out', path);
    for (const { entry, open } of items) {
      const path = String(entry.path);
      const stat = lstatSync(out(path));
      if (open !== undefined) assert.equal(stat.size, entry.size, path);
      if (entry.mtime !== undefined && entry.type === 'file') assert.equal(stat.mtimeMs, entry.mtime * 1000, path);
    }
    assert.equal(lstatSync(out('dir/plain')).mode & 0o7777, 0o4711);
    assert.equal(lstatSync(out('dir/plain')).ino, lstatSync(out('dir/hard')).ino);
    assert.equal(readlinkSync(out('dir/soft')), `../${'t'.repeat(150)}`);
    assert.equal(readFileSync(out(`dir/${'n'.repeat(200)}`), 'utf8'), 'needs a record');
    const { stdoutBytes } = await run('getfattr', ['--only-values', '-n', 'user.answer', out('dir/attributes')]);
    assert.deepEqual(stdoutBytes, Buffer.from('42\0\xff', 'latin1'));
  });
}

test('tar-stream reads it', async () => {
  const reader = extract();
  const seen: [string, string, number, string][] = [];
  reader.on('entry', (header, stream, next) => {
    seen.push([header.name, header.type, header.size, header.linkname ?? '']);
    stream.resume();
    stream.on('end', () => next());
  });
  const finished = new Promise<void>((resolve, reject) => reader.on('finish', resolve).on('error', reject));
  for await (const chunk of writeTar(ITEMS)) reader.write(Buffer.from(chunk));
  reader.end(undefined);
  await finished;
  assert.equal(seen.length, ITEMS.length);
  assert.deepEqual(seen[3], [`dir/${'n'.repeat(200)}`, 'file', 14, '']);
  assert.deepEqual(seen[7], ['dir/soft', 'symlink', 0, `../${'t'.repeat(150)}`]);
});

test('equal entries give equal bytes, whole blocks, two zero blocks at the end', async () => {
  const [a, b] = [await archive(ITEMS), await archive(ITEMS)];
  assert.deepEqual(a, b);
  assert.equal(a.length % 512, 0);
  assert.ok(a.subarray(-1024).every((byte) => byte === 0));
  assert.equal((await archive([])).length, 1024);
});

test('GNU tar writes the same ustar header', { skip: needsPeer('tar') }, async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, 'plain'), 'hello');
  const flags = ['--format=ustar', '--owner=root:0', '--group=root:0', '--mtime=@1600000000', '--mode=0644', '-b', '1'];
  await run('tar', ['-C', directory, ...flags, '-cf', join(directory, 'a.tar'), 'plain']);
  const theirs = readFileSync(join(directory, 'a.tar'));
  const ours = await archive([file('plain', 'hello', { mtime: 1_600_000_000, userName: 'root', groupName: 'root' })]);
  assert.deepEqual(Buffer.from(ours), theirs, peer('tar')?.version);
});

test('what cannot be written is refused', async () => {
  const bad: [Partial<TarWriteEntry>, RegExp][] = [
    [{ path: '' }, /path/],
    [{ path: 'a\0b' }, /path/],
    [{ path: 'file/' }, /slash/],
    [{ type: 'symlink' }, /target/],
    [{ uid: -1 }, /uid/],
    [{ size: 1.5 }, /size/],
    [{ gid: 2 ** 53 }, /gid/],
    [{ mtime: Number.NaN }, /time/],
    [{ xattrs: [[Buffer.from(''), Buffer.from('')]] }, /attribute/],
    [{ paxHeaders: new Map([['a=b', 'c']]) }, /key/],
  ];
  for (const [fields, message] of bad) {
    assert.throws(() => tarHeader({ path: 'p', type: 'file', ...fields }), { code: 'ARCHIVE_TAR_ENTRY_INVALID', message });
  }
  for (const content of ['short', 'far too long']) {
    await assert.rejects(archive([{ entry: { path: 'p', type: 'file', size: 8 }, open: () => bytesOf(Buffer.from(content)) }]), {
      code: 'ARCHIVE_TAR_BODY_SIZE',
    });
  }
  await assert.rejects(archive([{ entry: { path: 'p', type: 'file', size: 8 } }]), { code: 'ARCHIVE_TAR_BODY_SIZE' });
});

test('records that fields express are not copied from another archive', () => {
  const header = tarHeader({
    path: 'new',
    type: 'file',
    paxHeaders: new Map([
      ['path', 'old'],
      ['SCHILY.xattr.user.x', 'y'],
      ['comment', 'kept'],
    ]),
  });
  const [entry] = parseTar(header);
  assert.equal(entry?.path, 'new');
  assert.deepEqual(entry?.xattrs, {});
  assert.ok(Buffer.from(header).includes('16 comment=kept\n'));
});

test('large contents pass through in their own chunks', async () => {
  const chunk = Buffer.alloc(1 << 20, 'x');
  async function* body(): Bytes {
    for (let i = 0; i < 3; i++) yield chunk;
  }
  let same = 0;
  for await (const out of writeTar([{ entry: { path: 'large', type: 'file', size: 3 << 20 }, open: body }])) if (out === chunk) same++;
  assert.equal(same, 3);
});

test('what is written is what is read', () => {
  const name = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte)));
  const type = fc.constantFrom<TarType>('file', 'hardlink', 'symlink', 'char', 'block', 'directory', 'fifo');
  const whole = (max: number): fc.Arbitrary<number> => fc.oneof(fc.nat(300), fc.integer({ min: 0, max }));
  const xattr = fc.tuple(
    fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => bytes.map((byte) => byte || 0x25)),
    fc.uint8Array({ maxLength: 300 }),
  );
  const entry = fc.record({
    path: fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => Buffer.concat(parts.flatMap((part) => [part, Buffer.from('/')])).subarray(0, -1)),
    type,
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: whole(2 ** 40),
    gid: whole(2 ** 40),
    mtime: fc.oneof(fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), fc.constantFrom(0.5, 1_700_000_000.123, -1.25)),
    linkPath: name,
    deviceMajor: whole(2 ** 32),
    deviceMinor: whole(2 ** 32),
    xattrs: fc.uniqueArray(xattr, { maxLength: 4, selector: ([key]) => Buffer.from(key).toString('hex') }),
    userName: fc.oneof(
      fc.constant('root'),
      fc.string({ maxLength: 40 }).map((text) => text.replaceAll('\0', '')),
    ),
  });
  fc.assert(
    fc.property(entry, (fields) => {
      const [seen] = parseTar(tarHeader(fields));
      const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
      const link = fields.type === 'hardlink' || fields.type === 'symlink';
      const device = fields.type === 'char' || fields.type === 'block';
      assert.deepEqual(seen, {
        path: latin1(fields.path) + (fields.type === 'directory' ? '/' : ''),
        type: fields.type,
        mode: fields.mode,
        uid: fields.uid,
        gid: fields.gid,
        size: 0,
        mtime: fields.mtime,
        linkPath: link ? latin1(fields.linkPath) : '',
        device: device ? `${fields.deviceMajor}:${fields.deviceMinor}` : '0:0',
        xattrs: Object.fromEntries(fields.xattrs.map(([key, value]) => [latin1(key), latin1(value)])),
        userName: fields.userName,
        groupName: '',
        content: '',
      });
    }),
    { numRuns: 400 },
  );
});
