/** Reading files that anyone may have put into a repository: nothing but regular files, and no more than a limit. */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

const PIECE_BYTES = 256 * 1024;

/**
 * Returns the content of a file. Links are followed, as by libostree: aliases of refs are links.
 *
 * @param refuse makes the error for what is no regular file, or is over the limit
 * @throws errno
 */
export function readBounded(path: string, limitBytes: number, refuse: (why: 'irregular' | 'too-large') => Error): Buffer {
  return withRegularFile(path, refuse, (fd, sizeBytes) => {
    if (sizeBytes > limitBytes) throw refuse('too-large');
    const bytes = Buffer.allocUnsafe(sizeBytes);
    let at = 0;
    for (let read = 1; read > 0 && at < sizeBytes; at += read) read = readSync(fd, bytes, at, sizeBytes - at, at);
    return bytes.subarray(0, at);
  });
}

/** Returns the sha256 of a file of any size. @param refuse makes the error for what is no regular file @throws errno */
export function digestFile(path: string, refuse: (why: 'irregular') => Error): Buffer {
  return withRegularFile(path, refuse, (fd, sizeBytes) => {
    const hash = createHash('sha256');
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.max(sizeBytes, 1)));
    for (let read = readSync(fd, piece); read > 0; read = readSync(fd, piece)) hash.update(piece.subarray(0, read));
    return hash.digest();
  });
}

function withRegularFile<T>(path: string, refuse: (why: 'irregular') => Error, use: (fd: number, sizeBytes: number) => T): T {
  // A FIFO would block the thread for ever, and a device never end.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw refuse('irregular');
    return use(fd, stat.size);
  } finally {
    closeSync(fd);
  }
}
