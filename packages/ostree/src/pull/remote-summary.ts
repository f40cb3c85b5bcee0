/** The summary of a remote: fetched, verified as the remote's settings ask, and kept when it is signed. */
import { mkdirSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf, isKnownError } from '@cambium/base';
import { getXattr, setXattr } from '@cambium/system';
import { ostreeError } from '../errors.ts';
import { MAX_SUMMARY_BYTES, parseSummary, type Summary } from '../format/summary.ts';
import { readBounded } from '../repo/bounded-file.ts';
import { writeFileDurably } from '../repo/durable-file.ts';
import { type RemoteConfig, readRemote } from '../repo/remote-config.ts';
import type { Repo } from '../repo/repo.ts';
import { type RemoteTrust, readRemoteTrust, type TrustOptions } from '../sign/trust-policy.ts';
import { type SignatureReport, verifySummaryBytes } from '../sign/verify.ts';
import { openFileSource } from './file-source.ts';
import { type HttpSourceOptions, openHttpSource } from './http-source.ts';
import type { RemoteSource, SmallFile } from './remote-source.ts';

export interface RemoteSummary {
  summary: Summary;
  bytes: Uint8Array;
  signature: Uint8Array | undefined;
  /** Verdicts on the signatures that the remote's settings ask for; none when they ask for none. */
  signatures: readonly SignatureReport[];
}

/** Opens a remote's repository where its settings say. @throws OSTREE_REMOTE_UNUSABLE OSTREE_REPO_NOT_FOUND HTTP_* */
export async function openRemote(repo: Repo, remote: RemoteConfig, options: HttpSourceOptions, signal?: AbortSignal): Promise<RemoteSource> {
  const url = options.url ?? remote.url;
  if (url?.startsWith('file:') === true) return openFileSource(url);
  return openHttpSource(repo.path, remote, options, signal);
}

export interface ReadSummaryOptions {
  /** Where summaries are kept, instead of `tmp/cache`. */
  cacheDirectory?: string | undefined;
  /** Told when what is kept does not fit its signature; the remote is asked again then. */
  onInvalidCache?: (() => void) | undefined;
}

/**
 * Returns the summary of a source, or undefined when it has none. A signed one is kept, with what its server calls that version, so that the next
 * time it is sent only when it has changed. Files and attributes of the cache: libostree 2022.7.
 *
 * @throws OSTREE_SUMMARY_INVALID OSTREE_SIGNATURE_* HTTP_*
 */
export async function readRemoteSummary(
  repo: Repo,
  source: RemoteSource,
  trust: RemoteTrust,
  options: ReadSummaryOptions,
  signal?: AbortSignal,
): Promise<RemoteSummary | undefined> {
  const path = join(options.cacheDirectory ?? join(repo.path, 'tmp', 'cache'), 'summaries', trust.remote);
  const cached = { summary: readCache(path), signature: readCache(`${path}.sig`) };
  if (cached.summary !== undefined && cached.signature !== undefined) {
    const told = await source.get('summary.sig', { limitBytes: MAX_SUMMARY_BYTES, since: cached.signature }, signal);
    const signature = told === 'unchanged' ? cached.signature : told;
    if (signature !== undefined && Buffer.compare(signature.bytes, cached.signature.bytes) === 0) {
      const kept = await tryVerify(trust, cached.summary.bytes, signature.bytes, signal);
      if (kept !== undefined) return kept;
      options.onInvalidCache?.();
    } else if (signature !== undefined) {
      const file = await source.get('summary', { limitBytes: MAX_SUMMARY_BYTES, since: cached.summary }, signal);
      if (file === 'unchanged') {
        const kept = await tryVerify(trust, cached.summary.bytes, signature.bytes, signal);
        if (kept !== undefined) {
          writeCache(repo, source, path, cached.summary, signature);
          return kept;
        }
      } else return verifyFetched(repo, source, trust, path, file, signature, signal);
    }
  }
  // Both at once: nothing that is here spares one of them.
  const limits = { limitBytes: MAX_SUMMARY_BYTES };
  const reading = source.get('summary', limits, signal);
  reading.catch(() => undefined);
  const signature = await source.get('summary.sig', limits, signal);
  return verifyFetched(repo, source, trust, path, fileOf(await reading), fileOf(signature), signal);
}

