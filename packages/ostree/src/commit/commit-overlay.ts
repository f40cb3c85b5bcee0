/** `--tree=ref=REV` and `--base=REV`: the tree of a commit over another tree. */
import type { Checksum } from '@cambium/base';
import type { TreeRoot } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { type CommitModifiers, checkAllMatched, type MatchedPaths } from '../write/commit-modifiers.ts';
import { modifyEntry } from '../write/modify-entry.ts';
import type { Transaction } from '../write/transaction.ts';
import { modifiersFor } from './commit-directory.ts';
import { checkDepth, MutableTree } from './mutable-tree.ts';

/** Contents above this are streamed. */
const WHOLE_BYTES = 256 * 1024;

/**
 * Lays a tree of `source` (the transaction's own repository, or one that it reads through) over `tree`. Without
 * modifiers checksums are taken as they are and nothing is read; with them every header is read and changed.
 *
 * @throws OSTREE_TREE_CONFLICT OSTREE_PATH_UNMATCHED OSTREE_OBJECT_MISSING
 */
export async function overlayCommit(
  transaction: Transaction,
  tree: MutableTree,
  root: TreeRoot,
  modifiers: CommitModifiers = {},
  matched?: MatchedPaths,
): Promise<void> {
  const { repo } = transaction;
  const other = MutableTree.of(repo, root);
  if (!changesAnything(modifiers)) {
    tree.merge(other);
    return;
  }
  const applied = modifiersFor(transaction, modifiers);
  const found: MatchedPaths = matched ?? new Set();
  const overlay = new Overlay(transaction, repo, applied, found);
  await overlay.directory(other, tree, '', 0);
  await transaction.content().flush();
  if (matched === undefined) checkAllMatched(applied, found);
}

function changesAnything(modifiers: CommitModifiers): boolean {
  const { ownerUid, ownerGid, noXattrs, canonicalPermissions, roExecutables, selinux, statOverride, skipList } = modifiers;
  return (
    ownerUid !== undefined ||
    ownerGid !== undefined ||
    noXattrs === true ||
    canonicalPermissions === true ||
    roExecutables === true ||
    selinux !== undefined ||
    (statOverride?.size ?? 0) > 0 ||
    (skipList?.size ?? 0) > 0
  );
}

class Overlay {
  readonly #transaction: Transaction;
  readonly #repo: Repo;
  readonly #modifiers: CommitModifiers;
  readonly #matched: MatchedPaths;

  constructor(transaction: Transaction, repo: Repo, modifiers: CommitModifiers, matched: MatchedPaths) {
    this.#transaction = transaction;
    this.#repo = repo;
    this.#modifiers = modifiers;
    this.#matched = matched;
  }

  /** Returns false when the directory is left out. */
  async directory(from: MutableTree, to: MutableTree | (() => MutableTree), path: string, depth: number): Promise<boolean> {
    checkDepth(depth);
    const plain = this.#repo.readDirMeta(from.meta as Checksum);
    const meta = modifyEntry(path === '' ? '/' : path, plain, this.#modifiers, this.#matched, path !== '');
    if (meta === undefined) return false;
    const target = typeof to === 'function' ? to() : to;
    target.meta = meta === plain ? from.meta : this.#transaction.writeDirMeta(meta);
    for (const [name, checksum] of from.files()) await this.#file(target, name, checksum, `${path}/${name}`);
    for (const [name, child] of from.directories()) await this.directory(child, () => target.ensureDirectory(name), `${path}/${name}`, depth + 1);
    return true;
  }

  async #file(target: MutableTree, name: string, checksum: Checksum, path: string): Promise<void> {
    const { header: plain, sizeBytes } = this.#repo.readFileHeader(checksum);
    const header = modifyEntry(path, plain, this.#modifiers, this.#matched);
    if (header === undefined) return;
    if (header === plain) {
      target.setFile(name, checksum);
      return;
    }
    const writer = this.#transaction.content();
    await writer.ready();
    if (sizeBytes <= WHOLE_BYTES) {
      // Holds the place: conflicts show at once, and the new checksum comes with a later batch.
      target.setFile(name, checksum);
      writer.add(header, this.#repo.readFile(checksum, WHOLE_BYTES)).then(
        (changed) => target.setFile(name, changed),
        () => undefined, // flush() reports it
      );
      return;
    }
    const stream = writer.begin(header, sizeBytes);
    try {
      for await (const chunk of this.#repo.openFile(checksum, this.#transaction.signal)) {
        stream.write(chunk);
        await writer.ready();
      }
    } catch (error) {
      stream.abort();
      throw error;
    }
    target.setFile(name, await stream.end());
  }
}
