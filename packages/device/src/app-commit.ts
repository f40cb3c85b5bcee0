/** What a packed app's commit says of itself, checked before anything of it is checked out. Format: `docs/formats/app-commit.md`. */
import { type Checksum, isKnownError, isRecord, parseJson } from '@cambium/base';
import { type Commit, findPath, type Repo, type TreeNode } from '@cambium/ostree';
import { deviceError } from './errors.ts';
import { STORE_FILES } from './state.ts';

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

export interface AppCommit {
  commit: Checksum;
  /** Name of its directory in the commit. */
  app: string;
  /** Original reference → pinned reference. */
  images: Readonly<Record<string, string>>;
}

/** @throws DEVICE_NOT_AN_APP OSTREE_… */
export function readAppCommit(repo: Repo, checksum: Checksum): AppCommit {
  const commit = repo.readCommit(checksum);
  const { app, images } = readDescription(checksum, commit.body);
  // The names "storage" and "precompose.json" are taken, and the others would not be a directory of this commit.
  if (app === '' || app === '.' || app === '..' || app === 'storage' || app === 'precompose.json' || app.includes('/') || app.includes('\0')) {
    throw notAnApp(checksum, `${JSON.stringify(app)} cannot be the name of an app directory`);
  }
  if (nodeAt(repo, commit, app)?.kind !== 'directory') throw notAnApp(checksum, `it has no directory ${JSON.stringify(app)}`);
  if (nodeAt(repo, commit, 'storage')?.kind !== 'directory') throw notAnApp(checksum, 'it has no directory "storage"');
  for (const name of STORE_FILES) {
    const node = nodeAt(repo, commit, `storage/${name}`);
    // Without its files, or with links in their place, podman would try to write to the store, or to wherever they lead.
    if (node?.kind !== 'file' || (repo.readFileHeader(node.checksum).header.mode & S_IFMT) !== S_IFREG)
      throw notAnApp(checksum, `its image store has no file "${name}"`);
  }
  return { commit: checksum, app, images };
}

/** Reads the commit's body; it equals `/precompose.json`. */
function readDescription(checksum: Checksum, body: string): Omit<AppCommit, 'commit'> {
  let value: unknown;
  try {
    value = parseJson(body, 'commit body');
  } catch {
    value = undefined;
  }
  const precompose = isRecord(value) ? value.precompose : undefined;
  const images = isRecord(precompose) ? precompose.images : undefined;
  if (!isRecord(precompose) || typeof precompose.app !== 'string' || !isRecord(images)) throw notAnApp(checksum, 'it is not a packed app');
  if (precompose.version !== 0)
    throw notAnApp(checksum, `it is a packed app of version ${JSON.stringify(precompose.version)}, and this cambium knows version 0`);
  return { app: precompose.app, images: Object.fromEntries(Object.entries(images).map(([reference, pinned]) => [reference, String(pinned)])) };
}

function nodeAt(repo: Repo, commit: Commit, path: string): TreeNode | undefined {
  try {
    return findPath(repo, commit.root, path);
  } catch (error) {
    if (isKnownError(error, 'OSTREE_PATH_NOT_DIRECTORY')) return undefined;
    throw error;
  }
}

function notAnApp(checksum: Checksum, why: string): Error {
  return deviceError('DEVICE_NOT_AN_APP', `Cannot mount commit ${checksum}: ${why}`, { hint: 'Apps are packed with: cambium pack BRANCH COMPOSE' });
}
