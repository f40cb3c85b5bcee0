/** Reads the `include` entries of a document. Source: compose-spec "include"; compose-go `loader/include.go`. */
import { realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path/posix';
import { isRecord } from '@cambium/base';
import { documentFault, type Scope } from './context.ts';
import { composeError } from './errors.ts';
import { readEnvFileVariables } from './find-files.ts';
import type { SourceDocument } from './yaml-source.ts';

export interface Include {
  /** Absolute; the first is the main file, the others override it. */
  files: string[];
  directory: string;
  environment: Record<string, string>;
  envFiles: string[];
  /** What the entry calls these files, by absolute path. */
  written: Map<string, string>;
  /** As in `include[0]`. */
  key: string;
}

/** Returns what a document includes; local files only. @throws COMPOSE_MODEL_INVALID, COMPOSE_REMOTE_UNSUPPORTED, COMPOSE_FILE_MISSING */
export function readIncludes(document: SourceDocument, scope: Scope): Include[] {
  const value = isRecord(document.value) ? document.value.include : undefined;
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw documentFault('COMPOSE_MODEL_INVALID', document, ['include'], 'must be a list');
  return value.map((item: unknown, index) => readInclude(item, index, document, scope));
}

function readInclude(item: unknown, index: number, document: SourceDocument, scope: Scope): Include {
  const fault = (reason: string, key?: string): Error =>
    documentFault('COMPOSE_MODEL_INVALID', document, ['include', index, ...(key === undefined ? [] : [key])], reason);
  const texts = (value: unknown, key: string): string[] => {
    const list = Array.isArray(value) ? value : value === undefined || value === null ? [] : [value];
    if (!list.every((entry) => typeof entry === 'string')) throw fault('must be text or a list of texts', key);
    return list;
  };
  const entry = isRecord(item) ? item : { path: item };
  const paths = texts(entry.path, 'path');
  if (paths.length === 0 || paths.includes('')) throw fault('needs a path');
  for (const path of paths) {
    if (isRemote(path)) {
      throw documentFault('COMPOSE_REMOTE_UNSUPPORTED', document, ['include', index], `"${path}" is not a local file`, {
        hint: 'Download it into the project directory and include the copy',
      });
    }
  }
  const files = paths.map((path) => resolve(scope.directory, path));
  const directory =
    entry.project_directory === undefined || entry.project_directory === null
      ? dirname(files[0] as string)
      : resolve(scope.directory, String(entry.project_directory));
  const listed = texts(entry.env_file, 'env_file');
  // An explicit /dev/null stands for "no .env either".
  const candidates =
    listed.length > 0 ? listed.filter((path) => path !== '/dev/null').map((path) => resolve(scope.directory, path)) : [join(directory, '.env')].filter(isFile);
  const own = readEnvFileVariables(candidates, scope.environment, scope.session.warnings);
  return {
    files,
    directory,
    environment: { ...own, ...scope.environment },
    envFiles: candidates,
    written: new Map([...paths, ...listed].map((path) => [resolve(scope.directory, path), path])),
    key: `include[${index}]`,
  };
}

export function isRemote(path: string): boolean {
  return /^(?:[a-z][a-z0-9+.-]*:\/\/|git@|github\.com\/)/.test(path);
}

/** Returns the file's name without links, so that a circle through a link is seen as one. */
export function realFile(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** @throws COMPOSE_INCLUDE_CYCLE naming the circle */
export function checkIncludeCycle(file: string, stack: readonly string[]): void {
  const at = stack.indexOf(file);
  if (at < 0 && stack.length < 100) return;
  const cycle = [...stack.slice(Math.max(at, 0)), file];
  throw composeError('COMPOSE_INCLUDE_CYCLE', `Cannot include "${file}": files include each other: ${cycle.join(' → ')}`, { data: { cycle } });
}

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  } catch {
    return false;
  }
}
