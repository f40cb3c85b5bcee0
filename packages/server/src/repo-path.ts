/**
 * Which paths of a repository are public: what a client needs to pull, and nothing else, least of all keys and locks.
 *
 * Source: libostree `ostree-repo-pull.c` (what it asks for), `ostree-core.c` (names of objects and deltas).
 */
import { isNamedByContent } from '@cambium/ostree';

export interface RepoFile {
  /** Relative to the repository. */
  path: string;
  /** The name says what the content is, so it never changes. */
  immutable: boolean;
}

/** Detached metadata gets more signatures, and a tombstone tells of a deletion: both belong to a checksum without being it. */
const BESIDE_OBJECT = /^objects\/[0-9a-f]{2}\/[0-9a-f]{62}\.(?:commitmeta|tombstone-commit)$/;
/** A delta is named after the commits it leads between; made anew with other settings it has other parts under the same names. */
const DELTA = /^deltas\/[A-Za-z0-9+_]{2}\/[A-Za-z0-9+_]{41}(?:-[A-Za-z0-9+_]{43})?\/(?:superblock|[0-9]{1,6})$/;
const DELTA_INDEX = /^delta-indexes\/[A-Za-z0-9+_]{2}\/[A-Za-z0-9+_]{41}\.index$/;
const TOP = /^(?:config|summary(?:\.[a-z0-9]+)*)$/;
/** Names without a dot in front: nothing hidden, no `.` and no `..`. */
const BELOW = /^(?:refs\/(?:heads|remotes|mirrors)|extensions)(?:\/[^./\0][^/\0]*)+$/;
const MAX_PATH = 2048;

/** Returns the file that the path of a request names, or undefined when nothing public has that name. */
export function repoFileOfRequest(target: string): RepoFile | undefined {
  const encoded = target.split('?', 1)[0] as string;
  if (encoded.length > MAX_PATH || !encoded.startsWith('/')) return undefined;
  let path: string;
  try {
    path = decodeURIComponent(encoded.slice(1));
  } catch {
    return undefined;
  }
  return repoFile(path);
}

/** As {@link repoFileOfRequest}, for a path relative to the repository. */
export function repoFile(path: string): RepoFile | undefined {
  if (isNamedByContent(path)) return { path, immutable: true };
  const known = [TOP, BELOW, BESIDE_OBJECT, DELTA, DELTA_INDEX].some((pattern) => pattern.test(path));
  return known ? { path, immutable: false } : undefined;
}
