/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type OstreeErrorCode =
  | 'OSTREE_BINDING_MISMATCH'
  | 'OSTREE_CHECKOUT_EXISTS'
  | 'OSTREE_CHECKOUT_HARDLINK'
  | 'OSTREE_COMMIT_INVALID'
  | 'OSTREE_COMMIT_IN_USE'
  | 'OSTREE_COMPOSEFS_MISMATCH'
  | 'OSTREE_CONFIG_INVALID'
  | 'OSTREE_CONTENT_SIZE'
  | 'OSTREE_DELTA_CORRUPT'
  | 'OSTREE_DELTA_INCOMPLETE'
  | 'OSTREE_DELTA_NOT_FOUND'
  | 'OSTREE_FILE_UNSUPPORTED'
  | 'OSTREE_KEYS_MISSING'
  | 'OSTREE_LOCK_TIMEOUT'
  | 'OSTREE_METALINK_INVALID'
  | 'OSTREE_OBJECT_CORRUPT'
  | 'OSTREE_OBJECT_MISSING'
  | 'OSTREE_OBJECT_TOO_LARGE'
  | 'OSTREE_OPTION_INVALID'
  | 'OSTREE_PATH_NOT_DIRECTORY'
  | 'OSTREE_PATH_NOT_FOUND'
  | 'OSTREE_PATH_UNMATCHED'
  | 'OSTREE_PUSH_CLOCK'
  | 'OSTREE_PUSH_DENIED'
  | 'OSTREE_PUSH_FAILED'
  | 'OSTREE_PUSH_NO_BUCKET'
  | 'OSTREE_REF_AMBIGUOUS'
  | 'OSTREE_REF_CONFLICT'
  | 'OSTREE_REF_INVALID'
  | 'OSTREE_REF_NOT_FOUND'
  | 'OSTREE_REMOTE_ERROR'
  | 'OSTREE_REMOTE_FILE_MISSING'
  | 'OSTREE_REMOTE_UNKNOWN'
  | 'OSTREE_REMOTE_UNUSABLE'
  | 'OSTREE_REPO_NOT_FOUND'
  | 'OSTREE_REPO_READ_ONLY'
  | 'OSTREE_REPO_UNSUPPORTED'
  | 'OSTREE_SIGNATURE_EXISTS'
  | 'OSTREE_SIGNATURE_EXPIRED'
  | 'OSTREE_SIGNATURE_INVALID'
  | 'OSTREE_SIGNATURE_MISSING'
  | 'OSTREE_SIGNATURE_REVOKED'
  | 'OSTREE_SIGNATURE_UNTRUSTED'
  | 'OSTREE_SPACE_RESERVED'
  | 'OSTREE_SUMMARY_INVALID'
  | 'OSTREE_TIMESTAMP_OLDER'
  | 'OSTREE_TRANSACTION_OPEN'
  | 'OSTREE_TREE_CONFLICT'
  | 'OSTREE_TREE_INCOMPLETE';

