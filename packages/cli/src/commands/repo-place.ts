/** Which repository a command works on. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Environment } from '../environment.ts';
import { cliError } from '../errors.ts';

/** libostree's own default. */
const SYSTEM_REPO = '/ostree/repo';

/**
 * Returns the directory of the repository: what `--repo` or `OSTREE_REPO` names, whether or not it exists;
 * else the current directory or the system's when they are repositories.
 *
 * @throws CLI_OPTION_VALUE_MISSING when none is known
 */
export function repoPlace(stated: string | undefined, environment: Environment): string {
  if (stated !== undefined) return resolve(environment.workingDirectory, stated);
  const found = [environment.workingDirectory, SYSTEM_REPO].find((path) => existsSync(`${path}/objects`) && existsSync(`${path}/config`));
  if (found !== undefined) return found;
  throw cliError('CLI_OPTION_VALUE_MISSING', 'No repository is given', { hint: 'Name it with --repo=PATH or in OSTREE_REPO' });
}
