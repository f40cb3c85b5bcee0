import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { errnoOf } from '@cambium/base';
import { getXattr, getXattrText, listXattrs, readXattrs, removeXattr, setXattr } from './xattrs.ts';

const hasTools = spawnSync('getfattr', ['--version']).status === 0 && spawnSync('setfattr', ['--version']).status === 0;
const needsTools = hasTools ? {} : { skip: 'getfattr and setfattr (package attr) are not installed' };
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const shown = (list: readonly (readonly [Uint8Array, Uint8Array])[]): [string, string][] =>
  list.map(([name, value]) => [Buffer.from(name).toString(), Buffer.from(value).toString('latin1')]);

let folder = '';
let supported = true;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cambium-xattr-'));
  try {
    setXattr(folder, 'user.probe', bytes('1'));
    removeXattr(folder, 'user.probe');
  } catch (error) {
    if (errnoOf(error) !== 'ENOTSUP') throw error;
    supported = false;
  }
});
after(() => rmSync(folder, { recursive: true, force: true }));

describe('extended attributes', () => {
  const fresh = (name: string): string => {
    const path = join(folder, name);
    writeFileSync(path, '');
    return path;
  };

  test('what is set is read, by path and by descriptor', (t) => {
    if (!supported) return t.skip('no user attributes on the temporary directory');
    const path = fresh('plain');
    setXattr(path, 'user.b', bytes('two'));
    setXattr(path, 'user.a', Uint8Array.of(0, 255, 0));
    setXattr(path, 'user.empty', new Uint8Array(0));
    assert.deepEqual(getXattr(path, 'user.b'), bytes('two'));
    assert.deepEqual(getXattr(path, bytes('user.a')), Uint8Array.of(0, 255, 0));
    assert.deepEqual(getXattr(path, 'user.empty'), new Uint8Array(0));
    assert.deepEqual([getXattrText(path, 'user.a'), getXattrText(path, 'user.empty'), getXattrText(path, 'user.none')], ['\0ÿ\0', '', undefined]);
    assert.equal(getXattr(path, 'user.none'), undefined);
    const expected = [
      ['user.a', '\0ÿ\0'],
      ['user.b', 'two'],
      ['user.empty', ''],
    ];
    assert.deepEqual(shown(readXattrs(path)), expected);
    const fd = openSync(path, 'r');
    try {
      assert.deepEqual(shown(readXattrs(fd)), expected);
      assert.deepEqual(getXattr(fd, 'user.b'), bytes('two'));
      setXattr(fd, 'user.fd', bytes('yes'));
      assert.deepEqual(
        listXattrs(fd)
          .map((name) => Buffer.from(name).toString())
          .sort(),
        ['user.a', 'user.b', 'user.empty', 'user.fd'],
      );
      assert.equal(removeXattr(fd, 'user.fd'), true);
      assert.equal(removeXattr(fd, 'user.fd'), false);
    } finally {
      closeSync(fd);
    }
  });

  test('create and replace refuse the other case', (t) => {
    if (!supported) return t.skip('no user attributes on the temporary directory');
    const path = fresh('only');
    assert.throws(() => setXattr(path, 'user.a', bytes('1'), 'replace'), { code: 'ENODATA' });
    setXattr(path, 'user.a', bytes('1'), 'create');
    assert.throws(() => setXattr(path, 'user.a', bytes('2'), 'create'), { code: 'EEXIST' });
    setXattr(path, 'user.a', bytes('2'), 'replace');
    assert.deepEqual(getXattr(path, 'user.a'), bytes('2'));
  });

  test('values and lists longer than the first try are read whole', (t) => {
    if (!supported) return t.skip('no user attributes on the temporary directory');
    const path = fresh('long');
    const value = new Uint8Array(1500).map((_zero, i) => i % 251);
    setXattr(path, 'user.long', value);
    assert.deepEqual(getXattr(path, 'user.long'), value);
    const names = Array.from({ length: 6 }, (_none, i) => `user.${i}${'n'.repeat(120)}`);
    for (const name of names) setXattr(path, name, bytes(name));
    assert.deepEqual(
      shown(readXattrs(path)).filter(([name]) => name !== 'user.long'),
      names.map((name) => [name, name]),
    );
  });

  test('links are not followed', (t) => {
    if (!supported) return t.skip('no user attributes on the temporary directory');
    const path = fresh('target');
    setXattr(path, 'user.a', bytes('1'));
    const link = join(folder, 'link');
    symlinkSync(path, link);
    assert.equal(getXattr(link, 'user.a'), undefined);
    assert.deepEqual(readXattrs(link), []);
    assert.throws(() => setXattr(link, 'user.b', bytes('1')), { code: 'EPERM' });
    symlinkSync('nowhere', join(folder, 'dangling'));
    assert.deepEqual(readXattrs(join(folder, 'dangling')), []);
  });

  test('paths and names that are not UTF-8 keep their bytes', (t) => {
    if (!supported) return t.skip('no user attributes on the temporary directory');
    const path = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0x66, 0xff, 0xfe])]);
    writeFileSync(path, '');
    const name = Uint8Array.from([...bytes('user.'), 0xe9]);
    setXattr(path, name, bytes('1'));
    assert.deepEqual(readXattrs(Uint8Array.from(path)), [[name, bytes('1')]]);
    assert.deepEqual(getXattr(path, name), bytes('1'));
  });

  test('errors are those of the system', () => {
    const missing = join(folder, 'missing');
    for (const call of [
      () => getXattr(missing, 'user.a'),
      () => readXattrs(missing),
      () => setXattr(missing, 'user.a', bytes('1')),
      () => removeXattr(missing, 'user.a'),
    ]) {
      assert.throws(call, (error: Error & { path?: string; syscall?: string }) => {
        assert.equal(errnoOf(error), 'ENOENT');
        assert.equal(error.path, missing);
        assert.match(error.message, /^ENOENT: no such file or directory, l\w+xattr '/);
        return true;
      });
    }
    assert.throws(() => getXattr('x'.repeat(5000), 'user.a'), { code: 'ENAMETOOLONG' });
    assert.throws(() => getXattr('é'.repeat(2048), 'user.a'), { code: 'ENAMETOOLONG' });
    assert.throws(() => getXattr(folder, `user.${'x'.repeat(300)}`), { code: 'ERANGE' });
    assert.throws(() => setXattr(folder, 'user.a', new Uint8Array(70_000)), { code: 'E2BIG' });
    assert.throws(() => readXattrs(9999), { code: 'EBADF', syscall: 'flistxattr' });
    assert.throws(() => readXattrs('a\0b'), TypeError);
    assert.throws(() => readXattrs(Uint8Array.of(0x61, 0)), TypeError);
  });

  test('a file system without attributes has none', () => {
    assert.deepEqual(readXattrs('/proc/self/status'), []);
    assert.equal(getXattr('/proc/self/status', 'user.a'), undefined);
    assert.throws(() => setXattr('/proc/self/comm', 'user.a', bytes('1')), { code: 'ENOTSUP' });
  });

  test('setfattr and getfattr see the same', needsTools, (t) => {
    if (!supported) return t.skip('no user attributes on the temporary directory');
    const path = fresh('tools');
    execFileSync('setfattr', ['-n', 'user.theirs', '-v', '0x00ff10', path]);
    assert.deepEqual(getXattr(path, 'user.theirs'), Uint8Array.of(0, 255, 16));
    setXattr(path, 'user.ours', Uint8Array.of(1, 2, 3));
    assert.match(
      execFileSync('getfattr', ['--absolute-names', '-n', 'user.ours', '-e', 'hex', path], { encoding: 'utf8', cwd: '/' }),
      /^user\.ours=0x010203$/m,
    );
    removeXattr(path, 'user.theirs');
    assert.doesNotMatch(execFileSync('getfattr', ['--absolute-names', '-d', path], { encoding: 'utf8', cwd: '/' }), /theirs/);
  });

  test('threads do not disturb each other', async (t) => {
    if (!supported) return t.skip('no user attributes on the temporary directory');
    const url = new URL('./xattrs.js', import.meta.url).href;
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.url).then(({ getXattr, setXattr }) => {
        let right = 0;
        for (let i = 0; i < 2000; i++) {
          const value = Buffer.from(workerData.path + i);
          setXattr(workerData.path, 'user.a', value);
          if (value.equals(getXattr(workerData.path, 'user.a'))) right++;
        }
        parentPort.postMessage(right);
      });`;
    const runs = ['one', 'two', 'three'].map(
      (name) =>
        new Promise<number>((resolve, reject) => {
          const worker = new Worker(code, { eval: true, workerData: { url, path: fresh(name) } });
          worker.once('message', resolve);
          worker.once('error', reject);
        }),
    );
    assert.deepEqual(await Promise.all(runs), [2000, 2000, 2000]);
  });
});
