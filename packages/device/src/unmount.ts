/** Takes an app away from podman; its checkouts stay until they are cleaned. */
import type { Checksum } from '@cambium/base';
import { deviceError } from './errors.ts';
import { dropLostStores, listedCheckouts } from './lost-stores.ts';
import type { PodmanOptions } from './podman.ts';
import { type DeviceState, isAppName } from './state.ts';
import { withStateLock } from './state-lock.ts';
import { removeStore } from './storage-conf.ts';
import { editStorageConf, type StorageConfFile } from './storage-conf-file.ts';
import { describeUsers, listUsers, usersOf } from './users.ts';

export interface UnmountOptions {
  state: DeviceState;
  storageConf: StorageConfFile;
  podman: PodmanOptions;
  signal?: AbortSignal;
}

/**
 * Removes an app's link and takes its stores off podman's list; `cleanCheckouts` deletes the files later.
 *
 * @returns the commits that were mounted, an older one that was kept for its containers included
 * @throws DEVICE_APP_UNKNOWN, DEVICE_APP_IN_USE naming the containers and images (unless `force`), DEVICE_PODMAN_…
 */
export async function unmountApp(name: string, options: UnmountOptions & { force?: boolean }): Promise<{ name: string; commits: Checksum[] }> {
  const { state, storageConf } = options;
  return withStateLock(state, options.signal, async () => {
    // Seen before lost stores go: an app whose checkout is lost can be unmounted too.
    const current = isAppName(name) ? state.mounted(name) : undefined;
    dropLostStores(state, storageConf);
    const listed = listedCheckouts(state, storageConf);
    const mine = listed.filter((checkout) => checkout.name === name);
    if (current === undefined && mine.length === 0) {
      throw deviceError('DEVICE_APP_UNKNOWN', `Cannot unmount "${name}": no such app is mounted`, {
        hint: `Mounted: ${state.mountedApps().join(', ') || 'nothing'}`,
      });
    }
    if (options.force !== true && mine.length > 0) {
      const others = listed.filter((checkout) => checkout.name !== name);
      const users = usersOf(mine, others, await listUsers(options.podman, options.signal));
      const shown = describeUsers(users);
      if (shown !== '') {
        throw deviceError('DEVICE_APP_IN_USE', `Cannot unmount "${name}": used by ${shown}`, {
          hint: 'Remove them first (podman rm, podman rmi), or use --force: the containers can then not be started, and podman complains of the images',
          data: {
            containers: users.containers.map(({ id, name: container }) => ({ id, name: container })),
            images: users.images.map(({ id, name: image }) => ({ id, name: image })),
          },
        });
      }
    }
    // The link first: who sees the app finds its images. What an interruption leaves listed, clean takes off.
    state.unlink(name);
    editStorageConf(storageConf, (text) => mine.reduce((rest, checkout) => removeStore(rest, checkout.store), text));
    const commits = mine.map((checkout) => checkout.commit);
    return { name, commits: current === undefined || commits.includes(current.commit) ? commits : [...commits, current.commit] };
  });
}
