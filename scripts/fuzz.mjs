// Fuzzes the parsers: real files, changed at random, in a process of their own that may be killed.
//
//   npm run fuzz [-- OPTION… TARGET…]
//
//   --list            names the targets
//   --minutes N       time for all of them together (default 2)
//   --seed S          begins with this seed: with the same corpus the same inputs (default: another one each time)
//   --file PATH       runs one input, as a finding was written; names one target
//   --fresh           makes the corpus anew; else the one of the last run is taken
//   --record          adds what was run to docs/fuzzing.md
//
// A finding is what is neither a value nor an error with a code: it is written to .cache/fuzz/findings/. So is an input that
// takes over five seconds, or much memory. The exit status is 1 when there was one.
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, globSync, mkdirSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const WORKSPACE = dirname(dirname(fileURLToPath(import.meta.url)));
const CACHE = join(WORKSPACE, '.cache/fuzz');
const PAGE = join(WORKSPACE, 'docs/fuzzing.md');
const FINDINGS = join(WORKSPACE, 'scripts/fuzz-findings.txt');
const WORKER = join(WORKSPACE, 'packages/testkit/dist/fuzz/worker.js');
/** One input may take this long: on a busy machine too. */
const HANG_MS = 5000;
const LOOK_MS = 500;
/** A process takes a third of a second to start. */
const LEAST_SECONDS = 8;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string' },
    file: { type: 'string' },
    fresh: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  },
});

const targets = await findTargets();
const unknown = positionals.filter((name) => !targets.some((target) => target.name === name));
if (unknown.length > 0) fail(`no such target: ${unknown.join(', ')}; --list names them`);
const chosen = targets.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
let running;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    running?.kill('SIGKILL');
    process.exit(130);
  });
}

if (options.list) for (const { name } of targets) process.stdout.write(`${name}\n`);
else if (options.file !== undefined) await runFile(options.file);
else await campaign();

/** Returns all targets, and makes the corpus of their packages when there is none. */
async function findTargets() {
  const found = [];
  for (const path of globSync(join(WORKSPACE, 'packages/*/dist/fuzz-targets.test.js')).sort()) {
    const corpus = join(CACHE, 'corpus', path.slice(WORKSPACE.length).split('/')[2]);
    const module = pathToFileURL(path).href;
    const { makeCorpus, fuzzTargets } = await import(module);
    if (options.fresh) rmSync(corpus, { recursive: true, force: true });
    if (!existsSync(join(corpus, 'complete'))) {
      rmSync(corpus, { recursive: true, force: true });
      mkdirSync(corpus, { recursive: true });
      await makeCorpus(corpus);
      writeFileSync(join(corpus, 'complete'), '');
    }
    for (const { name } of fuzzTargets(corpus)) found.push({ name, module, corpus });
  }
  return found;
}

async function campaign() {
  const first = options.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(options.seed);
  const minutes = Number(options.minutes);
  if (!Number.isSafeInteger(first) || !(minutes > 0)) fail('--seed wants a whole number, --minutes a positive one');
  const end = performance.now() + minutes * 60_000;
  const results = new Map();
  const perTarget = Math.max(LEAST_SECONDS, (minutes * 60) / chosen.length);
  // With too little time for all, the seed says which come first.
  const order = [...chosen].sort((a, b) => rank(a.name, first) - rank(b.name, first));
  let findings = 0;
  for (let turn = 0; performance.now() < end - 1000; turn++) {
    const target = order[turn % order.length];
    const seconds = Math.min(perTarget, (end - performance.now()) / 1000);
    const seed = first + Math.floor(turn / order.length);
    const result = await runWorker({ ...target, seed, seconds });
    findings += result.findings.length;
    for (const finding of result.findings) report(target.name, finding, seed);
    const speed = result.cpuSeconds > 0 ? Math.round(result.executions / result.cpuSeconds) : 0;
    process.stdout.write(
      `${target.name.padEnd(22)} seed ${seed}  ${String(result.executions).padStart(8)} inputs  ${String(speed).padStart(6)}/s  ${String(result.ways).padStart(5)} ways  ${result.findings.length} findings\n`,
    );
    const sum = results.get(target.name) ?? { executions: 0, cpuSeconds: 0, findings: 0 };
    results.set(target.name, {
      executions: sum.executions + result.executions,
      cpuSeconds: sum.cpuSeconds + result.cpuSeconds,
      findings: sum.findings + result.findings.length,
    });
  }
  if (options.record) record(results);
  process.exitCode = findings > 0 ? 1 : 0;
}

function rank(name, seed) {
  return createHash('sha256').update(`${seed} ${name}`).digest().readUInt32LE(0);
}

async function runFile(path) {
  if (chosen.length !== 1) fail('--file wants one target');
  const { findings } = await runWorker({ ...chosen[0], seed: 0, seconds: 0, input: readFileSync(path).toString('base64') });
  for (const { kind, details } of findings) process.stdout.write(`${kind}: ${details}\n`);
  if (findings.length === 0) process.stdout.write('no finding\n');
  process.exitCode = findings.length > 0 ? 1 : 0;
}

