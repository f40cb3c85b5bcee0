/** Which commits a pull is about. */
import { type Checksum, isChecksum } from '@cambium/base';
import { ostreeError } from '../errors.ts';
import type { Summary, SummaryRef } from '../format/summary.ts';
import { isRefName } from '../repo/refs.ts';
import type { RemoteConfig } from '../repo/remote-config.ts';
import { missingFile } from './http-source.ts';
import type { PullOptions } from './pull-types.ts';
import type { RemoteSource } from './remote-source.ts';

export interface WantedRef {
  /** Undefined for a commit that was asked for by its checksum. */
  ref: string | undefined;
  /** Undefined for the remote's own. */
  collection: string | undefined;
  checksum: Checksum;
  /** Of the commit object, as the summary has it. */
  commitBytes: number | undefined;
}

/** A ref as asked for. */
export interface RequestedRef {
  ref: string | undefined;
  checksum: Checksum | undefined;
}

const MAX_REF_FILE_BYTES = 4096;

/** Returns what was asked for, or undefined for all refs. @throws OSTREE_REF_INVALID OSTREE_REF_NOT_FOUND */
export function requestedRefs(remote: RemoteConfig, options: PullOptions): RequestedRef[] | undefined {
  const named = options.refs !== undefined && options.refs.length > 0 ? options.refs : undefined;
  if (named === undefined && remote.branches.length === 0) {
    if (options.mirror === true) return undefined;
    throw ostreeError('OSTREE_REF_NOT_FOUND', `No configured branches for remote ${remote.name}`);
  }
  return (named ?? remote.branches).map((text) => {
    if (isChecksum(text)) return { ref: undefined, checksum: text };
    const [ref = '', pin] = text.split('@');
    if (pin !== undefined && !isChecksum(pin)) throw ostreeError('OSTREE_REF_INVALID', `Invalid rev ${pin}`);
    if (!isRefName(ref)) throw ostreeError('OSTREE_REF_INVALID', `Invalid ref name ${ref}`);
    return { ref, checksum: pin };
  });
}

/** @throws OSTREE_REF_NOT_FOUND OSTREE_REF_INVALID OSTREE_REMOTE_FILE_MISSING */
export async function planRefs(
  requested: RequestedRef[] | undefined,
  remote: RemoteConfig,
  source: RemoteSource,
  summary: Summary | undefined,
  signal?: AbortSignal,
): Promise<WantedRef[]> {
  if (requested === undefined) {
    if (summary === undefined)
      throw ostreeError('OSTREE_REMOTE_FILE_MISSING', 'Fetching all refs was requested in mirror mode, but remote repository does not have a summary');
    return allRefs(summary, remote);
  }
  const wanted: WantedRef[] = [];
  for (const { ref, checksum } of requested) {
    if (checksum !== undefined || ref === undefined) wanted.push({ ref, collection: undefined, checksum: checksum as Checksum, commitBytes: undefined });
    else wanted.push(summary === undefined ? await readRef(ref, source, signal) : findRef(ref, summary, remote));
  }
  return wanted;
}

function allRefs(summary: Summary, remote: RemoteConfig): WantedRef[] {
  const wanted = summary.refs.map((entry) => entryOf(entry, remote.collectionId === undefined ? undefined : summary.collectionId));
  if (remote.collectionId !== undefined) for (const [collection, refs] of summary.collections) wanted.push(...refs.map((entry) => entryOf(entry, collection)));
  return wanted;
}

function findRef(ref: string, summary: Summary, remote: RemoteConfig): WantedRef {
  const { collectionId } = remote;
  const refs = collectionId === undefined || collectionId === summary.collectionId ? summary.refs : (summary.collections.get(collectionId) ?? []);
  const found = refs.find((entry) => entry.ref === ref);
  if (found === undefined) {
    const name = collectionId === undefined ? `'${ref}'` : `(${collectionId}, ${ref})`;
    throw ostreeError('OSTREE_REF_NOT_FOUND', `No such branch ${name} in repository summary`, { data: { ref } });
  }
  return entryOf(found, undefined);
}

function entryOf({ ref, checksum, commitBytes }: SummaryRef, collection: string | undefined): WantedRef {
  // A name from a summary becomes a file name.
  if (!isRefName(ref)) throw ostreeError('OSTREE_REF_INVALID', `Invalid ref name ${ref.slice(0, 300)}`);
  return { ref, collection, checksum, commitBytes: Number(commitBytes) };
}

async function readRef(ref: string, source: RemoteSource, signal: AbortSignal | undefined): Promise<WantedRef> {
  if (source.repo !== undefined) {
    const checksum = source.repo.refs.read(ref);
    if (checksum === undefined) throw ostreeError('OSTREE_REF_NOT_FOUND', `Refspec '${ref}' not found`, { data: { ref } });
    return { ref, collection: undefined, checksum, commitBytes: undefined };
  }
  const path = `refs/heads/${ref}`;
  const file = await source.get(path, { limitBytes: MAX_REF_FILE_BYTES }, signal);
  if (file === undefined || file === 'unchanged') throw missingFile(path);
  const text = Buffer.from(file.bytes).toString('latin1').trimEnd();
  if (!isChecksum(text)) {
    // Often a page of HTML that says something else: its start, on one line.
    const start = text.slice(0, 64).replace(/[^\x20-\x7e]/g, ' ');
    throw ostreeError('OSTREE_REF_INVALID', `Fetching checksum for ref ((empty), ${ref}): Invalid rev ${start}`, { data: { ref } });
  }
  return { ref, collection: undefined, checksum: text, commitBytes: undefined };
}
