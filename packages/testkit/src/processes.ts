/** Ends processes: those of a made-up user, and those that a test kills on purpose. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Kills every process whose real user is `uid`, and waits until they are gone. */
export async function killProcessesOf(uid: number): Promise<void> {
  for (let round = 0; round < 100; round++) {
    const alive = processesOf(uid);
    if (alive.length === 0) return;
    for (const pid of alive) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended by itself in between
      }
    }
    await sleep(20);
  }
}

function processesOf(uid: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const status = readFileSync(`/proc/${name}/status`, 'utf8');
      const real = /^Uid:\t(\d+)/m.exec(status)?.[1];
      const zombie = /^State:\tZ/m.test(status);
      return real === String(uid) && !zombie ? [Number(name)] : [];
    } catch {
      return []; // ended while we looked
    }
  });
}

/** When to kill: after a time, or at the n-th occurrence of a text in what the program says on either stream. */
export type KillPoint = { afterMs: number } | { text: string | RegExp; occurrence?: number };

export interface KillOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** SIGKILL when absent. */
  signal?: NodeJS.Signals;
}

export interface KilledRun {
  point: KillPoint;
  /** False when the program ended by itself before the point. */
  killed: boolean;
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program and kills it, with all the processes that it started, at one point. */
export async function killAt(command: string, args: readonly string[], point: KillPoint, options: KillOptions = {}): Promise<KilledRun> {
  // A process group of its own, so that workers and children die in the same instant.
  const child = spawn(command, args, { cwd: options.cwd, env: options.env ?? process.env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let killed = false;
  const kill = (): void => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    try {
      process.kill(-child.pid, options.signal ?? 'SIGKILL');
      killed = true;
    } catch {
      // ended by itself in between
    }
  };
  const timer = 'afterMs' in point ? setTimeout(kill, point.afterMs) : undefined;
  const said = watch(child, point, kill);
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code));
    });
    // It may have ended by itself in the very moment of the kill.
    return { point, killed: killed && status === null, status, ...said() };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Runs a program once per point and kills it there; `between` looks at what is left after each kill.
 *
 * @returns one result per point; a test should assert that enough of them were `killed`
 */
export async function killAtPoints(
  command: string,
  args: readonly string[],
  points: readonly KillPoint[],
  between: (run: KilledRun) => void | Promise<void>,
  options: KillOptions = {},
): Promise<KilledRun[]> {
  const runs: KilledRun[] = [];
  for (const point of points) {
    const one = await killAt(command, args, point, options);
    await between(one);
    runs.push(one);
  }
  return runs;
}

/** Returns `count` times spread over `wholeMs`, the same for equal seeds: early ones denser, where programs do most of their set-up. */
export function killTimes(count: number, wholeMs: number, seed = 1): KillPoint[] {
  let state = seed >>> 0 || 1;
  return Array.from({ length: count }, (_, i) => {
    // xorshift32: tests must be repeatable, so no Math.random.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const jitter = (state >>> 0) / 2 ** 32;
    return { afterMs: Math.round(wholeMs * ((i + jitter) / count) ** 1.5) };
  });
}

function watch(child: ChildProcess, point: KillPoint, kill: () => void): () => { stdout: string; stderr: string } {
  let stdout = '';
  let stderr = '';
  const look = (): void => {
    if (!('text' in point)) return;
    const count = (text: string): number => text.split(point.text).length - 1;
    if (count(stdout) + count(stderr) >= (point.occurrence ?? 1)) kill();
  };
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    look();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    look();
  });
  return () => ({ stdout, stderr });
}
