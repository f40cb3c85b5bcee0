import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { repoFile, repoFileOfRequest } from './repo-path.ts';

const HEX = 'ab'.repeat(31);
const NAME = 'A_+'.repeat(13).concat('xy');
const FROM = `${NAME}zz`;

test('what a client asks for when it pulls is public, and only objects never change', () => {
  const table: [path: string, immutable: boolean][] = [
    ['config', false],
    ['summary', false],
    ['summary.sig', false],
    ['summary.idx.sig', false],
    ['refs/heads/apps/shop', false],
    ['refs/heads/apps/shop_1.2-x', false],
    ['refs/mirrors/org.example.Apps/apps/shop', false],
    ['refs/remotes/origin/main', false],
    ['extensions/rpmostree/pkglist', false],
    [`objects/00/${HEX}.filez`, true],
    [`objects/00/${HEX}.commit`, true],
    [`objects/00/${HEX}.dirtree`, true],
    [`objects/00/${HEX}.dirmeta`, true],
    [`objects/00/${HEX}.commitmeta`, false],
    [`objects/00/${HEX}.tombstone-commit`, false],
    [`deltas/zZ/${NAME}/superblock`, false],
    [`deltas/zZ/${NAME}-${FROM}/0`, false],
    [`delta-indexes/zZ/${NAME}.index`, false],
  ];
  for (const [path, immutable] of table) {
    assert.deepEqual(repoFile(path), { path, immutable });
    assert.deepEqual(repoFileOfRequest(`/${path}?x=/../..`), { path, immutable });
    assert.deepEqual(repoFileOfRequest(`/${encodeURIComponent(path)}`), { path, immutable });
  }
});

test('nothing else is', () => {
  const paths = [
    ...[
      '',
      '/',
      '.',
      '..',
      'config/',
      'config/x',
      'config.bak',
      '.lock',
      'tmp/cache/summaries/x',
      'state/x.commitpartial',
      'origin.trustedkeys.gpg',
      'summary/',
    ],
    ...['refs', 'refs/heads', 'refs/heads/', 'refs/heads/..', 'refs/heads/../../.lock', 'refs/heads/a/../b', 'refs/heads/./a', 'refs/heads//a', 'refs/other/a'],
    ...['refs/heads/.hidden', 'refs/heads/a\0', 'extensions', 'extensions/../config', 'objects', 'objects/00', `objects/00/${HEX}`, `objects/00/${HEX}.file`],
    ...[
      `objects/0/${HEX}.filez`,
      `objects/00/${HEX}.filez/..`,
      `objects/00/${HEX.toUpperCase()}.filez`,
      `objects/../00/${HEX}.filez`,
      `objects/00/${HEX}.filez\n`,
    ],
    ...[`deltas/zZ/${NAME}`, `deltas/zZ/${NAME}/`, `deltas/zZ/${NAME}/..`, `deltas/zZ/${NAME}/-1`, `delta-indexes/zZ/${NAME}`],
  ];
  for (const path of paths) {
    assert.equal(repoFile(path), undefined, path);
    assert.equal(repoFileOfRequest(`/${encodeURIComponent(path)}`), undefined, path);
  }
  for (const target of [
    'config',
    '*',
    'http://host/config',
    '/%',
    '/%ff',
    '//config',
    '/%2e%2e/config',
    '/refs/heads/%2e%2e/%2e%2e/config',
    '/refs/heads/a%2f..%2fb',
    `/${'a/'.repeat(3000)}`,
  ]) {
    assert.equal(repoFileOfRequest(target), undefined, target);
  }
});

test('no path whatever leads out of the repository', () => {
  const piece = fc.constantFrom('..', '.', '/', '%2f', '%2e', '%00', 'refs', 'heads', 'extensions', 'objects', 'config', '\\', 'a', '//');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const file = repoFileOfRequest(`/${pieces.join('')}`);
      if (file === undefined) return;
      assert.ok(!file.path.startsWith('/') && !file.path.includes('\0'));
      for (const component of file.path.split('/')) assert.ok(component !== '' && component !== '.' && component !== '..', file.path);
    }),
  );
});
