/** Verifying content objects in batches. */
import { createHash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { type Checksum, errnoOf, isKnownError } from '@cambium/base';
import type { Repo } from '../repo/repo.ts';
import { verifyContent } from '../repo/verify-content.ts';

export interface BadContent {
  checksum: Checksum;
  missing: boolean;
  message: string;
  /** The checksum that it has, where it could be read. */
  actual?: string | undefined;
}

export interface ContentVerdict {
  bad: BadContent[];
  /** Of the sound ones, 40 bytes each: checksum and {@link fileIdentity}; only when asked for. */
  identities: Uint8Array | undefined;
}

/** A file that changed later than this before it was read could change again without its time showing it: the kernel counts in ticks of up to 10 ms. */
const SETTLED_MS = 25;

/**
 * Returns those of the content objects (32 bytes each) that are missing or do not match their checksums.
 * @param identify also tell which files were found sound
 */
export async function verifyContents(repo: Repo, checksums: Uint8Array, identify = false): Promise<ContentVerdict> {
  const names = Buffer.from(checksums.buffer, checksums.byteOffset, checksums.byteLength);
  const bad: BadContent[] = [];
  const identities: Uint8Array[] = [];
  for (let at = 0; at < names.byteLength; at += 32) {
    const checksum = names.toString('hex', at, at + 32) as Checksum;
    try {
      // Before reading: what changes meanwhile is then another file.
      const identity = identify ? fileIdentity(repo, checksum) : undefined;
      await verifyContent(repo, checksum);
      if (identity !== undefined) identities.push(names.subarray(at, at + 32), identity);
    } catch (error) {
      bad.push(badContent(checksum, error));
    }
  }
  return { bad, identities: identify ? Buffer.concat(identities) : undefined };
}

/** Returns 8 bytes that change when the object's file is written, replaced, or given other metadata; undefined when it is missing or too new to tell. */
export function fileIdentity(repo: Repo, checksum: Checksum): Uint8Array | undefined {
  const path = repo.findObject('file', checksum);
  const stat = path === undefined ? undefined : lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined || Date.now() - Number(stat.ctimeMs) < SETTLED_MS) return undefined;
  const { dev, ino, size, mtimeNs, ctimeNs, mode } = stat;
  return createHash('sha256').update(`${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs} ${mode}`).digest().subarray(0, 8);
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
