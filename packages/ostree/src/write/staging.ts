/**
 * The directory in which a transaction gathers its objects: `tmp/staging-BOOTID-XXXXXX`, locked by a file beside it.
 *
 * A directory that nobody holds and that was made since the machine started is taken over with what is in it: the
 * objects of an interrupted transaction, but for its commits, need not be written again. After a restart nobody knows what reached the disk.
 * A directory that may hold objects which nobody has verified is marked, and never taken over: its owner may have trusted
 * where they came from, the next one need not.
 * Source: libostree `_ostree_repo_allocate_tmpdir` behaviour.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '@cambium/base';
import { ofdLock } from '@cambium/system';

const PREFIX = 'staging-';
const LOCK_SUFFIX = '-lock';
/** Not two characters long: libostree passes it over. */
const UNVERIFIED_MARK = 'unverified';

export interface Staging {
  readonly path: string;
  /** Whether nothing was taken over. */
  readonly isFresh: boolean;
  /** Says that objects come which nobody verifies: what is staged is good for this transaction only. */
  markUnverified(): void;
  /** Removes the directory and its lock. */
  remove(): void;
  /** Lets go of the directory and keeps it for a later transaction, unless it is marked: then it goes. */
  release(): void;
}

/** Returns the id of this run of the machine. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** Takes over a left directory of this boot, or makes one. */
export function openStaging(tmp: string, bootId: string): Staging {
  mkdirSync(tmp, { recursive: true, mode: 0o775 });
  const prefix = `${PREFIX}${bootId}-`;
  for (const name of readdirSync(tmp)) {
    if (!name.startsWith(prefix) || name.endsWith(LOCK_SUFFIX)) continue;
    const staging = tryHold(join(tmp, name));
    if (staging === undefined) continue;
    if (isMarked(staging.path)) {
      staging.remove();
      continue;
    }
    if (statSync(staging.path, { throwIfNoEntry: false })?.isDirectory() === true) {
      removeUnfinished(staging.path);
      return { ...staging, isFresh: false };
    }
    staging.release();
  }
  for (;;) {
    const path = join(tmp, prefix + randomBytes(4).toString('base64url').slice(0, 6).replaceAll(/[-_]/g, 'x'));
    if (existsSync(path)) continue;
    const staging = tryHold(path);
    if (staging === undefined) continue;
    try {
      mkdirSync(path, { mode: 0o775 });
      return staging;
    } catch (error) {
      staging.release();
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
}

/**
 * Removes what others left in `tmp`: staging directories of earlier boots that nobody holds, and unknown things that
 * are older than `expirySecs`.
 */
export function cleanTmp(tmp: string, bootId: string, expirySecs: number): void {
  for (const name of readdirSync(tmp)) {
    const path = join(tmp, name);
    if (name.startsWith(PREFIX)) {
      if (name.endsWith(LOCK_SUFFIX)) {
        // A lock without its directory is of no use; one that was just made is held.
        if (!existsSync(path.slice(0, -LOCK_SUFFIX.length))) tryHold(path.slice(0, -LOCK_SUFFIX.length), false)?.remove();
      } else if (!name.startsWith(`${PREFIX}${bootId}-`)) tryHold(path)?.remove();
    } else if (name !== 'cache') {
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat !== undefined && Date.now() - stat.mtimeMs > expirySecs * 1000) rmSync(path, { recursive: true, force: true });
    }
  }
}

/** Takes the lock of a staging directory if it is free. */
function tryHold(path: string, create = true): Staging | undefined {
  const lockPath = path + LOCK_SUFFIX;
  let fd: number;
  try {
    fd = openSync(lockPath, constants.O_RDWR | (create ? constants.O_CREAT : 0), 0o600);
  } catch (error) {
    // Someone else's, or gone.
    if (['EACCES', 'EPERM', 'ENOENT'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  // Between our open and our lock the former holder may have removed the file: then it guards nothing.
  if (!ofdLock(fd, 'exclusive', { wait: false }) || !isSameFile(fstatSync(fd), statSync(lockPath, { throwIfNoEntry: false }))) {
    closeSync(fd);
    return undefined;
  }
  let open = true;
  let marked = false;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  const remove = (): void => {
    try {
      removeContent(path);
      rmSync(lockPath, { force: true });
    } finally {
      close();
    }
  };
  return {
    path,
    isFresh: true,
    markUnverified: () => {
      if (!marked) writeFileSync(join(path, UNVERIFIED_MARK), '');
      marked = true;
    },
    remove,
    release: () => {
      // Once it is closed it may be somebody else's.
      if (marked && open) remove();
      else close();
    },
  };
}

function isMarked(path: string): boolean {
  return existsSync(join(path, UNVERIFIED_MARK));
}

/** Removes a directory, its mark last: a kill on the way must not leave the objects without it. */
function removeContent(path: string): void {
  if (isMarked(path)) for (const name of readdirSync(path)) if (name !== UNVERIFIED_MARK) rmSync(join(path, name), { recursive: true, force: true });
  rmSync(path, { recursive: true, force: true });
}

function isSameFile(a: Stats, b: Stats | undefined): boolean {
  return b !== undefined && a.ino === b.ino && a.dev === b.dev;
}

/**
 * Removes what must not be taken over. Half-written files lie beside the two-character directories. Commits and their
 * detached metadata go too: nobody vouches for them any more. What they reach may have been pruned since, a signature
 * may have been replaced, and their transaction may have ended because they were refused.
 */
function removeUnfinished(path: string): void {
  for (const name of readdirSync(path)) {
    const inner = join(path, name);
    if (!/^[0-9a-f]{2}$/.test(name)) rmSync(inner, { recursive: true, force: true });
    else
      for (const object of readdirSync(inner)) if (!/\.(?:filez?|dirtree|dirmeta)$/.test(object)) rmSync(join(inner, object), { recursive: true, force: true });
  }
}
