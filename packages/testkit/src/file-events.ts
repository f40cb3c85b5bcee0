/** Runs programs of ours and stops them at an exact place: before their n-th change to files below some directories. */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type RunResult, run } from './run.ts';
import { scratchDirectory } from './scratch.ts';

export interface FileEventOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Directories in which changes count; absolute, without links. */
  within: readonly string[];
  /** The number of the change, from 1, at which something happens, before it is made. Nothing does when absent. */
  at?: number;
  /** The change and all later ones fail so; the program is killed by SIGKILL when absent. */
  errno?: 'ENOSPC' | 'EIO' | 'EROFS' | 'EDQUOT';
  /** Note what each change is; costs time. */
  named?: boolean;
}

export interface FileEventRun extends RunResult {
  /** Changes that were begun. */
  events: number;
  /** With `named`: `NUMBER THREAD CALL PATH`. */
  names: string[];
  killed: boolean;
}

const PRELOAD = new URL('./file-events-preload.js', import.meta.url);

/**
 * Runs `node SCRIPT ARGS…`. The order of changes is that of the program; where its threads work at once it differs from run to
 * run, and so do the places of equal numbers.
 */
export async function runWithFileEvents(script: string, args: readonly string[], options: FileEventOptions): Promise<FileEventRun> {
  const work = scratchDirectory('cambium-events-');
  try {
    const preload = new URL(PRELOAD);
    const [counter, log] = [join(work, 'counter'), join(work, 'log')];
    preload.searchParams.set('counter', counter);
    if (options.named === true) preload.searchParams.set('log', log);
    if (options.at !== undefined) preload.searchParams.set('at', String(options.at));
    if (options.errno !== undefined) preload.searchParams.set('errno', options.errno);
    for (const path of options.within) preload.searchParams.append('within', path);
    const result = await run(process.execPath, ['--max-semi-space-size=1', '--import', preload.href, script, ...args], {
      cwd: options.cwd,
      // A process that is killed leaves half a file of coverage.
      env: { ...(options.env ?? process.env), NODE_V8_COVERAGE: '' },
      accept: 'any',
    });
    return {
      ...result,
      events: existsSync(counter) ? statSync(counter).size : 0,
      names: existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [],
      killed: result.signal === 'SIGKILL',
    };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Returns `count` of the numbers 1 … `events`, the first and the last among them, evenly spread; all when there are no more. */
export function spreadOver(events: number, count: number): number[] {
  if (events <= count) return Array.from({ length: events }, (_, i) => i + 1);
  return [...new Set(Array.from({ length: count }, (_, i) => 1 + Math.round((i * (events - 1)) / Math.max(1, count - 1))))];
}