export const ostreeError: ErrorFactory<OstreeErrorCode> = defineErrors<OstreeErrorCode>({
  OSTREE_BINDING_MISMATCH: { kind: 'integrity', meaning: 'A commit is not bound to the ref or collection under which it was found.' },
  OSTREE_CHECKOUT_EXISTS: { kind: 'exists', meaning: 'Something is in the way of a checkout, and its rules do not allow to replace or merge it.' },
  OSTREE_CHECKOUT_HARDLINK: {
    kind: 'usage',
    meaning: "Hard links were required where the repository's and the checkout's modes, or other options, exclude them.",
  },
  OSTREE_COMMIT_INVALID: { kind: 'input', meaning: 'A commit holds a value that cannot be shown or used, such as a time outside the calendar.' },
  OSTREE_COMMIT_IN_USE: { kind: 'busy', meaning: 'A commit cannot be deleted because a ref points at it.' },
  OSTREE_COMPOSEFS_MISMATCH: { kind: 'integrity', meaning: 'The composefs image of a commit does not have the digest that the commit names.' },
  OSTREE_CONFIG_INVALID: { kind: 'input', meaning: "A repository's config file, or a value in it, cannot be understood." },
  OSTREE_CONTENT_SIZE: { kind: 'integrity', meaning: 'Content is longer or shorter than was announced.' },
  OSTREE_DELTA_CORRUPT: { kind: 'integrity', meaning: 'A static delta, or a part of it, is not of its format, or does not make the objects it announces.' },
  OSTREE_DELTA_INCOMPLETE: { kind: 'usage', meaning: 'A static delta leaves objects to be fetched singly, and cannot be applied without a remote.' },
  OSTREE_DELTA_NOT_FOUND: { kind: 'not-found', meaning: 'There is no static delta between two commits, or one of its files is missing.' },
  OSTREE_FILE_UNSUPPORTED: {
    kind: 'input',
    meaning: 'A file cannot be stored in a commit or in this kind of repository: its type, name or mode is outside the format.',
  },
  OSTREE_KEYS_MISSING: { kind: 'not-found', meaning: 'Signatures must be verified, and there are no keys to do it with, or a file of keys cannot be read.' },
  OSTREE_LOCK_TIMEOUT: { kind: 'busy', meaning: 'Another process kept the repository locked for longer than core.lock-timeout-secs.' },
  OSTREE_METALINK_INVALID: { kind: 'input', meaning: 'A metalink is not of its format, or does not say how a summary is known and where it is.' },
  OSTREE_OBJECT_CORRUPT: { kind: 'integrity', meaning: 'An object does not have the checksum that names it, or is not of its format.' },
  OSTREE_OBJECT_MISSING: { kind: 'not-found', meaning: 'An object that a commit or tree refers to is not in the repository.' },
  OSTREE_OBJECT_TOO_LARGE: { kind: 'input', meaning: 'An object is larger than the limit for its kind or than the caller allows.' },
  OSTREE_OPTION_INVALID: { kind: 'usage', meaning: 'An option, or a file of options, cannot be understood or does not fit another one.' },
  OSTREE_PATH_NOT_DIRECTORY: { kind: 'input', meaning: 'A path inside a commit goes through something that is not a directory.' },
  OSTREE_PATH_NOT_FOUND: { kind: 'not-found', meaning: 'Nothing stands at a path inside a commit, or at a path named for the operation.' },
  OSTREE_PATH_UNMATCHED: { kind: 'usage', meaning: 'A path in a statoverride or skip list fits no file of the tree.' },
  OSTREE_PUSH_CLOCK: { kind: 'environment', meaning: 'A store refuses signed requests because the clock here is too far from its own.' },
  OSTREE_PUSH_DENIED: { kind: 'denied', meaning: 'A store does not let these credentials do what a push needs.' },
  OSTREE_PUSH_FAILED: { kind: 'network', meaning: 'The place that a push writes to cannot be read or written.' },
  OSTREE_PUSH_NO_BUCKET: { kind: 'not-found', meaning: 'The bucket that a push writes to does not exist.' },
  OSTREE_REF_AMBIGUOUS: { kind: 'usage', meaning: 'An abbreviated checksum fits more than one commit.' },
  OSTREE_REF_CONFLICT: { kind: 'exists', meaning: 'A ref cannot be written because another one is its directory, or stands below it.' },
  OSTREE_REF_INVALID: { kind: 'usage', meaning: 'A text is not a ref, refspec or revision.' },
  OSTREE_REF_NOT_FOUND: { kind: 'not-found', meaning: 'No ref or commit fits a revision.' },
  OSTREE_REMOTE_ERROR: { kind: 'network', meaning: 'A remote answers a request with a failure, or with something that is not what was asked for.' },
  OSTREE_REMOTE_FILE_MISSING: { kind: 'not-found', meaning: 'A remote does not have a file that is needed.' },
  OSTREE_REMOTE_UNKNOWN: { kind: 'not-found', meaning: 'No remote of that name is in the config of the repository.' },
  OSTREE_REMOTE_UNUSABLE: { kind: 'environment', meaning: 'A remote cannot be pulled from: its config says so, or it is of a kind that cannot be fetched.' },
  OSTREE_REPO_NOT_FOUND: { kind: 'not-found', meaning: 'There is no OSTree repository at a path.' },
  OSTREE_REPO_READ_ONLY: { kind: 'denied', meaning: 'The repository cannot be written by this process.' },
  OSTREE_REPO_UNSUPPORTED: { kind: 'environment', meaning: 'The repository is of a version or mode that cannot be read or written here.' },
  OSTREE_SIGNATURE_EXISTS: { kind: 'exists', meaning: 'A commit is already signed with this key.' },
  OSTREE_SIGNATURE_EXPIRED: { kind: 'integrity', meaning: 'The only signatures by trusted keys have expired, or their keys have.' },
  OSTREE_SIGNATURE_INVALID: { kind: 'integrity', meaning: 'None of the signatures of a commit is valid and by a trusted key.' },
  OSTREE_SIGNATURE_MISSING: { kind: 'integrity', meaning: 'A commit has no signature where one is required.' },
  OSTREE_SIGNATURE_REVOKED: { kind: 'integrity', meaning: 'A commit or summary is signed with a key that is revoked, and by no other trusted one.' },
  OSTREE_SIGNATURE_UNTRUSTED: { kind: 'integrity', meaning: 'A commit or summary is signed, but by none of the trusted keys.' },
  OSTREE_SPACE_RESERVED: { kind: 'space', meaning: 'Writing content would use space that core.min-free-space-percent or core.min-free-space-size keeps free.' },
  OSTREE_SUMMARY_INVALID: { kind: 'input', meaning: 'A summary file is damaged, not of its format, or over the size limit.' },
  OSTREE_TIMESTAMP_OLDER: { kind: 'integrity', meaning: 'A fetched commit is older than the one that it must not be older than.' },
  OSTREE_TRANSACTION_OPEN: { kind: 'busy', meaning: 'The repository object has an open transaction already.' },
  OSTREE_TREE_CONFLICT: { kind: 'usage', meaning: 'A file and a directory of a tree want the same name.' },
  OSTREE_TREE_INCOMPLETE: { kind: 'usage', meaning: 'A tree cannot be committed because a directory, or all of it, has no metadata.' },
});
