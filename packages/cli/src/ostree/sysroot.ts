/** `--sysroot` of the verbs that write a remote's settings: the repository of a system that is mounted somewhere. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isKnownError } from '@cambium/base';
import { Repo } from '@cambium/ostree';
import { ostreeMessage } from './messages.ts';
import { OstreeFailure, type VerbContext } from './verb.ts';

/** Opens the repository of a sysroot when one is given, and that of the verb otherwise. */
export async function openRepoOf(context: VerbContext, sysroot: string | undefined): Promise<Repo> {
  if (sysroot === undefined) return context.openRepo();
  const root = resolve(sysroot);
  try {
    readdirSync(root);
  } catch (error) {
    throw new OstreeFailure(`loading sysroot: ${ostreeMessage(error)}`, { cause: error });
  }
  const path = join(root, 'ostree/repo');
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new OstreeFailure('loading sysroot: opendir(ostree/repo): No such file or directory');
  }
  try {
    const repo = await Repo.open(path);
    // A repository alone is no system.
    if (!existsSync(join(root, 'ostree/deploy'))) throw new OstreeFailure('loading sysroot: fstatat(ostree/deploy): No such file or directory');
    return repo;
  } catch (error) {
    if (!isKnownError(error, 'OSTREE_REPO_NOT_FOUND')) throw error;
    throw new OstreeFailure('loading sysroot: opening repo: opendir(objects): No such file or directory', { cause: error });
  }
}
