/** What libostree says where our own words differ. */
import { basename } from 'node:path';
import { errnoOf, isKnownError, type KnownError } from '@cambium/base';
import { messageOf } from '../ui.ts';

const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  ENOTDIR: 'Not a directory',
  EEXIST: 'File exists',
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  EISDIR: 'Is a directory',
  EXDEV: 'Invalid cross-device link',
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
  return isKnownError(error) ? inTheirWords(error, message) : message;
}

function inTheirWords(error: KnownError, message: string): string {
  switch (error.code) {
    case 'OSTREE_CHECKOUT_EXISTS':
      return message.endsWith(': File exists') ? conflictText(error.data) : message;
    case 'OSTREE_FILE_UNSUPPORTED':
      return message.replace(/^invalid mode/, 'Content object: invalid mode');
    case 'OSTREE_PATH_NOT_DIRECTORY':
      return 'Not a directory';
    case 'OSTREE_PATH_NOT_FOUND':
      return message.replace(/^Cannot open "\/*(.*)": no such file or directory in the commit$/s, 'No such file or directory: /$1');
    case 'OSTREE_REF_CONFLICT':
      // Ours names the whole ref that is in the way; libostree's name starts below the ref to be written.
      return message.replace(/^(Conflict: )(.+?)\/(.+) exists under \2 /, '$1$3 exists under $2 ');
    case 'OSTREE_OBJECT_TOO_LARGE':
      return message.replace(/^File (.*) of the remote is over the limit of (\d+) bytes$/, 'URI $1 exceeded maximum size of $2 bytes');
    case 'TRUST_KEYRING_INVALID':
      return message.replace(/^Cannot read keys from "(.*)": No such file/, 'open($1): No such file');
    case 'HTTP_UNREACHABLE':
      return message.startsWith('Lost the connection') ? `${message}: Transferred a partial file` : message;
    case 'OSTREE_OBJECT_CORRUPT':
      return corruptionText(message.replace(/^Cannot parse ([a-z]+) ([0-9a-f]{64}): (?=invalid name)/, '$2.$1: '), error.data.actual);
    default:
      return message;
  }
}

/** Returns libostree's words for what is in the way of a file, which it names, or of a directory, which it does not. */
function conflictText({ path, checksum, by }: KnownError['data']): string {
  if (typeof path !== 'string' || typeof checksum !== 'string') return 'mkdirat: File exists';
  const name = basename(path);
  if (by === 'link') return `Hardlinking ${checksum.slice(0, 2)}/${checksum.slice(2)}.file to ${name}: File exists`;
  return `Copy checkout of ${checksum} to ${name}: ${by === 'symlink' ? 'symlinkat' : 'linkat'}: File exists`;
}

/** Returns libostree's words for a corrupt object, wherever in `text` ours are. @param actual the checksum it has, when known */
export function corruptionText(text: string, actual?: unknown): string {
  return text
    .replace(/(?:Object|File object) ([0-9a-f]{64})(?:\.([a-z]+))? does not match its checksum/, (_all, checksum: string, type: string | undefined) => {
      return `Corrupted ${type ?? 'file'} object; checksum expected='${checksum}'${typeof actual === 'string' ? ` actual='${actual}'` : ''}`;
    })
    .replace(/(?:Cannot parse [a-z]+ [0-9a-f]{64}: )?invalid name "(.*\/.*)"/, 'Invalid / in filename $1')
    .replace(/(?:Cannot parse [a-z]+ [0-9a-f]{64}: )?invalid name "(\.\.?)"/, "Invalid special filename '$1'");
}
