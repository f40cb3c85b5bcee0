/**
 * `cambium ostree …` for tests that run many lines. The first line of each verb is a process of its own; the others run
 * within the test's process, because starting Node costs ten times what most lines do. Both come to `execute`.
 */
import { homedir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type RunResult, run } from '@cambium/testkit';
import { readEnvironment } from '../environment.ts';
import { execute } from '../main.ts';
import type { Output } from '../ui.ts';

export const LAUNCHER: string = fileURLToPath(new URL('../../bin/cambium.js', import.meta.url));

export interface Place {
  cwd: string;
  env: NodeJS.ProcessEnv;
  /** What stands on standard input: then it is a process. */
  input?: string | undefined;
}

const started = new Set<string>();

/** Runs `cambium ostree ARGS…` whatever its status; not two at a time in one test file: the working directory is the process's. */
export async function runOurs(args: readonly string[], place: Place): Promise<RunResult> {
  const verb = args.find((arg) => !arg.startsWith('-')) ?? '';
  const within = started.has(verb) && place.input === undefined;
  started.add(verb);
  return within ? runWithin(args, place) : run(process.execPath, [LAUNCHER, 'ostree', ...args], { ...place, accept: 'any' });
}

async function runWithin(args: readonly string[], { cwd, env }: Place): Promise<RunResult> {
  const before = { cwd: process.cwd(), env: { ...process.env } };
  const [stdout, stderr] = [new Collected(), new Collected()];
  process.chdir(cwd);
  // Programs that a command starts inherit them, and the time zone is one.
  setVariables(env);
  try {
    const environment = { ...readEnvironment(), home: env.HOME ?? homedir(), stdoutIsTerminal: false, stderrIsTerminal: false };
    const status = await execute(['ostree', ...args], { stdout, stderr, environment, signal: new AbortController().signal });
    return { status, signal: null, stdout: stdout.bytes.toString(), stderr: stderr.bytes.toString(), stdoutBytes: stdout.bytes };
  } finally {
    process.chdir(before.cwd);
    setVariables(before.env);
  }
}

/** Changed one by one: that of the time zone takes effect when it is set. */
function setVariables(env: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) if (env[name] === undefined) delete process.env[name];
  for (const [name, value] of Object.entries(env)) if (value !== undefined && process.env[name] !== value) process.env[name] = value;
}

class Collected implements Output {
  readonly #chunks: Buffer[] = [];

  write(data: string | Uint8Array, done?: (error?: Error | null) => void): boolean {
    this.#chunks.push(Buffer.from(data as Uint8Array));
    // As a stream's: later, and never within the call.
    if (done !== undefined) setImmediate(done);
    return true;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}
