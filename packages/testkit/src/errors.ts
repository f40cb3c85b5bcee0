/** The codes of the test helpers. They are private: tests see them, users never do. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type TestkitErrorCode = 'TESTKIT_COMMAND_FAILED' | 'TESTKIT_NOT_READY' | 'TESTKIT_SPEC_INVALID';

export const testkitError: ErrorFactory<TestkitErrorCode> = defineErrors<TestkitErrorCode>({
  TESTKIT_COMMAND_FAILED: { kind: 'environment', meaning: 'A program that a test started ended with an unexpected status.' },
  TESTKIT_NOT_READY: { kind: 'environment', meaning: 'A service that a test started did not answer in time.' },
  TESTKIT_SPEC_INVALID: { kind: 'usage', meaning: 'A test asked a builder for something that it cannot build.' },
});
