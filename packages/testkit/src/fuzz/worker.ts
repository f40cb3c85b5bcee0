/**
 * The process in which a target is fuzzed: started by `scripts/fuzz.mjs` with one argument, a {@link WorkerTask} as JSON.
 * Before each input its number and its bytes are written to a file, so that who kills a process that hangs, or sees it crash,
 * knows on what.
 */
import { openSync, writevSync } from 'node:fs';
import { Fuzzer } from './fuzzer.ts';
import { type FuzzModule, isFinding, runInput } from './target.ts';

interface WorkerTask {
  /** URL of a module as {@link FuzzModule}. */
  module: string;
  corpus: string;
  target: string;
  seed: number;
  seconds: number;
  stateFile: string;
  /** Only this input, in base64. */
  input?: string;
}

/** Between looks at the clock. */
const BATCH = 16;

const task = JSON.parse(process.argv[2] as string) as WorkerTask;
const { fuzzTargets } = (await import(task.module)) as FuzzModule;
const target = fuzzTargets(task.corpus).find(({ name }) => name === task.target);
if (target === undefined) throw new Error(`no target ${task.target}`);
const state = openSync(task.stateFile, 'w');
const head = Buffer.alloc(8);
const fuzzer = new Fuzzer(target, task.seed);
const seen = new Set<string>();
const tell = (message: object): Promise<void> => new Promise((resolve) => process.send?.(message, undefined, undefined, () => resolve()));

let executions = 0;
const run = async (input: Uint8Array): Promise<void> => {
  executions++;
  head.writeUInt32LE(executions, 0);
  head.writeUInt32LE(input.byteLength, 4);
  writevSync(state, [head, input], 0);
  const outcome = await runInput(target, input);
  fuzzer.learn(input, outcome);
  if (!isFinding(outcome) || seen.has(outcome.way)) return;
  seen.add(outcome.way);
  await tell({ finding: { kind: outcome.kind, details: outcome.details, input: Buffer.from(input).toString('base64') } });
};

if (task.input !== undefined) await run(Buffer.from(task.input, 'base64'));
else {
  const end = performance.now() + task.seconds * 1000;
  while (performance.now() < end) for (let i = 0; i < BATCH; i++) await run(fuzzer.next());
}
const { user, system } = process.cpuUsage();
await tell({ done: { executions, ways: fuzzer.ways, cpuSeconds: (user + system) / 1e6 } });
process.exit(0);
