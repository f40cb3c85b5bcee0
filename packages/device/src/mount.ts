/**
 * Mounts a packed app: its files and its image store checked out beside what is there, the store made known to podman.
 *
 * Every step can be repeated: a run that was interrupted is finished by the next one.
 */
import { chmodSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, isKnownError, systemError } from '@cambium/base';
import { checkout, type Repo, syncDirectory } from '@cambium/ostree';
import { type AppCommit, readAppCommit } from './app-commit.ts';
import { removeTree } from './directories.ts';
import { deviceError } from './errors.ts';
import { dropLostStores } from './lost-stores.ts';
import { listImageIds, type PodmanOptions, podmanStorage } from './podman.ts';
import { type Checkout, checkAppName, type DeviceState, imagesInStore, isWhole } from './state.ts';
import { withStateLock } from './state-lock.ts';
import { addStore, removeStore } from './storage-conf.ts';
import { driverError, editStorageConf, prepareStorageConf, readIfThere, restoreStorageConf, type StorageConfFile } from './storage-conf-file.ts';

export interface MountOptions {
  state: DeviceState;
  storageConf: StorageConfFile;
  /** Asked before whether it can use image stores, and afterwards whether it sees this one; nobody is asked when left out. */
  podman?: PodmanOptions;
  repo: Repo;
  ref: string;
  /** Name to mount under, in place of the app's own. */
  name?: string;
  /** Replaces an app of the same name that is mounted from another commit. */
  overwrite?: boolean;
  /**
   * True keeps owners, setuid bits and capabilities (root, or inside `podman unshare`);
   * false gives all files to the caller and loses those.
   */
  fullFidelity: boolean;
  signal?: AbortSignal;
}

export interface MountResult {
  name: string;
  commit: Checksum;
  /** Where the compose file is. */
  appPath: string;
  storePath: string;
  /** Original reference → pinned reference. */
  images: Readonly<Record<string, string>>;
  /** True when this commit was mounted already. */
  unchanged: boolean;
  /** The commit that was mounted under the name before. */
  replaced?: Checksum;
}

/**
 * Either the app is mounted and podman works with it, or storage.conf is as it was.
 *
 * @throws DEVICE_NOT_AN_APP DEVICE_APP_MOUNTED DEVICE_NAME_INVALID DEVICE_IDS_UNMAPPED DEVICE_STATE_INVALID DEVICE_STORAGE_CONF_INVALID DEVICE_STORAGE_DRIVER
 *   DEVICE_STORE_REFUSED DEVICE_STORE_UNSEEN DEVICE_PODMAN_MISSING DEVICE_PODMAN_FAILED OSTREE_… SYSTEM_…
 */
export async function mountApp(options: MountOptions): Promise<MountResult> {
  const { state, repo, storageConf } = options;
  const app = readAppCommit(repo, repo.refs.resolve(options.ref));
  const { commit } = app;
  const name = checkAppName(options.name ?? app.app);
  return withStateLock(state, options.signal, async () => {
    dropLostStores(state, storageConf);
    const target = state.checkout({ name, commit });
    const before = state.mounted(name);
    if (before !== undefined && before.commit !== commit && options.overwrite !== true) {
      throw deviceError('DEVICE_APP_MOUNTED', `Cannot mount "${name}": it is mounted from commit ${before.commit}`, {
        hint: 'Use --overwrite to switch to the new version, or --override-name to have both',
      });
    }
    state.requireFree(name);
    prepareStorageConf(storageConf);
    const isNew = !isWhole(target);
    if (isNew) {
      if (options.podman !== undefined) await checkDriver(options.podman, options.signal);
      await checkOut(options, target, app);
    }
    // The list first, then the link: who sees the app finds its images.
    const listed = await register(options, target, { isNew, first: before?.commit !== commit });
    if (before?.commit !== commit) state.link(target);
    return {
      name,
      commit,
      appPath: state.appPath(name),
      storePath: target.store,
      images: app.images,
      unchanged: before?.commit === commit && !listed && !isNew,
      ...(before === undefined || before.commit === commit ? {} : { replaced: before.commit }),
    };
  });
}

