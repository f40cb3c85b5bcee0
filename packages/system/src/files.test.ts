import assert from 'node:assert/strict';
import { closeSync, existsSync, lstatSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { freeSpace, linkAndUnlink, makeNode, renameNoReplace, syncFs } from './files.ts';
import { hasCapability, inUserNamespace } from './namespaces.ts';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cambium-files-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

for (const [name, rename] of [
  ['renameat2', renameNoReplace],
  ['link and unlink', linkAndUnlink],
] as const) {
  test(`renaming never replaces: ${name}`, () => {
    const own = join(folder, name);
    mkdirSync(own);
    const from = Buffer.concat([Buffer.from(`${own}/from`), Buffer.from([0xff])]);
    const to = join(own, 'to');
    writeFileSync(from, 'new');
    assert.equal(rename(from, to), true);
    assert.equal(existsSync(from), false);
    writeFileSync(from, 'newer');
    assert.equal(rename(from, to), false);
    assert.equal(readFileSync(to, 'utf8'), 'new');
    assert.equal(readFileSync(from, 'utf8'), 'newer');
    assert.throws(() => rename(join(own, 'missing'), join(own, 'other')), { code: 'ENOENT' });
  });
}

test('a FIFO needs no privilege', () => {
  const path = join(folder, 'fifo');
  makeNode(path, 0o010600);
  assert.equal(lstatSync(path).isFIFO(), true);
  assert.equal(lstatSync(path).mode, 0o010600);
  assert.throws(() => makeNode(path, 0o010600), { code: 'EEXIST', syscall: 'mknodat' });
});

const mayMakeDevices = hasCapability('CAP_MKNOD') && !inUserNamespace();

test('devices keep their numbers', mayMakeDevices ? {} : { skip: 'needs CAP_MKNOD in the first user namespace' }, () => {
  // makedev of glibc, which is what rdev of fs.Stats holds.
  const makedev = (major: number, minor: number): number => (minor & 0xff) + major * 256 + (minor >>> 8) * 2 ** 20;
  for (const [major, minor] of [
    [1, 3],
    [8, 255],
    [259, 256],
    [4095, 0xf_ffff],
  ] as const) {
    const path = join(folder, `device-${major}-${minor}`);
    makeNode(path, 0o020600, major, minor);
    assert.equal(lstatSync(path).isCharacterDevice(), true);
    assert.equal(lstatSync(path).rdev, makedev(major, minor));
    makeNode(`${path}-block`, 0o060600, major, minor);
    assert.equal(lstatSync(`${path}-block`).isBlockDevice(), true);
  }
});

test('device numbers the kernel cannot hold are refused', () => {
  assert.throws(() => makeNode(join(folder, 'x'), 0o020600, 4096, 0), { code: 'EINVAL' });
  assert.throws(() => makeNode(join(folder, 'x'), 0o020600, 0, 0x10_0000), { code: 'EINVAL' });
});

test('flushing a file system', () => {
  const fd = openSync(folder, 'r');
  try {
    syncFs(fd);
  } finally {
    closeSync(fd);
  }
  assert.throws(() => syncFs(9999), { code: 'EBADF', syscall: 'syncfs' });
});

test('free space is that of statfs', () => {
  const space = freeSpace(folder);
  const { bsize, blocks } = statfsSync(folder);
  assert.equal(space.totalBytes, bsize * blocks);
  assert.ok(space.availableBytes <= space.totalBytes && space.availableBlocks <= space.freeBlocks);
});
