/**
 * Image stores that are listed but lost. One such store stops every podman command, `podman unshare` included,
 * so they are taken off the list before podman is asked for anything.
 */
import { dirname, sep } from 'node:path';
import { type Checkout, type DeviceState, isWhole } from './state.ts';
import { listStores, removeStore } from './storage-conf.ts';
import { editStorageConf, readStorageConf, type StorageConfFile } from './storage-conf-file.ts';

/** Returns the stores of `state` that storage.conf lists and that are not there, or not whole. */
export function findLostStores(state: DeviceState, storageConf: StorageConfFile): string[] {
  const whole = new Set(
    state
      .checkouts()
      .filter(isWhole)
      .map(({ store }) => store),
  );
  return listStores(readStorageConf(storageConf)).filter((store) => isOurs(state, store) && !whole.has(store));
}

/** Takes lost stores off the list and returns them; mounting their apps again brings them back. */
export function dropLostStores(state: DeviceState, storageConf: StorageConfFile): string[] {
  const lost = findLostStores(state, storageConf);
  if (lost.length > 0) editStorageConf(storageConf, (text) => lost.reduce(removeStore, text));
  return lost;
}

/** Returns the checkouts whose store is listed. */
export function listedCheckouts(state: DeviceState, storageConf: StorageConfFile): Checkout[] {
  const listed = new Set(listStores(readStorageConf(storageConf)));
  return state.checkouts().filter(({ store }) => listed.has(store));
}

function isOurs(state: DeviceState, store: string): boolean {
  return dirname(dirname(store)) === state.checkoutsPath && store.endsWith(`${sep}storage`);
}
