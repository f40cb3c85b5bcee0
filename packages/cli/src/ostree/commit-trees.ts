/** What a commit is made of: `--base`, every `--tree` in order, or a directory. */
import { existsSync, readFileSync } from 'node:fs';
import {
  type CommitModifiers,
  checkAllMatched,
  commitDirectory,
  commitTar,
  type MatchedPaths,
  type MutableTree,
  overlayCommit,
  parseSkipList,
  parseStatOverrides,
  readCommitSelinuxPolicy,
  readRev,
  type SelinuxPolicy,
  scanDevIno,
  type Transaction,
  type TreeRoot,
} from '@cambium/ostree';
import type { CommitFlags } from './commit.ts';
import { readPolicyOf } from './selinux.ts';
import { openTar } from './tar-source.ts';
import { OstreeFailure } from './verb.ts';

/** @param path the operand: a directory that is committed when there is no `--tree` */
export async function fillTree(transaction: Transaction, tree: MutableTree, values: CommitFlags, path: string | undefined, signal: AbortSignal): Promise<void> {
  const { repo } = transaction;
  const modifiers = await modifiersOf(transaction, values);
  const rootOf = (rev: string): TreeRoot => readRev(repo, rev).commit.root;
  // The policy that all trees are labelled by comes from the first.
  let fromBase = values['selinux-policy-from-base'];
  const takePolicy = async (read: () => Promise<SelinuxPolicy | undefined>): Promise<void> => {
    if (fromBase) modifiers.selinux = labelling(await read(), values);
    fromBase = false;
  };
  const matched: MatchedPaths = new Set();
  const takeDirectory = async (directory: string): Promise<void> => {
    if (!existsSync(directory)) throw new OstreeFailure(`opendir(${directory}): No such file or directory`);
    await takePolicy(() => readPolicyOf(directory));
    await commitDirectory(transaction, tree, directory, modifiers, matched);
  };
  if (values.base !== undefined) {
    const base = rootOf(values.base);
    await takePolicy(() => readCommitSelinuxPolicy(repo, base));
    await overlayCommit(transaction, tree, base);
  }
  if (values.tree.length === 0) await takeDirectory(path ?? '.');
  for (const specification of values.tree) {
    const equals = specification.indexOf('=');
    if (equals < 0) throw new OstreeFailure(`Missing type in tree specification '${specification}'`);
    const type = specification.slice(0, equals);
    const value = specification.slice(equals + 1);
    switch (type) {
      case 'dir':
        await takeDirectory(value);
        break;
      case 'ref': {
        const root = rootOf(value);
        await takePolicy(() => readCommitSelinuxPolicy(repo, root));
        await overlayCommit(transaction, tree, root, modifiers, matched);
        break;
      }
      case 'tar':
        if (fromBase) throw new OstreeFailure('Cannot use --selinux-policy-from-base with tar');
        await commitTar(transaction, tree, openTar(value, signal), {
          modifiers,
          matched,
          autocreateParents: values['tar-autocreate-parents'],
          rename: pathFilter(values['tar-pathname-filter']),
        });
        break;
      default:
        throw new OstreeFailure(`Invalid tree type specification '${type}'`);
    }
  }
  checkAllMatched(modifiers, matched);
}

async function modifiersOf(transaction: Transaction, values: CommitFlags): Promise<CommitModifiers> {
  const canonical = values['devino-canonical'];
  return {
    ownerUid: owner(values['owner-uid']),
    ownerGid: owner(values['owner-gid']),
    noXattrs: values['no-xattrs'],
    canonicalPermissions: values['canonical-permissions'],
    roExecutables: values['mode-ro-executables'],
    consume: values.consume,
    devInoCanonical: canonical,
    statOverride: values.statoverride === undefined ? undefined : parseStatOverrides(readFileSync(values.statoverride, 'utf8')),
    skipList: values['skip-list'] === undefined ? undefined : parseSkipList(readFileSync(values['skip-list'], 'utf8')),
    selinux: values['selinux-policy'] === undefined ? undefined : labelling(await readPolicyOf(values['selinux-policy']), values),
    devIno: canonical || values['link-checkout-speedup'] ? scanDevIno(transaction.repo) : undefined,
  };
}

function labelling(policy: SelinuxPolicy | undefined, values: CommitFlags): CommitModifiers['selinux'] {
  return policy && { contexts: policy.contexts, usrEtcAsEtc: values['selinux-labeling-epoch'] === 1 };
}

/** libostree takes a negative number for "as it is". */
function owner(id: number | undefined): number | undefined {
  return id === undefined || id < 0 ? undefined : id;
}

/** `REGEX,REPLACEMENT`, as `--tar-pathname-filter` has it: applied wherever it fits. */
function pathFilter(text: string | undefined): ((path: string) => string) | undefined {
  if (text === undefined) return undefined;
  const comma = text.indexOf(',');
  if (comma < 0) throw new OstreeFailure(`Missing ',' in --tar-pathname-filter`);
  let pattern: RegExp;
  try {
    pattern = new RegExp(text.slice(0, comma), 'gu');
  } catch (cause) {
    throw new OstreeFailure(`--tar-pathname-filter: ${cause instanceof Error ? cause.message : 'invalid'}`, { cause });
  }
  // GLib writes groups as \1.
  const replacement = text
    .slice(comma + 1)
    .replaceAll('$', '$$$$')
    .replace(/\\(\d)/g, '$$$1');
  return (path) => path.replace(pattern, replacement);
}
