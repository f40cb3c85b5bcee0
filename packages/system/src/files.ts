/** Calls on files that Node lacks: flushing a whole file system, device nodes, renaming without replacing, free space. */
import { linkSync, statfsSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { errnoOf } from '@cambium/base';
import { callError, native, PATH_AT, putPath, SECOND_PATH_AT } from './native.ts';

const { EEXIST, EINVAL, ENOSYS } = constants.errno;
const AT_FDCWD = -100;
const RENAME_NOREPLACE = 1;
const SYNC_FILE_RANGE_WRITE = 2;
/** Numbers of `asm/unistd_64.h` and `asm-generic/unistd.h`. */
const CALL_NUMBERS = process.arch === 'x64' ? { mknodat: 259, renameat2: 316, syncFileRange: 277 } : { mknodat: 33, renameat2: 276, syncFileRange: 84 };

/** Flushes the file system that holds an open file. @throws errno */
export function syncFs(fd: number): void {
  const { libc } = native();
  if (libc.syncfs(fd) < 0) throw callError(libc.errno(), 'syncfs');
}

/** Lets the kernel begin to write out what an open file has in memory, and does not wait for it. A hint: where it is not taken nothing is lost. */
export function startWriteOut(fd: number): void {
  const { libc } = native();
  libc.syscall(CALL_NUMBERS.syncFileRange, fd, 0, 0, SYNC_FILE_RANGE_WRITE, 0);
}

/**
 * Makes a device node, FIFO or socket. `mode` is a full st_mode with its type; the process's umask applies.
 *
 * @throws errno, EPERM for devices without CAP_MKNOD in the first user namespace
 */
export function makeNode(path: string | Uint8Array, mode: number, major = 0, minor = 0): void {
  const { libc, address } = native();
  // The kernel's own 32-bit form: 12 bits of major number between 8 low and 12 high bits of minor number.
  if (!inRange(major, 0xfff) || !inRange(minor, 0xf_ffff)) throw callError(EINVAL, 'mknodat', path);
  const device = ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
  putPath(path, 'mknodat');
  if (libc.syscall(CALL_NUMBERS.mknodat, AT_FDCWD, address + PATH_AT, mode, device, 0) < 0) throw callError(libc.errno(), 'mknodat', path);
}

function inRange(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= most;
}

/** Renames, and returns false when `to` exists; it is never replaced. @throws errno */
export function renameNoReplace(from: string | Uint8Array, to: string | Uint8Array): boolean {
  const { libc, address } = native();
  putPath(from, 'renameat2');
  putPath(to, 'renameat2', SECOND_PATH_AT);
  if (libc.syscall(CALL_NUMBERS.renameat2, AT_FDCWD, address + PATH_AT, AT_FDCWD, address + SECOND_PATH_AT, RENAME_NOREPLACE) >= 0) return true;
  const errno = libc.errno();
  if (errno === EEXIST) return false;
  // Some file systems (NFS, older overlays) have no such rename; linking has the same guarantee for files.
  if (errno === EINVAL || errno === ENOSYS) return linkAndUnlink(from, to);
  throw callError(errno, 'renameat2', from);
}

/** As {@link renameNoReplace}, for files only and in two steps: between them both names exist. */
export function linkAndUnlink(from: string | Uint8Array, to: string | Uint8Array): boolean {
  const source = typeof from === 'string' ? from : Buffer.from(from);
  try {
    linkSync(source, typeof to === 'string' ? to : Buffer.from(to));
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
  unlinkSync(source);
  return true;
}

export interface FreeSpace {
  blockBytes: number;
  totalBlocks: number;
  /** Blocks that an ordinary user may still use. */
  availableBlocks: number;
  /** Free blocks, those kept for root included. */
  freeBlocks: number;
  availableBytes: number;
  totalBytes: number;
}

/** Returns the room on the file system that holds `path`. @throws errno */
export function freeSpace(path: string | Uint8Array): FreeSpace {
  const { bsize, blocks, bavail, bfree } = statfsSync(typeof path === 'string' ? path : Buffer.from(path));
  return { blockBytes: bsize, totalBlocks: blocks, availableBlocks: bavail, freeBlocks: bfree, availableBytes: bsize * bavail, totalBytes: bsize * blocks };
}
