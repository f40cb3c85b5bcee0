/**
 * What podman says about containers on this machine.
 */
import { execFile } from 'node:child_process';
import { isRecord, parseJson } from '@cambium/base';
import { deviceError } from './errors.ts';

export interface Container {
  id: string;
  name: string;
  imageId: string;
}

export interface PodmanOptions {
  /** `podman` unless stated. */
  podman?: string;
  /** Put before the verb, as in `--root DIR`. */
  podmanArgs?: readonly string[];
  environment?: Readonly<Record<string, string>>;
}

/** Returns all containers, running or not. @throws DEVICE_PODMAN_MISSING, DEVICE_PODMAN_FAILED */
export async function listContainers(options: PodmanOptions, signal?: AbortSignal): Promise<Container[]> {
  const args = [...(options.podmanArgs ?? []), 'ps', '--all', '--external', '--no-trunc', '--format', 'json'];
  const text = await runPodman(options, args, signal);
  const containers = text.trim() === '' ? [] : parseJson(text, 'the list of containers from podman');
  if (!Array.isArray(containers)) throw deviceError('DEVICE_PODMAN_FAILED', 'Cannot read the list of containers from podman: not a list');
  return containers.filter(isRecord).map((container) => ({
    id: String(container.Id ?? ''),
    name: Array.isArray(container.Names) ? String(container.Names[0] ?? '') : '',
    imageId: String(container.ImageID ?? ''),
  }));
}

function runPodman(options: PodmanOptions, args: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  execFile(
    options.podman ?? 'podman',
    [...args],
    { env: options.environment, maxBuffer: 64 * 1024 * 1024, ...(signal === undefined ? {} : { signal }) },
    (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (error.code === 'ENOENT')
        reject(deviceError('DEVICE_PODMAN_MISSING', 'Cannot ask podman for containers: podman is not installed', { cause: error }));
      else
        reject(deviceError('DEVICE_PODMAN_FAILED', `Cannot ask podman for containers: ${stderr.trim().split('\n').at(-1) ?? error.message}`, { cause: error }));
    },
  );
  return promise;
}
