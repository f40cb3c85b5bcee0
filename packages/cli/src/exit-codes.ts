/** The one table from kinds of failure to exit statuses; printed in `--help` and `docs/exit-codes.md`. */
import { type ErrorKind, errnoOf, isKnownError } from '@cambium/base';

export interface ExitCode {
  readonly status: number;
  readonly meaning: string;
  readonly kind?: ErrorKind;
}

export const EXIT_CODES: readonly ExitCode[] = [
  { status: 0, meaning: 'done' },
  { status: 1, meaning: 'a failure of no kind below; every failure of a `cambium ostree` verb, as with libostree' },
  { status: 2, kind: 'usage', meaning: 'the command line makes no sense' },
  { status: 3, kind: 'input', meaning: 'a file or document is not what it should be' },
  { status: 4, kind: 'not-found', meaning: 'something named does not exist' },
  { status: 5, kind: 'exists', meaning: 'something is in the way' },
  { status: 6, kind: 'integrity', meaning: 'bytes do not match their digest, checksum or signature' },
  { status: 7, kind: 'denied', meaning: 'credentials or permissions are missing' },
  { status: 8, kind: 'network', meaning: 'a peer did not answer, or answered badly' },
  { status: 9, kind: 'busy', meaning: 'someone else holds a lock, or uses what should go' },
  { status: 10, kind: 'space', meaning: 'no room on the volume' },
  { status: 11, kind: 'environment', meaning: 'a program, kernel feature or setting is missing' },
  { status: 130, meaning: 'interrupted by SIGINT (Ctrl-C)' },
  { status: 143, meaning: 'ended by SIGTERM' },
];

export const EXIT_FAILURE = 1;

const ERRNO_KINDS: Readonly<Record<string, ErrorKind>> = {
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  EEXIST: 'exists',
  ENOTEMPTY: 'exists',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
  ENOSPC: 'space',
  EDQUOT: 'space',
  EBUSY: 'busy',
  ECONNREFUSED: 'network',
  ECONNRESET: 'network',
  ETIMEDOUT: 'network',
  ENOTFOUND: 'network',
};

/** Returns the kind of any failure, known or from the operating system; undefined for the rest. */
export function kindOf(error: unknown): ErrorKind | undefined {
  if (isKnownError(error)) return error.kind;
  const errno = errnoOf(error);
  return errno === undefined ? undefined : ERRNO_KINDS[errno];
}

export function exitStatusOf(error: unknown): number {
  const kind = kindOf(error);
  return EXIT_CODES.find((row) => row.kind !== undefined && row.kind === kind)?.status ?? EXIT_FAILURE;
}
