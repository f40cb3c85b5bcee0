import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { parseInteger, parseOptions } from './options.ts';

const FLAGS = {
  branch: { kind: 'text', short: 'b', help: '' },
  recursive: { kind: 'flag', short: 'R', help: '' },
  checksum: { kind: 'flag', short: 'C', help: '' },
  tree: { kind: 'texts', help: '', env: ['TREE'] },
  depth: { kind: 'int', help: '', env: ['DEPTH_A', 'DEPTH_B'] },
  fsync: { kind: 'bool', help: '' },
  format: { kind: 'text', help: '', choices: ['yaml', 'json'] },
} as const;

const NOTHING = { branch: undefined, recursive: false, checksum: false, tree: [], depth: undefined, fsync: undefined, format: undefined };

const GOOD: [argv: string[], values: Partial<Record<keyof typeof FLAGS, unknown>>, operands: string[]][] = [
  [[], {}, []],
  [['--branch=main'], { branch: 'main' }, []],
  [['--branch', 'main', 'path'], { branch: 'main' }, ['path']],
  [['path', '--branch', '--recursive'], { branch: '--recursive' }, ['path']],
  [['-b', 'main'], { branch: 'main' }, []],
  [['-bmain'], { branch: 'main' }, []],
  [['-RCb', 'main', 'x'], { branch: 'main', recursive: true, checksum: true }, ['x']],
  [['-RCbmain'], { branch: 'main', recursive: true, checksum: true }, []],
  [['--branch=a', '--branch=b'], { branch: 'b' }, []],
  [['--branch='], { branch: '' }, []],
  [['--branch=a=b'], { branch: 'a=b' }, []],
  [['--tree=a', 'x', '--tree', 'b'], { tree: ['a', 'b'] }, ['x']],
  [['--recursive=ignored'], { recursive: true }, []],
  [['--depth=-1'], { depth: -1 }, []],
  [['--depth', '-1'], { depth: -1 }, []],
  [['--fsync=no'], { fsync: false }, []],
  [['--fsync', 'yes'], { fsync: true }, []],
  [['a', '--', '-b', '--tree'], {}, ['a', '-b', '--tree']],
  [['-', 'a'], {}, ['-', 'a']],
  [['--format=json'], { format: 'json' }, []],
];

test('options and operands in any order and form', () => {
  for (const [argv, values, operands] of GOOD) {
    const parsed = parseOptions(FLAGS, argv);
    assert.deepEqual({ ...parsed.values }, { ...NOTHING, ...values }, argv.join(' '));
    assert.deepEqual(parsed.operands, operands, argv.join(' '));
    assert.equal(parsed.help, false);
  }
});

const BAD: [argv: string[], code: string, message: string][] = [
  [['--branc=x'], 'CLI_OPTION_UNKNOWN', 'Unknown option --branc=x'],
  [['-b=x'], 'CLI_OPTION_UNKNOWN', 'Unknown option -b=x'],
  [['-Rx'], 'CLI_OPTION_UNKNOWN', 'Unknown option -Rx'],
  [['--constructor'], 'CLI_OPTION_UNKNOWN', 'Unknown option --constructor'],
  [['--branch'], 'CLI_OPTION_VALUE_MISSING', 'Missing argument for --branch'],
  [['-R', '-b'], 'CLI_OPTION_VALUE_MISSING', 'Missing argument for -b'],
  [['--depth=x'], 'CLI_OPTION_VALUE_INVALID', 'Cannot parse integer value “x” for --depth'],
  [['--depth=3000000000'], 'CLI_OPTION_VALUE_INVALID', 'Integer value “3000000000” for --depth out of range'],
  [['--fsync=maybe'], 'CLI_OPTION_VALUE_INVALID', "Invalid boolean argument 'maybe'"],
  [['--format=xml'], 'CLI_OPTION_VALUE_INVALID', 'Cannot use "xml" for --format'],
];

test('what makes no sense is named', () => {
  for (const [argv, code, message] of BAD) assert.throws(() => parseOptions(FLAGS, argv), { code, message, kind: 'usage' }, argv.join(' '));
});

test('a misspelt option is hinted at', () => {
  assert.throws(() => parseOptions(FLAGS, ['--recursve']), { hint: 'Did you mean --recursive?' });
});

test('help ends parsing wherever it stands', () => {
  for (const argv of [['--help'], ['-h'], ['-?'], ['-Rh'], ['x', '--help', '--nonsense']]) assert.equal(parseOptions(FLAGS, argv).help, true);
  assert.equal(parseOptions({ homedir: { kind: 'flag', short: 'h', help: '' } }, ['-h']).values.homedir, true);
});

test('variables stand in for absent options, the first that is set', () => {
  const lookUp = (variables: Record<string, string>) => (names: readonly string[]) =>
    names.map((name) => variables[name]).find((value) => value !== undefined && value !== '');
  assert.equal(parseOptions(FLAGS, [], lookUp({ DEPTH_A: '', DEPTH_B: '7' })).values.depth, 7);
  assert.equal(parseOptions(FLAGS, ['--depth=1'], lookUp({ DEPTH_B: '7' })).values.depth, 1);
  assert.deepEqual(parseOptions(FLAGS, [], lookUp({ TREE: 'x' })).values.tree, ['x']);
  assert.throws(() => parseOptions(FLAGS, [], lookUp({ DEPTH_A: 'x' })), { message: 'Cannot parse integer value “x” for DEPTH_A or DEPTH_B' });
});

test('integers are read as strtol reads them', () => {
  for (const [text, value] of [
    ['0', 0],
    ['010', 8],
    ['0x1F', 31],
    ['+5', 5],
    ['-0', 0],
    [' 5', 5],
  ] as const) {
    assert.equal(parseInteger(text, '--n') + 0, value, text);
  }
  for (const text of ['', '5x', '08', '0x', '1.5', '1e3', '--1']) assert.throws(() => parseInteger(text, '--n'), { code: 'CLI_OPTION_VALUE_INVALID' }, text);
});

test('any command line gives values or a known error', () => {
  const word = fc.oneof(fc.string(), fc.constantFrom('--branch', '-b', '--depth', '--', '-', '--fsync=', '--tree=x', '-RC', '-bx', '--help'));
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
      try {
        const { values, operands } = parseOptions(FLAGS, argv);
        assert.deepEqual(Object.keys(values), Object.keys(FLAGS));
        assert.ok(operands.length <= argv.length);
      } catch (error) {
        assert.ok(isKnownError(error), String(error));
      }
    }),
  );
});
