import { mountApp, prepareStorageConf } from '@cambium/device';
import { Repo } from '@cambium/ostree';
import type { Command } from '../command.ts';
import { formatCount } from '../progress.ts';
import { deviceState, podmanHere, storageConf } from './device-places.ts';
import { repoPlace } from './repo-place.ts';
import { runUnshared, shouldUnshare } from './unshare.ts';

const flags = {
  repo: { kind: 'text', value: 'PATH', completes: 'directory', env: ['OSTREE_REPO'], help: 'OSTree repository to check out from' },
  overwrite: { kind: 'flag', help: 'Replace the app when it is mounted from another commit' },
  'override-name': { kind: 'text', value: 'NAME', help: 'Mount under this name and not that of the app' },
  'user-mode': { kind: 'flag', help: 'Give all files to yourself: owners, setuid bits and capabilities are lost, podman unshare is not needed' },
} as const;

const LOSSES = 'all files of the images belong to one user; setuid bits and capabilities are lost, and programs that change their user may fail';

export const command: Command<typeof flags> = {
  summary: 'Check out a packed app and register its images with podman',
  description: [
    'Checks the commit out beside what is mounted already, puts its image store into the storage.conf of this system or user, asks podman whether it sees the images, and then points the app at it. ' +
      'An ordinary user works inside `podman unshare`, so that the files of the images belong to the users of the container.',
    'Apps are kept in /var/lib/cambium, those of a user in ~/.local/share/cambium; CAMBIUM_STATE names another place.',
  ],
  operands: [{ name: 'REF', help: 'Branch or commit of the packed app' }],
  flags,
  examples: [
    { command: 'cambium mount --repo ./repo apps/shop', explains: 'Make an app and its images available' },
    { command: 'podman-compose -f "$(cambium mount --repo ./repo apps/shop)/docker-compose.yml" up', explains: 'Mount and start it' },
  ],
  json: '{ name, commit, appPath, storePath, images: { ORIGINAL: PINNED }, unchanged, replaced? }',
  async run(context, { values, operands }) {
    const { ui, environment, signal } = context;
    // Before podman is started for the first time: it decides then how it keeps its storage.
    prepareStorageConf(storageConf(environment));
    if (!values['user-mode'] && shouldUnshare(environment)) return runUnshared(context);
    const fullFidelity = !values['user-mode'] && environment.uid === 0;
    const podman = podmanHere(environment);
    const repo = await Repo.open(repoPlace(values.repo, environment));
    if (podman === undefined) ui.warn('podman was not found: nobody checks that it can use these images');
    if (!fullFidelity || repo.mode === 'bare-user-only') ui.warn(LOSSES);
    const result = await mountApp({
      state: deviceState(environment),
      storageConf: storageConf(environment),
      repo,
      ref: operands[0] as string,
      overwrite: values.overwrite,
      fullFidelity,
      signal,
      ...(podman === undefined ? {} : { podman }),
      ...(values['override-name'] === undefined ? {} : { name: values['override-name'] }),
    });
    if (ui.json) ui.resultJson(result);
    else ui.result(result.appPath);
    ui.note(
      result.unchanged ? `"${result.name}" was mounted already` : `Mounted "${result.name}" with ${formatCount(Object.keys(result.images).length, 'image')}`,
    );
    if (result.replaced !== undefined) ui.note(`Commit ${result.replaced} was replaced; cambium clean deletes it once no container uses it`);
    return undefined;
  },
};
