/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type OstreeErrorCode = 'OSTREE_OBJECT_MISSING' | 'OSTREE_OBJECT_CORRUPT';

export const ostreeError: ErrorFactory<OstreeErrorCode> = defineErrors<OstreeErrorCode>({
  OSTREE_OBJECT_MISSING: { kind: 'not-found', meaning: 'An object that a commit or tree refers to is not in the repository.' },
  OSTREE_OBJECT_CORRUPT: { kind: 'integrity', meaning: 'An object does not have the checksum that names it, or is not of its format.' },
});
