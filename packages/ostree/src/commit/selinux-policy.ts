/** The SELinux policy of a root directory or of a commit: what labels its files are to have. */
import { readdirSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { errnoOf, isKnownError } from '@cambium/base';
import { type FileContexts, FileLabels, parseFileContexts, parsePolicyConfig, selinuxError } from '@cambium/selinux';
import { S_IFDIR } from '@cambium/tree';
import { isSymlink } from '../format/object-format.ts';
import type { TreeRoot } from '../format/types.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { findPath, type TreeNode } from '../repo/lookup.ts';
import type { Repo } from '../repo/repo.ts';

export interface SelinuxPolicy {
  /** SELINUXTYPE, such as `targeted`. */
  name: string;
  contexts: FileContexts;
}

/** Fedora's file contexts are half a megabyte. */
const MAX_BYTES: number = 16 * 1024 * 1024;
const MAX_LINKS = 8;

/** Where files of a policy come from. */
interface PolicyPlace {
  /** Returns undefined for what is not there. */
  read(path: string): Uint8Array | undefined;
  /** Names of the regular files in a directory; undefined when there is none. */
  files(path: string): string[] | undefined;
  exists(path: string): boolean;
}

/**
 * Returns the policy of the system in a directory, below `etc/selinux` or, without that, `usr/etc/selinux`; undefined when it has none or
 * does not use it. As for libostree, symbolic links lead where they lead on this machine.
 *
 * @throws SELINUX_POLICY_INVALID SELINUX_POLICY_TOO_LARGE, errno of what cannot be read
 */
export function readSelinuxPolicy(root: string): SelinuxPolicy | undefined {
  if (!statSync(root).isDirectory()) throw selinuxError('SELINUX_POLICY_INVALID', `Cannot read SELinux policy: "${root}" is not a directory`);
  const place = placeOnDisk(root);
  return readPolicy(place, place.exists('etc/selinux') ? 'etc/selinux' : 'usr/etc/selinux');
}

/** As {@link readSelinuxPolicy}, of a commit's `/usr/etc/selinux`, links between whose files are followed. @throws OSTREE_OBJECT_* too */
export function readCommitSelinuxPolicy(repo: Repo, root: TreeRoot): SelinuxPolicy | undefined {
  return readPolicy(placeInCommit(repo, root), 'usr/etc/selinux');
}

function readPolicy(place: PolicyPlace, directory: string): SelinuxPolicy | undefined {
  const config = place.read(`${directory}/config`);
  const name = config === undefined ? undefined : parsePolicyConfig(config);
  if (name === undefined) return undefined;
  const invalid = (why: string, hint?: string): Error =>
    selinuxError('SELINUX_POLICY_INVALID', `Cannot read SELinux policy "${name}": ${why}`, hint === undefined ? {} : { hint });
  const file = `${directory}/${name}/contexts/files/file_contexts`;
  const fileContexts = place.read(file);
  if (fileContexts === undefined) throw invalid(`no ${file}`, place.exists(`${file}.bin`) ? 'The compiled form alone is not read' : undefined);
  const contexts = parseFileContexts({
    fileContexts,
    homedirs: place.read(`${file}.homedirs`),
    local: place.read(`${file}.local`),
    subs: place.read(`${file}.subs`),
    subsDist: place.read(`${file}.subs_dist`),
  });
  // Two things that libostree asks of a policy before it uses it.
  if (new FileLabels(contexts).labelOf('/', S_IFDIR) === undefined) throw invalid('it has no label for /');
  if (place.files(`${directory}/${name}/policy`)?.some((file) => /^policy\.[0-9]+$/.test(file)) !== true) throw invalid('it has no compiled policy');
  return { name, contexts };
}

function placeOnDisk(root: string): PolicyPlace {
  const unlessMissing = <T>(act: () => T): T | undefined => {
    try {
      return act();
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
      throw error;
    }
  };
  return {
    read: (path) => unlessMissing(() => readBounded(`${root}/${path}`, MAX_BYTES, (why) => refused(path, why))),
    files: (path) =>
      unlessMissing(() =>
        readdirSync(`${root}/${path}`, { withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map(({ name }) => name),
      ),
    exists: (path) => unlessMissing(() => statSync(`${root}/${path}`)) !== undefined,
  };
}

function placeInCommit(repo: Repo, root: TreeRoot): PolicyPlace {
  const find = (path: string, links = 0): TreeNode | undefined => {
    const node = findIn(repo, root, path);
    if (node?.kind !== 'file') return node;
    const { header } = repo.readFileHeader(node.checksum);
    if (!isSymlink(header)) return node;
    // A checkout of the policy alone has nothing else to lead to.
    const target = posix.join(posix.dirname(path), header.target);
    return links === MAX_LINKS || header.target.startsWith('/') || !target.startsWith('usr/etc/selinux/') ? undefined : find(target, links + 1);
  };
  return {
    read: (path) => {
      const node = find(path);
      if (node?.kind !== 'file') return undefined;
      if (repo.readFileHeader(node.checksum).sizeBytes > MAX_BYTES) throw refused(path, 'too-large');
      return repo.readFile(node.checksum, MAX_BYTES);
    },
    files: (path) => {
      const node = find(path);
      return node?.kind === 'directory' ? repo.readDirTree(node.tree).files.map(({ name }) => name) : undefined;
    },
    exists: (path) => find(path) !== undefined,
  };
}

function findIn(repo: Repo, root: TreeRoot, path: string): TreeNode | undefined {
  try {
    return findPath(repo, root, `/${path}`);
  } catch (error) {
    if (isKnownError(error, 'OSTREE_PATH_NOT_DIRECTORY')) return undefined;
    throw error;
  }
}

function refused(path: string, why: 'irregular' | 'too-large'): Error {
  return why === 'irregular'
    ? selinuxError('SELINUX_POLICY_INVALID', `Cannot read ${path}: not a regular file`)
    : selinuxError('SELINUX_POLICY_TOO_LARGE', `Cannot read ${path}: larger than ${MAX_BYTES} bytes`);
}
