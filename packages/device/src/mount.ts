/**
 * Mounts a packed app: its files and its image store checked out beside what is there, the store made known to podman.
 *
 * Every step can be repeated: a run that was interrupted is finished by the next one.
 */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, isRecord, parseJson } from '@cambium/base';
import { checkout, type Repo } from '@cambium/ostree';
import { deviceError } from './errors.ts';
import { type Checkout, checkAppName, type DeviceState } from './state.ts';
import { withStateLock } from './state-lock.ts';
import { addStore } from './storage-conf.ts';
import { editStorageConf, type StorageConfFile } from './storage-conf-file.ts';

export interface MountOptions {
  state: DeviceState;
  storageConf: StorageConfFile;
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

/** @throws DEVICE_NOT_AN_APP, DEVICE_APP_MOUNTED, DEVICE_NAME_INVALID, DEVICE_STORAGE_CONF_INVALID, DEVICE_STORAGE_DRIVER */
export async function mountApp(options: MountOptions): Promise<MountResult> {
  const { state, repo } = options;
  const commit = repo.refs.resolve(options.ref);
  const { app, images } = readApp(repo, commit);
  const name = checkAppName(options.name ?? app);
  state.create();
  return withStateLock(state, options.signal, async () => {
    const target = state.checkout({ name, commit });
    const before = state.mounted(name);
    if (before !== undefined && before.commit !== commit && options.overwrite !== true) {
      throw deviceError('DEVICE_APP_MOUNTED', `Cannot mount "${name}": it is mounted from commit ${before.commit}`, {
        hint: 'Use --overwrite to switch to the new version, or --override-name to have both',
      });
    }
    await checkOut(options, target, app);
    // The list first, then the link: who sees the app finds its images.
    const listed = editStorageConf(options.storageConf, (text) => addStore(text, target.store));
    const unchanged = before?.commit === commit && !listed;
    if (before?.commit !== commit) state.link(target, app);
    return {
      name,
      commit,
      appPath: state.appPath(name),
      storePath: target.store,
      images,
      unchanged,
      ...(before === undefined || before.commit === commit ? {} : { replaced: before.commit }),
    };
  });
}

async function checkOut(options: MountOptions, target: Checkout, app: string): Promise<void> {
  if (options.state.checkouts().some(({ path }) => path === target.path)) return;
  const temporary = `${target.path}.unfinished`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  const userMode = !options.fullFidelity;
  await checkout(options.repo, target.commit, { destination: join(temporary, 'storage'), subpath: '/storage', userMode }, options.signal);
  // Containers may write to bind-mounted files: a hard link would carry that into the repository.
  await checkout(options.repo, target.commit, { destination: join(temporary, app), subpath: `/${app}`, userMode, forceCopy: true }, options.signal);
  renameSync(temporary, target.path);
}

/** Reads what the commit's body says of the app; it equals `/precompose.json`. */
function readApp(repo: Repo, commit: Checksum): { app: string; images: Record<string, string> } {
  const { body } = repo.readCommit(commit);
  let value: unknown;
  try {
    value = parseJson(body, 'commit body');
  } catch {
    value = undefined;
  }
  const precompose = isRecord(value) ? value.precompose : undefined;
  const images = isRecord(precompose) ? precompose.images : undefined;
  if (!isRecord(precompose) || typeof precompose.app !== 'string' || precompose.version !== 0 || !isRecord(images)) {
    throw deviceError('DEVICE_NOT_AN_APP', `Cannot mount commit ${commit}: it is not a packed app`, {
      hint: 'Apps are packed with: cambium pack BRANCH COMPOSE',
    });
  }
  const app = precompose.app;
  if (app === '' || app === '.' || app === '..' || app === 'storage' || app.includes('/')) {
    throw deviceError('DEVICE_NOT_AN_APP', `Cannot mount commit ${commit}: "${app}" cannot be the name of an app directory`);
  }
  return { app, images: Object.fromEntries(Object.entries(images).map(([reference, pinned]) => [reference, String(pinned)])) };
}
