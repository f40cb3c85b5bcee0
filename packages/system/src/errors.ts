/** The codes of this package; documented in `docs/errors.md`. Failures of system calls keep their errno as Node gives it. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type SystemErrorCode = 'SYSTEM_NATIVE_MISSING' | 'SYSTEM_LOCK_TIMEOUT';

export const systemPackageError: ErrorFactory<SystemErrorCode> = defineErrors<SystemErrorCode>({
  SYSTEM_NATIVE_MISSING: {
    kind: 'environment',
    meaning: 'The native library that reaches the kernel could not be loaded, or does not know this kind of machine.',
  },
  SYSTEM_LOCK_TIMEOUT: { kind: 'busy', meaning: 'A lock stayed in the hands of another process for as long as the caller would wait.' },
});
