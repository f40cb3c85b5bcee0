/** What the user sees: the result on stdout, everything else on stderr. */
import { isKnownError } from '@cambium/base';
import { paint, wantsColour } from './colour.ts';
import type { Environment } from './environment.ts';
import { createProgress, type Progress, type ProgressMode, toJsonLine } from './progress.ts';

/** The part of a Node stream that is used here. */
export interface Output {
  write(data: string | Uint8Array, done?: (error?: Error | null) => void): boolean;
  readonly isTTY?: boolean;
}

export interface UiOptions {
  stdout: Output;
  stderr: Output;
  quiet: boolean;
  verbose: boolean;
  json: boolean;
  progress: ProgressMode;
  /** Decides about colours; without it there are none. */
  environment?: Environment;
}

export interface Ui {
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly json: boolean;
  /** Stderr is lines of JSON: `--progress=json`. */
  readonly jsonLines: boolean;
  readonly progress: Progress;
  /** Writes a line of the result to stdout. */
  result(line: string): void;
  /** Writes the result as one JSON document to stdout. */
  resultJson(value: unknown): void;
  /** Writes a long result as one JSON array, a line for each item, none of which is kept. */
  resultJsonList(items: Iterable<unknown>): void;
  /** Writes bytes or text of the result as they are. */
  write(data: string | Uint8Array): void;
  /** As {@link write}; resolves when there is room for more. For long binary results. */
  writeAll(data: Uint8Array): Promise<void>;
  /** Says something on stderr, unless quiet. */
  note(text: string): void;
  /** Says something on stderr when verbose. */
  detail(text: string): void;
  /** Warns on stderr, also when quiet. */
  warn(text: string): void;
  /** Writes to stderr as it is: usage texts. */
  complain(text: string): void;
  /** Resolves when all that was written has left. */
  flush(): Promise<void>;
}

/** Output is gathered up to this size: one system call per line makes long listings several times slower. */
const BATCH_CHARACTERS = 32 * 1024;

export function createUi(options: UiOptions): Ui {
  const { stdout, stderr, quiet, verbose, json } = options;
  const jsonLines = options.progress === 'json';
  let pending = '';
  const progress = createProgress({ mode: options.progress, isTerminal: stderr.isTTY === true, write: (text) => stderr.write(text) });

  const push = (): void => {
    if (pending === '') return;
    const text = pending;
    pending = '';
    stdout.write(text);
  };
  const write = (data: string | Uint8Array): void => {
    if (typeof data === 'string') {
      pending += data;
      if (pending.length >= BATCH_CHARACTERS) push();
      return;
    }
    push();
    // A chunk belongs to its source again once the next is asked for.
    stdout.write(Buffer.from(data));
  };
  const say = (type: string, text: string, shown: string): void => {
    push();
    progress.clear();
    stderr.write(jsonLines ? toJsonLine({ type, message: text }) : `${shown}\n`);
  };
  const colour = options.environment !== undefined && wantsColour(stderr, options.environment);
  const style = (format: 'yellow' | 'dim', text: string): string => (colour ? paint(format, text) : text);

  return {
    quiet,
    verbose,
    json,
    jsonLines,
    progress,
    result: (line) => write(`${line}\n`),
    resultJson: (value) => write(`${JSON.stringify(value, bigintAsNumber, 2)}\n`),
    resultJsonList: (items) => {
      let before = '[\n  ';
      for (const item of items) {
        write(before + JSON.stringify(item, bigintAsNumber));
        before = ',\n  ';
      }
      write(before.startsWith('[') ? '[]\n' : '\n]\n');
    },
    write,
    writeAll: (data) => {
      push();
      return new Promise((resolve) => {
        stdout.write(data, () => resolve());
      });
    },
    note: (text) => {
      if (!quiet) say('note', text, text);
    },
    detail: (text) => {
      if (verbose && !quiet) say('detail', text, style('dim', text));
    },
    warn: (text) => say('warning', text, `${style('yellow', 'warning:')} ${text}`),
    complain: (text) => {
      push();
      progress.clear();
      stderr.write(text);
    },
    flush: async () => {
      push();
      progress.end();
      await Promise.all([drained(stdout), drained(stderr)]);
    },
  };
}

function drained(output: Output): Promise<void> {
  return new Promise((resolve) => {
    output.write('', () => resolve());
  });
}

function bigintAsNumber(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

/** Returns the lines that tell of a failure: message and code, hint, and with `verbose` what caused it. */
export function renderError(error: unknown, options: { verbose: boolean; colour: boolean }): string {
  const style = (format: 'red' | 'cyan', text: string): string => (options.colour ? paint(format, text) : text);
  const known = isKnownError(error);
  const code = known ? ` [${error.code}]` : '';
  let text = `${style('red', 'error:')} ${messageOf(error)}${code}\n`;
  if (known && error.hint !== undefined) text += `${style('cyan', 'hint:')} ${error.hint}\n`;
  if (options.verbose) {
    for (let cause = causeOf(error), depth = 0; cause !== undefined && depth < 8; cause = causeOf(cause), depth++) {
      text += `caused by: ${messageOf(cause)}${isKnownError(cause) ? ` [${cause.code}]` : ''}\n`;
    }
    if (!known && error instanceof Error && error.stack !== undefined) text += `${error.stack}\n`;
  }
  return text;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}
