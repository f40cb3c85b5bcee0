export { type BadObject, type FsckEvent, type FsckOptions, type FsckResult, formatFsckEvent, formatFsckResult, fsck, fsckFailure } from './check/fsck.ts';
export { formatPruneResult, type PruneOptions, type PruneResult, prune } from './check/prune.ts';
export { type RepairEvent, type RepairResult, repair } from './check/repair.ts';
export { deltaSource, repoDeltaSource } from './check/repair-delta.ts';
export { directorySource } from './check/repair-directory.ts';
export { type RepairSource, repoSource } from './check/repair-source.ts';
export { type CheckoutOptions, type CheckoutRecord, type CheckoutResult, checkout, parseCheckoutRecords, parseSkipList } from './checkout/checkout.ts';
export { type ExportTarOptions, exportTar } from './checkout/export-tar.ts';
export { commitDirectory } from './commit/commit-directory.ts';
export { type CommitOptions, findKernelRelease, writeCommitObject } from './commit/commit-object.ts';
export { overlayCommit } from './commit/commit-overlay.ts';
export { type CommitTarOptions, commitTar } from './commit/commit-tar.ts';
export * from './commit/mutable-tree.ts';
export { type ApplyDeltaResult, applyDelta, type DeltaInput } from './delta/apply.ts';
export {
  type DeltaDescription,
  deleteDelta,
  describeDelta,
  formatDeltaDescription,
  hasDelta,
  openRepoDelta,
  type PartDescription,
  verifyDelta,
} from './delta/describe.ts';
export { type GenerateDeltaEvent, type GenerateDeltaOptions, type GenerateDeltaResult, generateDelta } from './delta/generate.ts';
export { type ApplyOfflineOptions, applyDeltaOffline, type OpenedDelta, openDelta } from './delta/offline.ts';
export { type DeltaFallback, type DeltaPartHeader, type DeltaSuperblock, type Endianness, parseSuperblock } from './delta/superblock.ts';
export * from './errors.ts';
export * from './format/byteswap.ts';
export * from './format/commit-format.ts';
export * from './format/delta-path.ts';
export { encodeXattrList, parseXattrList } from './format/framing.ts';
export * from './format/key-file.ts';
export * from './format/object-format.ts';
export * from './format/object-path.ts';
export * from './format/object-set.ts';
export { repoModeOf } from './format/repo-mode.ts';
export * from './format/summary.ts';
export type * from './format/types.ts';
export { cacheControl, isNamedByContent } from './publish/caching.ts';
export { type CreateUsbOptions, createUsb } from './publish/create-usb.ts';
export { type FindRemotesOptions, type FoundRemote, findRemotes, pullFromRemotes } from './publish/find-remotes.ts';
export { publicConfig } from './publish/public-config.ts';
export { type PushEvent, type PushResult, push } from './publish/push.ts';
export { type S3Options, s3Target } from './publish/push-s3.ts';
export { sftpTarget } from './publish/push-sftp.ts';
export { directoryTarget, type PushTarget } from './publish/push-target.ts';
export { commitRepoMetadata } from './publish/repo-metadata.ts';
export { appendCookie, type Cookie, type CookieName, formatCookies, readCookies, removeCookie } from './pull/cookies.ts';
export { pull } from './pull/pull.ts';
export { type PullLocalEvent, type PullLocalOptions, type PullLocalResult, pullLocal } from './pull/pull-local.ts';
export { type PullSize, pullSize, type TargetMode } from './pull/pull-size.ts';
export { formatDeltaTotals, formatPullResult } from './pull/pull-text.ts';
export type { DeltaTotals, PullEvent, PullOptions, PullResult } from './pull/pull-types.ts';
export { fetchRemoteSummary, type RemoteSummary } from './pull/remote-summary.ts';
export { openRemoteSource } from './pull/repair-remote.ts';
export * from './repo/bindings.ts';
export { type CollectionRef, formatCollectionRef, listCollectionRefs } from './repo/collection-refs.ts';
export * from './repo/commit-markers.ts';
export { syncDirectory, writeFileDurably } from './repo/durable-file.ts';
export * from './repo/lookup.ts';
export * from './repo/object-reader.ts';
export * from './repo/refs.ts';
export { type RemoteConfig, readRemote } from './repo/remote-config.ts';
export * from './repo/repo.ts';
export * from './repo/repo-config.ts';
export * from './repo/repo-layout.ts';
export type { RepoLock, RepoLockKind } from './repo/repo-lock.ts';
export * from './repo/traverse.ts';
export * from './repo/tree-walk.ts';
export * from './show/diff.ts';
export { formatListEntry, formatXattrs, type ListEntry, type ListOptions, list } from './show/list.ts';
export * from './show/log.ts';
export * from './show/rev-text.ts';
export * from './show/show.ts';
export { formatRawSummary, formatSummary } from './show/summary-text.ts';
export * from './sign/sign.ts';
export * from './sign/sign-raw.ts';
export * from './sign/signature-text.ts';
export {
  type EngineTrust,
  globalKeyrings,
  type RemoteTrust,
  readKeyFile,
  readKeys,
  readRemoteTrust,
  systemKeys,
  type TrustOptions,
} from './sign/trust-policy.ts';
export { checkRawSignatures, formatSignatureReports, type SignatureReport, verifyCommitBytes, verifySummaryBytes } from './sign/verify.ts';
export { reindexDeltas } from './summary/delta-index.ts';
export { autoUpdateSummary, readSummaryFile, regenerateSummary } from './summary/summary-write.ts';
export { type CommitModifiers, checkAllMatched, type MatchedPaths, modifyEntry, parseStatOverrides, type StatOverride } from './write/commit-modifiers.ts';
export type * from './write/content-writer.ts';
export { DEFAULT_ZLIB_LEVEL, deflateContent } from './write/deflate.ts';
export { type DevInoCache, lookupDevIno, scanDevIno } from './write/devino-cache.ts';
export { Transaction, type TransactionOptions, type TransactionStats } from './write/transaction.ts';
