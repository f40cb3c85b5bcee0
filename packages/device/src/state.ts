/**
 * What `mount` keeps on a machine: checkouts by app name and commit, and a link per mounted app.
 * Format: `docs/formats/mounted-apps.md`.
 *
 * ```
 * STATE/lock                            held by every command that changes something here
 * STATE/checkouts/NAME@COMMIT/storage   the image store, listed in storage.conf
 * STATE/checkouts/NAME@COMMIT/NAME      the compose file and the app's files
 * STATE/apps/NAME                       link to ../checkouts/NAME@COMMIT/NAME
 * ```
 */
import { lstatSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, errnoOf, isChecksum, systemError } from '@cambium/base';
import { syncDirectory } from '@cambium/ostree';
import { makeDirectory } from './directories.ts';
import { deviceError } from './errors.ts';
import { readStoreRecords } from './store-records.ts';

export interface CheckoutId {
  name: string;
  commit: Checksum;
}

export interface Checkout extends CheckoutId {
  path: string;
  /** The image store inside, as storage.conf lists it. */
  store: string;
}

/** What podman needs of a store to start at all; without the locks it tries to make them. Source: `docs/formats/podman-store.md`. */
export const STORE_FILES: readonly string[] = [
  'overlay-images/images.json',
  'overlay-images/images.lock',
  'overlay-layers/layers.json',
  'overlay-layers/layers.lock',
];

export class DeviceState {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get checkoutsPath(): string {
    return join(this.path, 'checkouts');
  }

  get appsPath(): string {
    return join(this.path, 'apps');
  }

  get lockPath(): string {
    return join(this.path, 'lock');
  }

  /** @throws SYSTEM_DENIED SYSTEM_READ_ONLY SYSTEM_NO_SPACE DEVICE_STATE_INVALID */
  create(): void {
    try {
      makeDirectory(this.checkoutsPath);
      makeDirectory(this.appsPath);
    } catch (error) {
      if (errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'EEXIST') {
        throw deviceError('DEVICE_STATE_INVALID', `Cannot keep apps in "${this.path}": something that is no directory is in the way`, { cause: error });
      }
      throw systemError(error, `Cannot keep apps in "${this.path}"`) ?? error;
    }
  }

  checkout(id: CheckoutId): Checkout {
    const path = join(this.checkoutsPath, `${id.name}@${id.commit}`);
    return { ...id, path, store: join(path, 'storage') };
  }

  /** Returns the finished checkouts; unfinished ones have other names. */
  checkouts(): Checkout[] {
    return namesIn(this.checkoutsPath)
      .map(parseCheckoutName)
      .filter((id) => id !== undefined)
      .map((id) => this.checkout(id));
  }

  /** Returns what is left of interrupted runs. */
  leftovers(): string[] {
    const checkouts = namesIn(this.checkoutsPath).filter((name) => /\.(?:unfinished|removing)$/.test(name));
    const links = namesIn(this.appsPath).filter((name) => /^\..*\.new$/.test(name));
    return [...checkouts.map((name) => join(this.checkoutsPath, name)), ...links.map((name) => join(this.appsPath, name))];
  }

  appPath(name: string): string {
    return join(this.appsPath, name);
  }

  /** Returns the checkout that an app's link points to, whether or not it is there. */
  mounted(name: string): Checkout | undefined {
    let target: string;
    try {
      target = readlinkSync(this.appPath(name));
    } catch (error) {
      // EINVAL: something else, which is nobody's mounted app.
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EINVAL') return undefined;
      throw error;
    }
    const id = parseCheckoutName(target.split('/')[2] ?? '');
    return id === undefined ? undefined : this.checkout(id);
  }

  mountedApps(): string[] {
    return namesIn(this.appsPath).filter((name) => isAppName(name) && this.mounted(name) !== undefined);
  }

  /** Makes sure that nothing of somebody else is where an app's link goes. @throws DEVICE_STATE_INVALID */
  requireFree(name: string): void {
    const path = this.appPath(name);
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined || this.mounted(name) !== undefined) return;
    throw deviceError('DEVICE_STATE_INVALID', `Cannot mount "${name}": "${path}" is in the way and was not made by cambium`);
  }

  /** Points an app's link at a checkout: one rename, so that it always resolves. */
  link(checkout: Checkout): void {
    const temporary = join(this.appsPath, `.${checkout.name}.new`);
    rmSync(temporary, { force: true });
    symlinkSync(`../checkouts/${checkout.name}@${checkout.commit}/${checkout.name}`, temporary);
    renameSync(temporary, this.appPath(checkout.name));
    syncDirectory(this.appsPath);
  }

  unlink(name: string): void {
    rmSync(this.appPath(name), { force: true });
  }
}

/** Returns whether a checkout has what keeps podman going; what else may be lost only hurts the app itself. */
export function isWhole(checkout: Checkout): boolean {
  return STORE_FILES.every((name) => isThere(join(checkout.store, name), 'isFile')) && isThere(join(checkout.path, checkout.name), 'isDirectory');
}

function isThere(path: string, kind: 'isFile' | 'isDirectory'): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.[kind]() === true;
  } catch (error) {
    // Outside of the user namespace an image's own directories may be closed: that is not lost.
    if (errnoOf(error) === 'EACCES') return true;
    throw error;
  }
}

/** Returns the IDs of the images in a store; none when it is lost. @throws JSON_INVALID */
export function imagesInStore(store: string): string[] {
  return readStoreRecords(join(store, 'overlay-images', 'images.json')).flatMap(({ id }) => (typeof id === 'string' ? [id] : []));
}

export function isAppName(name: string): boolean {
  // A checkout has a directory of this name beside its image store.
  return /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name) && name !== 'storage';
}

/** @throws DEVICE_NAME_INVALID */
export function checkAppName(name: string): string {
  if (!isAppName(name)) {
    throw deviceError('DEVICE_NAME_INVALID', `Cannot use ${JSON.stringify(name.slice(0, 200))} as the name of an app`, {
      hint: 'Choose one of letters, digits, dot, dash and underscore with --override-name',
    });
  }
  return name;
}

function parseCheckoutName(name: string): CheckoutId | undefined {
  const at = name.lastIndexOf('@');
  const commit = name.slice(at + 1);
  const app = name.slice(0, Math.max(at, 0));
  return isAppName(app) && isChecksum(commit) ? { name: app, commit } : undefined;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw systemError(error, `Cannot read "${directory}"`) ?? error;
  }
}
