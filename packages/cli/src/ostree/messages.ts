/** What libostree says where our own words differ. */
import { errnoOf, isKnownError } from '@cambium/base';
import { messageOf } from '../ui.ts';

const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  ENOTDIR: 'Not a directory',
  EEXIST: 'File exists',
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  EISDIR: 'Is a directory',
  ENOTEMPTY: 'Directory not empty',
  ENOSPC: 'No space left on device',
  EROFS: 'Read-only file system',
};

export function ostreeMessage(error: unknown): string {
  if (isKnownError(error) && typeof error.data.ostreeMessage === 'string') return error.data.ostreeMessage;
  const errno = errnoOf(error);
  if (errno !== undefined) {
    const failure = error as NodeJS.ErrnoException;
    const call = failure.syscall === 'scandir' ? 'opendir' : (failure.syscall ?? 'open');
    return `${call}(${failure.path ?? ''}): ${ERRNO_TEXTS[errno] ?? failure.message}`;
  }
  const message = messageOf(error);
  if (isKnownError(error, 'OSTREE_CHECKOUT_EXISTS') && message.endsWith(': File exists')) return 'mkdirat: File exists';
  // Ours names the whole ref that is in the way; libostree's name starts below the ref to be written.
  return isKnownError(error, 'OSTREE_REF_CONFLICT') ? message.replace(/^(Conflict: )(.+?)\/(.+) exists under \2 /, '$1$3 exists under $2 ') : message;
}
