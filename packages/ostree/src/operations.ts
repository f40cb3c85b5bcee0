/**
 * What takes long: pulling, committing, checking. Each function loads its module when it is first called: a process uses few of
 * them, and a command that loaded all would need 100 ms before it begins.
 */
import { type Bytes, type Lazy, lazy } from '@cambium/base';

export const fsck: Lazy<typeof import('./check/fsck.ts').fsck> = lazy(async () => (await import('./check/fsck.ts')).fsck);
export const prune: Lazy<typeof import('./check/prune.ts').prune> = lazy(async () => (await import('./check/prune.ts')).prune);
export const repair: Lazy<typeof import('./check/repair.ts').repair> = lazy(async () => (await import('./check/repair.ts')).repair);
export const deltaSource: Lazy<typeof import('./check/repair-delta.ts').deltaSource> = lazy(async () => (await import('./check/repair-delta.ts')).deltaSource);
export const repoDeltaSource: Lazy<typeof import('./check/repair-delta.ts').repoDeltaSource> = lazy(
  async () => (await import('./check/repair-delta.ts')).repoDeltaSource,
);
export const checkout: Lazy<typeof import('./checkout/checkout.ts').checkout> = lazy(async () => (await import('./checkout/checkout.ts')).checkout);
export const commitDirectory: Lazy<typeof import('./commit/commit-directory.ts').commitDirectory> = lazy(
  async () => (await import('./commit/commit-directory.ts')).commitDirectory,
);
export const overlayCommit: Lazy<typeof import('./commit/commit-overlay.ts').overlayCommit> = lazy(
  async () => (await import('./commit/commit-overlay.ts')).overlayCommit,
);
export const commitTar: Lazy<typeof import('./commit/commit-tar.ts').commitTar> = lazy(async () => (await import('./commit/commit-tar.ts')).commitTar);
export const readSelinuxPolicy: Lazy<typeof import('./commit/selinux-policy.ts').readSelinuxPolicy> = lazy(
  async () => (await import('./commit/selinux-policy.ts')).readSelinuxPolicy,
);
export const readCommitSelinuxPolicy: Lazy<typeof import('./commit/selinux-policy.ts').readCommitSelinuxPolicy> = lazy(
  async () => (await import('./commit/selinux-policy.ts')).readCommitSelinuxPolicy,
);
export const composefsMetadata: Lazy<typeof import('./composefs/composefs.ts').composefsMetadata> = lazy(
  async () => (await import('./composefs/composefs.ts')).composefsMetadata,
);
export const writeComposefs: Lazy<typeof import('./composefs/composefs.ts').writeComposefs> = lazy(
  async () => (await import('./composefs/composefs.ts')).writeComposefs,
);
export const applyDelta: Lazy<typeof import('./delta/apply.ts').applyDelta> = lazy(async () => (await import('./delta/apply.ts')).applyDelta);
export const describeDelta: Lazy<typeof import('./delta/describe.ts').describeDelta> = lazy(async () => (await import('./delta/describe.ts')).describeDelta);
export const generateDelta: Lazy<typeof import('./delta/generate.ts').generateDelta> = lazy(async () => (await import('./delta/generate.ts')).generateDelta);
export const applyDeltaOffline: Lazy<typeof import('./delta/offline.ts').applyDeltaOffline> = lazy(
  async () => (await import('./delta/offline.ts')).applyDeltaOffline,
);
export const createUsb: Lazy<typeof import('./publish/create-usb.ts').createUsb> = lazy(async () => (await import('./publish/create-usb.ts')).createUsb);
export const findRemotes: Lazy<typeof import('./publish/find-remotes.ts').findRemotes> = lazy(
  async () => (await import('./publish/find-remotes.ts')).findRemotes,
);
export const pullFromRemotes: Lazy<typeof import('./publish/find-remotes.ts').pullFromRemotes> = lazy(
  async () => (await import('./publish/find-remotes.ts')).pullFromRemotes,
);
export const push: Lazy<typeof import('./publish/push.ts').push> = lazy(async () => (await import('./publish/push.ts')).push);
export const s3Target: Lazy<typeof import('./publish/push-s3.ts').s3Target> = lazy(async () => (await import('./publish/push-s3.ts')).s3Target);
export const sftpTarget: Lazy<typeof import('./publish/push-sftp.ts').sftpTarget> = lazy(async () => (await import('./publish/push-sftp.ts')).sftpTarget);
export const commitRepoMetadata: Lazy<typeof import('./publish/repo-metadata.ts').commitRepoMetadata> = lazy(
  async () => (await import('./publish/repo-metadata.ts')).commitRepoMetadata,
);
export const pull: Lazy<typeof import('./pull/pull.ts').pull> = lazy(async () => (await import('./pull/pull.ts')).pull);
export const pullLocal: Lazy<typeof import('./pull/pull-local.ts').pullLocal> = lazy(async () => (await import('./pull/pull-local.ts')).pullLocal);
export const pullSize: Lazy<typeof import('./pull/pull-size.ts').pullSize> = lazy(async () => (await import('./pull/pull-size.ts')).pullSize);
export const fetchRemoteSummary: Lazy<typeof import('./pull/remote-summary.ts').fetchRemoteSummary> = lazy(
  async () => (await import('./pull/remote-summary.ts')).fetchRemoteSummary,
);
export const openRemoteSources: Lazy<typeof import('./pull/repair-remote.ts').openRemoteSources> = lazy(
  async () => (await import('./pull/repair-remote.ts')).openRemoteSources,
);

/** As {@link ./checkout/export-tar.ts}. */
export async function* exportTar(...args: Parameters<typeof import('./checkout/export-tar.ts').exportTar>): Bytes {
  yield* (await import('./checkout/export-tar.ts')).exportTar(...args);
}

/** An open transaction; see {@link ./write/transaction.ts}. */
export type Transaction = import('./write/transaction.ts').Transaction;

export const Transaction: { begin: typeof import('./write/transaction.ts').Transaction['begin'] } = {
  begin: async (...args) => (await import('./write/transaction.ts')).Transaction.begin(...args),
};
