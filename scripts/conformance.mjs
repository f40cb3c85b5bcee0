// Runs libostree's own test suite with our command in place of `ostree`.
//
//   npm run conformance [-- OPTION… SCRIPT…]
//
//   --fast            only the scripts marked so in scripts/conformance.txt
//   --delegate LIST   verbs (comma separated; "remote add" with a space) that the real ostree runs: for development
//   --jobs N          scripts at once (default: processors)
//   --limit SECONDS   time limit of one script (default 600)
//   --keep DIRECTORY  keep what each script printed there
//
// A run of all scripts without delegates writes docs/conformance.md. The exit status is 1 when the results are not what
// scripts/conformance.txt says, 77 when the suite is not installed.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const SUITE = '/usr/libexec/installed-tests/libostree';
const WORKSPACE = dirname(dirname(fileURLToPath(import.meta.url)));
const LIST = join(WORKSPACE, 'scripts', 'conformance.txt');
const PAGE = join(WORKSPACE, 'docs', 'conformance.md');
const NOT_INSTALLED = 77;
/** What a script may print before its end is all that is kept. */
const MAX_OUTPUT = 4_000_000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    fast: { type: 'boolean', default: false },
    delegate: { type: 'string', default: '' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    limit: { type: 'string', default: '600' },
    keep: { type: 'string' },
  },
});
const delegates = options.delegate.split(',').filter((verb) => verb !== '');

const all = parseList(readFileSync(LIST, 'utf8'));
const unknown = positionals.filter((name) => !all.some((script) => script.name === shortName(name)));
if (unknown.length > 0) fail(`not in scripts/conformance.txt: ${unknown.join(', ')}`);
const chosen = all.filter(
  (script) => (positionals.length === 0 || positionals.some((name) => shortName(name) === script.name)) && (!options.fast || script.fast),
);

if (!isThere(join(SUITE, 'libtest.sh'))) {
  process.stderr.write('libostree’s test suite is not installed (Debian: apt-get install ostree-tests)\n');
  process.exit(NOT_INSTALLED);
}

const scratch = mkdtempSync(join(tmpdir(), 'cambium-conformance-'));
const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of running) killGroup(child);
    rmSync(scratch, { recursive: true, force: true });
    process.exit(130);
  });
}

try {
  const programs = writeLauncher(scratch);
  const results = await runAll(chosen, programs);
  finish(results);
} finally {
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3, retryDelay: 200 });
}

function parseList(text) {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name, assertions, fast, reason] = /^(\S+) (\d+)( fast)?(?: : (.+))?$/.exec(line) ?? fail(`scripts/conformance.txt: cannot read "${line}"`);
      return { name, assertions: Number(assertions), fast: fast !== undefined, reason };
    });
}

function shortName(text) {
  return text.replace(/^test-/, '').replace(/\.sh$/, '');
}

/** Returns a folder whose `ostree` is ours; verbs in `delegates` go to the real one. */
function writeLauncher(folder) {
  const programs = join(folder, 'programs');
  mkdirSync(programs);
  const ours = `exec "${process.execPath}" --max-semi-space-size=1 "${join(WORKSPACE, 'packages/cli/bin/cambium.js')}" ostree "$@"`;
  const lines = ['#!/bin/sh'];
  if (delegates.length > 0) {
    const real = findOstree() ?? fail('--delegate needs the real ostree');
    lines.push('words=""', 'for word in "$@"; do case "$word" in -*) ;; *) words="$words $word" ;; esac; done');
    lines.push('case "$words " in', ...delegates.map((verb) => `  " ${verb} "*) exec "${real}" "$@" ;;`), 'esac');
  }
  writeFileSync(join(programs, 'ostree'), `${[...lines, ours].join('\n')}\n`);
  chmodSync(join(programs, 'ostree'), 0o755);
  return programs;
}

function findOstree() {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'ostree'))
    .find(isThere);
}

function isThere(path) {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

async function runAll(scripts, programs) {
  const results = new Map();
  const waiting = [...scripts];
  const worker = async () => {
    for (let script = waiting.shift(); script !== undefined; script = waiting.shift()) {
      const result = await run(script, programs);
      results.set(script, result);
      process.stdout.write(
        `${result.passed ? 'pass' : 'FAIL'}  ${script.name.padEnd(24)} ${String(result.assertions).padStart(3)} of ${script.assertions}  ${result.passed ? '' : result.why}\n`,
      );
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(options.jobs)) }, worker));
  return scripts.map((script) => ({ script, ...results.get(script) }));
}

