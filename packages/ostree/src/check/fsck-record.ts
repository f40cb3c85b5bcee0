/**
 * What an interrupted check had verified: `state/cambium-fsck`, a name that libostree does not look at.
 * A line with the version, then 40 bytes for each content found sound: checksum, and what its file was then
 * ({@link fileIdentity}: device, inode, size, times, mode). Records are added in one write for each batch.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, errnoOf } from '@cambium/base';
import { ObjectSet } from '../format/object-set.ts';
import type { Repo } from '../repo/repo.ts';
import { fileIdentity } from './fsck-content.ts';

const HEADER: Buffer = Buffer.from('cambium-fsck 1\n');
const RECORD_BYTES = 40;
const READ_RECORDS = 4096;

export interface FsckRecord {
  /** Contents whose files are as they were when they were found sound. */
  readonly verified: ObjectSet;
  /** @param identities as of {@link ContentVerdict} */
  add(identities: Uint8Array): void;
  /** Says that all is checked: the next check begins anew. */
  finish(): void;
  close(): void;
}

/** Opens the record of a repository, or begins one; undefined where nothing can be written. */
export function openFsckRecord(repo: Repo): FsckRecord | undefined {
  if (!repo.writable) return undefined;
  const path = join(repo.path, 'state', 'cambium-fsck');
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o644);
  } catch (error) {
    // Of another user, or no place for it: the check itself does not need it.
    if (['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ELOOP', 'ENXIO', 'EISDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  const verified = new ObjectSet();
  try {
    readRecord(repo, fd, verified);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return {
    verified,
    add: (identities) => {
      if (identities.byteLength > 0) writeSync(fd, identities);
    },
    finish: () => rmSync(path, { force: true }),
    close: () => closeSync(fd),
  };
}

function readRecord(repo: Repo, fd: number, verified: ObjectSet): void {
  const { size } = fstatSync(fd);
  const buffer = Buffer.alloc(READ_RECORDS * RECORD_BYTES);
  const read = readSync(fd, buffer, 0, HEADER.byteLength, 0);
  if (!buffer.subarray(0, read).equals(HEADER)) {
    // Empty, cut short, or of a version that is not ours to understand: begun anew.
    ftruncateSync(fd, 0);
    writeSync(fd, HEADER);
    return;
  }
  // A kill or a full disk can leave a part of a record at the end.
  const end = size - ((size - HEADER.byteLength) % RECORD_BYTES);
  if (end < size) ftruncateSync(fd, end);
  for (let at = HEADER.byteLength; at < end; ) {
    const got = readSync(fd, buffer, 0, Math.min(buffer.byteLength, end - at), at);
    const whole = got - (got % RECORD_BYTES);
    if (whole === 0) return;
    for (let i = 0; i < whole; i += RECORD_BYTES) {
      const checksum = buffer.toString('hex', i, i + 32) as Checksum;
      const now = fileIdentity(repo, checksum);
      if (now !== undefined && buffer.subarray(i + 32, i + RECORD_BYTES).equals(now)) verified.add('file', checksum);
    }
    at += whole;
  }
}
