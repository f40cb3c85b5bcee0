/**
 * The `storage.conf` that podman reads, changed in one step.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { deviceError } from './errors.ts';
import { storageDriver } from './storage-conf.ts';

export interface StorageConfFile {
  /** The file of this system or user. */
  path: string;
  /** What podman goes by while {@link path} does not exist: a new file starts as a copy of the first that does. */
  templates: readonly string[];
}

/** Root podman refuses a configuration without these. */
const MINIMAL = '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n';

export function readStorageConf(file: StorageConfFile): string {
  const source = [file.path, ...file.templates].find((path) => existsSync(path));
  return source === undefined ? MINIMAL : readFileSync(source, 'utf8');
}

/** Applies `change` and returns whether the file differs now. @throws DEVICE_STORAGE_DRIVER */
export function editStorageConf(file: StorageConfFile, change: (text: string) => string): boolean {
  const before = readStorageConf(file);
  const after = change(before);
  if (after === before) return false;
  const driver = storageDriver(before);
  if (driver !== undefined && driver !== 'overlay') {
    throw deviceError('DEVICE_STORAGE_DRIVER', `Cannot add an image store to ${file.path}: the storage driver is "${driver}"`, {
      hint: 'Additional image stores need driver = "overlay"',
    });
  }
  mkdirSync(dirname(file.path), { recursive: true });
  const temporary = `${file.path}.cambium-new`;
  try {
    writeFileSync(temporary, after, { mode: 0o644 });
    if (existsSync(file.path)) {
      const { mode, uid, gid } = statSync(file.path);
      chownSync(temporary, uid, gid);
      chmodSync(temporary, mode & 0o7777);
    }
    renameSync(temporary, file.path);
  } finally {
    rmSync(temporary, { force: true });
  }
  return true;
}
