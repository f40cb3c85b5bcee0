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
  readRev,
  scanDevIno,
  type Transaction,
} from '@cambium/ostree';
import type { CommitFlags } from './commit.ts';
import { openTar } from './tar-source.ts';
import { OstreeFailure } from './verb.ts';

/** @param path the operand: a directory that is committed when there is no `--tree` */
export async function fillTree(transaction: Transaction, tree: MutableTree, values: CommitFlags, path: string | undefined, signal: AbortSignal): Promise<void> {
  const { repo } = transaction;
  const modifiers = modifiersOf(transaction, values);
  const matched: MatchedPaths = new Set();
  const takeDirectory = async (directory: string): Promise<void> => {
    if (!existsSync(directory)) throw new OstreeFailure(`opendir(${directory}): No such file or directory`);
    await commitDirectory(transaction, tree, directory, modifiers, matched);
  };
  if (values.base !== undefined) await overlayCommit(transaction, tree, readRev(repo, values.base).commit.root);
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
      case 'ref':
        await overlayCommit(transaction, tree, readRev(repo, value).commit.root, modifiers, matched);
        break;
      case 'tar':
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

function modifiersOf(transaction: Transaction, values: CommitFlags): CommitModifiers {
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
    devIno: canonical || values['link-checkout-speedup'] ? scanDevIno(transaction.repo) : undefined,
  };
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
