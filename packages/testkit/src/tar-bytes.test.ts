import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { firstReason, needsPeer, needsRoot, run, scratch, tarBytes } from './index.ts';

test('GNU tar and libarchive list the entries as described', { skip: needsPeer('tar', 'bsdtar') }, async (t) => {
  const directory = scratch(t);
  const long = `${'d'.repeat(60)}/${'e'.repeat(60)}/file`;
  const archive = join(directory, 'a.tar');
  writeFileSync(
    archive,
    tarBytes([
      { path: 'etc/' },
      { path: 'etc/passwd', content: 'root\n', mode: 0o4755, uid: 1000, gid: 3_000_000, mtime: 86_400 },
      { path: 'link', kind: 'symlink', target: 'etc/passwd' },
      { path: 'hard', kind: 'hardlink', target: 'etc/passwd' },
      { path: 'null', kind: 'char', device: [1, 3], mode: 0o666 },
      { path: 'pipe', kind: 'fifo' },
      { path: `pax/${long}`, content: 'p' },
      { path: `gnu/${long}`, content: 'g', longNames: 'gnu' },
      { path: `pre/${long}`, content: 'u', longNames: 'prefix' },
      { path: 'to-long', kind: 'symlink', target: long, longNames: 'gnu' },
      { path: Uint8Array.of(0x66, 0xff, 0xfe), content: 'x' },
    ]),
  );
  const gnu = await run('tar', ['--utc', '--numeric-owner', '-tvf', archive]);
  assert.deepEqual(
    gnu.stdout
      .trim()
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' ').replace(' 1970-01-01 00:00', '')),
    [
      'drwxr-xr-x 0/0 0 etc/',
      '-rwsr-xr-x 1000/3000000 5 1970-01-02 00:00 etc/passwd',
      'lrwxrwxrwx 0/0 0 link -> etc/passwd',
      'hrw-r--r-- 0/0 0 hard link to etc/passwd',
      'crw-rw-rw- 0/0 1,3 null',
      'prw-r--r-- 0/0 0 pipe',
      `-rw-r--r-- 0/0 1 pax/${long}`,
      `-rw-r--r-- 0/0 1 gnu/${long}`,
      `-rw-r--r-- 0/0 1 pre/${long}`,
      `lrwxrwxrwx 0/0 0 to-long -> ${long}`,
      '-rw-r--r-- 0/0 1 f\\377\\376',
    ],
  );
  const bsd = await run('bsdtar', ['-tf', archive]);
  assert.equal(bsd.stdout.split('\n').filter((line) => line.endsWith(long)).length, 3);
});

test('extended attributes survive extraction by GNU tar', { skip: firstReason(needsPeer('tar', 'getfattr'), needsRoot()) }, async (t) => {
  const directory = scratch(t);
  // Version 2 capability: cap_net_raw, effective. Source: linux/capability.h, struct vfs_cap_data.
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  writeFileSync(join(directory, 'a.tar'), tarBytes([{ path: 'ping', content: 'p', mode: 0o755, xattrs: { 'security.capability': capability } }]));
  await run('tar', ['--xattrs', '--xattrs-include=*', '-xf', 'a.tar'], { cwd: directory });
  const shown = await run('getfattr', ['-n', 'security.capability', '-e', 'hex', '--only-values', 'ping'], { cwd: directory });
  assert.deepEqual(shown.stdoutBytes, capability);
});

test('lies are written as told', () => {
  const honest = tarBytes([{ path: 'a', content: 'x' }], false);
  const lying = tarBytes([{ path: 'a', content: 'x', claimedSize: 9_000_000_000_000 }], false);
  assert.equal(honest.byteLength, 1024);
  assert.equal(lying.byteLength, 1024);
  assert.equal((lying[124] as number) & 0x80, 0x80);
  assert.equal(tarBytes([{ path: 'a' }], true).byteLength, 3 * 512);
});
