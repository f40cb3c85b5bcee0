import { readFileSync } from 'node:fs';
import { type Checksum, isChecksum } from '@cambium/base';
import {
  composefsMetadata,
  findKernelRelease,
  findPath,
  type Metadata,
  MutableTree,
  parseRefspec,
  type Repo,
  Transaction,
  type TransactionStats,
  type TreeRoot,
  writeCommitObject,
} from '@cambium/ostree';
import type { Values } from '../command.ts';
import { parseDate } from '../dates.ts';
import { lookUp } from '../environment.ts';
import { commitMetadata, detachedMetadata } from './commit-metadata.ts';
import { fillTree } from './commit-trees.ts';
import { editMessage } from './editor.ts';
import { checkLabelling } from './selinux.ts';
import { addRawSignatures, addSignatures, readSecretKeys } from './signing.ts';
import { OstreeFailure, type Verb, type VerbContext } from './verb.ts';

const flags = {
  parent: { kind: 'text', value: 'COMMIT', help: 'Parent commit checksum, or "none"' },
  subject: { kind: 'text', short: 's', value: 'SUBJECT', help: 'One line subject' },
  body: { kind: 'text', short: 'm', value: 'BODY', help: 'Full description' },
  'body-file': { kind: 'text', short: 'F', value: 'FILE', help: 'Commit message from FILE path' },
  editor: { kind: 'flag', short: 'e', help: 'Use an editor to write the commit message' },
  branch: { kind: 'text', short: 'b', value: 'BRANCH', help: 'Branch' },
  orphan: { kind: 'flag', help: 'Create a commit without writing a ref' },
  'no-bindings': { kind: 'flag', help: 'Do not write any ref bindings' },
  'bind-ref': { kind: 'texts', value: 'BRANCH', help: 'Add a ref to ref binding commit metadata' },
  base: { kind: 'text', value: 'REV', help: 'Start from the given commit as a base (no modifiers apply)' },
  tree: { kind: 'texts', value: 'dir=PATH or tar=TARFILE or ref=COMMIT', help: 'Overlay the given argument as a tree' },
  'add-metadata-string': { kind: 'texts', value: 'KEY=VALUE', help: 'Add a key/value pair to metadata' },
  'add-metadata': {
    kind: 'texts',
    value: 'KEY=VALUE',
    help: 'Add a key/value pair to metadata, where the KEY is a string, and VALUE is in GVariant Text Format',
  },
  'keep-metadata': { kind: 'texts', value: 'KEY', help: 'Keep metadata KEY and its associated VALUE from parent' },
  'add-detached-metadata-string': { kind: 'texts', value: 'KEY=VALUE', help: 'Add a key/value pair to detached metadata' },
  'owner-uid': { kind: 'int', value: 'UID', help: 'Set file ownership user id' },
  'owner-gid': { kind: 'int', value: 'GID', help: 'Set file ownership group id' },
  'canonical-permissions': { kind: 'flag', help: 'Canonicalize permissions in the same way bare-user does for hardlinked files' },
  bootable: { kind: 'flag', help: 'Flag this commit as a bootable OSTree (e.g. contains a Linux kernel)' },
  'mode-ro-executables': { kind: 'flag', help: 'Ensure executable files are not writable' },
  'no-xattrs': { kind: 'flag', help: 'Do not import extended attributes' },
  'selinux-policy': { kind: 'text', value: 'PATH', help: 'Set SELinux labels based on policy in root filesystem PATH (may be /)' },
  'selinux-labeling-epoch': { kind: 'int', value: 'EPOCH', hidden: true, help: 'Labelling rules: 0, the default, or 1, which labels /usr/etc as /etc' },
  'generate-composefs-metadata': { kind: 'flag', help: 'Record the fs-verity digest of the composefs image of the tree in the metadata' },
  'selinux-policy-from-base': { kind: 'flag', short: 'P', help: 'Set SELinux labels based on first --tree argument' },
  'link-checkout-speedup': { kind: 'flag', help: 'Optimize for commits of trees composed of hardlinks into the repository' },
  'devino-canonical': { kind: 'flag', short: 'I', help: 'Assume hardlinked objects are unmodified.  Implies --link-checkout-speedup' },
  'tar-autocreate-parents': { kind: 'flag', help: 'When loading tar archives, automatically create parent directories as needed' },
  'tar-pathname-filter': { kind: 'text', value: 'REGEX,REPLACEMENT', help: 'When loading tar archives, use REGEX,REPLACEMENT against path names' },
  'skip-if-unchanged': { kind: 'flag', help: 'If the contents are unchanged from previous commit, do nothing' },
  statoverride: { kind: 'text', value: 'PATH', help: 'File containing list of modifications to make to permissions' },
  'skip-list': { kind: 'text', value: 'PATH', help: 'File containing list of files to skip' },
  consume: { kind: 'flag', help: 'Consume (delete) content after commit (for local directories)' },
  'table-output': { kind: 'flag', help: 'Output more information in a KEY: VALUE format' },
  'gpg-sign': { kind: 'texts', value: 'KEY-ID', help: 'GPG Key ID to sign the commit with' },
  'gpg-homedir': { kind: 'text', value: 'HOMEDIR', help: 'GPG Homedir to use when looking for keyrings' },
  sign: { kind: 'texts', value: 'KEY_ID', help: 'Sign the commit with' },
  'sign-from-file': { kind: 'texts', value: 'PATH', completes: 'file', help: 'Sign the commit with the private key(s) in a file' },
  'sign-type': { kind: 'text', value: 'NAME', help: "Signature type to use (defaults to 'ed25519')" },
  'generate-sizes': { kind: 'flag', help: 'Generate size information along with commit metadata' },
  fsync: { kind: 'bool', value: 'POLICY', help: 'Specify how to invoke fsync()' },
  'disable-fsync': { kind: 'flag', hidden: true, help: 'As --fsync=false' },
  timestamp: { kind: 'text', value: 'TIMESTAMP', help: 'Override the timestamp of the commit' },
} as const;

