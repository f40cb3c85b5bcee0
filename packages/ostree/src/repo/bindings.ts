/** Ref and collection bindings: under which names a commit says it may be found. Source: libostree `_ostree_repo_verify_bindings` behaviour. */
import type { Checksum } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { metadataValue } from '../format/commit-format.ts';
import type { Commit } from '../format/types.ts';
import type { Repo } from './repo.ts';

/** @throws OSTREE_BINDING_MISMATCH unless the commit is bound to the ref, and to the collection when one is given */
export function verifyBindings(checksum: Checksum, commit: Commit, want: { ref?: string | undefined; collection?: string | undefined }): void {
  const refs = metadataValue<string[]>(commit.metadata, 'ostree.ref-binding', 'as');
  const collection = metadataValue<string>(commit.metadata, 'ostree.collection-binding', 's');
  const fail = (why: string): Error => ostreeError('OSTREE_BINDING_MISMATCH', `Commit ${checksum}: ${why}`, { data: { checksum, refs, collection, want } });
  if (refs === undefined) {
    if (want.collection !== undefined) throw fail('Expected commit metadata to have ref binding information, found none');
    return;
  }
  if (want.ref !== undefined && !refs.includes(want.ref)) {
    throw fail(`Commit has no requested ref ‘${want.ref}’ in ref binding metadata (${refs.map((ref) => `‘${ref}’`).join(', ')})`);
  }
  if (want.collection === undefined) return;
  if (collection === undefined) throw fail('Expected commit metadata to have collection ID binding information, found none');
  if (collection !== want.collection)
    throw fail(`Commit has collection ID ‘${collection}’ in collection binding metadata, while the remote it came from has collection ID ‘${want.collection}’`);
}

/** @throws OSTREE_BINDING_MISMATCH unless every binding of the commit is a ref here that points at it */
export function verifyBackRefs(repo: Repo, checksum: Checksum, commit: Commit): void {
  const refs = metadataValue<string[]>(commit.metadata, 'ostree.ref-binding', 'as') ?? [];
  const collection = metadataValue<string>(commit.metadata, 'ostree.collection-binding', 's');
  for (const ref of refs) {
    const found =
      collection === undefined
        ? repo.refs.find(ref)
        : repo.refs.collectionRefs().find((known) => known.collection === collection && known.ref === ref)?.checksum;
    const name = collection === undefined ? `Ref ‘${ref}’` : `Collection–ref (${collection}, ${ref})`;
    const fail = (why: string): Error =>
      ostreeError('OSTREE_BINDING_MISMATCH', `${name} in bindings for commit ${checksum} ${why}`, { data: { checksum, ref, collection, found } });
    if (found === undefined) throw fail('does not exist');
    if (found !== checksum) throw fail('does not resolve to that commit');
  }
}
