import { mountApp } from '@cambium/device';
import { Repo } from '@cambium/ostree';
import type { Command } from '../command.ts';
import { deviceState, isRootless, storageConf } from './device-places.ts';
import { repoPlace } from './repo-place.ts';
import { runUnshared, shouldUnshare } from './unshare.ts';

const flags = {
  repo: { kind: 'text', value: 'PATH', completes: 'directory', env: ['OSTREE_REPO'], help: 'OSTree repository to check out from' },
  overwrite: { kind: 'flag', help: 'Replace the app when it is mounted from another commit' },
  'override-name': { kind: 'text', value: 'NAME', help: 'Mount under this name and not that of the app' },
  'user-mode': { kind: 'flag', help: 'Give all files to yourself: owners, setuid bits and capabilities are lost, podman unshare is not needed' },
} as const;

export const command: Command<typeof flags> = {
  summary: 'Check out a packed app and register its images with podman',
  description: [
    'Checks the commit out beside what is mounted already, puts its image store into the storage.conf of this system or user, and then points the app at it. ' +
      'An ordinary user works inside `podman unshare`, so that the files of the images belong to the users of the container.',
  ],
  operands: [{ name: 'REF', help: 'Branch or commit of the packed app' }],
  flags,
  examples: [
    { command: 'cambium mount --repo ./repo apps/shop', explains: 'Make an app and its images available' },
    { command: 'podman-compose -f "$(cambium mount --repo ./repo apps/shop)/docker-compose.yml" up', explains: 'Mount and start it' },
  ],
  json: '{ name, commit, appPath, storePath, images: { ORIGINAL: PINNED }, unchanged, replaced? }',
  async run({ ui, environment, signal }, { values, operands }) {
    if (!values['user-mode'] && shouldUnshare(environment)) return runUnshared(environment, signal);
    const rootless = isRootless(environment);
    const fullFidelity = !values['user-mode'] && environment.uid === 0;
    if (!fullFidelity && !values['user-mode'] && rootless)
      ui.warn('podman was not found: all files will belong to you, and setuid bits and capabilities are lost');
    const result = await mountApp({
      state: deviceState(environment),
      storageConf: storageConf(environment),
      repo: await Repo.open(repoPlace(values.repo, environment)),
      ref: operands[0] as string,
      overwrite: values.overwrite,
      fullFidelity,
      signal,
      ...(values['override-name'] === undefined ? {} : { name: values['override-name'] }),
    });
    if (ui.json) ui.resultJson(result);
    else ui.result(result.appPath);
    ui.note(result.unchanged ? `"${result.name}" was mounted already` : `Mounted "${result.name}" with ${Object.keys(result.images).length} images`);
    if (result.replaced !== undefined) ui.note(`Commit ${result.replaced} was replaced; cambium clean deletes it once no container uses it`);
    return undefined;
  },
};
