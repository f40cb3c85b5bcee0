export * from './bindings.ts';
export * from './byteswap.ts';
export { type CheckoutOptions, type CheckoutRecord, type CheckoutResult, checkout, parseCheckoutRecords, parseSkipList } from './checkout.ts';
export { type CollectionRef, formatCollectionRef, listCollectionRefs } from './collection-refs.ts';
export { commitDirectory } from './commit-directory.ts';
export * from './commit-format.ts';
export * from './commit-markers.ts';
export { type CommitModifiers, checkAllMatched, type MatchedPaths, modifyEntry, parseStatOverrides, type StatOverride } from './commit-modifiers.ts';
export { type CommitOptions, findKernelRelease, writeCommitObject } from './commit-object.ts';
export { overlayCommit } from './commit-overlay.ts';
export { type CommitTarOptions, commitTar } from './commit-tar.ts';
export type * from './content-writer.ts';
export { type CreateUsbOptions, createUsb } from './create-usb.ts';
export { DEFAULT_ZLIB_LEVEL, deflateContent } from './deflate.ts';
export { type ApplyDeltaResult, applyDelta, type DeltaInput } from './delta/apply.ts';
export { reindexDeltas } from './delta/delta-index.ts';
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
export { type DeltaEnds, deltaIndexPath, deltaName, deltaPath, parseDeltaName } from './delta/names.ts';
export { type ApplyOfflineOptions, applyDeltaOffline, type OpenedDelta, openDelta } from './delta/offline.ts';
export { type DeltaFallback, type DeltaPartHeader, type DeltaSuperblock, type Endianness, parseSuperblock } from './delta/superblock.ts';
export * from './delta-path.ts';
export { type DevInoCache, lookupDevIno, scanDevIno } from './devino-cache.ts';
export * from './diff.ts';
export { syncDirectory, writeFileDurably } from './durable-file.ts';
export * from './errors.ts';
export { type ExportTarOptions, exportTar } from './export-tar.ts';
export { type FindRemotesOptions, type FoundRemote, findRemotes, pullFromRemotes } from './find-remotes.ts';
export { encodeXattrList, parseXattrList } from './framing.ts';
export { type BadObject, type FsckEvent, type FsckOptions, type FsckResult, formatFsckEvent, formatFsckResult, fsck, fsckFailure } from './fsck.ts';
export * from './key-file.ts';
export { formatListEntry, formatXattrs, type ListEntry, type ListOptions, list } from './list.ts';
export * from './log.ts';
export * from './lookup.ts';
export * from './mutable-tree.ts';
export * from './object-format.ts';
export * from './object-path.ts';
export * from './object-reader.ts';
export * from './object-set.ts';
export { formatPruneResult, type PruneOptions, type PruneResult, prune } from './prune.ts';
export { pull } from './pull/pull.ts';
export { formatDeltaTotals, formatPullResult } from './pull/pull-text.ts';
export type { DeltaTotals, PullEvent, PullOptions, PullResult } from './pull/pull-types.ts';
export { fetchRemoteSummary, type RemoteSummary } from './pull/remote-summary.ts';
export { type PullLocalEvent, type PullLocalOptions, type PullLocalResult, pullLocal } from './pull-local.ts';
export { type PullSize, pullSize, type TargetMode } from './pull-size.ts';
export { type PushEvent, type PushResult, push } from './push.ts';
export { sftpTarget } from './push-sftp.ts';
export { directoryTarget, type PushTarget } from './push-target.ts';
export * from './refs.ts';
export { type RemoteConfig, readRemote } from './remote-config.ts';
export { type RepairEvent, type RepairResult, repair } from './repair.ts';
export { directorySource } from './repair-directory.ts';
export { httpSource, type RepairSource, repoSource } from './repair-source.ts';
export * from './repo.ts';
export * from './repo-config.ts';
export * from './repo-layout.ts';
export type { RepoLock, RepoLockKind } from './repo-lock.ts';
export * from './rev-text.ts';
export * from './show.ts';
export * from './sign.ts';
export * from './sign-raw.ts';
export * from './signature-text.ts';
export * from './summary.ts';
export { formatRawSummary, formatSummary } from './summary-text.ts';
export { autoUpdateSummary, commitRepoMetadata, readSummaryFile, regenerateSummary } from './summary-write.ts';
export { Transaction, type TransactionOptions, type TransactionStats } from './transaction.ts';
export * from './traverse.ts';
export * from './tree-walk.ts';
export { type EngineTrust, globalKeyrings, type RemoteTrust, readKeyFile, readKeys, readRemoteTrust, systemKeys, type TrustOptions } from './trust-policy.ts';
export type * from './types.ts';
export { checkRawSignatures, formatSignatureReports, type SignatureReport, verifyCommitBytes, verifySummaryBytes } from './verify.ts';
