/** The commit that carries what used to be in the summary. Source: `ostree summary --update`, libostree 2022.7. */
import type { Checksum } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import { ostreeError } from '../errors.ts';
import type { Metadata } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';
import { Transaction } from '../write/transaction.ts';

/** The ref whose commit carries what used to be in the summary, in repositories with a collection ID. */
const METADATA_REF = 'ostree-metadata';

/**
 * Commits an empty tree with `metadata` to the ref `ostree-metadata`, bound to the repository's collection, and returns the commit.
 * @throws OSTREE_OPTION_INVALID without a collection ID, and what transactions throw
 */
export async function commitRepoMetadata(
  repo: Repo,
  options: {
    metadata?: Metadata | undefined;
    /** Seconds since 1970. */
    timestamp: bigint;
    /** Returns the detached metadata with which the commit appears. */
    sign?: ((commit: Uint8Array) => Promise<Metadata | undefined>) | undefined;
    bootId?: string | undefined;
    signal?: AbortSignal | undefined;
  },
): Promise<Checksum> {
  const { collectionId } = repo.settings;
  if (collectionId === undefined) throw ostreeError('OSTREE_OPTION_INVALID', `Cannot commit metadata of "${repo.path}": it has no collection ID`);
  const transaction = await Transaction.begin(repo, { signal: options.signal, bootId: options.bootId, workers: 0 });
  try {
    const root = {
      tree: transaction.writeDirTree({ files: [], dirs: [] }),
      meta: transaction.writeDirMeta({ uid: 0, gid: 0, mode: 0o40755, xattrs: [] }),
    };
    const binding: Metadata = [
      ['ostree.collection-binding', new Variant('s', collectionId)],
      ['ostree.ref-binding', new Variant('as', [METADATA_REF])],
    ];
    const metadata = [...binding, ...(options.metadata ?? []).filter(([key]) => !binding.some(([own]) => own === key))];
    const parent = repo.refs.read(METADATA_REF);
    const commit = transaction.writeCommit({ metadata, parent, related: [], subject: '', body: '', timestamp: options.timestamp, root });
    const detached = await options.sign?.(repo.readMetadata('commit', commit));
    if (detached !== undefined && detached.length > 0) transaction.setDetachedMetadata(commit, detached);
    transaction.setRef(METADATA_REF, commit);
    await transaction.commit();
    return commit;
  } finally {
    await transaction.abort();
  }
}
