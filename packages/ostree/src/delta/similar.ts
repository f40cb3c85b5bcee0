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

/** Finds, for files of one commit, those of another. */
export class SimilarFiles {
  readonly #repo: Repo;
  readonly #byName = new Map<string, Named[]>();
  readonly #byStem = new Map<string, Named[]>();
  readonly #paths = new Map<Checksum, string>();

  /** @throws OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT */
  constructor(repo: Repo, from: Checksum, to: Checksum) {
    this.#repo = repo;
    for (const node of walkTree(repo, repo.readCommit(from).root.tree)) {
      if (node.kind !== 'file' || OPAQUE.test(node.name)) continue;
      const named = { path: node.path, checksum: node.checksum };
      add(this.#byName, node.name, named);
      add(this.#byStem, stemOf(node.name), named);
    }
    for (const node of walkTree(repo, repo.readCommit(to).root.tree)) {
      if (node.kind === 'file' && !this.#paths.has(node.checksum)) this.#paths.set(node.checksum, node.path);
    }
  }

  /** Returns an old regular file like a new one. */
  find(checksum: Checksum, sizeBytes: number): { checksum: Checksum; sizeBytes: number } | undefined {
    const path = this.#paths.get(checksum);
    if (path === undefined || sizeBytes === 0 || OPAQUE.test(path)) return undefined;
    const name = path.slice(path.lastIndexOf('/') + 1);
    for (const candidates of [this.#byName.get(name), this.#byStem.get(stemOf(name))]) {
      const best = this.#best(candidates ?? [], path, sizeBytes);
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

function add(index: Map<string, Named[]>, key: string, named: Named): void {
  const list = index.get(key);
  if (list === undefined) index.set(key, [named]);
  else if (list.length < MAX_CANDIDATES) list.push(named);
}

function stemOf(name: string): string {
  const dot = name.indexOf('.', 1);
  return dot < 0 ? name : name.slice(0, dot);
}
