/** Where a machine keeps mounted apps and podman's configuration: for root under /var and /etc, for a user below the home directory. */
import { join } from 'node:path';
import { DeviceState, type StorageConfFile } from '@cambium/device';
import { inUserNamespace } from '@cambium/system';
import { type Environment, lookUp } from '../environment.ts';

const SYSTEM_STORAGE_CONF = '/etc/containers/storage.conf';
const DISTRIBUTION_STORAGE_CONF = '/usr/share/containers/storage.conf';

/** Returns whether podman runs rootless here; inside `podman unshare` the uid is 0 all the same. */
export function isRootless(environment: Environment): boolean {
  return environment.uid !== 0 || inUserNamespace();
}

export function deviceState(environment: Environment): DeviceState {
  const stated = lookUp(environment, ['CAMBIUM_STATE']);
  if (stated !== undefined) return new DeviceState(stated);
  if (!isRootless(environment)) return new DeviceState('/var/lib/cambium');
  return new DeviceState(join(lookUp(environment, ['XDG_DATA_HOME']) ?? join(environment.home, '.local/share'), 'cambium'));
}

/** Source: containers-storage.conf(5), section FILES. */
export function storageConf(environment: Environment): StorageConfFile {
  const stated = lookUp(environment, ['CONTAINERS_STORAGE_CONF']);
  if (stated !== undefined) return { path: stated, templates: [] };
  if (!isRootless(environment)) return { path: SYSTEM_STORAGE_CONF, templates: [DISTRIBUTION_STORAGE_CONF] };
  const configHome = lookUp(environment, ['XDG_CONFIG_HOME']) ?? join(environment.home, '.config');
  return { path: join(configHome, 'containers/storage.conf'), templates: [SYSTEM_STORAGE_CONF, DISTRIBUTION_STORAGE_CONF] };
}
