/**
 * What `mount` keeps on a machine: checkouts by app name and commit, and a link per mounted app.
 *
 * ```
 * STATE/lock                            held by every command that changes something here
 * STATE/checkouts/NAME@COMMIT/storage   the image store, listed in storage.conf
 * STATE/checkouts/NAME@COMMIT/APP       the compose file and the app's files
 * STATE/apps/NAME                       link to ../checkouts/NAME@COMMIT/APP
 * ```
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, errnoOf, isChecksum, isRecord, parseJson } from '@cambium/base';
import { deviceError } from './errors.ts';

export interface CheckoutId {
  name: string;
  commit: Checksum;
}

export interface Checkout extends CheckoutId {
  path: string;
  /** The image store inside, as storage.conf lists it. */
  store: string;
}

export class DeviceState {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get checkoutsPath(): string {
    return join(this.path, 'checkouts');
  }

  get lockPath(): string {
    return join(this.path, 'lock');
  }

  create(): void {
    mkdirSync(this.checkoutsPath, { recursive: true });
    mkdirSync(join(this.path, 'apps'), { recursive: true });
  }

  checkout(id: CheckoutId): Checkout {
    const path = join(this.checkoutsPath, `${id.name}@${id.commit}`);
    return { ...id, path, store: join(path, 'storage') };
  }

  /** Returns the complete checkouts; unfinished ones have other names. */
  checkouts(): Checkout[] {
    return namesIn(this.checkoutsPath)
      .map(parseCheckoutName)
      .filter((id) => id !== undefined)
      .map((id) => this.checkout(id));
  }

  /** Returns what is left of interrupted runs. */
  leftovers(): string[] {
    return namesIn(this.checkoutsPath)
      .filter((name) => parseCheckoutName(name) === undefined)
      .map((name) => join(this.checkoutsPath, name));
  }

  appPath(name: string): string {
    return join(this.path, 'apps', name);
  }

  /** Returns the checkout that an app's link points to. */
  mounted(name: string): Checkout | undefined {
    let target: string;
    try {
      target = readlinkSync(this.appPath(name));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    const id = parseCheckoutName(target.split('/')[2] ?? '');
    return id === undefined ? undefined : this.checkout(id);
  }

  mountedApps(): string[] {
    return namesIn(join(this.path, 'apps')).filter((name) => isAppName(name));
  }

  /** Points an app's link at a checkout: one rename, so that it always resolves. */
  link(checkout: Checkout, app: string): void {
    const temporary = join(this.path, 'apps', `.${checkout.name}.new`);
    rmSync(temporary, { force: true });
    symlinkSync(`../checkouts/${checkout.name}@${checkout.commit}/${app}`, temporary);
    renameSync(temporary, this.appPath(checkout.name));
  }

  unlink(name: string): void {
    rmSync(this.appPath(name), { force: true });
  }
}

/** Returns the IDs of the images in a store. */
export function imagesInStore(store: string): string[] {
  const path = join(store, 'overlay-images', 'images.json');
  const records = parseJson(readFileSync(path), path);
  if (!Array.isArray(records)) return [];
  return records.flatMap((record) => (isRecord(record) && typeof record.id === 'string' ? [record.id] : []));
}

export function isAppName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name);
}

/** @throws DEVICE_NAME_INVALID */
export function checkAppName(name: string): string {
  if (!isAppName(name)) throw deviceError('DEVICE_NAME_INVALID', `Cannot use "${name}" as the name of an app`, { hint: 'Choose one with --override-name' });
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
    throw error;
  }
}
