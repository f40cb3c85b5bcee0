/** The codes of this package; documented in `docs/errors.md`. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type ArchiveErrorCode =
  | 'ARCHIVE_TAR_CHECKSUM'
  | 'ARCHIVE_TAR_TRUNCATED'
  | 'ARCHIVE_TAR_HEADER_INVALID'
  | 'ARCHIVE_TAR_NUMBER_INVALID'
  | 'ARCHIVE_TAR_PAX_INVALID'
  | 'ARCHIVE_TAR_XATTR_INVALID'
  | 'ARCHIVE_TAR_SPARSE_INVALID'
  | 'ARCHIVE_TAR_NAME_TOO_LONG'
  | 'ARCHIVE_TAR_TOO_LARGE'
  | 'ARCHIVE_TAR_UNSUPPORTED'
  | 'ARCHIVE_TAR_ENTRY_INVALID'
  | 'ARCHIVE_TAR_BODY_SIZE'
  | 'ARCHIVE_TAR_MEMBER_MISSING'
  | 'ARCHIVE_TAR_COMPRESSED'
  | 'ARCHIVE_CPIO_INVALID'
  | 'ARCHIVE_CPIO_TRUNCATED'
  | 'ARCHIVE_CPIO_TOO_LARGE'
  | 'ARCHIVE_DECOMPRESS_CORRUPT'
  | 'ARCHIVE_DECOMPRESS_TRUNCATED'
  | 'ARCHIVE_DECOMPRESS_TOO_LARGE'
  | 'ARCHIVE_COMPRESSION_UNSUPPORTED';

export const archiveError: ErrorFactory<ArchiveErrorCode> = defineErrors<ArchiveErrorCode>({
  ARCHIVE_TAR_CHECKSUM: { kind: 'integrity', meaning: 'The checksum of a tar header is wrong, or the data is not a tar archive.' },
  ARCHIVE_TAR_TRUNCATED: { kind: 'integrity', meaning: 'A tar archive ends inside a header or inside the content of an entry.' },
  ARCHIVE_TAR_HEADER_INVALID: { kind: 'input', meaning: 'A tar header is not where it should be, or a field of it is not of its format.' },
  ARCHIVE_TAR_NUMBER_INVALID: { kind: 'input', meaning: 'A number in a tar header is negative, too large, or not a number.' },
  ARCHIVE_TAR_PAX_INVALID: { kind: 'input', meaning: 'An extended tar header is not a sequence of "length key=value" records.' },
  ARCHIVE_TAR_XATTR_INVALID: { kind: 'input', meaning: 'An extended attribute in a tar archive has an impossible name, value or number of siblings.' },
  ARCHIVE_TAR_SPARSE_INVALID: { kind: 'input', meaning: 'The map of a sparse tar entry overlaps, exceeds the file, or does not fit its stored data.' },
  ARCHIVE_TAR_NAME_TOO_LONG: { kind: 'input', meaning: 'The name or link target of a tar entry is longer than any file system allows.' },
  ARCHIVE_TAR_TOO_LARGE: { kind: 'input', meaning: 'A tar archive has more entries, bytes or header data than the limits allow.' },
  ARCHIVE_TAR_UNSUPPORTED: { kind: 'input', meaning: 'A tar entry is of a kind that cannot be read alone, such as the rest of a multi-volume file.' },
  ARCHIVE_TAR_ENTRY_INVALID: { kind: 'usage', meaning: 'An entry cannot be written to a tar archive, because a field of it has no representation.' },
  ARCHIVE_TAR_BODY_SIZE: { kind: 'integrity', meaning: 'The content given for a tar entry is not as long as its header says.' },
  ARCHIVE_TAR_MEMBER_MISSING: { kind: 'not-found', meaning: 'A tar archive has no file with the name asked for.' },
  ARCHIVE_TAR_COMPRESSED: { kind: 'usage', meaning: 'A compressed tar archive cannot be read at random offsets without unpacking it first.' },
  ARCHIVE_CPIO_INVALID: { kind: 'input', meaning: 'A cpio header is not where it should be, or a field of it is not of its format.' },
  ARCHIVE_CPIO_TRUNCATED: { kind: 'integrity', meaning: 'A cpio archive ends before its end mark.' },
  ARCHIVE_CPIO_TOO_LARGE: { kind: 'input', meaning: 'A cpio archive has more entries or bytes than the limits allow.' },
  ARCHIVE_DECOMPRESS_CORRUPT: { kind: 'integrity', meaning: 'Compressed data is damaged.' },
  ARCHIVE_DECOMPRESS_TRUNCATED: { kind: 'integrity', meaning: 'Compressed data ends before its last frame is complete.' },
  ARCHIVE_DECOMPRESS_TOO_LARGE: { kind: 'input', meaning: 'Compressed data expands to more than the limits allow.' },
  ARCHIVE_COMPRESSION_UNSUPPORTED: { kind: 'input', meaning: 'Data is compressed in a way that cannot be read yet.' },
});
