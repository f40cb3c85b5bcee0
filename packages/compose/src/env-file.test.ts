import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { parseEnvFile } from './env-file.ts';

const parse = (text: string, environment: Record<string, string> = {}): Record<string, string> =>
  Object.fromEntries(parseEnvFile(text, { lookup: (name) => environment[name] }));

test('values, comments and quotes', () => {
  // compose-spec "Env_file format"; compose-go dotenv/godotenv_test.go
  const rows: [string, Record<string, string>][] = [
    ['A=1\nB = 2 \n\n# note\n  C: 3\n', { A: '1', B: '2', C: '3' }],
    ['export A=1\r\nB=2\r\n', { A: '1', B: '2' }],
    ['A=x # note\nB=x#y\nC=# y', { A: 'x', B: 'x#y', C: '# y' }],
    ['A="x # y" # note\nB=\'$X\\n\'', { A: 'x # y', B: '$X\\n' }],
    ['A="a\nb"\nB=\'c\n#d\'\nC=1', { A: 'a\nb', B: 'c\n#d', C: '1' }],
    ['A="q\\"q \\$X \\n\\t\\\\ \\z \\0101"', { A: 'q"q $X \n\t\\ \\z A' }],
    ['A=\nB=""\nC=\'\'', { A: '', B: '', C: '' }],
    ['A=1\nB=$A-${A}-${U:-d}\nC="${B}"', { A: '1', B: '1-1-d', C: '1-1-d' }],
    ['A=1\nA=2', { A: '2' }],
    ['\ufeffA=1', { A: '1' }],
    ['a.b-c[0]=1\nÄ=2', { 'a.b-c[0]': '1', Ä: '2' }],
    ['A=it\'s\nB=a "b" c', { A: "it's", B: 'a "b" c' }],
    ['A=$$X', { A: '$X' }],
    ['', {}],
    ['#only', {}],
  ];
  for (const [text, want] of rows) assert.deepEqual(parse(text), want, JSON.stringify(text));
});

test('the environment is looked at before the file, and gives keys without a value', () => {
  assert.deepEqual(parse('A=1\nB=$A\nC\nD\nE=1', { A: 'outer', C: 'c' }), { A: '1', B: 'outer', C: 'c', E: '1' });
});

test('raw format keeps everything', () => {
  assert.deepEqual(
    [...parseEnvFile('# note\nA="x" # $B\n\nC=\r\nnothing\n', { raw: true })],
    [
      ['A', '"x" # $B'],
      ['C', ''],
    ],
  );
});

test('errors name the line', () => {
  const rows: [string, RegExp][] = [
    ['A=1\nB="x\ny', /line 2: unterminated quoted value "x/],
    ['A=1\n\nA B=1', /line 3: key cannot contain a space/],
    ['A!=1', /line 1: unexpected character "!"/],
    ['=1', /line 1: a variable has no name/],
  ];
  for (const [text, message] of rows) assert.throws(() => parse(text), { code: 'COMPOSE_ENV_FILE_INVALID', message }, text);
  assert.throws(() => parse('A=1\nB=${X:?need}'), { code: 'COMPOSE_VARIABLE_REQUIRED', data: { file: 'env file', line: 2 } });
  assert.throws(() => parse('A=${'), { code: 'COMPOSE_TEMPLATE_INVALID' });
});

test('values that double line by line are stopped', () => {
  const lines = ['A0=xxxxxxxxxx', ...Array.from({ length: 60 }, (_, i) => `A${i + 1}=$A${i}$A${i}`)];
  assert.throws(() => parse(lines.join('\n')), { code: 'COMPOSE_TOO_COMPLEX' });
});

test('property: any value survives double quotes', () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      const text = `K="${value.replace(/[\\"$]/g, '\\$&')}"\nL=1\n`;
      assert.deepEqual(parse(text), { K: value, L: '1' });
    }),
  );
});

test('property: any text gives variables or a known error', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('A', '=', ':', '"', "'", '\\', '\n', ' ', '#', '$', '{', '}', 'export ', '\r', '\u00a0') }), (text) => {
      try {
        parseEnvFile(text);
      } catch (error) {
        assert.ok(isKnownError(error), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});
