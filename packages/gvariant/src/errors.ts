/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type GvariantErrorCode =
  | 'GVARIANT_TYPE_INVALID'
  | 'GVARIANT_NOT_NORMAL'
  | 'GVARIANT_TOO_DEEP'
  | 'GVARIANT_TOO_LARGE'
  | 'GVARIANT_VALUE_INVALID'
  | 'GVARIANT_TEXT_INVALID';

export const gvariantError: ErrorFactory<GvariantErrorCode> = defineErrors<GvariantErrorCode>({
  GVARIANT_TYPE_INVALID: { kind: 'input', meaning: 'A text is not one complete, definite GVariant type.' },
  GVARIANT_NOT_NORMAL: { kind: 'input', meaning: 'Bytes are not the normal form of a value of their GVariant type.' },
  GVARIANT_TOO_DEEP: { kind: 'input', meaning: 'A GVariant value or type is nested deeper than 128 levels.' },
  GVARIANT_TOO_LARGE: { kind: 'input', meaning: 'A GVariant value is larger than 4 GiB.' },
  GVARIANT_VALUE_INVALID: { kind: 'usage', meaning: 'A value cannot be written as the GVariant type that was asked for.' },
  GVARIANT_TEXT_INVALID: { kind: 'input', meaning: 'A text is not a value in the GVariant text format.' },
});
