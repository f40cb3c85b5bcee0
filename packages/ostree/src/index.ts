export type { BadObject, FsckEvent, FsckOptions, FsckResult } from './check/fsck.ts';
export { formatFsckEvent, formatFsckResult, fsckFailure } from './check/fsck-text.ts';
export type { PruneOptions, PruneResult } from './check/prune.ts';
export { formatPruneResult } from './check/prune-text.ts';
export type { RepairEvent, RepairResult } from './check/repair.ts';
export { directorySource } from './check/repair-directory.ts';
export { type RepairSource, repoSource } from './check/repair-source.ts';
export type { CheckoutOptions, CheckoutResult } from './checkout/checkout.ts';
export { type CheckoutRecord, parseCheckoutRecords, parseSkipList } from './checkout/checkout-lists.ts';
export type { ExportTarOptions } from './checkout/export-tar.ts';
export { type CommitOptions, findKernelRelease, writeCommitObject } from './commit/commit-object.ts';
export type { CommitTarOptions } from './commit/commit-tar.ts';
export * from './commit/mutable-tree.ts';
export type { SelinuxPolicy } from './commit/selinux-policy.ts';
export type { ComposefsOptions } from './composefs/composefs.ts';
export type { ApplyDeltaResult, DeltaInput } from './delta/apply.ts';
export { formatDeltaDescription } from './delta/delta-text.ts';
export type { DeltaDescription, PartDescription } from './delta/describe.ts';
export type { GenerateDeltaEvent, GenerateDeltaOptions, GenerateDeltaResult } from './delta/generate.ts';
export type { ApplyOfflineOptions } from './delta/offline.ts';
export { deleteDelta, hasDelta, type OpenedDelta, openDelta, openRepoDelta, verifyDelta } from './delta/open-delta.ts';
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
export * from './operations.ts';
export { cacheControl, isNamedByContent } from './publish/caching.ts';
export type { CreateUsbOptions } from './publish/create-usb.ts';
export type { FindRemotesOptions, FoundRemote } from './publish/find-remotes.ts';
export { publicConfig } from './publish/public-config.ts';
export type { PushEvent, PushResult } from './publish/push.ts';
export type { S3Options } from './publish/push-s3.ts';
export { directoryTarget, type PushTarget } from './publish/push-target.ts';
export { appendCookie, type Cookie, type CookieName, formatCookies, readCookies, removeCookie } from './pull/cookies.ts';
export type { PullLocalEvent, PullLocalOptions, PullLocalResult } from './pull/pull-local.ts';
export type { PullSize, TargetMode } from './pull/pull-size.ts';
export { formatDeltaTotals, formatPullResult } from './pull/pull-text.ts';
export type { DeltaTotals, PullEvent, PullOptions, PullResult } from './pull/pull-types.ts';
export type { RemoteSummary } from './pull/remote-summary.ts';
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
export { type CommitModifiers, checkAllMatched, type MatchedPaths, parseStatOverrides, type StatOverride } from './write/commit-modifiers.ts';
export type * from './write/content-writer.ts';
export { type DevInoCache, lookupDevIno, scanDevIno } from './write/devino-cache.ts';
export type { TransactionOptions, TransactionStats } from './write/transaction.ts';
