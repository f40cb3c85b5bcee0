/** Remotes as a source of repairs: opened with their settings as for a pull, mirrors, cookies and certificates included. */
import { repoDeltaSource } from '../check/repair-delta.ts';
import { archiveSource, type RepairSource, repoSource } from '../check/repair-source.ts';
import { readRemote, urlRemote } from '../repo/remote-config.ts';
import type { Repo } from '../repo/repo.ts';
import type { HttpSourceOptions } from './http-source.ts';
import { openRemote } from './remote-summary.ts';
import { remoteDeltaSource } from './repair-remote-deltas.ts';

/**
 * Opens a remote as two sources: its objects, and its static deltas for what it does not have singly. Each has to be closed.
 *
 * @param remote the name of a remote, or the URL of a repository
 * @throws OSTREE_REMOTE_UNKNOWN OSTREE_REMOTE_UNUSABLE OSTREE_REMOTE_ERROR OSTREE_METALINK_INVALID OSTREE_REPO_NOT_FOUND HTTP_*
 */
export async function openRemoteSources(repo: Repo, remote: string, options: HttpSourceOptions = {}, signal?: AbortSignal): Promise<RepairSource[]> {
  const isUrl = /^(?:https?|file):\/\//.test(remote);
  const source = await openRemote(repo, isUrl ? urlRemote(remote) : readRemote(repo, remote), options, signal);
  const [objects, deltas] =
    source.repo === undefined
      ? [archiveSource(source.where, (path, take, aborted) => source.read(path, 'content', ({ body }) => take(body), aborted)), remoteDeltaSource(repo, source)]
      : [repoSource(source.repo), repoDeltaSource(repo, source.repo)];
  return [{ ...objects, close: () => source.close() }, deltas];
}
