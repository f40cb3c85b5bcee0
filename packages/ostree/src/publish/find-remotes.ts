/** Where refs of collections can be had: configured remotes, and volumes. Source: `ostree find-remotes`, libostree 2022.7. */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Checksum, compareUtf8, errnoOf, isKnownError } from '@cambium/base';
import { u64Swap } from '@cambium/gvariant';
import { metadataValue } from '../format/commit-format.ts';
import { COMMIT_TIMESTAMP_KEY, SUMMARY_KEYS, type Summary, type SummaryRef } from '../format/summary.ts';
import type { HttpSourceOptions } from '../pull/http-source.ts';
import { pull } from '../pull/pull.ts';
import type { PullOptions } from '../pull/pull-types.ts';
import { fetchRemoteSummary } from '../pull/remote-summary.ts';
import { type CollectionRef, checkCollectionRef, formatCollectionRef } from '../repo/collection-refs.ts';
import { readRemote } from '../repo/remote-config.ts';
import type { Repo } from '../repo/repo.ts';
import { readRemoteTrust, type TrustOptions } from '../sign/trust-policy.ts';

export interface FindRemotesOptions extends HttpSourceOptions {
  /** Look at configured remotes with a collection ID. */
  config: boolean;
  /** Look at repositories on the volumes mounted here. */
  mounts: readonly string[];
  cacheDirectory?: string | undefined;
  trust?: TrustOptions | undefined;
  /** A place that cannot be asked is passed over. */
  onFailure?: ((place: string, error: unknown) => void) | undefined;
}

/** A place that has some of the refs. */
export interface FoundRemote {
  finder: 'config' | 'mount';
  /** The configured remote whose keys count for what comes from here. */
  remote: string;
  url: string;
  /** Lower is better. */
  priority: number;
  /** Seconds since 1970. */
  lastModified: bigint | undefined;
  /** Each ref that was asked for; undefined when it is not there, or older than elsewhere. */
  refs: readonly (CollectionRef & { checksum: Checksum | undefined })[];
}

const PRIORITY = { mount: 50, config: 100 } as const;
/** Where a volume keeps repositories, the directories of links aside. */
const PLACES_ON_VOLUMES = ['.ostree/repo', 'ostree/repo', 'var/lib/flatpak'];
const LINKS_ON_VOLUMES = '.ostree/repos.d';

interface Candidate {
  finder: FoundRemote['finder'];
  remote: string;
  url: string;
  collection: string;
}

/** Returns places in the order in which they are best asked. @throws OSTREE_REF_INVALID */
export async function findRemotes(repo: Repo, refs: readonly CollectionRef[], options: FindRemotesOptions, signal?: AbortSignal): Promise<FoundRemote[]> {
  refs.forEach(checkCollectionRef);
  const found: { place: FoundRemote; times: ReadonlyMap<string, bigint> }[] = [];
  for (const candidate of candidates(repo, new Set(refs.map(({ collection }) => collection)), options)) {
    try {
      const { finder, remote, url, collection } = candidate;
      const fetched = await fetchRemoteSummary(repo, remote, { ...options, url: finder === 'mount' ? url : undefined }, signal);
      if (fetched === undefined) continue;
      const known = new Map(refsOf(fetched.summary, collection).map((row) => [row.ref, row]));
      const wanted = refs.filter((ref) => ref.collection === collection);
      if (!wanted.some(({ ref }) => known.has(ref))) continue;
      const rows = refs.map((ref) => ({ ...ref, checksum: ref.collection === collection ? known.get(ref.ref)?.checksum : undefined }));
      const place: FoundRemote = {
        finder,
        remote,
        url,
        priority: PRIORITY[finder],
        lastModified: bigEndian(fetched.summary.metadata, SUMMARY_KEYS.lastModified),
        refs: rows,
      };
      found.push({ place, times: new Map(wanted.map(({ ref }) => [ref, bigEndian(known.get(ref)?.metadata ?? [], COMMIT_TIMESTAMP_KEY) ?? 0n])) });
    } catch (error) {
      signal?.throwIfAborted();
      if (!isKnownError(error) && errnoOf(error) === undefined) throw error;
      options.onFailure?.(candidate.url, error);
    }
  }
  const newest = new Map<string, bigint>();
  for (const { place, times } of found) {
    for (const row of place.refs) {
      const time = times.get(row.ref) ?? 0n;
      if (row.checksum !== undefined && time > (newest.get(formatCollectionRef(row)) ?? -1n)) newest.set(formatCollectionRef(row), time);
    }
  }
  // What another place has newer is not worth having.
  const current = found.map(({ place, times }) => ({
    ...place,
    refs: place.refs.map((row) =>
      row.checksum === undefined || times.get(row.ref) === newest.get(formatCollectionRef(row)) ? row : { ...row, checksum: undefined },
    ),
  }));
  return current.filter((place) => place.refs.some(({ checksum }) => checksum !== undefined)).sort(better);
}

