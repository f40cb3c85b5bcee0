/** What the C library keeps of freed memory. */
import { createRequire } from 'node:module';

/** `M_MMAP_THRESHOLD` and `M_ARENA_MAX` of mallopt(3). */
const MMAP_THRESHOLD = -3;
const ARENA_MAX = -8;

/** Above the buffers of 1 MiB that streams pass on: those are used again, for fresh pages cost as much as filling them. */
const THRESHOLD_BYTES = 2 * 1024 * 1024;
/** Memory that one thread frees is then found by others. */
const ARENAS = 2;

/**
 * Keeps the C library from holding on to freed memory, for the whole process and from now on.
 *
 * glibc's threshold for giving buffers back rises to 32 MiB as they come and go, and each thread gets an arena of its
 * own: network, zlib and worker threads then leave 40 MB of holes behind when container images are packed.
 * Returns false where there is no mallopt (musl).
 */
export function boundNativeMemory(): boolean {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as { load(path: null): { func(prototype: string): (parameter: number, value: number) => number } };
    const mallopt = koffi.load(null).func('int mallopt(int parameter, int value)');
    return mallopt(MMAP_THRESHOLD, THRESHOLD_BYTES) === 1 && mallopt(ARENA_MAX, ARENAS) === 1;
  } catch {
    // Without the native library, or in another C library, memory is as it is.
    return false;
  }
}
