import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { readYaml } from './yaml-source.ts';

const value = (text: string): unknown => readYaml(text, 'f.yml')[0]?.value;

test('scalars are what Go makes of them', () => {
  // gopkg.in/yaml.v3 resolve.go
  const rows: [string, unknown][] = [
    ['yes', 'yes'],
    ['on', 'on'],
    ['True', true],
    ['~', null],
    ['', null],
    ['12', 12],
    ['+12', 12],
    ['0777', 511],
    ['0o17', 15],
    ['0x1F', 31],
    ['0b11', 3],
    ['08', 8],
    ['1_000', 1000],
    ['22:22', '22:22'],
    ['1.10', 1.1],
    ['.5', 0.5],
    ['1e3', 1000],
    ['12345678901234567890', '12345678901234567890'],
    ['2001-01-01', '2001-01-01'],
    ['"12"', '12'],
    ["'true'", 'true'],
    ['!!str 12', '12'],
    ['|\n  12\n', '12\n'],
    ['.inf', '.inf'],
  ];
  for (const [text, want] of rows) assert.equal((value(`k: ${text}`) as { k: unknown }).k, want, text);
});

test('anchors, aliases and merge keys', () => {
  assert.deepEqual(value('a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3, z: 4}\nc: *a\nd: {y: 9, <<: [*a, {q: 1, x: 5}]}'), {
    a: { x: 1, y: 2 },
    b: { x: 1, y: 3, z: 4 },
    c: { x: 1, y: 2 },
    d: { x: 1, q: 1, y: 9 },
  });
  // An alias means the last anchor of its name before it.
  assert.deepEqual(value('a: &i 1\nb: *i\nc: &i 2\nd: *i'), { a: 1, b: 1, c: 2, d: 2 });
  // Values made from one anchor are not shared.
  const shared = value('a: &a [1]\nb: *a') as { a: number[]; b: number[] };
  shared.a.push(2);
  assert.deepEqual(shared.b, [1]);
});

test('!reset and !override are recorded where they act, also through aliases and merges', () => {
  const [document] = readYaml(
    'x-a: &a\n  ports: !reset []\n  image: !override x\nservices:\n  w: {<<: *a}\n  v: *a\n  u: {l: [1, !reset 2, 3], e: !reset null}\n',
    'f.yml',
  );
  assert.deepEqual(document?.resets, [
    ['x-a', 'ports'],
    ['x-a', 'image'],
    ['services', 'w', 'ports'],
    ['services', 'w', 'image'],
    ['services', 'v', 'ports'],
    ['services', 'v', 'image'],
    ['services', 'u', 'l', 1],
    ['services', 'u', 'e'],
  ]);
  assert.deepEqual((document as { value: { services: unknown } }).value.services, { w: { image: 'x' }, v: { image: 'x' }, u: { l: [1, 3] } });
});

test('several documents, positions', () => {
  const documents = readYaml('a: 1\n---\nb:\n  - c: 2\n', 'f.yml');
  assert.deepEqual(
    documents.map((document) => document.value),
    [{ a: 1 }, { b: [{ c: 2 }] }],
  );
  assert.deepEqual(documents[1]?.position(['b', 0, 'c']), { file: 'f.yml', line: 4, column: 5, depth: 3 });
  assert.deepEqual(documents[1]?.position(['b', 7]), { file: 'f.yml', line: 3, column: 1, depth: 1 });
});

test('bad files have codes and places', () => {
  const rows: [string, string, number][] = [
    ['a: 1\nb: [', 'COMPOSE_YAML_INVALID', 2],
    ['a: b: c', 'COMPOSE_YAML_INVALID', 1],
    ['a: 1\nb: {c: 1, c: 2}', 'COMPOSE_YAML_DUPLICATE_KEY', 2],
    ['a: 1\n\na: 2', 'COMPOSE_YAML_DUPLICATE_KEY', 3],
    ['a: *nope', 'COMPOSE_YAML_INVALID', 1],
    ['a: &a [*a]', 'COMPOSE_TOO_COMPLEX', 1],
    ['a: &a {b: {<<: *a}}', 'COMPOSE_TOO_COMPLEX', 1],
    ['{[1]: 2}', 'COMPOSE_YAML_INVALID', 1],
    ['a: {<<: 1}', 'COMPOSE_YAML_INVALID', 1],
    ['__proto__: 1', 'COMPOSE_YAML_INVALID', 1],
    ['\tx: 1', 'COMPOSE_YAML_INVALID', 1],
  ];
  for (const [text, code, line] of rows) {
    assert.throws(
      () => readYaml(text, 'f.yml'),
      (error: unknown) => isKnownError(error, code) && error.data.line === line && error.data.file === 'f.yml',
      text,
    );
  }
});

test('bombs end early', () => {
  const bombs: Record<string, string> = {
    aliases: ['a0: &a0 [x]', ...Array.from({ length: 40 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`)].join('\n'),
    merges: ['a0: &a0 {k: 1}', ...Array.from({ length: 40 }, (_, i) => `a${i + 1}: &a${i + 1} {<<: [*a${i}, *a${i}]}`)].join('\n'),
    text: `a: &a "${'x'.repeat(100_000)}"\nb: [${'*a, '.repeat(5000)}]`,
    brackets: '['.repeat(100_000),
    braces: '{a: '.repeat(100_000),
    dashes: '- '.repeat(100_000),
    indentation: Array.from({ length: 1300 }, (_, i) => `${' '.repeat(i)}k:`).join('\n'),
    documents: '---\n'.repeat(10_000),
    errors: ','.repeat(500_000),
    size: `# ${'x'.repeat(2 << 20)}`,
  };
  for (const [name, text] of Object.entries(bombs)) {
    assert.throws(
      () => readYaml(text, 'f.yml'),
      (error: unknown) => isKnownError(error) && ['COMPOSE_TOO_COMPLEX', 'COMPOSE_YAML_INVALID', 'COMPOSE_FILE_TOO_LARGE'].includes(error.code),
      name,
    );
  }
});

test('property: any text gives values or a known error', () => {
  const unit = fc.constantFrom(
    'a',
    ':',
    ' ',
    '\n',
    '-',
    '[',
    ']',
    '{',
    '}',
    ',',
    '&a ',
    '*a',
    '<<: ',
    '!reset ',
    '!!str ',
    '"',
    "'",
    '|',
    '>',
    '#',
    '?',
    '%',
    '---\n',
    '\t',
    '~',
    '1',
    '\r\n',
    '\u0000',
    'é',
  );
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 60 }), (text) => {
      try {
        readYaml(text, 'f.yml');
      } catch (error) {
        assert.ok(isKnownError(error), String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
