import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { parseIgnoreFile } from './ignore-file.ts';

test('patterns of dockerignore', () => {
  // moby patternmatcher_test.go; Docker's documentation of .dockerignore
  const rows: [string, string[], string[]][] = [
    ['a', ['a', 'a/b', 'a/b/c'], ['b/a', 'ab']],
    ['/a/', ['a', 'a/b'], ['b/a']],
    ['./a/../b', ['b'], ['a']],
    ['*.md', ['x.md', '.md'], ['d/x.md', 'x.mdx']],
    ['*/x', ['a/x', 'a/x/y'], ['x', 'a/b/x']],
    ['**/x', ['x', 'a/x', 'a/b/x', 'a/b/x/c'], ['ax', 'a/bx']],
    ['**', ['a', 'a/b'], []],
    ['a/**', ['a/b', 'a/b/c'], ['a', 'b']],
    ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z'], ['a/bz', 'z']],
    ['**/*.go', ['x.go', 'a/b/x.go'], ['x.c']],
    ['t?mp', ['temp', 'tamp'], ['tmp', 't/mp']],
    ['[a-c]x', ['ax', 'cx'], ['dx']],
    ['[^a]x', ['bx'], ['ax', '/x']],
    ['\\*', ['*'], ['a']],
    ['# comment\n\n  a  \n', ['a'], ['# comment', 'comment']],
    ['*.md\n!README.md', ['x.md'], ['README.md']],
    ['*.md\n!README*.md\nREADME-secret.md', ['x.md', 'README-secret.md'], ['README.md']],
    ['d\n!d/keep', ['d/x', 'd'], ['d/keep']],
    ['a\r\nb\r\n', ['a', 'b'], []],
  ];
  for (const [text, ignored, kept] of rows) {
    const rules = parseIgnoreFile(text, 'f');
    for (const path of ignored) assert.equal(rules.ignores(path), true, `${JSON.stringify(text)} ignores ${path}`);
    for (const path of kept) assert.equal(rules.ignores(path), false, `${JSON.stringify(text)} keeps ${path}`);
  }
});

test('bad patterns name their line', () => {
  for (const text of ['a\n[', 'a\nx\\']) assert.throws(() => parseIgnoreFile(text, 'f'), { code: 'COMPOSE_IGNORE_FILE_INVALID', message: /f:2: bad pattern/ });
});

test('many stars take no longer than their number', () => {
  const rules = parseIgnoreFile(`${'*a'.repeat(100)}b`, 'f');
  assert.equal(rules.ignores('a'.repeat(250)), false);
  assert.equal(parseIgnoreFile(`${'**/'.repeat(100)}b`, 'f').ignores(`${'a/'.repeat(100)}c`), false);
});

test('property: any pattern is a rule or a known error, and a literal one ignores itself', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '[', ']', '^', '-', '!', '\\', '/', '.', '#', ' ') }),
      fc.string({ unit: fc.constantFrom('a', 'b', '/', '-') }),
      (pattern, path) => {
        try {
          assert.equal(typeof parseIgnoreFile(pattern, 'f').ignores(path), 'boolean');
        } catch (error) {
          assert.ok(isKnownError(error), String(error));
        }
      },
    ),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-z]{1,4}$/), { minLength: 1, maxLength: 4 }), (parts) => {
      const path = parts.join('/');
      return (
        parseIgnoreFile(path, 'f').ignores(path) && parseIgnoreFile(`**/${parts.at(-1)}`, 'f').ignores(path) && !parseIgnoreFile(`${path}x`, 'f').ignores(path)
      );
    }),
  );
});
