import { readFileSync } from 'node:fs';
import { type CheckoutOptions, checkout, parseCheckoutRecords, parseSkipList, writeComposefs } from '@cambium/ostree';
import type { Values } from '../command.ts';
import { readPolicyOf } from './selinux.ts';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

const flags = {
  'user-mode': { kind: 'flag', short: 'U', help: 'Do not change file ownership or initialize extended attributes' },
  'disable-cache': { kind: 'flag', help: 'Do not update or use the internal repository uncompressed object cache' },
  subpath: { kind: 'text', value: 'PATH', help: 'Checkout sub-directory PATH' },
  union: { kind: 'flag', help: 'Keep existing directories, overwrite existing files' },
  'union-add': { kind: 'flag', help: 'Keep existing files/directories, only add new' },
  'union-identical': {
    kind: 'flag',
    help: 'When layering checkouts, error out if a file would be replaced with a different version, but add new files and directories',
  },
  whiteouts: { kind: 'flag', help: "Process 'whiteout' (Docker style) entries" },
  'process-passthrough-whiteouts': { kind: 'flag', help: 'Enable overlayfs whiteout extraction into char 0:0 devices' },
  'allow-noent': { kind: 'flag', help: 'Do nothing if specified path does not exist' },
  'from-stdin': { kind: 'flag', help: 'Process many checkouts from standard input' },
  'from-file': { kind: 'text', value: 'FILE', help: 'Process many checkouts from input file' },
  fsync: { kind: 'bool', value: 'POLICY', help: 'Specify how to invoke fsync()' },
  'require-hardlinks': { kind: 'flag', short: 'H', help: 'Do not fall back to full copies if hardlinking fails' },
  'force-copy-zerosized': { kind: 'flag', short: 'z', hidden: true, help: 'Do not hardlink zero-sized files' },
  'force-copy': { kind: 'flag', short: 'C', help: 'Never hardlink (but may reflink if available)' },
  'bareuseronly-dirs': { kind: 'flag', short: 'M', help: 'Suppress mode bits outside of 0775 for directories (suid, world writable, etc.)' },
  'skip-list': { kind: 'text', value: 'FILE', help: 'File containing list of files to skip' },
  composefs: { kind: 'flag', help: 'Only create a composefs image, with the fs-verity digest of each file' },
  'composefs-noverity': { kind: 'flag', help: 'Only create a composefs image, without digests of files' },
  'selinux-policy': { kind: 'text', value: 'PATH', help: 'Set SELinux labels based on policy in root filesystem PATH (may be /); implies --force-copy' },
  'selinux-prefix': { kind: 'text', value: 'PREFIX', help: 'When setting SELinux labels, prefix all paths by PREFIX' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Check out a commit into a filesystem tree',
  operands: [
    { name: 'COMMIT', help: '' },
    { name: 'DESTINATION', help: '', optional: true },
  ],
  flags,
  examples: [{ command: 'cambium ostree checkout --repo=./repo -U apps/shop ./shop', explains: 'Check out with yourself as owner of all files' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    checkCombinations(values);
    const many = values['from-stdin'] || values['from-file'] !== undefined;
    const [first, second] = operands;
    if (first === undefined) throw new UsageError('COMMIT must be specified');
    if (many) {
      const bytes = readFileSync(values['from-stdin'] ? 0 : (values['from-file'] as string));
      const options = await checkoutOptions(values, first);
      // Lines are no records: what has no NUL is a rev to libostree, and mostly none there is.
      if (bytes.length > 0 && !bytes.includes(0)) repo.refs.resolve(bytes.toString());
      for (const { rev, subpath } of parseCheckoutRecords(bytes)) {
        await checkout(repo, repo.refs.resolve(rev), { ...options, subpath }, context.signal);
      }
      return undefined;
    }
    const commit = repo.refs.resolve(first);
    if (values.composefs || values['composefs-noverity']) {
      const image = { destination: second ?? first, verity: !values['composefs-noverity'], fsync: values.fsync ?? false };
      await writeComposefs(repo, commit, image, context.signal);
      return undefined;
    }
    await checkout(repo, commit, await checkoutOptions(values, second ?? first), context.signal);
    return undefined;
  },
};

const EXCLUSIVE = [
  ['union', 'union-add'],
  ['union', 'union-identical'],
  ['union-add', 'union-identical'],
  ['require-hardlinks', 'force-copy'],
] as const;

/** What concerns files on disk. libostree lets some pass, and does nothing about them. */
const NOT_FOR_IMAGES = [
  'disable-cache',
  'subpath',
  'union',
  'union-add',
  'union-identical',
  'whiteouts',
  'process-passthrough-whiteouts',
  'allow-noent',
  'from-stdin',
  'from-file',
  'require-hardlinks',
  'force-copy-zerosized',
  'force-copy',
  'bareuseronly-dirs',
  'skip-list',
  'selinux-policy',
  'selinux-prefix',
] as const;

function checkCombinations(values: Values<typeof flags>): void {
  if ((values.composefs || values['composefs-noverity']) && NOT_FOR_IMAGES.some((flag) => values[flag] !== false && values[flag] !== undefined)) {
    throw new OstreeFailure('Specified options are incompatible with --composefs');
  }
  // Labels are for copies.
  const given = { ...values, 'force-copy': values['force-copy'] || values['selinux-policy'] !== undefined };
  for (const [a, b] of EXCLUSIVE) if (given[a] && given[b]) throw new OstreeFailure(`Cannot specify both --${a} and --${b}`);
  if (values['selinux-prefix'] !== undefined && values['selinux-policy'] === undefined) {
    throw new OstreeFailure('Cannot specify --selinux-prefix without --selinux-policy');
  }
  if (values['union-identical'] && !values['require-hardlinks']) throw new OstreeFailure('--union-identical requires --require-hardlinks');
}

async function checkoutOptions(values: Values<typeof flags>, destination: string): Promise<CheckoutOptions> {
  const policy = values['selinux-policy'] === undefined ? undefined : await readPolicyOf(values['selinux-policy'], 'selinux-policy: : ');
  const overwrite = values.union ? 'union' : values['union-add'] ? 'union-add' : values['union-identical'] ? 'union-identical' : 'none';
  return {
    destination,
    overwrite,
    userMode: values['user-mode'],
    // -z takes libostree's other way to check out, which has no cache.
    disableCache: values['disable-cache'] || values['force-copy-zerosized'],
    whiteouts: values.whiteouts,
    passthroughWhiteouts: values['process-passthrough-whiteouts'],
    allowNoent: values['allow-noent'],
    fsync: values.fsync ?? false,
    requireHardlinks: values['require-hardlinks'],
    forceCopy: values['force-copy'] || values['selinux-policy'] !== undefined,
    ...(policy === undefined ? {} : { selinux: { contexts: policy.contexts, prefix: values['selinux-prefix'] } }),
    bareUserOnlyDirs: values['bareuseronly-dirs'],
    ...(values.subpath === undefined ? {} : { subpath: values.subpath }),
    ...(values['skip-list'] === undefined ? {} : { skipList: parseSkipList(readFileSync(values['skip-list'], 'utf8')) }),
  };
}
