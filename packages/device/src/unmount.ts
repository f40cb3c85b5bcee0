/**
 * Takes an app away from podman, and deletes checkouts that nothing uses.
 */
import { renameSync, rmSync } from 'node:fs';
import type { Checksum } from '@cambium/base';
import { deviceError } from './errors.ts';
import { type Container, listContainers, type PodmanOptions } from './podman.ts';
import { type Checkout, type DeviceState, imagesInStore } from './state.ts';
import { withStateLock } from './state-lock.ts';
import { removeStore } from './storage-conf.ts';
import { editStorageConf, type StorageConfFile } from './storage-conf-file.ts';

export interface UnmountOptions {
  state: DeviceState;
  storageConf: StorageConfFile;
  podman: PodmanOptions;
  signal?: AbortSignal;
}

/**
 * Unregisters the stores of an app and removes its link; {@link cleanCheckouts} deletes the files later.
 *
 * @throws DEVICE_APP_UNKNOWN, DEVICE_APP_IN_USE naming the containers (unless `force`), DEVICE_PODMAN_…
 */
export async function unmountApp(name: string, options: UnmountOptions & { force?: boolean }): Promise<{ name: string; commits: Checksum[] }> {
  const { state } = options;
  state.create();
  return withStateLock(state, options.signal, async () => {
    const mine = state.checkouts().filter((checkout) => checkout.name === name);
    if (state.mounted(name) === undefined && mine.length === 0) {
      throw deviceError('DEVICE_APP_UNKNOWN', `Cannot unmount "${name}": no such app is mounted`, {
        hint: `Mounted: ${state.mountedApps().join(', ') || 'nothing'}`,
      });
    }
    if (options.force !== true) {
      const others = state.checkouts().filter((checkout) => checkout.name !== name);
      const users = usersOf(mine, others, await listContainers(options.podman, options.signal));
      if (users.length > 0) {
        throw deviceError('DEVICE_APP_IN_USE', `Cannot unmount "${name}": used by containers ${users.map((user) => `"${user.name}"`).join(', ')}`, {
          hint: 'Remove these containers first (podman rm), or use --force: they can then not be started again',
          data: { containers: users },
        });
      }
    }
    for (const checkout of mine) editStorageConf(options.storageConf, (text) => removeStore(text, checkout.store));
    state.unlink(name);
    return { name, commits: mine.map((checkout) => checkout.commit) };
  });
}

export interface CleanResult {
  removed: Checkout[];
  /** Kept although no app points to them: containers were made from their images. */
  inUse: { checkout: Checkout; containers: string[] }[];
  leftovers: string[];
}

/** Deletes the checkouts that no app points to and no container was made from, and what interrupted runs left. */
export async function cleanCheckouts(options: UnmountOptions & { dryRun?: boolean }): Promise<CleanResult> {
  const { state } = options;
  state.create();
  return withStateLock(state, options.signal, async () => {
    const all = state.checkouts();
    const mounted = new Set(state.mountedApps().map((name) => state.mounted(name)?.path));
    const kept = all.filter((checkout) => mounted.has(checkout.path));
    const candidates = all.filter((checkout) => !mounted.has(checkout.path));
    const containers = candidates.length === 0 ? [] : await listContainers(options.podman, options.signal);
    const result: CleanResult = { removed: [], inUse: [], leftovers: state.leftovers() };
    for (const checkout of candidates) {
      const users = usersOf([checkout], kept, containers);
      if (users.length === 0) result.removed.push(checkout);
      else result.inUse.push({ checkout, containers: users.map((user) => user.name) });
    }
    if (options.dryRun === true) return result;
    for (const checkout of result.removed) {
      editStorageConf(options.storageConf, (text) => removeStore(text, checkout.store));
      const doomed = `${checkout.path}.removing`;
      renameSync(checkout.path, doomed);
      rmSync(doomed, { recursive: true, force: true });
    }
    for (const path of result.leftovers) rmSync(path, { recursive: true, force: true });
    return result;
  });
}

/** Returns the containers whose image only `checkouts` offer. */
function usersOf(checkouts: readonly Checkout[], others: readonly Checkout[], containers: readonly Container[]): Container[] {
  if (containers.length === 0) return [];
  const elsewhere = new Set(others.flatMap((checkout) => imagesInStore(checkout.store)));
  const here = new Set(checkouts.flatMap((checkout) => imagesInStore(checkout.store)).filter((image) => !elsewhere.has(image)));
  return containers.filter((container) => here.has(container.imageId));
}
