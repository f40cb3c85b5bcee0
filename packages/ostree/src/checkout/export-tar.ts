/**
 * `ostree export`: the tree of a commit as a tar archive.
 *
 * Order, names, owners, modes and times are those of libostree 2022.7. It writes the GNU form, which cannot hold
 * attributes; here they are PAX records, so that committing the archive gives the same tree again.
 */
import { type TarWriteItem, writeTar } from '@cambium/archive';
import { type Bytes, bytesOf, type Checksum, isKnownError } from '@cambium/base';
import { S_IFLNK, S_IFMT } from '@cambium/tree';
import { ostreeError } from '../errors.ts';
import type { Commit } from '../format/types.ts';
import { requirePath, splitPath } from '../repo/lookup.ts';
import type { Repo } from '../repo/repo.ts';
import { walkTree } from '../repo/tree-walk.ts';

export interface ExportTarOptions {
  /** Leave extended attributes out. */
  noXattrs?: boolean;
  /** Directory of the commit to export instead of the root; its name is not part of the archive's. */
  subpath?: string;
  /** Text put in front of every name, as it is: without a slash at its end it joins the first name, as for libostree. */
  prefix?: string;
  signal?: AbortSignal;
}

/** Up to this size a file is read and verified at once, which takes half the time of a stream. */
const WHOLE_FILE_BYTES = 4 * 1024 * 1024;

/**
 * Returns the archive. Contents are verified while they are read: a corrupt object ends it with an error,
 * so keep it aside until then.
 *
 * @throws OSTREE_PATH_NOT_FOUND, OSTREE_PATH_NOT_DIRECTORY, OSTREE_OBJECT_MISSING, OSTREE_OBJECT_CORRUPT
 */
export function exportTar(repo: Repo, commit: Commit, options: ExportTarOptions = {}): Bytes {
  return writeTar(exportItems(repo, commit, options), options.signal);
}

function* exportItems(repo: Repo, commit: Commit, options: ExportTarOptions): Generator<TarWriteItem, void, undefined> {
  const { subpath = '/', prefix = '', noXattrs = false } = options;
  const root = requirePath(repo, commit.root, subpath);
  if (root.kind === 'file') throw ostreeError('OSTREE_PATH_NOT_DIRECTORY', `Cannot export "/${splitPath(subpath).join('/')}": not a directory`);
  const mtime = Number(commit.timestamp);
  const directory = (path: string, meta: Checksum): TarWriteItem => {
    const { uid, gid, mode, xattrs } = repo.readDirMeta(meta);
    return { entry: { path, type: 'directory', mode: mode & 0o7777, uid, gid, mtime, xattrs: noXattrs ? [] : xattrs } };
  };
  yield directory(prefix === '' ? '.' : prefix, root.meta);
  for (const node of walkTree(repo, root.tree)) {
    const path = prefix + node.path.slice(1);
    yield node.kind === 'directory' ? directory(path, node.meta) : file(repo, path, node.checksum, mtime, noXattrs);
  }
}

function file(repo: Repo, path: string, checksum: Checksum, mtime: number, noXattrs: boolean): TarWriteItem {
  const { header, size, open } = loadFile(repo, checksum);
  const { uid, gid, xattrs } = header;
  const common = { path, mode: header.mode & 0o7777, uid, gid, mtime, xattrs: noXattrs ? [] : xattrs };
  if ((header.mode & S_IFMT) === S_IFLNK) return { entry: { ...common, type: 'symlink', linkPath: header.target } };
  return { entry: { ...common, type: 'file', size }, open };
}

function loadFile(
  repo: Repo,
  checksum: Checksum,
): { header: ReturnType<Repo['readFileHeader']>['header']; size: number; open: (signal?: AbortSignal) => Bytes } {
  try {
    const { header, content } = repo.loadFile(checksum, WHOLE_FILE_BYTES);
    return { header, size: content.length, open: () => bytesOf(content) };
  } catch (error) {
    if (!isKnownError(error, 'OSTREE_OBJECT_TOO_LARGE')) throw error;
  }
  const { header, sizeBytes } = repo.readFileHeader(checksum);
  return { header, size: sizeBytes, open: repo.fileOpener(checksum) };
}
