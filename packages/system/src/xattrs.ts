/**
 * Extended attributes. Links are never followed. A number as target is an open descriptor.
 * Paths and names may be any bytes; strings are taken as UTF-8. Source: `xattr(7)`.
 */
import { constants } from 'node:os';
import { compareBytes } from '@cambium/base';
import { callError, LIST_AT, memory, memoryText, NAME_AT, native, PATH_AT, putName, putPath, VALUE_AT, XATTR_BYTES } from './native.ts';

export type XattrTarget = string | Uint8Array | number;

const { ENODATA, ENOTSUP, ERANGE, E2BIG } = constants.errno;

/**
 * The kernel clears a buffer of the size it is told: asking with 64 KiB costs 1 µs more than asking with this.
 * Nearly all values and lists fit.
 */
const USUAL_BYTES = 512;

const pathOf = (target: XattrTarget): string | Uint8Array | undefined => (typeof target === 'number' ? undefined : target);

/** Returns the value, or undefined where the attribute, or the whole idea on this file system, does not exist. @throws errno */
export function getXattr(target: XattrTarget, name: string | Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const length = readNamed(target, name);
  return length === undefined ? undefined : memory.slice(VALUE_AT, VALUE_AT + length);
}

/** As {@link getXattr}, as Latin-1 text: each byte a character. For values that are looked up: a string costs far less than an array. */
export function getXattrText(target: XattrTarget, name: string | Uint8Array): string | undefined {
  const length = readNamed(target, name);
  return length === undefined ? undefined : memoryText.toString('latin1', VALUE_AT, VALUE_AT + length);
}

function readNamed(target: XattrTarget, name: string | Uint8Array): number | undefined {
  putName(name, 'getxattr', pathOf(target));
  if (typeof target !== 'number') putPath(target, 'lgetxattr');
  return readValue(target, NAME_AT);
}

/** Fills the value area for the target in place, and returns the bytes in it; undefined where there is no such attribute. */
function readValue(target: XattrTarget, nameAt: number): number | undefined {
  const { libc, address } = native();
  for (let size = USUAL_BYTES; ; size = XATTR_BYTES) {
    const length =
      typeof target === 'number'
        ? libc.fgetxattr(target, address + nameAt, address + VALUE_AT, size)
        : libc.lgetxattr(address + PATH_AT, address + nameAt, address + VALUE_AT, size);
    if (length >= 0) return length;
    const errno = libc.errno();
    if (errno === ERANGE && size < XATTR_BYTES) continue;
    if (errno === ENODATA || errno === ENOTSUP) return undefined;
    throw callError(errno, typeof target === 'number' ? 'fgetxattr' : 'lgetxattr', pathOf(target));
  }
}

/** Fills the list area for the target in place, and returns the bytes in it. */
function readList(target: XattrTarget): number {
  const { libc, address } = native();
  for (let size = USUAL_BYTES; ; size = XATTR_BYTES) {
    const length = typeof target === 'number' ? libc.flistxattr(target, address + LIST_AT, size) : libc.llistxattr(address + PATH_AT, address + LIST_AT, size);
    if (length >= 0) return length;
    const errno = libc.errno();
    if (errno === ERANGE && size < XATTR_BYTES) continue;
    if (errno === ENOTSUP) return 0;
    throw callError(errno, typeof target === 'number' ? 'flistxattr' : 'llistxattr', pathOf(target));
  }
}

/** Returns where each name starts and ends in the list area. */
function splitList(length: number): [start: number, end: number][] {
  const spans: [number, number][] = [];
  let start = LIST_AT;
  for (let at = LIST_AT; at < LIST_AT + length; at++) {
    if (memory[at] !== 0) continue;
    spans.push([start, at]);
    start = at + 1;
  }
  return spans;
}

/** Returns the names in the kernel's order; none where the file system has no attributes. @throws errno */
export function listXattrs(target: XattrTarget): Uint8Array<ArrayBuffer>[] {
  if (typeof target !== 'number') putPath(target, 'llistxattr');
  return splitList(readList(target)).map(([start, end]) => memory.slice(start, end));
}

/** Returns all attributes sorted by the bytes of their names; those that vanish meanwhile are left out. @throws errno */
export function readXattrs(target: XattrTarget): [name: Uint8Array, value: Uint8Array][] {
  if (typeof target !== 'number') putPath(target, 'llistxattr');
  const length = readList(target);
  const found: [Uint8Array, Uint8Array][] = [];
  if (length === 0) return found;
  for (const [start, end] of splitList(length)) {
    const value = readValue(target, start);
    if (value !== undefined) found.push([memory.slice(start, end), memory.slice(VALUE_AT, VALUE_AT + value)]);
  }
  return found.length < 2 ? found : found.sort(([a], [b]) => compareBytes(a, b));
}

/**
 * Sets an attribute; `only` refuses one that is there (`create`) or is not (`replace`).
 *
 * @throws errno: ENOTSUP where the file system has none, EPERM for `user.*` on anything but files and directories
 */
export function setXattr(target: XattrTarget, name: string | Uint8Array, value: Uint8Array, only?: 'create' | 'replace'): void {
  const { libc, address } = native();
  const syscall = typeof target === 'number' ? 'fsetxattr' : 'lsetxattr';
  if (value.length > XATTR_BYTES) throw callError(E2BIG, syscall, pathOf(target));
  putName(name, syscall, pathOf(target));
  memory.set(value, VALUE_AT);
  const flags = only === 'create' ? 1 : only === 'replace' ? 2 : 0;
  let result: number;
  if (typeof target === 'number') result = libc.fsetxattr(target, address + NAME_AT, address + VALUE_AT, value.length, flags);
  else {
    putPath(target, syscall);
    result = libc.lsetxattr(address + PATH_AT, address + NAME_AT, address + VALUE_AT, value.length, flags);
  }
  if (result < 0) throw callError(libc.errno(), syscall, pathOf(target));
}

/** Removes an attribute, and returns whether it was there. @throws errno */
export function removeXattr(target: XattrTarget, name: string | Uint8Array): boolean {
  const { libc, address } = native();
  const syscall = typeof target === 'number' ? 'fremovexattr' : 'lremovexattr';
  putName(name, syscall, pathOf(target));
  let result: number;
  if (typeof target === 'number') result = libc.fremovexattr(target, address + NAME_AT);
  else {
    putPath(target, syscall);
    result = libc.lremovexattr(address + PATH_AT, address + NAME_AT);
  }
  if (result >= 0) return true;
  const errno = libc.errno();
  if (errno === ENODATA) return false;
  throw callError(errno, syscall, pathOf(target));
}
