/** Flags that name a Compose project, as `docker compose` has them, and what the loader takes. */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { LoadOptions } from '@cambium/compose';
import type { Environment } from '../environment.ts';

export interface ProjectFlags {
  file: readonly string[];
  'env-file': readonly string[];
  profile: readonly string[];
  'project-directory': string | undefined;
  'project-name': string | undefined;
}

/**
 * Returns what the loader takes.
 *
 * @param first a compose file given as an operand, before those of `-f`; a directory stands for the files in it
 */
export function projectOptions(flags: ProjectFlags, first: string | undefined, environment: Environment): LoadOptions {
  const at = (path: string): string => (path === '-' ? path : resolve(environment.workingDirectory, path));
  const directory = first !== undefined && statSync(at(first), { throwIfNoEntry: false })?.isDirectory() === true ? at(first) : undefined;
  const files = [...(first === undefined || directory !== undefined ? [] : [first]), ...flags.file].map(at);
  return {
    workingDirectory: directory ?? environment.workingDirectory,
    environment: environment.variables,
    files: files.length === 0 ? undefined : files,
    envFiles: flags['env-file'].length === 0 ? undefined : flags['env-file'].map(at),
    profiles: flags.profile.length === 0 ? undefined : flags.profile,
    projectDirectory: flags['project-directory'] === undefined ? undefined : at(flags['project-directory']),
    projectName: flags['project-name'],
    stdin: files.includes('-') ? readFileSync(0, 'utf8') : undefined,
  };
}