async function checkDriver(podman: PodmanOptions, signal: AbortSignal | undefined): Promise<void> {
  const { driver, configFile } = await podmanStorage(podman, signal);
  if (driver !== 'overlay') throw driverError(driver, configFile === '' ? 'storage.conf' : configFile);
}

/** Checks out under another name; the final one stands for all being there, on disk. */
async function checkOut(options: MountOptions, target: Checkout, { app }: AppCommit): Promise<void> {
  const { repo, signal } = options;
  const temporary = `${target.path}.unfinished`;
  const userMode = !options.fullFidelity;
  removeTree(temporary);
  // A prune in the middle would take away what is still to come.
  const lock = await repo.lock('shared', signal);
  try {
    mkdirSync(temporary, { mode: 0o755 });
    const store = join(temporary, 'storage');
    await checkout(repo, target.commit, { destination: store, subpath: '/storage', userMode }, signal);
    // As podman's own storage: programs of images that run with their owner's rights are not for other users.
    chmodSync(store, 0o700);
    // Containers may write to bind-mounted files: a hard link would carry that into the repository.
    await checkout(repo, target.commit, { destination: join(temporary, target.name), subpath: `/${app}`, userMode, forceCopy: true, fsync: true }, signal);
    // What a damaged checkout left stands in the way; nothing lists it any more.
    removeTree(target.path);
    renameSync(temporary, target.path);
    syncDirectory(options.state.checkoutsPath);
  } catch (error) {
    removeTree(temporary);
    throw systemError(error, `Cannot check out to "${target.path}"`) ?? unmapped(error, target) ?? error;
  } finally {
    lock.release();
  }
}

/** In a user namespace the kernel knows only some owners; EINVAL is what it says of others. The error may come from a worker. */
function unmapped(error: unknown, target: Checkout): Error | undefined {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'EINVAL' || !error.message.includes('chown')) return undefined;
  return deviceError(
    'DEVICE_IDS_UNMAPPED',
    `Cannot mount "${target.name}": a file of its images belongs to a user or group outside of /etc/subuid and /etc/subgid`,
    {
      cause: error,
      hint: 'Give yourself a larger range there and run podman system migrate, or mount with --user-mode',
    },
  );
}

/** Lists the store, and takes that back unless podman then sees its images. Returns whether the list changed. */
async function register(options: MountOptions, target: Checkout, how: { isNew: boolean; first: boolean }): Promise<boolean> {
  const { storageConf, podman, signal } = options;
  const before = readIfThere(storageConf.path);
  // When going back to an older version its names must win again.
  const listed = editStorageConf(storageConf, (text) => addStore(how.first ? removeStore(text, target.store) : text, target.store));
  if (!listed || podman === undefined) return listed;
  try {
    const seen = await listImageIds(podman, signal);
    const missing = imagesInStore(target.store).find((id) => !seen.has(id));
    if (missing === undefined) return listed;
    const { configFile } = await podmanStorage(podman, signal);
    throw deviceError('DEVICE_STORE_UNSEEN', `Cannot mount "${target.name}": podman does not see image ${missing} in ${target.store}`, {
      hint: configFile === storageConf.path ? 'STORAGE_OPTS in the environment hides the list' : `podman goes by ${configFile}, not by ${storageConf.path}`,
    });
  } catch (error) {
    restoreStorageConf(storageConf, before);
    if (how.isNew) removeTree(target.path);
    if (!isKnownError(error, 'DEVICE_PODMAN_FAILED')) throw error;
    throw deviceError('DEVICE_STORE_REFUSED', `Cannot mount "${target.name}": podman cannot read its image store`, { cause: error, hint: error.message });
  }
}
