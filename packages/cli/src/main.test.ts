import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needsPeer, scratch } from '@cambium/testkit';
import { commandsOf, loadCatalogue } from './catalogue.ts';
import { renderCommandsPage, renderExitCodesPage, renderManualPage } from './documents.ts';
import type { Environment } from './environment.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { execute } from './main.ts';
import { suggest } from './suggest.ts';
import type { Output } from './ui.ts';

const PACKAGE = new URL('../', import.meta.url);
const LAUNCHER = fileURLToPath(new URL('bin/cambium.js', PACKAGE));

async function cambium(args: readonly string[], environment: Partial<Environment> = {}): Promise<{ status: number; stdout: string; stderr: string }> {
  const texts = { stdout: '', stderr: '' };
  const output = (name: keyof typeof texts): Output => ({
    write: (data, done) => {
      texts[name] += Buffer.from(data as string).toString();
      done?.();
      return true;
    },
  });
  const status = await execute(args, {
    stdout: output('stdout'),
    stderr: output('stderr'),
    environment: { variables: {}, workingDirectory: '/', home: '/nowhere', uid: 0, stdoutIsTerminal: false, stderrIsTerminal: false, ...environment },
    signal: new AbortController().signal,
  });
  return { status, ...texts };
}

test('--version needs nothing but the launcher and the manifest', (t) => {
  const directory = scratch(t);
  mkdirSync(join(directory, 'bin'));
  cpSync(LAUNCHER, join(directory, 'bin/cambium.js'));
  writeFileSync(join(directory, 'package.json'), '{"type":"module","version":"1.2.3"}');
  const { status, stdout } = spawnSync(process.execPath, [join(directory, 'bin/cambium.js'), '--version'], { encoding: 'utf8' });
  assert.deepEqual([status, stdout], [0, 'cambium 1.2.3\n']);
});

test('a working directory that is gone is told of', (t) => {
  const directory = join(scratch(t), 'gone');
  mkdirSync(directory);
  const { status, stdout, stderr } = spawnSync('sh', ['-c', 'rmdir "$PWD" && exec "$@"', 'sh', process.execPath, LAUNCHER, 'help'], {
    cwd: directory,
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout], [4, '']);
  assert.match(stderr, /^error: Cannot work here: .*\[CLI_WORKING_DIRECTORY_GONE\]\nhint: /m);
});

test('results go to stdout, all else to stderr', async () => {
  const help = await cambium(['--help']);
  assert.equal(help.status, 0);
  assert.match(help.stdout, /^Usage: cambium COMMAND/);
  assert.equal(help.stderr, '');
  const nothing = await cambium([]);
  assert.equal(nothing.status, 2);
  assert.equal(nothing.stdout, '');
  assert.match(nothing.stderr, /^Usage: cambium COMMAND/);
});

test('wrong calls end with status 2, a code, and a hint', async () => {
  const CASES: [args: string[], stderr: RegExp][] = [
    [['pakc'], /^error: Unknown command "pakc" \[CLI_COMMAND_UNKNOWN\]\nhint: Did you mean: cambium pack\?\n$/],
    [['compose', 'confgi'], /hint: Did you mean: cambium compose config\?/],
    [['xyzzy'], /hint: cambium --help lists the commands/],
    [['doctor', '--jsn'], /Unknown option --jsn \[CLI_OPTION_UNKNOWN\]\nhint: Did you mean --json\?/],
    [['doctor', 'extra'], /Unexpected argument "extra" \[CLI_OPERANDS_WRONG\]/],
    [['completion'], /Missing argument SHELL \[CLI_OPERANDS_WRONG\]\nhint: cambium completion --help/],
    [['completion', 'tcsh'], /Choose one of: bash, zsh, fish/],
    [['--progress=often', 'doctor'], /Cannot use "often" for --progress/],
  ];
  for (const [args, stderr] of CASES) {
    const result = await cambium(args);
    assert.equal(result.status, 2, args.join(' '));
    assert.equal(result.stdout, '');
    assert.match(result.stderr, stderr);
  }
});

