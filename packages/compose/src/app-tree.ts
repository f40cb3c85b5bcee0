/**
 * The tree of an app commit: image store, compose file, the app's own files.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type Checksum, errnoOf, systemError } from '@cambium/base';
import { type ContentWriter, type FileHeader, MutableTree, type Transaction, type TreeRoot } from '@cambium/ostree';
import { S_IFDIR, S_IFLNK, S_IFREG, treeError } from '@cambium/tree';
import { composeError } from './errors.ts';
import { fileIdentity, type ProjectFile } from './project-files.ts';

export const PACKED_COMPOSE_NAME = 'docker-compose.yml';

export interface AppTree {
  app: string;
  store: TreeRoot;
  composeText: string;
  files: readonly ProjectFile[];
  /** The text of `/precompose.json`. */
  description: string;
}

const FILE: FileHeader = { uid: 0, gid: 0, mode: S_IFREG | 0o644, target: '', xattrs: [] };
const PROGRAM: FileHeader = { ...FILE, mode: S_IFREG | 0o755 };
const LINK: FileHeader = { ...FILE, mode: S_IFLNK | 0o777 };
const CHUNK_BYTES = 256 * 1024;
const NOTHING = new Uint8Array(0);

/** Writes the tree; owners and modes are normalised, so that no trace of this machine remains. */
export async function writeAppTree(transaction: Transaction, tree: AppTree): Promise<TreeRoot> {
  const content = transaction.content();
  const meta = transaction.writeDirMeta({ uid: 0, gid: 0, mode: S_IFDIR | 0o755, xattrs: [] });
  const root = MutableTree.empty();
  root.meta = meta;
  const pending: Promise<void>[] = [];
  const put = async (path: string, header: FileHeader, bytes: Uint8Array): Promise<void> => place(root, meta, path, await content.add(header, bytes));

  for (const file of tree.files) {
    const path = `${tree.app}/${file.path}`;
    // The pinned file stands in the place of the one that was read.
    if (file.path === PACKED_COMPOSE_NAME) continue;
    if (file.kind === 'directory') directoryAt(root, meta, path);
    else if (file.kind === 'symlink') pending.push(handled(put(path, { ...LINK, target: file.target ?? '' }, NOTHING)));
    else {
      const { checksum } = await copyFile(content, file);
      pending.push(handled(checksum.then((found) => place(root, meta, path, found))));
    }
    await content.ready();
  }
  pending.push(put(`${tree.app}/${PACKED_COMPOSE_NAME}`, FILE, new TextEncoder().encode(tree.composeText)));
  pending.push(put('precompose.json', FILE, new TextEncoder().encode(tree.description)));
  await Promise.all([content.flush(), ...pending]);
  root.setDirectory('storage', MutableTree.of(transaction.repo, tree.store));
  return root.write(transaction);
}

/** Waited for later; until then a failure must not count as unhandled. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** O_NONBLOCK: a FIFO put in the place of the file must not hang us. */
const READ: number = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Hands a file's content on; it is closed when the call is over, the checksum comes later. Only the very file that was looked at is
 * read: whoever writes to the project directory meanwhile cannot put a link in its place and have us pack what only we may read.
 */
async function copyFile(content: ContentWriter, file: ProjectFile): Promise<{ checksum: Promise<Checksum> }> {
  const header = (file.mode & 0o111) === 0 ? FILE : PROGRAM;
  let descriptor: number;
  try {
    descriptor = openSync(file.source, READ);
  } catch (error) {
    if (errnoOf(error) === 'ELOOP' || errnoOf(error) === 'ENXIO') throw changed(file);
    throw systemError(error, `Cannot read "${file.source}"`) ?? composeError('COMPOSE_FILE_MISSING', `Cannot read "${file.source}"`, { cause: error });
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile() || fileIdentity(stat) !== file.identity) throw changed(file);
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    if (file.sizeBytes < CHUNK_BYTES) {
      let size = 0;
      for (let got = -1; got !== 0 && size < CHUNK_BYTES; size += got) got = readSync(descriptor, chunk, size, CHUNK_BYTES - size, null);
      if (size !== file.sizeBytes) throw changed(file);
      return { checksum: content.add(header, chunk.subarray(0, size)) };
    }
    const stream = content.begin(header, file.sizeBytes);
    let left = file.sizeBytes;
    for (let size = readSync(descriptor, chunk); size > 0; size = readSync(descriptor, chunk)) {
      left -= size;
      if (left < 0) break;
      stream.write(chunk.subarray(0, size));
      await content.ready();
    }
    if (left === 0) return { checksum: stream.end() };
    stream.abort();
    throw changed(file);
  } finally {
    closeSync(descriptor);
  }
}

function changed(file: ProjectFile): Error {
  return treeError('TREE_FILE_CHANGED', `Cannot pack "${file.source}": it changed while it was read`, { retryable: true });
}

function place(root: MutableTree, meta: MutableTree['meta'], path: string, checksum: Awaited<ReturnType<ContentWriter['add']>>): void {
  const cut = path.lastIndexOf('/');
  directoryAt(root, meta, path.slice(0, Math.max(cut, 0))).setFile(path.slice(cut + 1), checksum);
}

function directoryAt(root: MutableTree, meta: MutableTree['meta'], path: string): MutableTree {
  let directory = root;
  for (const name of path.split('/').filter((part) => part !== '')) {
    directory = directory.ensureDirectory(name);
    directory.meta = meta;
  }
  return directory;
}
