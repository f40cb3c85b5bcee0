/** `ostree log`: a commit and its ancestors. */
import { type Checksum, isKnownError } from '@cambium/base';
import type { Commit } from '../format/types.ts';
import type { Repo } from '../repo/repo.ts';

export type LogEntry = { kind: 'commit'; checksum: Checksum; commit: Commit } | { kind: 'truncated'; parent: Checksum };

/**
 * Yields the commit `rev` names and its ancestors, newest first; `truncated` is last when the chain goes on but its next commit is not here.
 * @throws OSTREE_REF_NOT_FOUND, OSTREE_OBJECT_MISSING for the first commit
 */
export function* log(repo: Repo, rev: string): Generator<LogEntry, void, void> {
  let next: Checksum | undefined = repo.refs.resolve(rev);
  let isTip = true;
  while (next !== undefined) {
    const checksum: Checksum = next;
    let commit: Commit;
    try {
      commit = repo.readCommit(checksum);
    } catch (error) {
      if (isTip || !isKnownError(error, 'OSTREE_OBJECT_MISSING')) throw error;
      yield { kind: 'truncated', parent: checksum };
      return;
    }
    yield { kind: 'commit', checksum, commit };
    next = commit.parent;
    isTip = false;
  }
}