/**
 * Pulls each ref from the first place that has it and gives it; returns those that none gave.
 * A place whose remote asks for no signatures of commits is not believed: anybody can make a volume, or a collection.
 */
export async function pullFromRemotes(
  repo: Repo,
  places: readonly FoundRemote[],
  options: Omit<PullOptions, 'remote' | 'refs' | 'url'> & { onFailure?: FindRemotesOptions['onFailure'] },
  signal?: AbortSignal,
): Promise<CollectionRef[]> {
  const missing = new Map(places.flatMap((place) => place.refs.filter(({ checksum }) => checksum !== undefined)).map((row) => [formatCollectionRef(row), row]));
  for (const place of places) {
    const wanted = place.refs.filter((row) => row.checksum !== undefined && missing.has(formatCollectionRef(row)));
    const trust = readRemoteTrust(repo, place.remote, options.trust);
    if (wanted.length === 0 || !(trust.gpg.commits || trust.sign.commits !== undefined)) continue;
    try {
      const url = place.finder === 'mount' ? place.url : undefined;
      await pull(repo, { ...options, remote: place.remote, url, refs: wanted.map(({ ref, checksum }) => `${ref}@${checksum}`) }, signal);
      for (const row of wanted) missing.delete(formatCollectionRef(row));
    } catch (error) {
      signal?.throwIfAborted();
      if (!isKnownError(error) && errnoOf(error) === undefined) throw error;
      options.onFailure?.(place.url, error);
    }
  }
  return [...missing.values()].map(({ collection, ref }) => ({ collection, ref }));
}

function* candidates(repo: Repo, collections: ReadonlySet<string>, options: FindRemotesOptions): Generator<Candidate> {
  const remotes = remoteNames(repo).map((name) => readRemote(repo, name));
  const members = remotes.filter(({ collectionId }) => collectionId !== undefined && collections.has(collectionId));
  if (options.config) {
    for (const { name, url, metalink, collectionId } of members) {
      const at = url ?? metalink;
      if (at !== undefined) yield { finder: 'config', remote: name, url: at, collection: collectionId as string };
    }
  }
  for (const mount of options.mounts) {
    for (const path of reposOnVolume(mount)) {
      for (const collection of collections) {
        const remote = members.find(({ collectionId }) => collectionId === collection);
        if (remote !== undefined) yield { finder: 'mount', remote: remote.name, url: pathToFileURL(path).href, collection };
      }
    }
  }
}

function remoteNames(repo: Repo): string[] {
  const found = new Set<string>();
  for (let at: Repo | undefined = repo; at !== undefined; at = at.parent) {
    for (const group of at.config.groups()) {
      const name = /^remote "(.+)"$/.exec(group)?.[1];
      if (name !== undefined) found.add(name);
    }
  }
  return [...found];
}

/** Links that lead out of the volume are not followed. */
function reposOnVolume(mount: string): string[] {
  const links = names(join(mount, LINKS_ON_VOLUMES)).map((name) => join(mount, LINKS_ON_VOLUMES, name));
  const found = new Set<string>();
  for (const path of [...links, ...PLACES_ON_VOLUMES.map((place) => join(mount, place))]) {
    if (!existsSync(join(path, 'objects')) || !existsSync(join(path, 'config'))) continue;
    const real = realpathSync(path);
    if (real.startsWith(`${realpathSync(mount).replace(/\/$/, '')}/`)) found.add(real);
  }
  return [...found];
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    // No directory, or none that may be read: there is nothing to be found.
    return [];
  }
}

function refsOf(summary: Summary, collection: string): readonly SummaryRef[] {
  return summary.collectionId === collection ? summary.refs : (summary.collections.get(collection) ?? []);
}

function bigEndian(metadata: Summary['metadata'], key: string): bigint | undefined {
  const value = metadataValue<bigint>(metadata, key, 't');
  return value === undefined ? undefined : u64Swap(value);
}

/** Of equal places the one with the older summary first, as in libostree: what is outdated has gone from the lists already. */
function better(a: FoundRemote, b: FoundRemote): number {
  const [one, other] = [a, b].map(({ lastModified }) => lastModified ?? 0n) as [bigint, bigint];
  if (a.priority !== b.priority) return a.priority - b.priority;
  if (one !== other && one !== 0n && other !== 0n) return one < other ? -1 : 1;
  return b.refs.length - a.refs.length || compareUtf8(a.remote, b.remote);
}
