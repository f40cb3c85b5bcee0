/** Finding programs in PATH. */
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from './environment.ts';

/** Returns where a program is, or undefined. */
export function findProgram(name: string, environment: Environment): string | undefined {
  if (name.includes('/')) return undefined;
  for (const directory of (environment.variables.PATH ?? '').split(':')) {
    const path = join(directory === '' ? '.' : directory, name);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // Not here: the next directory.
    }
  }
  return undefined;
}