export type CommitFlags = Values<typeof flags>;

export const command: Verb<typeof flags> = {
  summary: 'Commit a new revision',
  operands: [{ name: 'PATH', help: '', optional: true, completes: 'directory' }],
  flags,
  examples: [
    { command: 'cambium ostree commit --repo=./repo -b os/stable --tree=dir=./rootfs --owner-uid=0 --owner-gid=0', explains: 'Commit a directory' },
    { command: 'cambium ostree commit --repo=./repo -b os/stable --tree=tar=rootfs.tar', explains: 'Commit a tar' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    checkLabelling(values);
    // What is wrong with the options is said before anything is read or written.
    const strings = commitMetadata(values);
    if (values.branch === undefined && !values.orphan) throw new OstreeFailure('A branch must be specified with --branch, or use --orphan');
    if (values.branch !== undefined) checkBranch(repo, values.branch);
    const secrets = readSecretKeys(values.sign, values['sign-from-file'], values['sign-type'], context.environment);
    const parent = parentOf(repo, values);
    const metadata = [...strings, ...keptMetadata(repo, parent, values)];
    const { subject, body } = await message(context, values);
    const timestamp = timestampOf(values, context);
    const transaction = await Transaction.begin(repo, {
      signal: context.signal,
      fsync: values.fsync === false || values['disable-fsync'] ? false : undefined,
      recordsSizes: values['generate-sizes'],
      bootId: lookUp(context.environment, ['OSTREE_BOOTID']),
    });
    try {
      const tree = MutableTree.empty();
      await fillTree(transaction, tree, values, operands[0], context.signal);
      const root = tree.write(transaction);
      if (values['skip-if-unchanged'] && parent !== undefined && sameRoot(root, repo.readCommit(parent).root)) {
        await transaction.abort();
        context.ui.result(parent);
        return undefined;
      }
      const bindRefs = values['no-bindings'] ? undefined : [...values['bind-ref'], ...(values.branch === undefined ? [] : [values.branch])];
      const commit = writeCommitObject(transaction, {
        root,
        parent,
        subject,
        body,
        timestamp,
        metadata,
        bindRefs,
        collectionId: repo.settings.collectionId,
        generateSizes: values['generate-sizes'],
        ...(values.bootable ? { bootable: kernelRelease(repo, root) } : {}),
        ...(values['generate-composefs-metadata'] ? { composefs: await composefsMetadata(repo, root, context.signal) } : {}),
      });
      const keys = { keyIds: values['gpg-sign'], homeDirectory: values['gpg-homedir'] };
      const bytes = repo.readMetadata('commit', commit);
      const detached = addRawSignatures(bytes, await addSignatures(bytes, detachedMetadata(values), keys, context.signal), secrets);
      if (detached !== undefined) transaction.setDetachedMetadata(commit, detached);
      if (values.branch !== undefined) transaction.setRef(values.branch, commit);
      // libostree's own suite fails commits at this point to see that nothing shows.
      if (context.environment.variables.OSTREE_REPO_TEST_ERROR === 'pre-commit') throw new OstreeFailure('OSTREE_REPO_TEST_ERROR_PRE_COMMIT specified');
      const stats = await transaction.commit();
      if (values['table-output']) printTable(context, commit, stats);
      else context.ui.result(commit);
    } finally {
      await transaction.abort();
    }
    return undefined;
  },
};

/** A ref cannot stand below another ref: said before anything is written. */
function checkBranch(repo: Repo, branch: string): void {
  const { ref } = parseRefspec(branch);
  for (let slash = ref.indexOf('/'); slash > 0; slash = ref.indexOf('/', slash + 1)) {
    const above = ref.slice(0, slash);
    if (repo.refs.read(above) !== undefined) throw new OstreeFailure(`openat(refs/heads/${ref}): Not a directory`);
  }
}

function parentOf(repo: Repo, values: CommitFlags): Checksum | undefined {
  if (values.parent === 'none') return undefined;
  if (values.parent !== undefined) {
    if (!isChecksum(values.parent)) throw new OstreeFailure(`Invalid rev ${values.parent}`);
    return values.parent;
  }
  return values.orphan || values.branch === undefined ? undefined : repo.refs.find(values.branch);
}

function keptMetadata(repo: Repo, parent: Checksum | undefined, values: CommitFlags): Metadata {
  if (values['keep-metadata'].length === 0) return [];
  if (parent === undefined) throw new OstreeFailure('Either --branch or --parent must be specified when using --keep-metadata');
  const { metadata } = repo.readCommit(parent);
  return values['keep-metadata'].map((key) => {
    const entry = metadata.find(([name]) => name === key);
    if (entry === undefined) throw new OstreeFailure(`Missing metadata key '${key}' from commit '${parent}'`);
    return entry;
  });
}

async function message(context: VerbContext, values: CommitFlags): Promise<{ subject: string | undefined; body: string | undefined }> {
  if (values['body-file'] !== undefined) {
    return { subject: values.subject, body: readFileSync(values['body-file'], 'utf8') };
  }
  if (values.editor) return editMessage(context, values.branch);
  return { subject: values.subject, body: values.body };
}

const MAX_EPOCH = 2n ** 63n - 1n;

function timestampOf(values: CommitFlags, context: VerbContext): bigint {
  if (values.timestamp !== undefined) return parseDate(values.timestamp);
  const epoch = lookUp(context.environment, ['SOURCE_DATE_EPOCH']);
  if (epoch === undefined) return BigInt(Math.floor(Date.now() / 1000));
  if (!/^\d+$/.test(epoch)) throw new OstreeFailure(`Failed to convert SOURCE_DATE_EPOCH "${epoch}"`);
  if (BigInt(epoch) > MAX_EPOCH) throw new OstreeFailure('Parsing SOURCE_DATE_EPOCH: Numerical result out of range');
  return BigInt(epoch);
}

/** libostree names the first directory on the way to kernels that is not there. */
function kernelRelease(repo: Repo, root: TreeRoot): string {
  for (const path of ['/usr', '/usr/lib', '/usr/lib/modules']) {
    if (findPath(repo, root, path) === undefined) throw new OstreeFailure(`No such file or directory: ${path}`);
  }
  return findKernelRelease(repo, root);
}

function sameRoot(a: TreeRoot, b: TreeRoot): boolean {
  return a.tree === b.tree && a.meta === b.meta;
}

function printTable({ ui }: VerbContext, commit: Checksum, stats: TransactionStats): void {
  ui.result(`Commit: ${commit}`);
  ui.result(`Metadata Total: ${stats.metadataTotal}`);
  ui.result(`Metadata Written: ${stats.metadataWritten}`);
  // What was known by its link counts apart.
  ui.result(`Content Total: ${stats.contentTotal - stats.devInoCacheHits}`);
  ui.result(`Content Written: ${stats.contentWritten}`);
  ui.result(`Content Cache Hits: ${stats.devInoCacheHits}`);
  ui.result(`Content Bytes Written: ${stats.contentBytesWritten}`);
}
