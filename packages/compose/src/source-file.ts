/** Reads small text files with limits: regular files only, so that a FIFO cannot block and a device cannot fill memory. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { decodeUtf8, errnoOf, systemError } from '@cambium/base';
import { composeError, faultAt, type Position } from './errors.ts';

/** Env files and the like; compose files have their own limit in `YAML_LIMITS`. */
export const MAX_TEXT_BYTES: number = 4 << 20;

export interface ReadTextOptions {
  limitBytes?: number;
  /** Where the file is referred to; makes a missing file COMPOSE_FILE_MISSING instead of COMPOSE_FILE_NOT_FOUND. */
  referredFrom?: { position?: Position | undefined; key: string };
}

/** Returns a file's text without a byte order mark. @throws COMPOSE_FILE_NOT_FOUND, COMPOSE_FILE_MISSING, COMPOSE_FILE_INVALID, COMPOSE_FILE_TOO_LARGE */
export function readText(path: string, options: ReadTextOptions = {}): string {
  const limit = options.limitBytes ?? MAX_TEXT_BYTES;
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw unreadable(path, options, cause);
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw composeError('COMPOSE_FILE_INVALID', `Cannot read "${path}": not a regular file`, { data: { file: path } });
    if (stat.size > limit) throw tooLarge(path, limit);
    const bytes = new Uint8Array(stat.size + 1);
    let size = 0;
    for (;;) {
      const read = readSync(descriptor, bytes, size, bytes.length - size, null);
      if (read === 0) break;
      size += read;
      // The file has grown since it was measured; one more byte than announced is refused as a race, not read on.
      if (size === bytes.length) throw composeError('COMPOSE_FILE_INVALID', `Cannot read "${path}": it changed while it was read`, { retryable: true });
    }
    const text = decodeUtf8(bytes.subarray(0, size));
    if (text === undefined) throw composeError('COMPOSE_FILE_INVALID', `Cannot read "${path}": not UTF-8 text`, { data: { file: path } });
    return text.startsWith('\ufeff') ? text.slice(1) : text;
  } finally {
    closeSync(descriptor);
  }
}

function tooLarge(path: string, limit: number): Error {
  return composeError('COMPOSE_FILE_TOO_LARGE', `Cannot read "${path}": over ${limit} bytes`, { data: { file: path, limitBytes: limit } });
}

function unreadable(path: string, options: ReadTextOptions, cause: unknown): Error {
  const errno = errnoOf(cause);
  if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP' || errno === 'ENAMETOOLONG' || path.includes('\0')) {
    const from = options.referredFrom;
    if (from === undefined) return composeError('COMPOSE_FILE_NOT_FOUND', `Cannot read "${path}": no such file`, { data: { file: path }, cause });
    return faultAt('COMPOSE_FILE_MISSING', from.position, `Cannot read "${path}": no such file; ${from.key} refers to it`, {
      data: { path, key: from.key },
      cause,
    });
  }
  return systemError(cause, `Cannot read "${path}"`) ?? composeError('COMPOSE_FILE_INVALID', `Cannot read "${path}": ${errno ?? String(cause)}`, { cause });
}
