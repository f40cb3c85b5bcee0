/**
 * Copying commits from another repository on this machine. Semantics: `ostree pull-local`, libostree 2022.7.
 *
 * Objects are hard-linked where both repositories store them in the same way on the same file system, and rewritten
 * otherwise. What is rewritten is always verified; linked content only with `untrusted`, metadata in any case. Damaged content ends the
 * copy, unless the caller accepts it and hears of it: libostree takes it without looking.
 */
import { type Checksum, isChecksum, systemError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { parseDirTree } from '../format/object-format.ts';
import { ObjectSet } from '../format/object-set.ts';
import type { Commit, TreeRoot } from '../format/types.ts';
import { verifyBindings } from '../repo/bindings.ts';
import { markPartial, partialReason } from '../repo/commit-markers.ts';
import { isRefName } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { type SignatureKeys, verifyCommitSignature } from '../sign/sign.ts';
import { Transaction, type TransactionStats } from '../write/transaction.ts';
import { LocalObjects } from './local-objects.ts';

export interface PullLocalOptions {
  /** Local refs of the source, commit checksums, or `REF@CHECKSUM`; all its refs when left out, which must be local ones. */
  refs?: readonly string[];
  /** Write `REMOTE:REF` instead of `REF`, and expect the collection that the remote's config names; the source's own otherwise. */
  remote?: string;
  /** Parents to copy too: -1 all that are there, 0 none (the default). */
  depth?: number;
  /** Copy commit objects only; they stay marked partial. */
  commitMetadataOnly?: boolean;
  /** Verify content before linking it. */
  untrusted?: boolean;
  /** Copy content that does not match its checksum as it is, where it is rewritten, and tell of it by an event. */
  acceptCorrupt?: boolean;
  /** Refuse files that a bare-user-only repository cannot hold as they are. */
  bareUserOnlyFiles?: boolean;
  /** Each commit must have a valid signature by one of these keys. */
  gpgVerify?: SignatureKeys;
  disableVerifyBindings?: boolean;
  /** Make the commits from static deltas of the source, or not at all. */
  requireStaticDeltas?: boolean;
  /** Threads that write content. */
  workers?: number;
  /** These as for a transaction. */
  fsync?: boolean;
  perObjectFsync?: boolean;
  bootId?: string;
}

export type PullLocalEvent =
  | { type: 'commit'; checksum: Checksum; present: boolean }
  /** A content object that does not match its checksum was copied as it is. */
  | { type: 'corrupt'; checksum: Checksum }
  | { type: 'progress'; objects: number };

export interface PullLocalResult {
  /** What was asked for. */
  refs: Map<string, Checksum>;
  /** Commits copied, or already here. */
  commits: Checksum[];
  stats: TransactionStats;
  linked: number;
}

/**
 * @throws OSTREE_REF_NOT_FOUND OSTREE_OBJECT_MISSING OSTREE_OBJECT_CORRUPT OSTREE_BINDING_MISMATCH OSTREE_SIGNATURE_MISSING OSTREE_SIGNATURE_INVALID
 *   OSTREE_FILE_UNSUPPORTED, and what a transaction throws
 */
export async function pullLocal(
  repo: Repo,
  source: Repo,
  options: PullLocalOptions = {},
  signal?: AbortSignal,
  on?: (event: PullLocalEvent) => void,
): Promise<PullLocalResult> {
  try {
    return await copyCommits(repo, source, options, signal, on);
  } catch (error) {
    throw systemError(error, `Cannot pull from "${source.path}"`) ?? error;
  }
}

async function copyCommits(
  repo: Repo,
  source: Repo,
  options: PullLocalOptions,
  signal: AbortSignal | undefined,
  on: ((event: PullLocalEvent) => void) | undefined,
): Promise<PullLocalResult> {
  const { workers, fsync, perObjectFsync, bootId } = options;
  const wanted = wantedCommits(source, options.refs);
  const collection = options.remote === undefined ? source.settings.collectionId : repo.config.string(`remote "${options.remote}"`, 'collection-id');
  const writing = { workers, fsync, perObjectFsync, bootId };
  if (options.requireStaticDeltas === true) {
    const { applyLocalDeltas } = await import('./pull-local-deltas.ts');
    await applyLocalDeltas(repo, source, wanted, writing, signal);
  }
  await using transaction = await Transaction.begin(repo, { ...writing, signal, reliesOnParent: true });
  const pull = new LocalPull(source, transaction, options, signal, on);
  try {
    for (const { ref, checksum } of wanted) await pull.fetch(checksum, ref, collection);
  } catch (error) {
    // Damage that was met on the way is told of too; the failure that is reported is the first one.
    await pull.settle().catch(() => undefined);
    throw error;
  }
  await pull.settle();
  const refs = new Map<string, Checksum>();
  for (const { ref, checksum } of wanted) {
    if (ref === undefined) continue;
    refs.set(ref, checksum);
    transaction.setRef(options.remote === undefined ? ref : `${options.remote}:${ref}`, checksum);
  }
  const stats = await transaction.commit();
  return { refs, commits: pull.commits, stats, linked: pull.linked };
}

function wantedCommits(source: Repo, refs: readonly string[] | undefined): { ref: string | undefined; checksum: Checksum }[] {
  if (refs === undefined || refs.length === 0) {
    return [...source.refs.list()].map(([ref, checksum]) => {
      // As libostree: what the source has from elsewhere is copied only when it is asked for, by its checksum.
      if (ref.includes(':')) throw ostreeError('OSTREE_REF_INVALID', `Invalid ref name ${ref}`, { hint: 'Name the refs to copy', data: { ref } });
      return { ref, checksum };
    });
  }
  return refs.map((name) => {
    if (isChecksum(name)) return { ref: undefined, checksum: name };
    const [ref = '', pinned] = name.split('@');
    if (!isRefName(ref) || (pinned !== undefined && !isChecksum(pinned))) throw ostreeError('OSTREE_REF_INVALID', `Invalid ref name ${name}`);
    const checksum = pinned ?? source.refs.read(ref);
    if (checksum === undefined) throw ostreeError('OSTREE_REF_NOT_FOUND', `Refspec '${ref}' not found in "${source.path}"`, { data: { ref } });
    return { ref, checksum: checksum as Checksum };
  });
}

class LocalPull {
  readonly commits: Checksum[] = [];
  readonly #source: Repo;
  readonly #repo: Repo;
  readonly #transaction: Transaction;
  readonly #options: PullLocalOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #on: (event: PullLocalEvent) => void;
  readonly #seen = new ObjectSet();
  readonly #objects: LocalObjects;

  constructor(
    source: Repo,
    transaction: Transaction,
    options: PullLocalOptions,
    signal: AbortSignal | undefined,
    on: ((event: PullLocalEvent) => void) | undefined,
  ) {
    this.#source = source;
    this.#repo = transaction.repo;
    this.#transaction = transaction;
    this.#options = options;
    this.#signal = signal;
    this.#on = on ?? ((): void => undefined);
    this.#objects = new LocalObjects(source, transaction, options, signal);
  }

  get linked(): number {
    return this.#objects.linked;
  }

  /** Copies a commit and its parents as far as asked. */
  async fetch(start: Checksum, ref: string | undefined, collection: string | undefined): Promise<void> {
    const { depth = 0, disableVerifyBindings = false } = this.#options;
    let left = depth;
    for (let next: Checksum | undefined = start; next !== undefined; ) {
      const checksum: Checksum = next;
      const isTip = checksum === start;
      // A missing parent is where the source's own history ends.
      if (!isTip && !this.#source.hasObject('commit', checksum)) return;
      const commit = this.#source.readCommit(checksum);
      if (!disableVerifyBindings) verifyBindings(checksum, commit, { ref: isTip ? ref : undefined, collection });
      if (this.#options.gpgVerify !== undefined) await verifyCommitSignature(this.#source, checksum, this.#options.gpgVerify, this.#signal);
      await this.#copyCommit(checksum, commit);
      if (left === 0) return;
      if (left > 0) left--;
      next = commit.parent;
    }
  }

  async #copyCommit(checksum: Checksum, commit: Commit): Promise<void> {
    if (!this.#seen.add('commit', checksum)) return;
    const detached = this.#source.readDetachedMetadata(checksum);
    const present = this.#repo.hasObject('commit', checksum);
    const complete = present && partialReason(this.#repo, checksum) === undefined;
    const metadataOnly = this.#options.commitMetadataOnly === true;
    this.#on({ type: 'commit', checksum, present: complete });
    this.commits.push(checksum);
    if (detached !== undefined) this.#transaction.setDetachedMetadata(checksum, detached);
    if (complete) return;
    // Before the commit can be seen: whoever finds it half-copied must know.
    if (!present) markPartial(this.#repo, checksum);
    if (!metadataOnly) {
      await this.#copyTree(commit.root);
      this.#transaction.markComplete(checksum);
    }
    if (!present) this.#objects.metadata('commit', checksum);
  }

  async #copyTree(root: TreeRoot): Promise<void> {
    this.#copyMeta(root.meta);
    const stack: Checksum[] = this.#seen.add('dirtree', root.tree) ? [root.tree] : [];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      this.#signal?.throwIfAborted();
      const bytes = this.#source.readMetadata('dirtree', at);
      const tree = parseDirTree(bytes, `dirtree ${at}`);
      for (const file of tree.files) {
        if (!this.#seen.add('file', file.checksum)) continue;
        const pending = this.#objects.file(file.checksum);
        if (pending !== undefined) await pending;
      }
      for (const dir of tree.dirs) {
        this.#copyMeta(dir.meta);
        if (this.#seen.add('dirtree', dir.tree)) stack.push(dir.tree);
      }
      this.#objects.metadata('dirtree', at, bytes);
      this.#on({ type: 'progress', objects: this.#seen.size });
    }
  }

  /** Waits for everything under way, and tells of damaged copies in any case. @throws the first failure */
  async settle(): Promise<void> {
    const content = this.#transaction.content();
    try {
      await content.flush();
    } finally {
      for (const checksum of content.corruptCopies) this.#on({ type: 'corrupt', checksum });
    }
  }

  #copyMeta(checksum: Checksum): void {
    if (this.#seen.add('dirmeta', checksum)) this.#objects.metadata('dirmeta', checksum);
  }
}
