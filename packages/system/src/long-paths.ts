/**
 * Directories whose path is longer than the kernel takes in one call. Node has no `openat`; a path through `/proc/self/fd`
 * starts at an open directory all the same, in every thread of the process.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { errnoOf, isKnownError } from '@cambium/base';

/** `PATH_MAX` is 4096 with its NUL; a name in the directory may have 255 bytes, and a temporary one is put beside it. */
const REACH_BYTES = 3800;
/** A character of a JavaScript string is at most three bytes of UTF-8: shorter ones need not be counted. */
const SURELY_SHORT: number = Math.floor(REACH_BYTES / 3);
/** Not among Node's constants; the same number on all machines that Node runs on. Searching is all that is asked of the directory. */
const O_PATH = 0o10000000;

/** A way to a directory that the kernel takes, as long as it is not closed. */
export interface Reach {
  /** Stands for the directory itself too, and a slash and a name may follow. Its last component cannot be renamed or removed. */
  readonly path: string;
  /** Puts the real path into an error that has this one in its message or data; returns the error. */
  explain(error: unknown): unknown;
  close(): void;
}

/**
 * Opens a way to a directory whose path is too long; returns undefined when the path itself will do, which costs nothing.
 * Links in the path are followed, as in any path.
 *
 * @throws errno, ENAMETOOLONG where `/proc` is not there
 */
export function reach(directory: string): Reach | undefined {
  if (directory.length <= SURELY_SHORT || Buffer.byteLength(directory) <= REACH_BYTES) return undefined;
  const fd = openInSteps(directory);
  const path = `/proc/self/fd/${fd}/.`;
  return { path, explain: (error) => withRealPath(error, path, directory), close: () => closeSync(fd) };
}

/** Calls `use` with a path that will do for a directory. @throws what `use` throws, with the real path in it */
export function withReach<T>(directory: string, use: (path: string) => T): T {
  const way = reach(directory);
  if (way === undefined) return use(directory);
  try {
    return use(way.path);
  } catch (error) {
    throw way.explain(error);
  } finally {
    way.close();
  }
}

function openInSteps(directory: string): number {
  let at: number | undefined;
  let done = '';
  for (const step of steps(directory)) {
    const from = at;
    try {
      at = openSync(from === undefined ? step : `/proc/self/fd/${from}/${step}`, O_PATH | constants.O_DIRECTORY);
    } catch (error) {
      throw from === undefined ? error : tooLongWithoutProc(withRealPath(error, `/proc/self/fd/${from}`, done));
    } finally {
      if (from !== undefined) closeSync(from);
    }
    done += done === '' ? step : `/${step}`;
  }
  return at as number;
}

/** Cuts a path at slashes into the longest pieces that will do. */
function* steps(path: string): Generator<string, void, undefined> {
  let step = '';
  let bytes = 0;
  for (const [index, name] of path.split('/').entries()) {
    const more = Buffer.byteLength(name) + 1;
    if (bytes > 1 && bytes + more > REACH_BYTES) {
      yield step;
      step = name;
      bytes = more;
    } else {
      step += index === 0 ? name : `/${name}`;
      bytes += more;
    }
  }
  yield step;
}

/** What a missing `/proc` gives is about a directory that is there. */
function tooLongWithoutProc(error: unknown): unknown {
  if (errnoOf(error) !== 'ENOENT' || !(error instanceof Error)) return error;
  try {
    closeSync(openSync('/proc/self/fd', O_PATH));
    return error;
  } catch {
    return Object.assign(error, { code: 'ENAMETOOLONG', message: error.message.replace(/^ENOENT: [^,]*/, 'ENAMETOOLONG: name too long') });
  }
}

function withRealPath(error: unknown, path: string, real: string): unknown {
  if (!(error instanceof Error)) return error;
  const told = (text: string): string => text.replaceAll(path, () => real);
  error.message = told(error.message);
  if ('path' in error && typeof error.path === 'string') error.path = told(error.path);
  if (isKnownError(error)) for (const [key, value] of Object.entries(error.data)) if (typeof value === 'string') error.data[key] = told(value);
  return error;
}
