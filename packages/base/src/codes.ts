/** The codes that `base` itself throws. */
import { defineErrors, type ErrorFactory } from './errors.ts';

export type BaseErrorCode =
  | 'ID_CHECKSUM_INVALID'
  | 'ID_DIGEST_INVALID'
  | 'BYTES_TRUNCATED'
  | 'BYTES_TOO_LARGE'
  | 'BYTES_MISMATCH'
  | 'JSON_INVALID'
  | 'OPERATION_ABORTED'
  | 'SYSTEM_NO_SPACE'
  | 'SYSTEM_READ_ONLY'
  | 'SYSTEM_DENIED';

export const baseError: ErrorFactory<BaseErrorCode> = defineErrors<BaseErrorCode>({
  ID_CHECKSUM_INVALID: { kind: 'input', meaning: 'A text is not an OSTree checksum (64 lower-case hex digits).' },
  ID_DIGEST_INVALID: { kind: 'input', meaning: 'A text is not a sha256 or sha512 digest.' },
  BYTES_TRUNCATED: { kind: 'integrity', meaning: 'Data ended before a structure it announces was complete.' },
  BYTES_TOO_LARGE: { kind: 'input', meaning: 'Data is larger than the limit for its kind.' },
  BYTES_MISMATCH: { kind: 'integrity', meaning: 'Content does not have the size or digest that its reference states.' },
  JSON_INVALID: { kind: 'input', meaning: 'A document is not valid JSON.' },
  OPERATION_ABORTED: { kind: 'usage', meaning: 'The operation was interrupted by its caller.' },
  SYSTEM_NO_SPACE: { kind: 'space', meaning: 'The volume has no room for what should be written.' },
  SYSTEM_READ_ONLY: { kind: 'denied', meaning: 'The volume is mounted read-only.' },
  SYSTEM_DENIED: { kind: 'denied', meaning: 'The operating system refused access to a file.' },
});