test('with --progress=json stderr is lines of JSON, the failure too', async () => {
  const { stderr, status } = await cambium(['--progress=json', 'completion', 'tcsh']);
  assert.equal(status, 2);
  const lines = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; error: { code: string } });
  assert.deepEqual([lines.length, lines[0]?.type, lines[0]?.error.code], [1, 'error', 'CLI_OPERANDS_WRONG']);
});

test('global options may stand before or after the command', async () => {
  for (const args of [
    ['--json', 'doctor'],
    ['doctor', '--json'],
  ]) {
    const { stdout } = await cambium(args, { variables: { PATH: '' } });
    const { checks } = JSON.parse(stdout) as { checks: { name: string; status: string; found: string; advice?: string }[] };
    assert.deepEqual(
      checks.find((check) => check.name === 'podman'),
      {
        name: 'podman',
        status: 'warn',
        found: 'not installed',
        advice: 'To run packed apps: apt install podman',
      },
    );
    for (const check of checks) assert.equal(check.advice === undefined, check.status === 'ok', check.name);
  }
});

test('every command has help with an example, and its help is complete', async () => {
  for (const { path, command, flags, dialect } of commandsOf(await loadCatalogue())) {
    const help = await cambium([...path.split(' ').slice(1), '--help']);
    assert.equal(help.status, 0, path);
    assert.equal(help.stderr, '', path);
    for (const [name, flag] of Object.entries(flags)) assert.equal(help.stdout.includes(`--${name}`), flag.hidden !== true, `${path} --${name}`);
    assert.ok(command.examples.length > 0, path);
    if (dialect === 'cambium') for (const example of command.examples) assert.ok(help.stdout.includes(example.command), path);
    assert.equal((await cambium(['help', ...path.split(' ').slice(1)])).stdout, help.stdout, path);
  }
});

/** What verbs take beyond libostree 2022.7. Later versions of it have `--revision`, `--sign-from-file` and composefs; with libsodium it has the keys of deltas. */
const ADDED_FLAGS: Readonly<Record<string, readonly string[]>> = {
  checkout: ['composefs', 'composefs-noverity'],
  commit: ['generate-composefs-metadata', 'sign-from-file'],
  diff: ['sizes'],
  fsck: ['resume'],
  pull: ['low-speed-limit-bytes', 'low-speed-time-seconds', 'max-outstanding-fetcher-requests', 'disable-retry-on-network-errors'],
  refs: ['revision'],
  'remote refs': ['revision'],
  'remote summary': ['list-metadata-keys', 'print-metadata-key'],
  show: ['print-hex'],
  sign: ['keys-file', 'keys-dir'],
  'static-delta apply-offline': ['keys-file', 'keys-dir'],
  'static-delta generate': ['keys-file'],
  'static-delta verify': ['keys-file', 'keys-dir'],
  summary: ['list-metadata-keys', 'print-metadata-key'],
};

