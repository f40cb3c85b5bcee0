/** The summary of a remote: fetched, verified as the remote's settings ask, and kept when it is signed. */
import { mkdirSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf, isKnownError } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import { MAX_SUMMARY_BYTES, parseSummary, type Summary } from '../format/summary.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { writeFileDurably } from '../repo/durable-file.ts';
import { type RemoteConfig, readRemote } from '../repo/remote-config.ts';
import type { Repo } from '../repo/repo.ts';
import { type RemoteTrust, readRemoteTrust, type TrustOptions } from '../sign/trust-policy.ts';
import { verifySummaryBytes } from '../sign/verify.ts';
import { openFileSource } from './file-source.ts';
import { type HttpSourceOptions, openHttpSource } from './http-source.ts';
import type { RemoteSource } from './remote-source.ts';

export interface RemoteSummary {
  summary: Summary;
  bytes: Uint8Array;
  signature: Uint8Array | undefined;
}

/** Opens a remote's repository where its settings say. @throws OSTREE_REMOTE_UNUSABLE OSTREE_REPO_NOT_FOUND HTTP_* */
export async function openRemote(repo: Repo, remote: RemoteConfig, options: HttpSourceOptions, signal?: AbortSignal): Promise<RemoteSource> {
  const url = options.url ?? remote.url;
  if (url?.startsWith('file:') === true) return openFileSource(url);
  return openHttpSource(repo.path, remote, options, signal);
}

/** Returns the summary of a source, or undefined when it has none. @throws OSTREE_SUMMARY_INVALID OSTREE_SIGNATURE_* HTTP_* */
export async function readRemoteSummary(
  repo: Repo,
  source: RemoteSource,
  trust: RemoteTrust,
  cacheDirectory: string | undefined,
  signal?: AbortSignal,
): Promise<RemoteSummary | undefined> {
  const path = join(cacheDirectory ?? join(repo.path, 'tmp', 'cache'), 'summaries', trust.remote);
  const cached = { summary: readCache(path), signature: readCache(`${path}.sig`) };
  const limitBytes = MAX_SUMMARY_BYTES;
  const fetchSummary = (): ReturnType<RemoteSource['get']> => source.get('summary', { limitBytes }, signal);
  // Both at once, unless the one may spare the other.
  const early = cached.signature === undefined || cached.summary === undefined ? fetchSummary() : undefined;
  early?.catch(() => undefined);
  const signature = bytesOf(await source.get('summary.sig', { limitBytes }, signal));
  if (
    early === undefined &&
    signature !== undefined &&
    cached.summary !== undefined &&
    cached.signature !== undefined &&
    Buffer.compare(signature, cached.signature) === 0
  ) {
    try {
      await verifySummaryBytes(trust, cached.summary, signature, signal);
      return { summary: parseSummary(cached.summary), bytes: cached.summary, signature };
    } catch (error) {
      // Damaged here: the remote's own is asked for.
      if (!isKnownError(error)) throw error;
    }
  }
  const fetched = await (early ?? fetchSummary());
  const bytes = bytesOf(fetched);
  if (bytes === undefined) {
    if (trust.gpg.summary || trust.sign.summary !== undefined) {
      throw ostreeError(
        'OSTREE_SIGNATURE_MISSING',
        signature === undefined && trust.gpg.summary
          ? 'GPG verification enabled, but no summary.sig found (use gpg-verify-summary=false in remote config to disable)'
          : 'GPG verification enabled, but no summary found (use gpg-verify-summary=false in remote config to disable)',
      );
    }
    return undefined;
  }
  await verifySummaryBytes(trust, bytes, signature, signal);
  const summary = parseSummary(bytes);
  if (signature !== undefined && repo.writable && source.repo === undefined)
    writeCache(path, bytes, signature, typeof fetched === 'object' ? fetched.lastModified : undefined);
  return { summary, bytes, signature };
}

/** Fetches the summary of a configured remote, without pulling. @throws as {@link readRemoteSummary}, OSTREE_REMOTE_UNKNOWN */
export async function fetchRemoteSummary(
  repo: Repo,
  name: string,
  options: HttpSourceOptions & { cacheDirectory?: string | undefined; trust?: TrustOptions | undefined } = {},
  signal?: AbortSignal,
): Promise<RemoteSummary | undefined> {
  const remote = readRemote(repo, name);
  const source = await openRemote(repo, remote, options, signal);
  try {
    return await readRemoteSummary(repo, source, readRemoteTrust(repo, name, options.trust), options.cacheDirectory, signal);
  } finally {
    await source.close();
  }
}

function bytesOf(file: Awaited<ReturnType<RemoteSource['get']>>): Uint8Array | undefined {
  return file === undefined || file === 'unchanged' ? undefined : file.bytes;
}

function readCache(path: string): Uint8Array | undefined {
  try {
    return readBounded(path, MAX_SUMMARY_BYTES, () => ostreeError('OSTREE_SUMMARY_INVALID', `Cannot use cached summary "${path}"`));
  } catch (error) {
    if (isKnownError(error) || errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

function writeCache(path: string, bytes: Uint8Array, signature: Uint8Array, lastModified: string | undefined): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileDurably(path, bytes, { sync: false, mode: 0o644 });
  writeFileDurably(`${path}.sig`, signature, { sync: false, mode: 0o644 });
  const time = lastModified === undefined ? Number.NaN : Date.parse(lastModified) / 1000;
  if (Number.isFinite(time)) utimesSync(path, time, time);
}
