/** Reading files that anyone may have put into a repository: nothing but regular files, and no more than a limit. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/**
 * Returns the content of a file. Links are followed, as by libostree: aliases of refs are links.
 *
 * @param refuse makes the error for what is no regular file, or is over the limit
 * @throws errno
 */
export function readBounded(path: string, limitBytes: number, refuse: (why: 'irregular' | 'too-large') => Error): Buffer {
  // A FIFO would block the thread for ever, and a device never end.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw refuse('irregular');
    if (stat.size > limitBytes) throw refuse('too-large');
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}
