/** What a pull is asked, tells while it works, and returns. */
import type { Checksum } from '@cambium/base';
import type { Repo } from '../repo/repo.ts';
import type { TrustOptions } from '../sign/trust-policy.ts';
import type { SignatureReport } from '../sign/verify.ts';
import type { TransactionStats } from '../write/transaction.ts';
import type { HttpSourceOptions } from './http-source.ts';

export interface PullOptions extends HttpSourceOptions {
  remote: string;
  /** `REF`, `REF@CHECKSUM`, or commit checksums; the remote's `branches` when left out, all refs with `mirror`. */
  refs?: readonly string[] | undefined;
  /** Parents to fetch too: -1 all, 0 none (the default). A parent that the remote does not have ends its line. */
  depth?: number | undefined;
  /** Write `REF` instead of `REMOTE:REF`; with all refs, take over the summary too. */
  mirror?: boolean | undefined;
  /** Fetch what lies at these absolute paths only; commits stay partial. */
  subpaths?: readonly string[] | undefined;
  /** Fetch commit objects only; they stay partial. */
  commitMetadataOnly?: boolean | undefined;
  /** Verify content of a `file://` remote or a local cache before linking it. */
  untrusted?: boolean | undefined;
  /** Store what HTTP brings without verifying its content; for archive repositories. */
  httpTrusted?: boolean | undefined;
  bareUserOnlyFiles?: boolean | undefined;
  /** Default `use`. */
  staticDeltas?: 'use' | 'never' | 'required' | undefined;
  /** Find out what the deltas would bring, and change nothing; needs `staticDeltas: 'required'`. */
  dryRun?: boolean | undefined;
  /** Repositories on this machine to take objects from first. */
  localCaches?: readonly Repo[] | undefined;
  /** Refuse a commit that is older than what its ref points at here. */
  timestampCheck?: boolean | undefined;
  /** Refuse a commit that is older than this one. */
  timestampCheckFrom?: Checksum | undefined;
  disableVerifyBindings?: boolean | undefined;
  /** Find out before anything is fetched how much will be, where commits record the sizes of their objects: some milliseconds for a thousand. */
  wantTotals?: boolean | undefined;
  /** Where summaries are kept, instead of `tmp/cache`. */
  cacheDirectory?: string | undefined;
  trust?: TrustOptions | undefined;
  /** Requests at once: 16. */
  requests?: number | undefined;
  /** These as for a transaction. */
  workers?: number | undefined;
  fsync?: boolean | undefined;
  perObjectFsync?: boolean | undefined;
  bootId?: string | undefined;
}

export type PullEvent =
  /** The remote's summary, or a commit, is signed as its settings ask. */
  | { type: 'verified'; what: 'summary' | 'commit'; checksum: Checksum | undefined; signatures: readonly SignatureReport[] }
  /** The summary that was kept from the last time does not fit its signature; the remote is asked for it. */
  | { type: 'summary-cache-invalid' }
  | { type: 'commit'; checksum: Checksum; ref: string | undefined; present: boolean }
  /** What a static delta will bring. */
  | { type: 'delta'; name: string; parts: number; bytes: number; usizeBytes: number }
  /** So far; `metadataDone` once all trees are known, and with them all totals. */
  | {
      type: 'progress';
      metadata: number;
      content: number;
      contentWanted: number;
      transferredBytes: number;
      /** What `transferredBytes` will be, as far as deltas, and with `wantTotals` commits, have told. */
      expectedBytes?: number | undefined;
      metadataDone: boolean;
    };

/** What the static deltas of a dry run, or of the pull, amount to. */
export interface DeltaTotals {
  parts: number;
  partsFetched: number;
  bytes: number;
  usizeBytes: number;
}

export interface PullResult {
  /** The refs that were asked for, without the remote's name. */
  refs: ReadonlyMap<string, Checksum>;
  /** Commits fetched or looked at. */
  commits: readonly Checksum[];
  /** Requests for metadata, and objects fetched. */
  metadataFetched: number;
  contentFetched: number;
  /** Objects taken from repositories on this machine. */
  metadataImported: number;
  contentImported: number;
  /** From a `file://` remote. */
  local: boolean;
  deltas: DeltaTotals;
  transferredBytes: number;
  elapsedMs: number;
  stats: TransactionStats | undefined;
}
