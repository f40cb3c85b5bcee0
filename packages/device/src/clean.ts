/** Deletes checkouts that nothing uses. */
import { renameSync } from 'node:fs';
import { systemError } from '@cambium/base';
import { removeTree } from './directories.ts';
import { dropLostStores, listedCheckouts } from './lost-stores.ts';
import { type Checkout, isWhole } from './state.ts';
import { withStateLock } from './state-lock.ts';
import { removeStore } from './storage-conf.ts';
import { editStorageConf } from './storage-conf-file.ts';
import type { UnmountOptions } from './unmount.ts';
import { listUsers, type Users, usersOf } from './users.ts';

export interface CleanResult {
  removed: Checkout[];
  /** Kept although no app points to them: containers need their images or files, or images stand on theirs. The names of these. */
  inUse: { checkout: Checkout; containers: string[]; images: string[] }[];
  /** What interrupted runs left. */
  leftovers: string[];
  /** Stores that podman was told of and that are not there any more: taken off its list. */
  lostStores: string[];
  /** Mounted apps whose checkout is lost or damaged: mounting them again repairs them. */
  lostApps: string[];
}

/**
 * Deletes the checkouts that no app points to and no container needs, and what interrupted runs left.
 *
 * @throws DEVICE_PODMAN_MISSING DEVICE_PODMAN_FAILED: without an answer nothing is deleted
 */
export async function cleanCheckouts(options: UnmountOptions & { dryRun?: boolean }): Promise<CleanResult> {
  const { state, storageConf } = options;
  return withStateLock(state, options.signal, async () => {
    // Also in a dry run: until then podman answers nothing.
    const lostStores = dropLostStores(state, storageConf);
    const apps = state.mountedApps().map((name) => ({ name, checkout: state.mounted(name) as Checkout }));
    const mounted = new Set(apps.map(({ checkout }) => checkout.path));
    const all = state.checkouts();
    const kept = listedCheckouts(state, storageConf).filter((checkout) => mounted.has(checkout.path));
    const candidates = all.filter((checkout) => !mounted.has(checkout.path));
    const lostApps = apps.filter(({ checkout }) => !isWhole(checkout)).map(({ name }) => name);
    const result: CleanResult = { removed: [], inUse: [], leftovers: state.leftovers(), lostStores, lostApps };
    const everything: Users = candidates.length === 0 ? { containers: [], images: [] } : await listUsers(options.podman, options.signal);
    for (const checkout of candidates) {
      const { containers, images } = usersOf([checkout], kept, everything);
      if (containers.length + images.length === 0) result.removed.push(checkout);
      else result.inUse.push({ checkout, containers: containers.map(({ name }) => name), images: images.map(({ name }) => name) });
    }
    if (options.dryRun === true) return result;
    editStorageConf(storageConf, (text) => result.removed.reduce((rest, checkout) => removeStore(rest, checkout.store), text));
    for (const { path } of result.removed) {
      options.signal?.throwIfAborted();
      const doomed = `${path}.removing`;
      removeTree(doomed);
      try {
        renameSync(path, doomed);
      } catch (error) {
        throw systemError(error, `Cannot delete "${path}"`) ?? error;
      }
      removeTree(doomed);
    }
    for (const path of result.leftovers) removeTree(path);
    return result;
  });
}
