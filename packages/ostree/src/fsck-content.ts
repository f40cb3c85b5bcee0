/** Verifying content objects in batches. */
import { type Checksum, errnoOf, isKnownError } from '@cambium/base';
import type { Repo } from './repo.ts';

export interface BadContent {
  checksum: Checksum;
  missing: boolean;
  message: string;
  /** The checksum that it has, where it could be read. */
  actual?: string | undefined;
}

/** Contents up to this size are read in one piece. */
const WHOLE_BYTES = 1024 * 1024;

/** Returns those of the content objects (32 bytes each) that are missing or do not match their checksums. */
export async function verifyContents(repo: Repo, checksums: Uint8Array): Promise<BadContent[]> {
  const names = Buffer.from(checksums.buffer, checksums.byteOffset, checksums.byteLength);
  const bad: BadContent[] = [];
  for (let at = 0; at < names.byteLength; at += 32) {
    const checksum = names.toString('hex', at, at + 32) as Checksum;
    try {
      await verifyContent(repo, checksum);
    } catch (error) {
      bad.push(badContent(checksum, error));
    }
  }
  return bad;
}

async function verifyContent(repo: Repo, checksum: Checksum): Promise<void> {
  try {
    repo.loadFile(checksum, WHOLE_BYTES);
  } catch (error) {
    if (!isKnownError(error, 'OSTREE_OBJECT_TOO_LARGE')) throw error;
    for await (const _chunk of repo.openFile(checksum)) {
      // Reading is verifying.
    }
  }
}

/** A file that the disk or the permissions do not let us read is as bad as a corrupt one; other failures are ours. */
function badContent(checksum: Checksum, error: unknown): BadContent {
  const known = isKnownError(error) && /^(?:OSTREE_OBJECT|BYTES)_/.test(error.code);
  const unreadable = ['EIO', 'EACCES', 'EPERM', 'EISDIR', 'EINVAL'].includes(errnoOf(error) ?? '');
  if (!known && !unreadable) throw error;
  return { checksum, missing: isKnownError(error, 'OSTREE_OBJECT_MISSING'), message: (error as Error).message, actual: actualChecksum(error) };
}

/** Returns the checksum that a corrupt object has, if the error tells. */
export function actualChecksum(error: unknown): string | undefined {
  return isKnownError(error, 'OSTREE_OBJECT_CORRUPT') && typeof error.data.actual === 'string' ? error.data.actual : undefined;
}
