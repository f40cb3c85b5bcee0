import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { MAX_PATH_DEPTH, parseEntryPath, quoteBytes } from './safe-path.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');

test('paths come apart into components below the root', () => {
  const table: [string, string[]][] = [
    ['', []],
    ['.', []],
    ['./', []],
    ['/', []],
    ['a', ['a']],
    ['./a/b/', ['a', 'b']],
    ['/etc/passwd', ['etc', 'passwd']],
    ['//a///./b/.', ['a', 'b']],
    ['a/...', ['a', '...']],
    ['a/..b', ['a', '..b']],
    ['naïve/☃', ['naïve', '☃']],
    ['\ufeffbom', ['\ufeffbom']],
    ['back\\slash\nnew line', ['back\\slash\nnew line']],
    ['n'.repeat(255), ['n'.repeat(255)]],
  ];
  for (const [path, want] of table) assert.deepEqual(parseEntryPath(bytes(path)), want, path);
});

test('paths that lead astray are refused', () => {
  const table: [Uint8Array, string][] = [
    [bytes('..'), 'TREE_PATH_PARENT'],
    [bytes('../etc/passwd'), 'TREE_PATH_PARENT'],
    [bytes('a/../../b'), 'TREE_PATH_PARENT'],
    [bytes('a/..'), 'TREE_PATH_PARENT'],
    [bytes('/../a'), 'TREE_PATH_PARENT'],
    [bytes('a\0b'), 'TREE_PATH_NUL'],
    [bytes('n'.repeat(256)), 'TREE_PATH_TOO_LONG'],
    [bytes('é'.repeat(128)), 'TREE_PATH_TOO_LONG'],
    [bytes('d/'.repeat(MAX_PATH_DEPTH + 1)), 'TREE_PATH_TOO_DEEP'],
    [Buffer.from([0x61, 0xff]), 'TREE_PATH_NOT_UTF8'],
    [Buffer.from([0xc0, 0xae, 0xc0, 0xae, 0x2f]), 'TREE_PATH_NOT_UTF8'], // an overlong '..'
    [Buffer.from([0xed, 0xa0, 0x80]), 'TREE_PATH_NOT_UTF8'], // a surrogate
  ];
  for (const [path, code] of table) assert.throws(() => parseEntryPath(path), { code }, quoteBytes(path));
  assert.equal(parseEntryPath(bytes('d/'.repeat(MAX_PATH_DEPTH))).length, MAX_PATH_DEPTH);
});

test('any bytes give names below the root, or a known error', () => {
  const path = fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.stringMatching(/^[ab./\0é]{0,40}$/).map(bytes));
  fc.assert(
    fc.property(path, (raw) => {
      let components: string[];
      try {
        components = parseEntryPath(raw);
      } catch (error) {
        assert.ok(isKnownError(error));
        return;
      }
      for (const name of components) assert.ok(name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name));
      const joined = posix.join('/root', ...components);
      assert.ok(joined === '/root' || joined.startsWith('/root/'));
      assert.deepEqual(parseEntryPath(bytes(components.join('/'))), components);
    }),
    { numRuns: 2000 },
  );
});
