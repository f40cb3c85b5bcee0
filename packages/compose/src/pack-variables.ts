/** What becomes of variables when an app is packed: a device has another environment than the machine that packs. */
import { join, relative } from 'node:path/posix';
import { compareUtf8 } from '@cambium/base';
import type { PinnedCompose } from './pack-pins.ts';
import type { CollectedFiles } from './project-files.ts';
import type { Project } from './types.ts';

/** Returns the packed files that hold variables, relative to the project directory, sorted. */
export function variableFilesOf(project: Project, { files }: CollectedFiles): string[] {
  const packed = new Set(files.filter(({ kind }) => kind === 'file').map(({ path }) => path));
  const named = project.localFiles.filter(({ kind }) => kind === 'env' || kind === 'env_file').map(({ path }) => relative(project.directory, path));
  return [...new Set(named)].filter((path) => packed.has(path)).sort(compareUtf8);
}

/**
 * Returns the variables worth telling of, images apart: of a compose file as written those whose value does not travel,
 * of a resolved one those whose value stands in it.
 *
 * @param given the environment of the caller, which wins over `.env` and stays behind
 */
export function shippedVariables(
  project: Project,
  form: PinnedCompose['form'],
  { files, given }: { files: CollectedFiles; given: Readonly<Record<string, string>> },
): string[] {
  if (form === 'resolved') return project.variables;
  // Tools on the device read `.env` beside the compose file, and no other file unless told.
  const envFiles = project.localFiles.filter(({ kind }) => kind === 'env').map(({ path }) => path);
  const travel = files.files.some(({ path }) => path === '.env') && envFiles.every((path) => path === join(project.directory, '.env'));
  return project.variables.filter((name) => {
    // Every tool makes the project's name itself.
    if (name === 'COMPOSE_PROJECT_NAME') return Object.hasOwn(given, name);
    return Object.hasOwn(given, name) || name === 'PWD' || !travel;
  });
}
