/**
 * The directory in which a transaction gathers its objects: `tmp/staging-BOOTID-XXXXXX`, locked by a file beside it.
 *
 * A directory that nobody holds and that was made since the machine started is taken over with what is in it: the
 * objects of an interrupted transaction, but for its commits, need not be written again. After a restart nobody knows what reached the disk.
 * Objects that nobody verifies lie below it in a directory that is never taken over: their owner may have trusted where
 * they came from, the next one need not. Its name is not two characters long, so that libostree, when it is the next one,
 * passes it over and removes it with the rest. What libostree leaves itself may be unverified: see `takeover.ts`.
 * Source: libostree `_ostree_repo_allocate_tmpdir` behaviour.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, existsSync, fstatSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '@cambium/base';
import { ofdLock } from '@cambium/system';

const PREFIX = 'staging-';
const LOCK_SUFFIX = '-lock';
const UNVERIFIED = 'unverified';

export interface Staging {
  readonly path: string;
  /** Where objects are staged that nobody verifies: good for this transaction only. Made by who puts something there. */
  readonly unverified: string;
  /** Whether nothing was taken over. */
  readonly isFresh: boolean;
  /** Removes the directory and its lock. */
  remove(): void;
  /** Lets go of the directory and keeps it for a later transaction, but for what nobody has verified. */
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
  const unverified = join(path, UNVERIFIED);
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  const remove = (): void => {
    try {
      rmSync(path, { recursive: true, force: true });
      rmSync(lockPath, { force: true });
    } finally {
      close();
    }
  };
  return {
    path,
    unverified,
    isFresh: true,
    remove,
    release: () => {
      try {
        // Once it is closed it may be somebody else's.
        if (open) rmSync(unverified, { recursive: true, force: true });
      } finally {
        close();
      }
    },
  };
}

function isSameFile(a: Stats, b: Stats | undefined): boolean {
  return b !== undefined && a.ino === b.ino && a.dev === b.dev;
}

/**
 * Removes what must not be taken over. Half-written files, and objects that nobody has verified, lie beside the two-character directories. Commits and their
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
