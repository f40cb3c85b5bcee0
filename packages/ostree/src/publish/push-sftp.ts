/** A push over SSH, through the system's own `sftp` in batch mode: its keys, agents, jump hosts and configuration apply. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { basename, dirname } from 'node:path/posix';
import { ostreeError } from '../errors.ts';
import { readBounded } from '../repo/bounded-file.ts';
import type { PushFile, PushTarget } from './push-target.ts';

export interface SftpOptions {
  /** What follows `sftp -b -`: options, and `USER@HOST`. */
  arguments: readonly string[];
  /** Directory on the other side; relative to where a session begins. */
  directory: string;
  program?: string;
}

/** The end of what a failing session said. */
const MAX_WORDS = 2000;

/** Each call is one session. What a server does not flush to disk by itself is not flushed. @throws OSTREE_PUSH_FAILED */
export function sftpTarget(options: SftpOptions): PushTarget {
  const { directory } = options;
  const name = `sftp ${options.arguments.at(-1) ?? ''}:${directory}`;
  const at = (path: string): string => quoted(`${directory}/${path}`);
  const session = (commands: Iterable<string>, signal: AbortSignal | undefined, onLine: (line: string) => void): Promise<void> =>
    runSession(options, name, commands, signal, onLine);
  /** Whether a path is in the list of its directory, or, when there is none, that in its own. */
  const isThere = async (path: string, signal: AbortSignal | undefined): Promise<boolean> => {
    const listing = new Listing(path);
    try {
      await session([listing.command, '-pwd'], signal, listing.take);
    } catch (error) {
      signal?.throwIfAborted();
      const parent = dirname(path);
      if (!listing.isBegun || listing.isOver || parent === dirname(parent) || (await isThere(parent, signal))) throw error;
      return false;
    }
    return listing.hasName();
  };
  return {
    name,
    atOnce: 1,
    list: async (directories, signal) => {
      const found = new Map<string, string[]>();
      const wanted = new Set(directories);
      // A directory that is not there is no failure.
      await session(
        directories.map((path) => `-ls -1 ${at(path)}`),
        signal,
        (line) => {
          if (line.startsWith('sftp> ') || !line.startsWith(`${directory}/`)) return;
          const slash = line.lastIndexOf('/');
          const parent = line.slice(directory.length + 1, slash);
          if (!wanted.has(parent)) return;
          const names = found.get(parent) ?? [];
          names.push(line.slice(slash + 1).trimEnd());
          found.set(parent, names);
        },
      );
      return found;
    },
    exists: (path, signal) => isThere(`${directory}/${path}`, signal),
    read: (path, limitBytes, signal) =>
      withScratch(async (scratch) => {
        const local = join(scratch, 'file');
        const listing = new Listing(`${directory}/${path}`);
        try {
          await session([`-${listing.command}`, `get ${at(path)} ${quoted(local)}`], signal, listing.take);
        } catch (error) {
          signal?.throwIfAborted();
          if (!listing.isBegun) throw error;
          // sftp does not say why it could not: only a listing tells what is not there from what must not be read.
          const isWhole = listing.isOver && !listing.isEmpty;
          if (isWhole ? listing.hasName() : await isThere(listing.path, signal)) throw error;
          return undefined;
        }
        return readBounded(local, limitBytes, () => ostreeError('OSTREE_PUSH_FAILED', `Cannot read "${path}" in ${name}: over ${limitBytes} bytes`));
      }),
    makeDirectories: (paths, signal) =>
      session(
        ['', ...paths].map((path) => `-mkdir ${path === '' ? quoted(directory) : at(path)}`),
        signal,
        () => undefined,
      ),
    put: (groups, signal, onPut) =>
      withScratch(async (scratch) => {
        const files = groups.flat();
        let done = 0;
        const stamp = `push-${process.pid}-${Date.now()}`;
        const commands = function* (): Generator<string> {
          for (const [i, file] of files.entries()) {
            const local = typeof file.content === 'string' ? file.content : join(scratch, String(i));
            if (typeof file.content !== 'string') writeFileSync(local, file.content, { mode: 0o644 });
            const temporary = at(`tmp/${stamp}-${i}`);
            yield `put ${quoted(local)} ${temporary}`;
            yield `chmod 644 ${temporary}`;
            yield `rename ${temporary} ${at(file.path)}`;
          }
          // Its echo says that the last rename is done.
          yield '-pwd';
        };
        let renaming = false;
        await session(commands(), signal, (line) => {
          if (!line.startsWith('sftp> ')) return;
          // A command is echoed when the one before it has ended.
          if (renaming) onPut(files[done++] as PushFile);
          renaming = line.startsWith('sftp> rename ');
        });
      }),
    // libostree's lock does not reach over SSH.
    hold: () => Promise.resolve(() => undefined),
    settle: () => Promise.resolve(),
  };
}