/** The help of a verb or group of libostree's, or undefined when it has none of that name; in lines, as far as they are compared. */
function theirHelp(name: string): string[] | undefined {
  const { status, stdout } = spawnSync('ostree', [...name.split(' '), '--help'], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8' } });
  // Of a word that it does not know libostree shows the help of the group.
  return status === 0 && stdout.startsWith(`Usage:\n  ostree ${name} [`) ? helpLines(stdout) : undefined;
}

function helpLines(text: string): string[] {
  return text.split('\n').map((row) => row.trim().replace(/\s{2,}/g, '  '));
}

test('the help of every ostree verb is that of libostree, but for what it adds', { skip: needsPeer('ostree') }, async () => {
  let compared = 0;
  for (const { path, command, dialect, flags } of commandsOf(await loadCatalogue())) {
    if (dialect !== 'ostree') continue;
    const verb = path.replace('cambium ostree ', '');
    const theirs = theirHelp(verb);
    if (theirs === undefined) continue;
    compared++;
    const ours = helpLines((await cambium(['ostree', ...verb.split(' '), '--help'])).stdout);
    // It leaves out what the values of some options are called, and for some verbs that the current directory is looked at first.
    const same = (mine: string, peers: string): boolean =>
      mine === peers || mine.replace(/^(--?[^=]+)=\S+/, '$1') === peers || mine.replace('current directory or ', '') === peers;
    assert.deepEqual(
      theirs.filter((row) => !ours.some((mine) => same(mine, row))),
      [],
      verb,
    );
    const added = ours.filter((mine) => mine !== '' && !theirs.some((row) => same(mine, row)));
    const allowed = [...(ADDED_FLAGS[verb] ?? []), ...(command.json === undefined ? [] : ['json'])].map((name) => flags[name]?.help ?? '');
    assert.deepEqual(
      added.filter((row) => !allowed.some((help) => help !== '' && row.endsWith(help))),
      [],
      verb,
    );
    assert.equal(added.length, allowed.length, verb);
  }
  assert.ok(compared > 35, String(compared));
});

test('the groups of ostree verbs are those of libostree', { skip: needsPeer('ostree') }, async () => {
  const commands = (rows: readonly string[]): string[] => rows.filter((row) => /^[a-z-]+ {2}/.test(row) && !row.startsWith('-'));
  for (const name of ['remote', 'static-delta']) {
    const help = await cambium(['ostree', name, '--help']);
    assert.deepEqual([help.status, help.stderr], [0, '']);
    assert.deepEqual(commands(helpLines(help.stdout)), commands(theirHelp(name) ?? []), name);
    assert.ok(helpLines(help.stdout).includes(`Builtin "${name}" Commands:`));
    assert.equal((await cambium(['help', 'ostree', name])).stdout, help.stdout);
    assert.equal((await cambium(['ostree', name, 'nonsense', '--help'])).stdout, help.stdout);
    for (const [args, message] of [
      [[name], `error: No "${name}" subcommand specified`],
      [[name, 'nonsense'], `error: Unknown "${name}" subcommand 'nonsense'`],
    ] as const) {
      const wrong = await cambium(['ostree', ...args]);
      assert.deepEqual([wrong.status, wrong.stdout], [1, '']);
      assert.deepEqual([wrong.stderr.startsWith(help.stdout), wrong.stderr.trimEnd().split('\n').at(-1)], [true, message]);
    }
  }
});

test('suggestions are near or none', () => {
  const names = ['pack', 'mount', 'unmount', 'clean', 'completion'];
  for (const [typed, wanted] of [
    ['pcak', 'pack'],
    ['unmout', 'unmount'],
    ['compl', 'completion'],
    ['xxxxx', undefined],
    ['', undefined],
  ] as const) {
    assert.equal(suggest(typed, names), wanted, typed);
  }
});

test('the manual page is one that man accepts', { skip: needsPeer('man') }, async (t) => {
  const file = join(scratch(t), 'cambium.1');
  writeFileSync(file, renderManualPage(await loadCatalogue(), '2026-01-01'));
  const { status, stdout, stderr } = spawnSync('man', ['--warnings', '-l', file], {
    encoding: 'utf8',
    env: { ...process.env, MANWIDTH: '100', LC_ALL: 'C.UTF-8' },
  });
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /CAMBIUM PACK/);
});

test('docs/commands.md and docs/exit-codes.md are current', async () => {
  const page = (name: string): string => readFileSync(new URL(`../../docs/${name}`, PACKAGE), 'utf8');
  assert.equal(page('commands.md'), renderCommandsPage(await loadCatalogue()), 'run: npm run docs --workspace cambium');
  assert.equal(page('exit-codes.md'), renderExitCodesPage(), 'run: npm run docs --workspace cambium');
});

test('exit statuses are distinct, and each kind has one', () => {
  assert.equal(new Set(EXIT_CODES.map((row) => row.status)).size, EXIT_CODES.length);
  const kinds = EXIT_CODES.flatMap((row) => row.kind ?? []);
  assert.equal(new Set(kinds).size, kinds.length);
  assert.equal(kinds.length, 10);
});

test('an old Node is told what is needed', (t) => {
  const directory = scratch(t);
  const file = join(directory, 'old.mjs');
  writeFileSync(
    file,
    `Object.defineProperty(process.versions, 'node', { value: '20.11.1' });\nprocess.argv = [process.argv[0], 'cambium'];\nawait import(${JSON.stringify(LAUNCHER)});\n`,
  );
  const { status, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
  assert.equal(status, 11);
  assert.match(stderr, /^error: cambium needs Node 24 or newer; this is Node 20\.11\.1/);
});
