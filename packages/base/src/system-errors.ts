/** Turns what the operating system says into known errors, in one place. */
import { baseError } from './codes.ts';
import { errnoOf, type KnownError } from './errors.ts';

/**
 * Returns a known error for failures that any write can meet (no space, read-only, no permission), or undefined.
 *
 * @param action what was being done, as in "Cannot write object"
 */
export function systemError(error: unknown, action: string): KnownError | undefined {
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return baseError('SYSTEM_NO_SPACE', `${action}: no space left on device`, {
        cause: error,
        hint: 'Free some space, then run the same command again: what was written so far is kept or cleaned up',
      });
    case 'EROFS':
      return baseError('SYSTEM_READ_ONLY', `${action}: read-only file system`, { cause: error });
    case 'EACCES':
    case 'EPERM':
      return baseError('SYSTEM_DENIED', `${action}: permission denied`, { cause: error });
    default:
      return undefined;
  }
}
