/** Starts programs and keeps what they say. */
import { spawn } from 'node:child_process';
import { testkitError } from './errors.ts';

export interface RunOptions {
  cwd?: string | undefined;
  /** The whole environment of the program; the test process's own when absent. */
  env?: NodeJS.ProcessEnv | undefined;
  input?: string | Uint8Array | undefined;
  /** Statuses that are not a failure; `any` accepts all, signals included. */
  accept?: readonly number[] | 'any' | undefined;
  /** The program is killed after this time, so that a hanging peer fails one test and not the run. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface RunResult {
  /** Exit status, or null when a signal ended the program. */
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  stdoutBytes: Buffer;
}

const DEFAULT_TIMEOUT_MS = 240_000;

/**
 * Runs a program to its end.
 *
 * @throws TESTKIT_COMMAND_FAILED with the program's stderr when the status is not accepted (0 unless stated)
 */
export async function run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
  const child = spawn(command, args, { cwd: options.cwd, env: options.env ?? process.env, stdio: ['pipe', 'pipe', 'pipe'], signal: options.signal });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  // A program that ends without reading its input is judged by its status, not by the broken pipe.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input);
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill('SIGKILL');
    // A grandchild may hold the pipes open: stop listening, or `close` never comes.
    child.stdout.destroy();
    child.stderr.destroy();
  }, timeoutMs);
  try {
    const { status, signal } = await new Promise<{ status: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signal) => resolve({ status, signal }));
    });
    const stdoutBytes = Buffer.concat(out);
    const result: RunResult = { status, signal, stdout: stdoutBytes.toString(), stderr: Buffer.concat(err).toString(), stdoutBytes };
    const accepted = options.accept === 'any' || (status !== null && (options.accept ?? [0]).includes(status));
    if (timedOut || !accepted) throw failed(command, args, result, timedOut ? `was killed after ${timeoutMs} ms` : `ended with ${status ?? signal}`);
    return result;
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a program and returns its standard output without the last line end. */
export async function output(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<string> {
  return (await run(command, args, options)).stdout.replace(/\n$/, '');
}

function failed(command: string, args: readonly string[], result: RunResult, how: string): Error {
  const said = (result.stderr.trim() || result.stdout.trim()).slice(-4000);
  return testkitError('TESTKIT_COMMAND_FAILED', `Command ${how}: ${[command, ...args].join(' ').slice(0, 500)}\n${said}`, {
    data: { status: result.status, signal: result.signal, stdout: result.stdout.slice(-4000), stderr: result.stderr.slice(-4000) },
  });
}
