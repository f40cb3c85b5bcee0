/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type OstreeErrorCode =
  | 'OSTREE_CONFIG_INVALID'
  | 'OSTREE_CONTENT_SIZE'
  | 'OSTREE_FILE_UNSUPPORTED'
  | 'OSTREE_LOCK_TIMEOUT'
  | 'OSTREE_OBJECT_CORRUPT'
  | 'OSTREE_OBJECT_MISSING'
  | 'OSTREE_OBJECT_TOO_LARGE'
  | 'OSTREE_REF_AMBIGUOUS'
  | 'OSTREE_REF_CONFLICT'
  | 'OSTREE_REF_INVALID'
  | 'OSTREE_REF_NOT_FOUND'
  | 'OSTREE_REPO_NOT_FOUND'
  | 'OSTREE_REPO_READ_ONLY'
  | 'OSTREE_REPO_UNSUPPORTED';

export const ostreeError: ErrorFactory<OstreeErrorCode> = defineErrors<OstreeErrorCode>({
  OSTREE_CONFIG_INVALID: { kind: 'input', meaning: "A repository's config file, or a value in it, cannot be understood." },
  OSTREE_CONTENT_SIZE: { kind: 'integrity', meaning: 'Content is longer or shorter than was announced.' },
  OSTREE_FILE_UNSUPPORTED: {
    kind: 'input',
    meaning: 'A file cannot be stored in a commit or in this kind of repository: its type, name or mode is outside the format.',
  },
  OSTREE_LOCK_TIMEOUT: { kind: 'busy', meaning: 'Another process kept the repository locked for longer than core.lock-timeout-secs.' },
  OSTREE_OBJECT_CORRUPT: { kind: 'integrity', meaning: 'An object does not have the checksum that names it, or is not of its format.' },
  OSTREE_OBJECT_MISSING: { kind: 'not-found', meaning: 'An object that a commit or tree refers to is not in the repository.' },
  OSTREE_OBJECT_TOO_LARGE: { kind: 'input', meaning: 'An object is larger than the limit for its kind or than the caller allows.' },
  OSTREE_REF_AMBIGUOUS: { kind: 'usage', meaning: 'An abbreviated checksum fits more than one commit.' },
  OSTREE_REF_CONFLICT: { kind: 'exists', meaning: 'A ref cannot be written because another one is its directory, or stands below it.' },
  OSTREE_REF_INVALID: { kind: 'usage', meaning: 'A text is not a ref, refspec or revision.' },
  OSTREE_REF_NOT_FOUND: { kind: 'not-found', meaning: 'No ref or commit fits a revision.' },
  OSTREE_REPO_NOT_FOUND: { kind: 'not-found', meaning: 'There is no OSTree repository at a path.' },
  OSTREE_REPO_READ_ONLY: { kind: 'denied', meaning: 'The repository cannot be written by this process.' },
  OSTREE_REPO_UNSUPPORTED: { kind: 'environment', meaning: 'The repository is of a version or mode that cannot be read or written here.' },
});
