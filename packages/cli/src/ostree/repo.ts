/** Which repository a verb works on, and libostree's words when there is none. */
import { mkdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isKnownError, type KnownError } from '@cambium/base';
import { lookUp } from '../environment.ts';
import type { Invocation } from '../main.ts';
import type { Ui } from '../ui.ts';
import { OstreeFailure, UsageError, type VerbContext } from './verb.ts';

const SYSTEM_REPO = '/ostree/repo';

export function createVerbContext(options: { ui: Ui; invocation: Invocation; repoPath: string | undefined }): VerbContext {
  const { ui, invocation, repoPath } = options;
  const locateRepo = (): string => {
    if (repoPath !== undefined) return repoPath;
    if (isDirectory('objects') && isFile('config')) return '.';
    return lookUp(invocation.environment, ['OSTREE_REPO']) ?? SYSTEM_REPO;
  };
  return {
    ui,
    environment: invocation.environment,
    signal: invocation.signal,
    repoPath,
    locateRepo,
    openRepo: async () => {
      const path = locateRepo();
      // Loaded here: help and wrong calls do not need it.
      const { Repo } = await import('@cambium/ostree');
      try {
        const repo = await Repo.open(path);
        // Cleaned away by hand or by a tool that knows of "tmp": libostree makes it anew whenever it opens a repository.
        if (repo.writable && !isDirectory(join(path, 'tmp'))) mkdirSync(join(path, 'tmp'), { mode: 0o775 });
        return repo;
      } catch (error) {
        if (!isKnownError(error, 'OSTREE_REPO_NOT_FOUND')) throw error;
        if (repoPath === undefined) throw new UsageError('Command requires a --repo argument');
        throw new OstreeFailure(`opening repo: ${whatIsMissing(path, error)}`, { cause: error });
      }
    },
  };
}

/** In libostree's words, but for a repository that others are looked for through: then it is not the one that was named. */
function whatIsMissing(path: string, error: KnownError): string {
  if (!isDirectory(path)) return `opendir(${resolve(path)}): No such file or directory`;
  if (!isDirectory(join(path, 'objects'))) return 'opendir(objects): No such file or directory';
  if (!isFile(join(path, 'config'))) return 'openat(config): No such file or directory';
  return `While checking parent repository: ${error.message}`;
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
