/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type TrustErrorCode =
  | 'TRUST_GPG_MISSING'
  | 'TRUST_GPG_KEY_MISSING'
  | 'TRUST_GPG_KEY_UNUSABLE'
  | 'TRUST_GPG_FAILED'
  | 'TRUST_KEYRING_INVALID'
  | 'TRUST_KEY_INVALID'
  | 'TRUST_SIGNATURE_INVALID'
  | 'TRUST_TYPE_UNSUPPORTED';

export const trustError: ErrorFactory<TrustErrorCode> = defineErrors<TrustErrorCode>({
  TRUST_GPG_MISSING: { kind: 'environment', meaning: 'The program gpg is not installed.' },
  TRUST_GPG_KEY_MISSING: { kind: 'not-found', meaning: 'gpg has no secret key by the name that should sign.' },
  TRUST_GPG_KEY_UNUSABLE: {
    kind: 'denied',
    meaning: 'gpg has the key that should sign, but the key is expired, revoked, disabled, ambiguous or not for signing.',
  },
  TRUST_GPG_FAILED: { kind: 'environment', meaning: 'gpg ended with an error that has no code of its own.' },
  TRUST_KEYRING_INVALID: { kind: 'input', meaning: 'A file of public keys cannot be read, or has no OpenPGP keys.' },
  TRUST_KEY_INVALID: { kind: 'input', meaning: 'A key for signatures of type ed25519, spki or dummy is not written as such keys are.' },
  TRUST_SIGNATURE_INVALID: { kind: 'input', meaning: 'Bytes are not OpenPGP signatures.' },
  TRUST_TYPE_UNSUPPORTED: { kind: 'usage', meaning: 'A type of signature is unknown, or is for tests only and not allowed.' },
});
