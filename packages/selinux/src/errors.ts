/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type SelinuxErrorCode = 'SELINUX_POLICY_INVALID' | 'SELINUX_POLICY_TOO_LARGE' | 'SELINUX_PATTERN_INVALID' | 'SELINUX_PATTERN_UNSUPPORTED';

export const selinuxError: ErrorFactory<SelinuxErrorCode> = defineErrors<SelinuxErrorCode>({
  SELINUX_POLICY_INVALID: { kind: 'input', meaning: 'A file of an SELinux policy is not of its format, or a file that the policy must have is missing.' },
  SELINUX_POLICY_TOO_LARGE: {
    kind: 'input',
    meaning: 'The file contexts of an SELinux policy are larger, or their patterns together need more states, than any real policy.',
  },
  SELINUX_PATTERN_INVALID: { kind: 'input', meaning: 'The label of a path depends on a file context whose pattern is not a regular expression.' },
  SELINUX_PATTERN_UNSUPPORTED: {
    kind: 'input',
    meaning: 'The label of a path depends on a file context whose pattern uses what Cambium does not match, such as a back reference or a look-around.',
  },
});
