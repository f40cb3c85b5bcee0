/** Static deltas on disk: in a repository, in any directory, or a file alone with its parts inside. */
import { existsSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { type DeltaEnds, deltaName, deltaPath } from '../format/delta-path.ts';
import { readBounded } from '../repo/bounded-file.ts';
import type { Repo } from '../repo/repo.ts';
import type { EngineTrust } from '../sign/trust-policy.ts';
import { checkRawSignatures, type SignatureReport } from '../sign/verify.ts';
import { corruptDelta } from './problems.ts';
import { type DeltaSuperblock, parseSuperblock } from './superblock.ts';

/** A superblock, with inline parts, and a part: what a program may be made to hold in memory. */
const MAX_FILE_BYTES = 1024 * 1024 * 1024;

export interface OpenedDelta {
  superblock: DeltaSuperblock;
  /** Of the file, envelope and all. */
  superblockBytes: Uint8Array;
  /** Reads a part file from beside the superblock. @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT */
  readPart(index: number): Uint8Array;
}

/**
 * Opens a static delta.
 * @param path a superblock, or a directory with one of the name `superblock`
 * @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT
 */
export function openDelta(path: string): OpenedDelta {
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isDirectory ? join(path, 'superblock') : path;
  const superblockBytes = readDeltaFile(file);
  return { superblock: parseSuperblock(superblockBytes), superblockBytes, readPart: (index) => readDeltaFile(join(dirname(file), String(index))) };
}

/** @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT */
export function readDeltaFile(path: string): Uint8Array {
  try {
    return readBounded(path, MAX_FILE_BYTES, (why) =>
      corruptDelta(why === 'irregular' ? `"${path}" is no regular file` : `"${path}" is over ${MAX_FILE_BYTES} bytes`),
    );
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno !== 'ENOENT' && errno !== 'ENOTDIR') throw cause;
    throw ostreeError('OSTREE_DELTA_NOT_FOUND', `Cannot read static delta "${path}": no such file or directory`, { cause });
  }
}

/** Returns whether the repository has a delta. */
export function hasDelta(repo: Repo, ends: DeltaEnds): boolean {
  return existsSync(join(repo.path, deltaPath(ends), 'superblock'));
}

/** Opens a delta of a repository by its ends. @throws OSTREE_DELTA_NOT_FOUND OSTREE_DELTA_CORRUPT */
export function openRepoDelta(repo: Repo, ends: DeltaEnds): OpenedDelta {
  return openDelta(join(repo.path, deltaPath(ends), 'superblock'));
}

/** Removes a delta; its index stays until {@link reindexDeltas}. @throws OSTREE_DELTA_NOT_FOUND OSTREE_REPO_READ_ONLY */
export function deleteDelta(repo: Repo, ends: DeltaEnds): void {
  if (!repo.writable) throw ostreeError('OSTREE_REPO_READ_ONLY', `Cannot delete from repository "${repo.path}": permission denied or read-only file system`);
  const directory = join(repo.path, deltaPath(ends));
  // Also without its superblock: as an interrupted deletion leaves it.
  if (!existsSync(directory)) throw ostreeError('OSTREE_DELTA_NOT_FOUND', `Can't find delta ${deltaName(ends)}`);
  // First, so that nobody finds a delta without parts.
  rmSync(join(directory, 'superblock'), { force: true });
  rmSync(directory, { recursive: true, force: true });
}

/** Returns a verdict for each bare-key signature over a superblock; none for one that is not signed. */
export function verifyDelta(superblock: DeltaSuperblock, trust: EngineTrust): SignatureReport[] {
  return checkRawSignatures(trust, superblock.signedBytes, superblock.signatures);
}
