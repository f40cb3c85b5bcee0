/**
 * Checking a commit out into a directory. Semantics: `ostree checkout`, libostree 2022.7.
 *
 * One thing is stricter than libostree: below the destination symlinks are never followed. A union over a tree in which
 * `lib` is a link stops with OSTREE_CHECKOUT_EXISTS instead of writing to wherever the link leads. Paths are safe only
 * while nobody else can write to the destination.
 */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Checksum, systemError } from '@cambium/base';
import type { FileContexts } from '@cambium/selinux';
import { syncFs } from '@cambium/system';
import { ostreeError } from '../errors.ts';
import type { TreeRoot } from '../format/types.ts';
import { findPath, splitPath, type TreeNode } from '../repo/lookup.ts';
import type { Repo } from '../repo/repo.ts';
import { addCounts, placeTree, type TreeCounts } from './checkout-crew.ts';
import { canHardlink, FilePlacer, type FilePolicy, noCounts } from './checkout-files.ts';
import { existsError, makeDirectory, type TreePolicy } from './checkout-tree.ts';

export interface CheckoutOptions {
  /** Directory to make; its parent exists. */
  destination: string;
  /** Keep the current owner and set no xattrs; without it owners are restored, which needs privilege. Repositories of mode bare-user-only force it. */
  userMode?: boolean;
  /**
   * What to do about what is there: `none` fails, also when the destination exists; `union` replaces files and merges directories;
   * `union-add` keeps files; `union-identical` accepts only equal ones, and needs `requireHardlinks`.
   */
  overwrite?: FilePolicy['overwrite'];
  /** Fail where a file would have to be copied (empty ones always are). */
  requireHardlinks?: boolean;
  forceCopy?: boolean;
  /**
   * Label everything from a policy, where owners and attributes are restored at all; implies `forceCopy`. `prefix` is the path of the
   * destination for the policy; without it that of `subpath`. libostree labels regular files only on machines without SELinux.
   */
  selinux?: { contexts: FileContexts; prefix?: string | undefined };
  /** Cut the mode of directories to 0775. */
  bareUserOnlyDirs?: boolean;
  /** `.wh.NAME` removes NAME, `.wh..wh..opq` empties its directory; in a union files and directories replace each other. */
  whiteouts?: boolean;
  /** `.ostree-wh.NAME` becomes the device 0:0 called NAME. Needs privilege. */
  passthroughWhiteouts?: boolean;
  /** A directory, or one file or symlink, of the commit instead of its root. */
  subpath?: string;
  /** Do nothing when `subpath` does not exist. */
  allowNoent?: boolean;
  /** Paths from the destination, as `/a/file` and `/a/directory/`, left out with what is below. */
  skipList?: ReadonlySet<string>;
  /** Do not use, or fill, the cache of uncompressed objects of an archive repository. */
  disableCache?: boolean;
  /** Flush everything to disk before returning. */
  fsync?: boolean;
  /** Threads that place files, this one included: by default as many as there are processors; small trees take this one only. */
  threads?: number;
}

export type CheckoutResult = TreeCounts;

/**
 * Checks out a commit.
 *
 * @throws OSTREE_CHECKOUT_EXISTS OSTREE_CHECKOUT_HARDLINK OSTREE_PATH_NOT_FOUND OSTREE_PATH_NOT_DIRECTORY OSTREE_OBJECT_MISSING
 *   OSTREE_OBJECT_CORRUPT SYSTEM_DENIED SYSTEM_NO_SPACE SELINUX_PATTERN_* SELINUX_POLICY_TOO_LARGE
 */
export async function checkout(repo: Repo, commit: Checksum, options: CheckoutOptions, signal?: AbortSignal): Promise<CheckoutResult> {
  const result: CheckoutResult = { ...noCounts(), directories: 0 };
  const policy = policyOf(repo, options);
  const node = nodeOf(repo, repo.readCommit(commit).root, options);
  if (node === undefined) return result;
  const { destination } = policy;
  try {
    if (node.kind === 'file') await checkoutFile(repo, policy, node.checksum, options, result);
    else if (options.skipList?.has('/') !== true) await placeTree(repo, policy, node, result, options.threads, signal);
    if (options.fsync === true) syncDestination(destination);
  } catch (error) {
    throw systemError(error, `Cannot check out to "${destination}"`) ?? error;
  }
  return result;
}

function policyOf(repo: Repo, options: CheckoutOptions): TreePolicy {
  const userMode = options.userMode === true || repo.mode === 'bare-user-only';
  const { overwrite = 'none', requireHardlinks = false, selinux } = options;
  const forceCopy = options.forceCopy === true || selinux !== undefined;
  if (overwrite === 'union-identical' && !requireHardlinks) {
    throw ostreeError('OSTREE_CHECKOUT_HARDLINK', '--union-identical requires --require-hardlinks');
  }
  if (requireHardlinks && (forceCopy || !canHardlink(repo, userMode))) {
    if (forceCopy) throw ostreeError('OSTREE_CHECKOUT_HARDLINK', 'Cannot require hard links and force copies at once');
    throw ostreeError(
      'OSTREE_CHECKOUT_HARDLINK',
      repo.mode === 'bare-user' ? 'User repository mode requires user checkout mode to hardlink' : 'Bare repository mode cannot hardlink in user checkout mode',
    );
  }
  // libostree's own choice: the cache serves plain checkouts only.
  const plain = !forceCopy && (overwrite === 'none' || overwrite === 'union') && options.bareUserOnlyDirs !== true && options.skipList === undefined;
  const noWhiteouts = options.whiteouts !== true && options.passthroughWhiteouts !== true;
  const useCache = userMode && plain && noWhiteouts && options.disableCache !== true && repo.settings.enableUncompressedCache;
  return {
    destination: resolve(options.destination),
    cutDirectories: options.bareUserOnlyDirs === true || repo.mode === 'bare-user-only',
    skipList: options.skipList,
    userMode,
    overwrite,
    requireHardlinks,
    forceCopy,
    whiteouts: options.whiteouts === true,
    passthroughWhiteouts: options.passthroughWhiteouts === true,
    selinux: selinux && { contexts: selinux.contexts, prefix: (selinux.prefix ?? options.subpath ?? '').replace(/\/*$/, '/') },
    useCache,
    umask: process.umask(),
  };
}

function nodeOf(repo: Repo, root: TreeRoot, options: CheckoutOptions): TreeNode | undefined {
  const { subpath = '/' } = options;
  const node = findPath(repo, root, subpath);
  if (node === undefined && options.allowNoent !== true) throw ostreeError('OSTREE_PATH_NOT_FOUND', `No such file or directory: ${subpath}`);
  return node;
}

async function checkoutFile(repo: Repo, policy: TreePolicy, checksum: Checksum, options: CheckoutOptions, result: CheckoutResult): Promise<void> {
  const { destination } = policy;
  const present = statSync(destination, { throwIfNoEntry: false });
  if (present === undefined) makeDirectory(destination);
  else if (!present.isDirectory()) throw existsError(destination);
  const placer = new FilePlacer(repo, policy);
  const name = splitPath(options.subpath ?? '').at(-1) as string;
  await placer.placeFile(checksum, destination, name, '');
  addCounts(result, placer.counts);
}

function syncDestination(destination: string): void {
  const fd = openSync(destination, constants.O_RDONLY);
  try {
    syncFs(fd);
  } finally {
    closeSync(fd);
  }
}