/** What `ls` says of the directory of a path. */
class Listing {
  readonly path: string;
  readonly command: string;
  /** A session speaks only when there is a connection. */
  isBegun = false;
  /** The next command is echoed when this one has ended. */
  isOver = false;
  readonly #names = new Set<string>();

  constructor(path: string) {
    this.path = path;
    this.command = `ls -1a ${quoted(dirname(path))}`;
  }

  get isEmpty(): boolean {
    return this.#names.size === 0;
  }

  readonly take = (line: string): void => {
    if (this.isOver) return;
    if (!line.startsWith('sftp> ')) this.#names.add(unescapeName(line.slice(line.lastIndexOf('/') + 1).trimEnd()));
    else if (this.isBegun) this.isOver = true;
    else this.isBegun = true;
  };

  hasName(): boolean {
    return this.#names.has(basename(this.path));
  }
}

/** Bytes that the locale cannot show come in octal. */
function unescapeName(name: string): string {
  if (!/\\[0-7]{3}/.test(name)) return name;
  const bytes = Buffer.from(name).toString('latin1');
  return Buffer.from(
    bytes.replace(/\\([0-7]{3})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 8) & 0xff)),
    'latin1',
  ).toString('utf8');
}

/** Inside quotes sftp takes patterns' characters as they are. */
function quoted(path: string): string {
  if (/\p{Cc}/u.test(path)) throw ostreeError('OSTREE_OPTION_INVALID', `Cannot use ${JSON.stringify(path)} over sftp: a control character`);
  return `"${path.replaceAll(/["\\]/g, '\\$&')}"`;
}

async function withScratch<T>(use: (scratch: string) => Promise<T>): Promise<T> {
  const scratch = mkdtempSync(join(tmpdir(), 'cambium-push-'));
  try {
    return await use(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function runSession(
  options: SftpOptions,
  name: string,
  commands: Iterable<string>,
  signal: AbortSignal | undefined,
  onLine: (line: string) => void,
): Promise<void> {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(options.program ?? 'sftp', ['-b', '-', ...options.arguments], { stdio: ['pipe', 'pipe', 'pipe'], signal });
    let words = '';
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-MAX_WORDS);
    });
    // A session that ends early says why on its own.
    child.stdin.on('error', () => undefined);
    child.on('error', (cause) => {
      if (signal?.aborted === true) reject(signal.reason as Error);
      else reject(ostreeError('OSTREE_PUSH_FAILED', `Cannot start ${options.program ?? 'sftp'}`, { cause }));
    });
    child.on('close', (status) => {
      if (rest !== '') onLine(rest);
      if (status === 0) resolve();
      else
        reject(
          ostreeError('OSTREE_PUSH_FAILED', `Cannot push to ${name}: ${words.trim().split('\n').at(-1) ?? ''} (sftp ended with ${status})`, {
            retryable: true,
          }),
        );
    });
    feed(child.stdin, commands).catch(reject);
  });
}

async function feed(stdin: import('node:stream').Writable, commands: Iterable<string>): Promise<void> {
  for (const command of commands) {
    if (stdin.destroyed) return;
    if (!stdin.write(`${command}\n`)) await new Promise<void>((resolve) => stdin.once('drain', resolve).once('close', resolve));
  }
  stdin.end();
}
