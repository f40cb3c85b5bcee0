/** Runs the user's gpg: data in, result, status lines and messages out, all bounded. */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Bytes, bytesOf, concat, errnoOf } from '@cambium/base';
import { trustError } from './errors.ts';

/** Signatures and status lines are a few hundred bytes; more is not from gpg. */
const MAX_OUTPUT_BYTES = 16 << 20;

export interface GpgRun {
  /** Program to run, `gpg` by default. */
  program?: string | undefined;
  homeDirectory?: string | undefined;
  args: readonly string[];
  input?: Bytes | Uint8Array | undefined;
  signal?: AbortSignal | undefined;
}

export interface GpgResult {
  exitCode: number;
  stdout: Uint8Array<ArrayBuffer>;
  stderr: string;
  /** Lines after `[GNUPG:] `, which no locale changes. Source: GnuPG `doc/DETAILS`. */
  status: string[];
}

/** @throws TRUST_GPG_MISSING, TRUST_GPG_FAILED when it was killed, the signal's reason, what `input` throws */
export async function runGpg(run: GpgRun): Promise<GpgResult> {
  const { program = 'gpg', homeDirectory, args, input, signal } = run;
  signal?.throwIfAborted();
  const home = homeDirectory === undefined ? [] : ['--homedir', homeDirectory];
  const child = spawn(program, [...home, '--batch', '--no-tty', '--status-fd', '3', ...args], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
  const abort = (): void => void child.kill('SIGTERM');
  signal?.addEventListener('abort', abort, { once: true });
  let inputFailure: { error: unknown } | undefined;
  try {
    const ended = new Promise<{ exitCode: number | null; killed: string | null }>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (exitCode, killed) => resolve({ exitCode, killed }));
    });
    const source = input === undefined ? bytesOf() : input instanceof Uint8Array ? bytesOf(input) : input;
    const fed = pipeline(guarded(source), child.stdin);
    fed.catch((error: unknown) => {
      // gpg may end before it has read all, as when the key is missing: its own words say more.
      if (errnoOf(error) === 'EPIPE' || errnoOf(error) === 'ECONNRESET' || isPrematureClose(error)) return;
      inputFailure = { error };
      child.kill('SIGTERM');
    });
    const [end, stdout, stderr, status] = await Promise.all([ended, gather(child.stdout), gather(child.stderr), gather(child.stdio[3] as Readable)]);
    await fed.catch(() => undefined);
    signal?.throwIfAborted();
    if (inputFailure !== undefined) throw inputFailure.error;
    const messages = Buffer.from(stderr).toString('utf8');
    if (end.exitCode === null) throw gpgFailed(args, messages, end.killed ?? undefined);
    return { exitCode: end.exitCode, stdout, stderr: messages, status: statusLines(status) };
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' || inputFailure !== undefined) throw error;
    throw trustError('TRUST_GPG_MISSING', `Cannot run "${program}": it is not installed`, { cause: error, hint: 'Install GnuPG: apt install gnupg' });
  } finally {
    signal?.removeEventListener('abort', abort);
    if (child.exitCode === null) child.kill('SIGTERM');
  }
}

/** Makes an error with the last line that gpg said. */
export function gpgFailed(args: readonly string[], stderr: string, killed?: string): Error {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const last = killed === undefined ? (lines.at(-1)?.replace(/^gpg: /, '') ?? 'it said nothing') : `ended by ${killed}`;
  const action = args.find((argument) => /^--(?:detach-sign|verify|import|list-keys)$/.test(argument)) ?? '';
  return trustError('TRUST_GPG_FAILED', `gpg ${action} failed: ${last}`.replaceAll('  ', ' '), { data: { stderr: lines.slice(-20) } });
}

/** Empty chunks would end nothing and cost a write each. */
async function* guarded(source: Bytes): Bytes {
  for await (const chunk of source) if (chunk.byteLength > 0) yield new Uint8Array(chunk);
}

function isPrematureClose(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE';
}

async function gather(stream: Readable): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of stream) {
      size += (chunk as Uint8Array).byteLength;
      // Reading goes on, so that the program can end.
      if (size <= MAX_OUTPUT_BYTES) parts.push(chunk as Uint8Array);
    }
  } catch {
    // The streams of a program that never started; its own error is the one to report.
  }
  return concat(parts);
}

const PREFIX = '[GNUPG:] ';

function statusLines(bytes: Uint8Array): string[] {
  const lines = Buffer.from(bytes).toString('utf8').split('\n');
  return lines.filter((line) => line.startsWith(PREFIX)).map((line) => line.slice(PREFIX.length));
}
