/** Refs by collection, wherever a repository has them. Source: libostree `ostree_repo_list_collection_refs` behaviour. */
import { type Checksum, compareUtf8 } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { isRefName, parseRefspec } from './refs.ts';
import type { Repo } from './repo.ts';
import { isCollectionId } from './repo-config.ts';

/** A ref as it is known everywhere, whatever a remote is called here. */
export interface CollectionRef {
  collection: string;
  ref: string;
}

/** @throws OSTREE_REF_INVALID */
export function checkCollectionRef({ collection, ref }: CollectionRef): void {
  if (!isCollectionId(collection)) throw ostreeError('OSTREE_REF_INVALID', `Invalid collection ID ${collection}`);
  if (!isRefName(ref)) throw ostreeError('OSTREE_REF_INVALID', `Invalid ref name ${ref}`);
}

/** Returns the refs of collections, and those of remotes that are said to be of one: a mirrored ref gives way to a remote's. Sorted. */
export function listCollectionRefs(repo: Repo): (CollectionRef & { checksum: Checksum })[] {
  const rows = new Map(repo.refs.collectionRefs().map((row) => [`${row.collection} ${row.ref}`, row]));
  for (const [refspec, checksum] of repo.refs.list()) {
    const { remote, ref } = parseRefspec(refspec);
    const collection = remote === undefined ? undefined : repo.config.string(`remote "${remote}"`, 'collection-id');
    if (collection !== undefined && isCollectionId(collection)) rows.set(`${collection} ${ref}`, { collection, ref, checksum });
  }
  return [...rows.values()].sort((a, b) => compareUtf8(a.collection, b.collection) || compareUtf8(a.ref, b.ref));
}

/** Names a ref of a collection as libostree does. */
export function formatCollectionRef({ collection, ref }: CollectionRef): string {
  return `(${collection}, ${ref})`;
}
