/** What the C library keeps of freed memory. */
import { createRequire } from 'node:module';

/** `M_MMAP_THRESHOLD` of mallopt(3). */
const MMAP_THRESHOLD = -3;
const THRESHOLD_BYTES = 128 * 1024;

/**
 * Makes glibc give large buffers back to the system when they are freed, for the whole process and from now on.
 *
 * Its threshold for that starts at 128 KiB and rises to 32 MiB as buffers come and go; network, zlib and worker threads
 * then leave 30 MB of holes behind when container images are packed. Returns false where there is no mallopt (musl).
 */
export function returnLargeBuffers(): boolean {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as { load(path: null): { func(prototype: string): (parameter: number, value: number) => number } };
    return koffi.load(null).func('int mallopt(int parameter, int value)')(MMAP_THRESHOLD, THRESHOLD_BYTES) === 1;
  } catch {
    // Without the native library, or in another C library, memory is as it is.
    return false;
  }
}
