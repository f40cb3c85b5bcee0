/**
 * The `storage.conf` that podman reads, changed in one step.
 */
import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, systemError } from '@cambium/base';
import { syncDirectory } from '@cambium/ostree';
import { makeDirectory } from './directories.ts';
import { deviceError } from './errors.ts';
import { storageDriver, storageText } from './storage-conf.ts';

export interface StorageConfFile {
  /** The file of this system or user. */
  path: string;
  /** Of the whole system: what podman goes by while {@link path} does not exist. The first that exists counts. */
  templates: readonly string[];
  /**
   * For rootless podman: where it keeps its storage unless told otherwise. Of the templates it takes nothing but the driver and
   * `rootless_storage_path`, and neither does a new file: root's directories would be of no use in it.
   */
  rootlessStorage?: string;
}

const NEW_FILE = '# Made by cambium mount.';
/** Root podman refuses a configuration without these; they are its own defaults. */
const ROOT_DEFAULTS = '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n';

/** Returns the text of the file, or of what stands in for it; podman's defaults where there is nothing. */
export function readStorageConf(file: StorageConfFile): string {
  return readIfThere(file.path) ?? newStorageConf(file);
}

/**
 * Writes the file where rootless podman was never used and nothing says how it should keep its storage. Podman decides on a
 * driver when it is first started, keeps to it for ever, and without a file may choose `vfs`, which has no additional stores.
 */
export function prepareStorageConf(file: StorageConfFile): void {
  if (file.rootlessStorage === undefined || existsSync(file.path)) return;
  const text = newStorageConf(file);
  const storage = storageText(text, 'rootless_storage_path') ?? file.rootlessStorage;
  if (storageDriver(text) === 'overlay' && !existsSync(storage)) replaceFile(file.path, text);
}

/** Applies `change` and returns whether the file differs now. @throws DEVICE_STORAGE_DRIVER SYSTEM_DENIED */
export function editStorageConf(file: StorageConfFile, change: (text: string) => string): boolean {
  const present = readIfThere(file.path);
  const before = present ?? newStorageConf(file);
  const after = change(before);
  if (after === before) return false;
  const driver = storageDriver(before);
  // Taking a store out is right under any driver.
  if (driver !== undefined && driver !== 'overlay' && after.length > before.length) throw driverError(driver, file.path);
  // The file was ours and there is nothing left in it: root podman's defaults are what it says. A user's stays, for the driver in it.
  if (present !== undefined && file.rootlessStorage === undefined && after.startsWith(NEW_FILE) && after === newStorageConf(file)) removeFile(file.path);
  else replaceFile(file.path, after);
  return true;
}

/** Puts the file back as it was: `undefined` for not there. */
export function restoreStorageConf(file: StorageConfFile, text: string | undefined): void {
  if (text === undefined) removeFile(file.path);
  else replaceFile(file.path, text);
}

export function driverError(driver: string, where: string): Error {
  return deviceError('DEVICE_STORAGE_DRIVER', `Cannot add an image store in ${where}: the storage driver is "${driver}"`, {
    hint: 'Additional image stores need driver = "overlay". Podman keeps the driver it was first started with: podman system reset deletes all its images and containers',
  });
}

/** Returns the text of a file, or undefined when there is none. @throws SYSTEM_DENIED */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw systemError(error, `Cannot read ${path}`) ?? error;
  }
}

function newStorageConf(file: StorageConfFile): string {
  const template = file.templates.map(readIfThere).find((text) => text !== undefined);
  if (file.rootlessStorage === undefined) return `${NEW_FILE} unmount removes it\n${template ?? ROOT_DEFAULTS}`;
  const storage = template === undefined ? undefined : storageText(template, 'rootless_storage_path');
  const driver = (template === undefined ? undefined : storageDriver(template)) ?? 'overlay';
  const line = storage === undefined ? '' : `rootless_storage_path = ${JSON.stringify(storage)}\n`;
  // Of the system's drivers podman takes these two for users, too.
  return `${NEW_FILE} podman keeps to the driver it was first used with\n[storage]\ndriver = "${driver === 'vfs' ? driver : 'overlay'}"\n${line}`;
}

/** Replaces the file a link leads to, not the link: some keep their settings elsewhere. */
function replaceFile(link: string, text: string): void {
  try {
    makeDirectory(dirname(link));
    const path = existsSync(link) ? realpathSync(link) : link;
    const temporary = `${path}.cambium-new`;
    rmSync(temporary, { force: true });
    try {
      const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
      try {
        writeFileSync(fd, text);
        const old = statSync(path, { throwIfNoEntry: false });
        if (old !== undefined) keepOwner(fd, old);
        fchmodSync(fd, (old?.mode ?? 0o644) & 0o7777);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, path);
    } finally {
      rmSync(temporary, { force: true });
    }
    syncDirectory(dirname(path));
  } catch (error) {
    throw systemError(error, `Cannot write ${link}`) ?? error;
  }
}

function keepOwner(fd: number, old: Stats): void {
  const { uid, gid } = fstatSync(fd);
  if (uid !== old.uid || gid !== old.gid) fchownSync(fd, old.uid, old.gid);
}

function removeFile(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    throw systemError(error, `Cannot remove ${path}`) ?? error;
  }
}
