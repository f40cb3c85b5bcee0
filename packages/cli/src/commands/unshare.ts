/**
 * Running in the user namespace that rootless podman uses: only there can files be given to the users of a container,
 * and only there can such files be deleted.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { dropLostStores, withStateLock } from '@cambium/device';
import { inUserNamespace } from '@cambium/system';
import type { Context } from '../command.ts';
import { type Environment, lookUp } from '../environment.ts';
import { findProgram } from '../programs.ts';
import { deviceState, storageConf } from './device-places.ts';

/** Set for the inner process, so that a namespace that does not take does not start an endless chain. */
const INNER = 'CAMBIUM_UNSHARED';

/** Returns whether the work should be done by {@link runUnshared}: an ordinary user, outside of the namespace, with podman at hand. */
export function shouldUnshare(environment: Environment): boolean {
  return environment.uid !== 0 && !inUserNamespace() && lookUp(environment, [INNER]) === undefined && findProgram('podman', environment) !== undefined;
}

/** Runs this command line again inside `podman unshare` and returns its exit status. */
export async function runUnshared({ environment, signal, ui }: Context): Promise<number> {
  const state = deviceState(environment);
  // A lost store stops podman unshare, too.
  const lost = await withStateLock(state, signal, () => dropLostStores(state, storageConf(environment)));
  for (const store of lost) ui.warn(`took ${store} off podman's list: it is lost`);
  await ui.flush();
  return new Promise((resolve, reject) => {
    const child = spawn('podman', ['unshare', process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
      stdio: 'inherit',
      env: { ...environment.variables, [INNER]: '1' },
    });
    const forward = (): void => {
      child.kill('SIGTERM');
    };
    signal.addEventListener('abort', forward, { once: true });
    child.on('error', reject);
    child.on('close', (status, name) => {
      signal.removeEventListener('abort', forward);
      resolve(status ?? (name === null ? 1 : 128 + constants.signals[name]));
    });
  });
}