/** Runs one target for a while; ends the process when an input takes too long, and tells on which. */
function runWorker({ name, module, corpus, seed, seconds, input }) {
  const stateFile = join(CACHE, `state-${process.pid}`);
  writeFileSync(stateFile, '');
  const task = { module, corpus, target: name, seed, seconds, stateFile, ...(input === undefined ? {} : { input }) };
  const result = { executions: 0, ways: 0, cpuSeconds: 0, findings: [] };
  return new Promise((resolve) => {
    const child = fork(WORKER, [JSON.stringify(task)], { execArgv: ['--max-old-space-size=512'], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    running = child;
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said = `${said}${text}`.slice(-4000);
    });
    let hung = false;
    let done = false;
    let last = { number: -1, looks: 0 };
    const watch = setInterval(() => {
      const { number } = readState(stateFile);
      if (number !== last.number) last = { number, looks: 0 };
      // Zero: it is still starting.
      // In looks, not by the clock: a machine that slept, or a group of processes that was stopped, is no hang.
      else if (number > 0 && ++last.looks > HANG_MS / LOOK_MS && !done) {
        hung = true;
        child.kill('SIGKILL');
      }
    }, LOOK_MS);
    child.on('message', (message) => {
      if (message.finding !== undefined) result.findings.push(message.finding);
      if (message.done !== undefined) {
        done = true;
        Object.assign(result, message.done);
      }
    });
    child.on('close', (status, signal) => {
      clearInterval(watch);
      const state = readState(stateFile);
      rmSync(stateFile, { force: true });
      if (!done) {
        result.executions = state.number;
        if (state.number === 0) fail(`${name} did not start: ${said}`);
        result.findings.push({ kind: hung ? 'hang' : 'crash', details: hung ? `over ${HANG_MS} ms` : `${signal ?? status}: ${said}`, input: state.input });
      }
      resolve(result);
    });
  });
}

/** Returns the number and the bytes of the input at hand. */
function readState(path) {
  const fd = openSync(path, 'r');
  try {
    const head = Buffer.alloc(8);
    if (readSync(fd, head) < 8) return { number: 0, input: '' };
    const bytes = Buffer.alloc(head.readUInt32LE(4));
    readSync(fd, bytes, 0, bytes.byteLength, 8);
    return { number: head.readUInt32LE(0), input: bytes.toString('base64') };
  } finally {
    closeSync(fd);
  }
}

function report(name, { kind, details, input }, seed) {
  const bytes = Buffer.from(input, 'base64');
  const folder = join(CACHE, 'findings', name);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${kind}-${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}`);
  writeFileSync(path, bytes);
  writeFileSync(`${path}.txt`, `target ${name}, seed ${seed}\n${kind}: ${details}\n`);
  process.stdout.write(`FINDING in ${name}: ${kind}: ${details.split('\n').slice(0, 4).join('\n  ')}\n  npm run fuzz -- ${name} --file ${path}\n`);
}

/** Adds to the rows that the page has. */
function record(results) {
  const rows = new Map();
  if (existsSync(PAGE)) {
    for (const [, name, executions, seconds] of readFileSync(PAGE, 'utf8').matchAll(/^\| `([\w-]+)` \| ([\d,]+) \| ([\d.,]+) \|/gm)) {
      rows.set(name, { executions: Number(executions.replaceAll(',', '')), cpuSeconds: Number(seconds.replaceAll(',', '')) });
    }
  }
  for (const [name, { executions, cpuSeconds }] of results) {
    const old = rows.get(name) ?? { executions: 0, cpuSeconds: 0 };
    rows.set(name, { executions: old.executions + executions, cpuSeconds: old.cpuSeconds + cpuSeconds });
  }
  const mended = readFileSync(FINDINGS, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => /^([\w-]+) : (.+)$/.exec(line) ?? fail(`scripts/fuzz-findings.txt: cannot read "${line}"`));
  const names = targets.map(({ name }) => name);
  const number = (value) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
  const row = (name) => {
    const { executions, cpuSeconds } = rows.get(name) ?? { executions: 0, cpuSeconds: 0 };
    return `| \`${name}\` | ${number(executions)} | ${number(cpuSeconds)} | ${mended.filter(([, target]) => target === name).length} |`;
  };
  const all = names.map((name) => rows.get(name) ?? { executions: 0, cpuSeconds: 0 });
  const sum = (key) => all.reduce((total, each) => total + each[key], 0);
  writeFileSync(
    PAGE,
    [
      '# Fuzzing',
      '',
      'Made by `npm run fuzz -- --record`, which adds to the figures. Each target reads real files, made by the real `ostree`, `tar`,',
      '`cpio` and `gpg`, after changes at random, some of which know the format: values of GVariants, headers of tar with the checksum',
      'made right again, programs of static deltas. What comes out must be a value or an error with a code, within five seconds and',
      'bounded memory; where a format has one spelling only, what was parsed must be encoded to the same bytes. A fixed share of',
      'the same targets is part of `npm test`.',
      '',
      `In all ${number(sum('executions'))} inputs in ${(sum('cpuSeconds') / 3600).toFixed(2)} hours of processor time on one core.`,
      '',
      '| Target | Inputs | Seconds | Findings, mended |',
      '|---|---|---|---|',
      ...names.map(row),
      '',
      ...(mended.length === 0 ? [] : ['## What was found', '', ...mended.map(([, target, what]) => `- \`${target}\`: ${what}`), '']),
    ].join('\n'),
  );
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