/** Runs one script in a directory of its own; everything it started ends with it. */
function run(script, programs) {
  const folder = join(scratch, script.name);
  const home = join(scratch, `${script.name}.home`);
  for (const path of [folder, home]) mkdirSync(path, { mode: 0o700 });
  return new Promise((resolve) => {
    const child = spawn('bash', [join(SUITE, `test-${script.name}.sh`)], {
      cwd: folder,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environmentOf(programs, home),
    });
    running.add(child);
    let output = '';
    const take = (chunk) => {
      output = `${output}${chunk}`.slice(-MAX_OUTPUT);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child);
    }, Number(options.limit) * 1000);
    // Not 'close': a server that a script left behind keeps its output open.
    child.on('exit', (status) => {
      clearTimeout(timer);
      running.delete(child);
      setTimeout(() => {
        killGroup(child);
        if (options.keep !== undefined) {
          mkdirSync(options.keep, { recursive: true });
          writeFileSync(join(options.keep, `${script.name}.log`), output);
        }
        rmSync(folder, { recursive: true, force: true, maxRetries: 3, retryDelay: 200 });
        rmSync(home, { recursive: true, force: true, maxRetries: 3, retryDelay: 200 });
        resolve(judge(script, output, late ? 'time limit' : status));
      }, 50);
    });
  });
}

/** The suite wants to set everything itself; what the caller's shell says about OSTree must not reach it. */
function environmentOf(programs, home) {
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(OSTREE_|G_TEST_|SOURCE_DATE_EPOCH$|NODE_|npm_|https?_proxy$|all_proxy$)/i.test(name)),
  );
  return { ...environment, PATH: `${programs}${delimiter}${environment.PATH ?? ''}`, HOME: home, LC_ALL: 'C.UTF-8', no_proxy: '127.0.0.1,localhost' };
}

function judge(script, output, status) {
  const assertions = output.match(/^ok\b/gm)?.length ?? 0;
  const skipped = /^1\.\.0 # SKIP (.*)$/m.exec(output);
  if (skipped !== null) return { passed: false, assertions, why: `skipped: ${skipped[1]}` };
  if (status !== 0 || /^not ok /m.test(output)) {
    const last = output.trimEnd().split('\n').reverse();
    const error = last.find((line) => /^error: /i.test(line)) ?? last[0] ?? '';
    return { passed: false, assertions, why: status === 'time limit' ? `time limit of ${options.limit} s` : `status ${status}: ${error.slice(0, 160)}` };
  }
  if (assertions < script.assertions) return { passed: false, assertions, why: `only ${assertions} of ${script.assertions} assertions` };
  return { passed: true, assertions, why: '' };
}

function killGroup(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // All of it has ended.
  }
}

function finish(results) {
  const passed = results.filter((result) => result.passed);
  const complete = results.length === all.length && delegates.length === 0;
  process.stdout.write(
    `\n${passed.length} of ${results.length} scripts pass${delegates.length > 0 ? ` (the real ostree ran: ${delegates.join(', ')})` : ''}\n`,
  );
  if (complete) writeFileSync(PAGE, page(results));
  if (delegates.length > 0) return;
  for (const { script, passed: pass } of results) {
    if (pass && script.reason !== undefined) complain(`${script.name} passes; remove its reason from scripts/conformance.txt: ${script.reason}`);
    if (!pass && script.reason === undefined) complain(`${script.name} fails, and scripts/conformance.txt gives no reason`);
  }
}

function page(results) {
  const passed = results.filter((result) => result.passed);
  const rows = results.map(
    ({ script, passed: pass, assertions }) =>
      `| \`test-${script.name}.sh\` | ${pass ? 'passes' : 'fails'} | ${assertions} of ${script.assertions} | ${script.reason ?? ''} |`,
  );
  const version = spawnSync('dpkg-query', ['--show', '--showformat=${Version}', 'ostree-tests'], { encoding: 'utf8' }).stdout ?? '';
  return `# Conformance with libostree

<!-- Generated: npm run conformance -->

**${passed.length} of ${results.length}** scripts of libostree's own test suite pass with \`cambium ostree\` in place of \`ostree\`, no verb handed to
the real one: Debian's package \`ostree-tests\`${version === '' ? '' : ` ${version}`}, ${results.reduce((sum, result) => sum + result.assertions, 0)} assertions. The scripts are those that need no sysroot, no FUSE
and no SELinux relabelling. The list with the reasons is \`scripts/conformance.txt\`; the command fails when a script
fails without a reason there, or passes with one.

| Script | Result | Assertions | Why not |
|---|---|---|---|
${rows.join('\n')}
`;
}

function complain(text) {
  process.stderr.write(`error: ${text}\n`);
  process.exitCode = 1;
}

function fail(text) {
  process.stderr.write(`error: ${text}\n`);
  process.exit(2);
}
