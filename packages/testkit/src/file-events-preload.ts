/**
 * Loaded before a program (`node --import`): counts its changes to files, in all its threads together, and ends or disturbs it at
 * a chosen one. The settings are in the query of the module's URL; see `file-events.ts`.
 *
 * What goes past `node:fs` is not seen: native calls, and other programs that it starts.
 */
import fs, { appendFileSync, closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { resolve } from 'node:path';
import { threadId } from 'node:worker_threads';

const settings = new URL(import.meta.url).searchParams;
/** Counts by its length: appending is atomic, and threads share nothing else. */
const counter = openSync(settings.get('counter') as string, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT);
const log = settings.get('log');
const at = Number(settings.get('at') ?? 0);
const errno = settings.get('errno');
/** Events elsewhere do not count. */
const within = settings.getAll('within');

const WRITES = constants.O_WRONLY | constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC;
const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on device',
  EIO: 'i/o error',
  EROFS: 'read-only file system',
  EDQUOT: 'disk quota exceeded',
};
/** Files opened for writing below `within`, by descriptor, and what is remembered of them. Threads share descriptors rarely enough. */
const opened = new Map<number, string>();

type Call = (...args: unknown[]) => unknown;

/** Counts one event; ends the process, or throws, when it is the chosen one. */
function event(name: string, path: string): void {
  // Between the write and the look another thread may have written: then two see the later number, and none the earlier.
  const before = fstatSync(counter).size;
  originalWrite(counter, '.');
  const number = fstatSync(counter).size;
  if (log !== null) appendOriginal(log, `${number} ${threadId} ${name} ${path}\n`);
  // A disk that has failed goes on failing; killed is killed.
  if (at === 0 || number < at || (errno === null && before >= at)) return;
  if (errno === null) {
    process.kill(process.pid, 'SIGKILL');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
  }
  throw Object.assign(new Error(`${errno}: ${ERRNO_TEXTS[errno as string] ?? 'failed'}, ${name} '${path}'`), { code: errno, syscall: name, path, errno: -1 });
}

const originalWrite = writeSync as (fd: number, text: string) => number;
const appendOriginal = appendFileSync;
const closeOriginal = closeSync;

function isWithin(path: unknown): path is string | Buffer | URL {
  if (typeof path !== 'string' && !Buffer.isBuffer(path)) return false;
  const absolute = resolve(path.toString());
  return within.some((top) => absolute === top || absolute.startsWith(`${top}/`));
}

function writes(flags: unknown): boolean {
  return typeof flags === 'number' ? (flags & WRITES) !== 0 : typeof flags === 'string' && /[wa+]/.test(flags);
}

/** The argument that names the file which is changed: the second of a rename, the link that is made. */
const PATHS: Readonly<Record<string, number>> = {
  rename: 1,
  link: 1,
  symlink: 1,
  copyFile: 1,
  unlink: 0,
  rm: 0,
  rmdir: 0,
  mkdir: 0,
  mkdtemp: 0,
  chmod: 0,
  chown: 0,
  lchown: 0,
  utimes: 0,
  lutimes: 0,
  truncate: 0,
  writeFile: 0,
  appendFile: 0,
};
const DESCRIPTORS = ['write', 'writev', 'fchmod', 'fchown', 'futimes', 'ftruncate', 'fsync', 'fdatasync'];

function wrap(holder: Record<string, unknown>, name: string, before: (args: unknown[]) => void, after?: (args: unknown[], result: unknown) => void): void {
  const original = holder[name] as Call;
  const isPromise = holder === (fs.promises as unknown);
  holder[name] = function (this: unknown, ...args: unknown[]): unknown {
    if (isPromise) {
      try {
        before(args);
      } catch (error) {
        return Promise.reject(error);
      }
    } else before(args);
    const result = original.apply(this, args);
    after?.(args, result);
    return result;
  };
}

const sync = fs as unknown as Record<string, unknown>;
const promises = fs.promises as unknown as Record<string, unknown>;
for (const [name, index] of Object.entries(PATHS)) {
  const count = (args: unknown[]): void => {
    const path = args[index];
    if (isWithin(path)) event(name, String(path));
    else if (typeof path === 'number' && opened.has(path)) event(name, opened.get(path) as string);
  };
  wrap(sync, `${name}Sync`, count);
  wrap(promises, name, count);
}
const opening = (args: unknown[]): void => {
  if (writes(args[1]) && isWithin(args[0])) event('open', String(args[0]));
};
wrap(sync, 'openSync', opening, (args, fd) => {
  if (writes(args[1]) && isWithin(args[0])) opened.set(fd as number, String(args[0]));
  else opened.delete(fd as number);
});
wrap(promises, 'open', opening);
for (const name of DESCRIPTORS) {
  wrap(sync, `${name}Sync`, (args) => {
    const path = opened.get(args[0] as number);
    if (path !== undefined) event(name, path);
  });
}
sync.closeSync = (fd: number): void => {
  opened.delete(fd);
  closeOriginal(fd);
};
syncBuiltinESMExports();
