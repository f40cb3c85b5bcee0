/** The codes of this package; documented in `docs/errors.md`. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type TreeErrorCode =
  | 'TREE_PATH_NOT_UTF8'
  | 'TREE_PATH_PARENT'
  | 'TREE_PATH_NUL'
  | 'TREE_PATH_TOO_LONG'
  | 'TREE_PATH_TOO_DEEP'
  | 'TREE_WHITEOUT_INVALID'
  | 'TREE_TOO_DEEP'
  | 'TREE_DIRECTORY_NOT_FOUND'
  | 'TREE_FILE_CHANGED';

export const treeError: ErrorFactory<TreeErrorCode> = defineErrors<TreeErrorCode>({
  TREE_PATH_NOT_UTF8: { kind: 'input', meaning: 'A file name is not UTF-8, which no store of Cambium can hold.' },
  TREE_PATH_PARENT: { kind: 'input', meaning: 'A path holds "..", and so might lead outside its tree.' },
  TREE_PATH_NUL: { kind: 'input', meaning: 'A path holds a NUL byte.' },
  TREE_PATH_TOO_LONG: { kind: 'input', meaning: 'A file name is over 255 bytes, more than any file system allows.' },
  TREE_PATH_TOO_DEEP: { kind: 'input', meaning: 'A path has more directories than the limit.' },
  TREE_WHITEOUT_INVALID: { kind: 'input', meaning: 'A whiteout of an image layer names no sibling, as ".wh..." does.' },
  TREE_TOO_DEEP: { kind: 'input', meaning: 'A tree nests its directories deeper than any path can name.' },
  TREE_DIRECTORY_NOT_FOUND: { kind: 'not-found', meaning: 'A directory to be read does not exist, or is something else.' },
  TREE_FILE_CHANGED: { kind: 'integrity', meaning: 'A file changed or went away while its tree was read.' },
});
