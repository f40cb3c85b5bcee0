/** Where a machine keeps mounted apps and podman's configuration: for root under /var and /etc, for a user below the home directory. */
import { join, resolve } from 'node:path';
import { DeviceState, type PodmanOptions, type StorageConfFile } from '@cambium/device';
import { type Environment, lookUp } from '../environment.ts';
import { findProgram } from '../programs.ts';

const SYSTEM_STORAGE_CONF = '/etc/containers/storage.conf';
const DISTRIBUTION_STORAGE_CONF = '/usr/share/containers/storage.conf';

/**
 * Returns whether podman runs rootless here. Inside `podman unshare` the uid is 0, and podman tells by its own variables;
 * root of a container is in a user namespace too, and its podman is root's.
 */
export function isRootless(environment: Environment): boolean {
  return environment.uid !== 0 || lookUp(environment, ['_CONTAINERS_USERNS_CONFIGURED', '_CONTAINERS_ROOTLESS_UID']) !== undefined;
}

export function deviceState(environment: Environment): DeviceState {
  const stated = lookUp(environment, ['CAMBIUM_STATE']);
  if (stated !== undefined) return new DeviceState(resolve(environment.workingDirectory, stated));
  if (!isRootless(environment)) return new DeviceState('/var/lib/cambium');
  return new DeviceState(join(dataHome(environment), 'cambium'));
}

/** Source: containers-storage.conf(5), section FILES. */
export function storageConf(environment: Environment): StorageConfFile {
  const rootless = isRootless(environment) ? { rootlessStorage: join(dataHome(environment), 'containers/storage') } : {};
  const templates = [SYSTEM_STORAGE_CONF, DISTRIBUTION_STORAGE_CONF];
  const stated = lookUp(environment, ['CONTAINERS_STORAGE_CONF']);
  if (stated !== undefined) return { path: resolve(environment.workingDirectory, stated), templates, ...rootless };
  if (!isRootless(environment)) return { path: SYSTEM_STORAGE_CONF, templates: [DISTRIBUTION_STORAGE_CONF] };
  const configHome = lookUp(environment, ['XDG_CONFIG_HOME']) ?? join(environment.home, '.config');
  return { path: join(configHome, 'containers/storage.conf'), templates, ...rootless };
}

/** Returns how to ask podman, or undefined where it is not installed. */
export function podmanHere(environment: Environment): PodmanOptions | undefined {
  const podman = findProgram('podman', environment);
  return podman === undefined ? undefined : { podman, environment: environment.variables };
}

function dataHome(environment: Environment): string {
  return lookUp(environment, ['XDG_DATA_HOME']) ?? join(environment.home, '.local/share');
}
