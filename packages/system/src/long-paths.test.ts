import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errnoOf, KnownError } from '@cambium/base';
import { reach, withReach } from './long-paths.ts';

const openFiles = (): number => readdirSync('/proc/self/fd').length;

test('a path that is short is itself, and opens nothing', () => {
  const before = openFiles();
  assert.equal(reach('/tmp'), undefined);
  assert.equal(reach(`/${'a'.repeat(3000)}`), undefined);
  assert.equal(
    withReach('/tmp', (path) => path),
    '/tmp',
  );
  assert.equal(openFiles(), before);
});

test('directories beyond PATH_MAX are made, looked at and filled, and no file stays open', () => {
  const root = mkdtempSync(join(tmpdir(), 'cambium-long-'));
  try {
    const before = openFiles();
    let path = root;
    // Names of three bytes a character: what counts is bytes.
    for (let depth = 0; Buffer.byteLength(path) < 12_000; depth++) {
      const name = depth % 2 === 0 ? 'ä€'.repeat(40) : 'n'.repeat(200);
      withReach(path, (directory) => mkdirSync(`${directory}/${name}`));
      path += `/${name}`;
    }
    withReach(path, (directory) => {
      assert.notEqual(directory, path);
      assert.ok(lstatSync(directory).isDirectory());
      writeFileSync(`${directory}/${'f'.repeat(255)}`, 'deep');
    });
    assert.equal(
      withReach(path, (directory) => readFileSync(`${directory}/${'f'.repeat(255)}`, 'utf8')),
      'deep',
    );
    assert.deepEqual(
      withReach(path, (directory) => readdirSync(directory)),
      ['f'.repeat(255)],
    );
    assert.equal(openFiles(), before);
    // What fails is told with the real path.
    assert.throws(
      () => withReach(path, (directory) => readFileSync(`${directory}/missing`)),
      (error) => errnoOf(error) === 'ENOENT' && (error as NodeJS.ErrnoException).path === `${path}/missing` && (error as Error).message.includes(path),
    );
    const known = new KnownError({ code: 'X', kind: 'input', message: 'm', data: { path: '' } });
    assert.throws(
      () =>
        withReach(path, (directory) => {
          known.data.path = `${directory}/x`;
          throw known;
        }),
      known,
    );
    assert.equal(known.data.path, `${path}/x`);
    assert.throws(
      () => withReach(`${path}/missing/${'n'.repeat(200)}`, () => undefined),
      (error) => errnoOf(error) === 'ENOENT' && !(error as Error).message.includes('/proc/'),
    );
    assert.equal(openFiles(), before);
  } finally {
    spawnSync('rm', ['-rf', root]);
  }
});