/** Returns what is here when it fits its signature: what is damaged here is not the remote's failure. */
async function tryVerify(trust: RemoteTrust, bytes: Uint8Array, signature: Uint8Array, signal: AbortSignal | undefined): Promise<RemoteSummary | undefined> {
  try {
    return { signatures: await verifySummaryBytes(trust, bytes, signature, signal), summary: parseSummary(bytes), bytes, signature };
  } catch (error) {
    if (!isKnownError(error)) throw error;
    return undefined;
  }
}

async function verifyFetched(
  repo: Repo,
  source: RemoteSource,
  trust: RemoteTrust,
  path: string,
  file: SmallFile | undefined,
  signature: SmallFile | undefined,
  signal: AbortSignal | undefined,
): Promise<RemoteSummary | undefined> {
  if (file === undefined) {
    if (!trust.gpg.summary && trust.sign.summary === undefined) return undefined;
    throw ostreeError(
      'OSTREE_SIGNATURE_MISSING',
      signature === undefined && trust.gpg.summary
        ? 'GPG verification enabled, but no summary.sig found (use gpg-verify-summary=false in remote config to disable)'
        : 'GPG verification enabled, but no summary found (use gpg-verify-summary=false in remote config to disable)',
    );
  }
  const signatures = await verifySummaryBytes(trust, file.bytes, signature?.bytes, signal);
  const summary = parseSummary(file.bytes);
  if (signature !== undefined) writeCache(repo, source, path, file, signature);
  return { summary, bytes: file.bytes, signature: signature?.bytes, signatures };
}

/** Fetches the summary of a configured remote, without pulling. @throws as {@link readRemoteSummary}, OSTREE_REMOTE_UNKNOWN */
export async function fetchRemoteSummary(
  repo: Repo,
  name: string,
  options: HttpSourceOptions & Pick<ReadSummaryOptions, 'cacheDirectory'> & { trust?: TrustOptions | undefined } = {},
  signal?: AbortSignal,
): Promise<RemoteSummary | undefined> {
  const remote = readRemote(repo, name);
  const source = await openRemote(repo, remote, options, signal);
  try {
    return await readRemoteSummary(repo, source, readRemoteTrust(repo, name, options.trust), { cacheDirectory: options.cacheDirectory }, signal);
  } finally {
    await source.close();
  }
}

function fileOf(file: Awaited<ReturnType<RemoteSource['get']>>): SmallFile | undefined {
  return file === 'unchanged' ? undefined : file;
}

const ETAG_ATTRIBUTE = 'user.etag';

function readCache(path: string): SmallFile | undefined {
  try {
    const bytes = readBounded(path, MAX_SUMMARY_BYTES, () => ostreeError('OSTREE_SUMMARY_INVALID', `Cannot use cached summary "${path}"`));
    const { mtimeMs, mtime } = statSync(path);
    return { bytes, etag: etagOf(path), lastModified: mtimeMs > 0 ? mtime.toUTCString() : undefined };
  } catch (error) {
    if (isKnownError(error) || errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

function etagOf(path: string): string | undefined {
  const tag = Buffer.from(getXattr(path, ETAG_ATTRIBUTE) ?? []).toString('latin1');
  // It goes into a header.
  return /^[\x21-\x7e]{1,1000}$/.test(tag) ? tag : undefined;
}

function writeCache(repo: Repo, source: RemoteSource, path: string, summary: SmallFile, signature: SmallFile): void {
  if (!repo.writable || source.repo !== undefined) return;
  mkdirSync(dirname(path), { recursive: true });
  for (const [name, file] of [
    [path, summary],
    [`${path}.sig`, signature],
  ] as const) {
    writeFileDurably(name, file.bytes, { sync: false, mode: 0o644 });
    const time = file.lastModified === undefined ? Number.NaN : Date.parse(file.lastModified) / 1000;
    // Without a date of the server's, none at all: our clock is not its.
    utimesSync(name, Number.isFinite(time) ? time : 0, Number.isFinite(time) ? time : 0);
    if (file.etag !== undefined) keepEtag(name, file.etag);
  }
}

function keepEtag(path: string, etag: string): void {
  try {
    setXattr(path, ETAG_ATTRIBUTE, Buffer.from(etag, 'latin1'));
  } catch (error) {
    // A file system without such attributes: the date has to do.
    if (errnoOf(error) === undefined) throw error;
  }
}
