/**
 * The C library, bound on the first call.
 *
 * Every argument is a number: paths, names and values lie in one buffer whose address is taken once. A call costs
 * about 25 ns above the kernel's own time; strings or typed arrays as arguments cost more.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { getSystemErrorMessage } from 'node:util';
import { systemPackageError } from './errors.ts';

/** Addresses and sizes in, result out; −1 means that {@link Libc.errno} says why. */
type Call = (...args: number[]) => number;

export interface Libc {
  errno(): number;
  lgetxattr: Call;
  fgetxattr: Call;
  llistxattr: Call;
  flistxattr: Call;
  lsetxattr: Call;
  fsetxattr: Call;
  lremovexattr: Call;
  fremovexattr: Call;
  fcntl: Call;
  flock: Call;
  syncfs: Call;
  syscall: Call;
}

const PROTOTYPES: Readonly<Record<Exclude<keyof Libc, 'errno'>, string>> = {
  lgetxattr: 'int64_t lgetxattr(uintptr_t path, uintptr_t name, uintptr_t value, size_t size)',
  fgetxattr: 'int64_t fgetxattr(int fd, uintptr_t name, uintptr_t value, size_t size)',
  llistxattr: 'int64_t llistxattr(uintptr_t path, uintptr_t list, size_t size)',
  flistxattr: 'int64_t flistxattr(int fd, uintptr_t list, size_t size)',
  lsetxattr: 'int lsetxattr(uintptr_t path, uintptr_t name, uintptr_t value, size_t size, int flags)',
  fsetxattr: 'int fsetxattr(int fd, uintptr_t name, uintptr_t value, size_t size, int flags)',
  lremovexattr: 'int lremovexattr(uintptr_t path, uintptr_t name)',
  fremovexattr: 'int fremovexattr(int fd, uintptr_t name)',
  // Variadic in C; on the 64-bit Linux conventions integer arguments travel the same way.
  fcntl: 'int fcntl(int fd, int command, uintptr_t argument)',
  flock: 'int flock(int fd, int operation)',
  syncfs: 'int syncfs(int fd)',
  // For calls that older C libraries have no symbol for (mknodat before glibc 2.33, renameat2 before 2.28).
  syscall: 'int64_t syscall(int64_t number, int64_t a, uintptr_t b, int64_t c, uintptr_t d, int64_t e)',
};

interface Koffi {
  load(path: null): { func(prototype: string): Call };
  address(value: Uint8Array): number | bigint;
  errno(): number;
}

/** `PATH_MAX`, its NUL included. */
const PATH_BYTES = 4096;
const NAME_BYTES = 256;
/** `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`: the kernel never gives or takes more. */
export const XATTR_BYTES = 65536;

export const PATH_AT = 0;
export const SECOND_PATH_AT: number = PATH_BYTES;
export const NAME_AT: number = SECOND_PATH_AT + PATH_BYTES;
export const LIST_AT: number = NAME_AT + NAME_BYTES;
export const VALUE_AT: number = LIST_AT + XATTR_BYTES;

/** What calls read from and write to. One per thread, because every thread has this module to itself. */
export const memory: Uint8Array<ArrayBuffer> = new Uint8Array(VALUE_AT + XATTR_BYTES);
export const memoryText: Buffer<ArrayBuffer> = Buffer.from(memory.buffer);

let loaded: { libc: Libc; address: number } | undefined;

/** Returns the library and the address of {@link memory}. @throws SYSTEM_NATIVE_MISSING */
export function native(): { libc: Libc; address: number } {
  loaded ??= load();
  return loaded;
}

function load(): { libc: Libc; address: number } {
  // The structures and call numbers of this package are those of 64-bit little-endian Linux.
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) {
    throw systemPackageError('SYSTEM_NATIVE_MISSING', `Cannot call the kernel: no bindings for ${process.platform} on ${process.arch}`, {
      hint: 'Use Linux on x86-64 or arm64',
    });
  }
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const library = koffi.load(null);
    const calls = Object.fromEntries(Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]));
    const address = Number(koffi.address(memory));
    if (!Number.isSafeInteger(address) || address === 0) throw new Error(`Unusable address ${address}`);
    return { libc: { ...calls, errno: () => koffi.errno() } as Libc, address };
  } catch (cause) {
    throw systemPackageError('SYSTEM_NATIVE_MISSING', 'Cannot load the native library "koffi"', {
      cause,
      hint: 'Install again without --no-optional or --omit=optional: its binary is an optional dependency of npm package "koffi"',
    });
  }
}

const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno)
    // Two names for one number: keep those that Node's own errors use.
    .filter(([name]) => name !== 'EOPNOTSUPP' && name !== 'EWOULDBLOCK')
    .map(([name, number]) => [number, name]),
);

/** A failure in the shape of Node's own: `errnoOf` of base reads its code. */
export function callError(errno: number, syscall: string, path?: string | Uint8Array): Error {
  const code = ERRNO_NAMES.get(errno) ?? `E${errno}`;
  const shown = path === undefined ? undefined : typeof path === 'string' ? path : Buffer.from(path).toString();
  const message = `${code}: ${getSystemErrorMessage(-errno) ?? 'unknown error'}, ${syscall}${shown === undefined ? '' : ` '${shown}'`}`;
  return Object.assign(new Error(message), { errno: -errno, code, syscall, ...(shown === undefined ? {} : { path: shown }) });
}

/** Puts text and a NUL into {@link memory}. Errors name `syscall`, as the kernel's own would. */
export function putPath(path: string | Uint8Array, syscall: string, at: number = PATH_AT): void {
  if (!put(path, at, PATH_BYTES)) throw callError(constants.errno.ENAMETOOLONG, syscall, path);
}

/** As {@link putPath}, for the name of an attribute. */
export function putName(name: string | Uint8Array, syscall: string, path?: string | Uint8Array): void {
  if (!put(name, NAME_AT, NAME_BYTES)) throw callError(constants.errno.ERANGE, syscall, path);
}

function put(text: string | Uint8Array, at: number, room: number): boolean {
  let length: number;
  if (typeof text === 'string') {
    // A character takes at most three bytes per UTF-16 unit: only long texts need counting.
    if (text.length * 3 >= room && Buffer.byteLength(text) >= room) return false;
    length = memoryText.write(text, at, room, 'utf8');
    if (text.includes('\0')) throw new TypeError('A path or name must not contain NUL');
  } else {
    length = text.length;
    if (length >= room) return false;
    if (text.includes(0)) throw new TypeError('A path or name must not contain NUL');
    memory.set(text, at);
  }
  memory[at + length] = 0;
  return true;
}
