/**
 * What podman says about its storage, images and containers on this machine.
 */
import { execFile } from 'node:child_process';
import { isKnownError, isRecord, parseJson } from '@cambium/base';
import { deviceError } from './errors.ts';

export interface Container {
  id: string;
  name: string;
  imageId: string;
  /** Directories and files of the machine that are mounted into it. */
  sources: readonly string[];
}

export interface PodmanOptions {
  /** `podman` unless stated. */
  podman?: string;
  /** Put before the verb, as in `--root DIR`. */
  podmanArgs?: readonly string[];
  environment?: Readonly<Record<string, string>>;
}

export interface PodmanStorage {
  driver: string;
  /** The `storage.conf` it goes by; it may not exist. */
  configFile: string;
  /** Where it keeps its own images and containers. */
  graphRoot: string;
}

/** @throws DEVICE_PODMAN_MISSING, DEVICE_PODMAN_FAILED */
export async function podmanStorage(options: PodmanOptions, signal?: AbortSignal): Promise<PodmanStorage> {
  const info = parseJson(await runPodman(options, ['info', '--format', 'json'], signal), 'the answer of podman info');
  const store = isRecord(info) && isRecord(info.store) ? info.store : {};
  return { driver: String(store.graphDriverName ?? ''), configFile: String(store.configFile ?? ''), graphRoot: String(store.graphRoot ?? '') };
}

/** Returns the IDs of all images that podman can use, from whatever store. @throws DEVICE_PODMAN_MISSING, DEVICE_PODMAN_FAILED */
export async function listImageIds(options: PodmanOptions, signal?: AbortSignal): Promise<Set<string>> {
  const text = await runPodman(options, ['images', '--all', '--no-trunc', '--format', '{{.ID}}'], signal);
  return new Set(text.split('\n').map((line) => line.trim().replace(/^sha256:/, '')));
}

/** Returns all containers, running or not. @throws DEVICE_PODMAN_MISSING, DEVICE_PODMAN_FAILED */
export async function listContainers(options: PodmanOptions, signal?: AbortSignal): Promise<Container[]> {
  const text = await runPodman(options, ['ps', '--all', '--external', '--no-trunc', '--format', 'json'], signal);
  const listed = text.trim() === '' ? [] : parseJson(text, 'the list of containers from podman');
  if (!Array.isArray(listed)) throw deviceError('DEVICE_PODMAN_FAILED', 'Cannot read the list of containers from podman: not a list');
  const containers = listed.filter(isRecord).map((container) => ({
    id: String(container.Id ?? ''),
    name: Array.isArray(container.Names) ? String(container.Names[0] ?? '') : '',
    imageId: String(container.ImageID ?? ''),
    // Made by buildah or another tool on the same storage: podman knows their image and nothing else.
    isForeign: container.State === 'storage',
  }));
  const own = containers.filter(({ isForeign }) => !isForeign).map(({ id }) => id);
  const sources = await mountSources(options, own, signal);
  return containers.map(({ id, name, imageId }) => ({ id, name, imageId, sources: sources.get(id) ?? [] }));
}

/** Asks for all at once, and for each alone where that fails: of a container whose image store is gone podman tells nothing. */
async function mountSources(options: PodmanOptions, ids: readonly string[], signal: AbortSignal | undefined): Promise<Map<string, string[]>> {
  const sources = new Map<string, string[]>();
  if (ids.length === 0) return sources;
  let text: string;
  try {
    // One may have gone meanwhile: podman then fails, and tells of the others all the same.
    text = await runPodman(options, ['container', 'inspect', ...ids], signal, /no such container/);
  } catch (error) {
    if (!isKnownError(error, 'DEVICE_PODMAN_FAILED')) throw error;
    if (ids.length > 1) for (const id of ids) for (const [key, value] of await mountSources(options, [id], signal)) sources.set(key, value);
    return sources;
  }
  const inspected = parseJson(text, 'the containers that podman inspected');
  for (const container of Array.isArray(inspected) ? inspected.filter(isRecord) : []) {
    const mounts = Array.isArray(container.Mounts) ? container.Mounts.filter(isRecord) : [];
    sources.set(
      String(container.Id),
      mounts.flatMap(({ Source }) => (typeof Source === 'string' ? [Source] : [])),
    );
  }
  return sources;
}

function runPodman(options: PodmanOptions, args: readonly string[], signal: AbortSignal | undefined, tolerated?: RegExp): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const verb = args.slice(0, args[0] === 'container' ? 2 : 1).join(' ');
  execFile(
    options.podman ?? 'podman',
    [...(options.podmanArgs ?? []), ...args],
    { env: options.environment, maxBuffer: 64 * 1024 * 1024, ...(signal === undefined ? {} : { signal }) },
    (error, stdout, stderr) => {
      if (signal?.aborted === true) reject(signal.reason);
      else if (error === null || (typeof error.code === 'number' && tolerated?.test(stderr) === true)) resolve(stdout);
      else if (error.code === 'ENOENT') {
        reject(
          deviceError('DEVICE_PODMAN_MISSING', `Cannot run podman ${verb}: podman is not installed`, {
            cause: error,
            hint: 'Install it with: apt install podman',
          }),
        );
      } else {
        const said = stderr.trim().split('\n').at(-1);
        reject(
          deviceError('DEVICE_PODMAN_FAILED', `Cannot run podman ${verb}: ${said === undefined || said === '' ? error.message : said}`, {
            cause: error,
            hint: `See what is wrong with: podman ${verb}`,
          }),
        );
      }
    },
  );
  return promise;
}
