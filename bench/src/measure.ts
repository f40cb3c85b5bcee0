/**
 * Times whole commands, two in turn, and reports medians, the ratio pair by pair, and peak resident memory.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Step {
  /** Brings the files into the state the command expects; not timed. */
  prepare?(): void | Promise<void>;
  command: readonly string[];
  environment?: Record<string, string>;
}

export interface Run {
  seconds: number;
  peakBytes: number;
}

export interface Comparison {
  name: string;
  goal: string;
  ours: Run;
  peer: Run | undefined;
  /** Peer's time by ours, median of pairs. */
  ratio: number | undefined;
  runs: number;
}

/** Runs one command to its end. @throws Error with its output when it fails */
export async function runOnce(step: Step): Promise<Run> {
  await step.prepare?.();
  // What was written before must not be flushed at the cost of this run: both sides end with a sync of the whole volume.
  spawnSync('sync');
  const directory = mkdtempSync(join(tmpdir(), 'cambium-bench-'));
  const report = join(directory, 'time');
  try {
    const [program, ...args] = step.command;
    if (program === undefined) throw new TypeError('A step needs a command');
    const started = process.hrtime.bigint();
    const child = spawn('/usr/bin/time', ['-f', '%M', '-o', report, program, ...args], {
      env: { ...process.env, ...step.environment },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    child.stderr.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4000);
    });
    const status = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    if (status !== 0) throw new Error(`${step.command.join(' ')} ended with ${status}: ${output}`);
    return { seconds, peakBytes: Number(readFileSync(report, 'utf8').trim().split('\n').at(-1)) * 1024 };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs both commands in turn, `runs` times, and compares them. */
export async function compare(name: string, goal: string, ours: Step, peer: Step | undefined, runs: number): Promise<Comparison> {
  const mine: Run[] = [];
  const theirs: Run[] = [];
  for (let i = 0; i < runs; i++) {
    mine.push(await runOnce(ours));
    if (peer !== undefined) theirs.push(await runOnce(peer));
    const [mineNow, theirsNow] = [mine.at(-1), theirs.at(-1)].map((run) => (run === undefined ? '' : ` ${run.seconds.toFixed(2)} s`));
    process.stderr.write(`${name}: ${i + 1}/${runs}${mineNow}${theirsNow}\n`);
  }
  const ratios = theirs.map((run, i) => run.seconds / (mine[i] as Run).seconds);
  return {
    name,
    goal,
    ours: medianRun(mine),
    peer: theirs.length === 0 ? undefined : medianRun(theirs),
    ratio: ratios.length === 0 ? undefined : median(ratios),
    runs,
  };
}

function medianRun(runs: readonly Run[]): Run {
  return { seconds: median(runs.map((run) => run.seconds)), peakBytes: Math.max(...runs.map((run) => run.peakBytes)) };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** Returns the comparisons as a Markdown table. */
export function table(rows: readonly Comparison[]): string {
  const cells = rows.map(({ name, goal, ours, peer, ratio, runs }) => [
    name,
    goal,
    duration(ours.seconds),
    peer === undefined ? '–' : duration(peer.seconds),
    ratio === undefined ? '–' : `${ratio.toFixed(ratio < 10 ? 2 : 1)}×`,
    `${Math.round(ours.peakBytes / 1e6)} MB`,
    peer === undefined ? '–' : `${Math.round(peer.peakBytes / 1e6)} MB`,
    String(runs),
  ]);
  const header = ['What', 'Goal', 'Cambium', 'Peer', 'Peer ÷ Cambium', 'Peak, Cambium', 'Peak, peer', 'Runs'];
  return [header, header.map(() => '---'), ...cells].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

function duration(seconds: number): string {
  return seconds < 0.1 ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`;
}
