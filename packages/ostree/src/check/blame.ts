/** Whom bad objects hurt: in which commits, and under which paths. Runs only after something was found. */
import { type Checksum, isKnownError } from '@cambium/base';
import type { Commit, DirTree, ObjectType } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';

export interface Blame {
  commits: Checksum[];
  /** As `COMMIT:/path`, the first few of each object. */
  paths: string[];
  /** Whether there are more. */
  morePaths: boolean;
}

/** Enough to recognise what is hurt; one object can stand under millions of paths. */
const MAX_PATHS = 20;

/** Returns for each bad object which of `commits` need it. */
export function blame(repo: Repo, commits: readonly Checksum[], bad: ReadonlyArray<{ type: ObjectType; checksum: Checksum }>): Blame[] {
  const blames = new Map<string, Blame>(bad.map(({ type, checksum }) => [`${checksum}.${type}`, { commits: [], paths: [], morePaths: false }]));
  const hurts = new HurtTrees(repo, blames);
  for (const checksum of commits) {
    const note = (type: ObjectType, object: Checksum, path: string): void => {
      const found = blames.get(`${object}.${type}`);
      if (found === undefined) return;
      if (found.commits.at(-1) !== checksum) found.commits.push(checksum);
      if (found.paths.length < MAX_PATHS) found.paths.push(`${checksum}:${path}`);
      else found.morePaths = true;
    };
    note('commit', checksum, '');
    const commit = tryRead<Commit>(() => repo.readCommit(checksum));
    if (commit !== undefined) hurts.walk(commit.root.tree, commit.root.meta, note);
  }
  return bad.map(({ type, checksum }) => blames.get(`${checksum}.${type}`) as Blame);
}

/** Knows which directories have something bad below them, so that sound ones are read once. */
class HurtTrees {
  readonly #repo: Repo;
  readonly #bad: ReadonlyMap<string, unknown>;
  readonly #hurt = new Map<Checksum, boolean>();

  constructor(repo: Repo, bad: ReadonlyMap<string, unknown>) {
    this.#repo = repo;
    this.#bad = bad;
  }

  walk(root: Checksum, meta: Checksum, note: (type: ObjectType, checksum: Checksum, path: string) => void): void {
    note('dirmeta', meta, '/');
    note('dirtree', root, '/');
    if (!this.#isHurt(root)) return;
    const stack: { tree: Checksum; path: string }[] = [{ tree: root, path: '' }];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const tree = tryRead<DirTree>(() => this.#repo.readDirTree((at as { tree: Checksum }).tree));
      for (const file of tree?.files ?? []) note('file', file.checksum, `${at.path}/${file.name}`);
      for (const dir of tree?.dirs ?? []) {
        const path = `${at.path}/${dir.name}`;
        note('dirmeta', dir.meta, path);
        note('dirtree', dir.tree, path);
        if (this.#isHurt(dir.tree)) stack.push({ tree: dir.tree, path });
      }
    }
  }

  /** Post-order without recursion: a directory is decided when all below it are. */
  #isHurt(root: Checksum): boolean {
    const stack: Checksum[] = [root];
    for (let at = stack.at(-1); at !== undefined; at = stack.at(-1)) {
      if (this.#hurt.has(at)) {
        stack.pop();
        continue;
      }
      const checksum: Checksum = at;
      const tree = tryRead<DirTree>(() => this.#repo.readDirTree(checksum));
      const open = (tree?.dirs ?? []).filter((dir) => !this.#hurt.has(dir.tree));
      if (open.length > 0) {
        for (const dir of open) stack.push(dir.tree);
        continue;
      }
      const hurt =
        tree?.files.some((file) => this.#bad.has(`${file.checksum}.file`)) === true ||
        tree?.dirs.some((dir) => this.#bad.has(`${dir.meta}.dirmeta`) || this.#bad.has(`${dir.tree}.dirtree`) || this.#hurt.get(dir.tree) === true) === true;
      this.#hurt.set(checksum, hurt);
      stack.pop();
    }
    return this.#hurt.get(root) === true;
  }
}

function tryRead<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!isKnownError(error)) throw error;
    return undefined;
  }
}
