/** Which old file a new one may have come from: by name and size, as libostree guesses. */
import type { Checksum } from '@cambium/base';
import { S_IFMT, S_IFREG } from '@cambium/tree';
import type { Repo } from '../repo/repo.ts';
import { walkTree } from '../repo/tree-walk.ts';

/** How far sizes may be apart. */
const SIZE_SHARE = 0.3;
/** Of one name. */
const MAX_CANDIDATES = 16;
const WORLD_READABLE = 0o004;
/** Compressed as a whole: a change at the start changes everything. */
const OPAQUE = /\.(?:xz|bz2)$/;

interface Named {
  path: string;
  checksum: Checksum;
}

/** A new file. */
export interface NewName {
  /** Where it is first. */
  path: string;
  checksum: Checksum;
}

/** Finds, for new files of one commit, those of another; holds no more names than the new files make of interest. */
export class SimilarFiles {
  readonly #repo: Repo;
  readonly #byPath = new Map<string, Checksum | undefined>();
  readonly #byName = new Map<string, Named[]>();
  readonly #byStem = new Map<string, Named[]>();

  /** @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  constructor(repo: Repo, from: Checksum, files: readonly NewName[]) {
    this.#repo = repo;
    for (const { path } of files) {
      if (OPAQUE.test(path)) continue;
      const name = nameOf(path);
      this.#byPath.set(path, undefined);
      this.#byName.set(name, []);
      this.#byStem.set(stemOf(name), []);
    }
    if (this.#byPath.size === 0) return;
    for (const node of walkTree(repo, repo.readCommit(from).root.tree)) {
      if (node.kind !== 'file' || OPAQUE.test(node.name)) continue;
      const named = { path: node.path, checksum: node.checksum };
      if (this.#byPath.has(node.path)) this.#byPath.set(node.path, node.checksum);
      add(this.#byName, node.name, named);
      add(this.#byStem, stemOf(node.name), named);
    }
  }

  /** Returns an old regular file like a new one. */
  find({ path }: NewName, sizeBytes: number): { checksum: Checksum; sizeBytes: number } | undefined {
    if (sizeBytes === 0 || OPAQUE.test(path)) return undefined;
    const samePath = this.#byPath.get(path);
    const name = nameOf(path);
    for (const candidates of [
      samePath === undefined ? [] : [{ path, checksum: samePath }],
      this.#byName.get(name) ?? [],
      this.#byStem.get(stemOf(name)) ?? [],
    ]) {
      const best = this.#best(candidates, path, sizeBytes);
      if (best !== undefined) return best;
    }
    return undefined;
  }

  /** The one at the same path if there is one, the nearest in size otherwise. */
  #best(candidates: readonly Named[], path: string, sizeBytes: number): { checksum: Checksum; sizeBytes: number } | undefined {
    let best: { checksum: Checksum; sizeBytes: number } | undefined;
    for (const candidate of candidates) {
      const { header, sizeBytes: size } = this.#repo.readFileHeader(candidate.checksum);
      const fits = (header.mode & S_IFMT) === S_IFREG && (header.mode & WORLD_READABLE) !== 0 && Math.abs(size - sizeBytes) <= sizeBytes * SIZE_SHARE;
      if (!fits || size === 0) continue;
      const found = { checksum: candidate.checksum, sizeBytes: size };
      if (candidate.path === path) return found;
      if (best === undefined || Math.abs(size - sizeBytes) < Math.abs(best.sizeBytes - sizeBytes)) best = found;
    }
    return best;
  }
}

/** Adds to the list of a key that has one. */
function add(index: ReadonlyMap<string, Named[]>, key: string, named: Named): void {
  const list = index.get(key);
  if (list !== undefined && list.length < MAX_CANDIDATES) list.push(named);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function stemOf(name: string): string {
  const dot = name.indexOf('.', 1);
  return dot < 0 ? name : name.slice(0, dot);
}
