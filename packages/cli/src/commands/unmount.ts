import { unmountApp } from '@cambium/device';
import type { Command } from '../command.ts';
import { deviceState, podmanHere, storageConf } from './device-places.ts';
import { runUnshared, shouldUnshare } from './unshare.ts';

const flags = {
  force: { kind: 'flag', help: 'Unmount also while containers or images need its images; these containers can then not be started' },
} as const;

export const command: Command<typeof flags> = {
  summary: 'Remove a mounted app',
  description: ['Takes the image store out of storage.conf and removes the app. Its checkout stays until `cambium clean`.'],
  operands: [{ name: 'APP', help: 'Name of the mounted app' }],
  flags,
  examples: [{ command: 'cambium unmount shop', explains: 'Remove an app' }],
  json: '{ name, commits: [COMMIT] }',
  async run(context, { values, operands }) {
    const { ui, environment, signal } = context;
    if (shouldUnshare(environment)) return runUnshared(context);
    const result = await unmountApp(operands[0] as string, {
      state: deviceState(environment),
      storageConf: storageConf(environment),
      podman: podmanHere(environment) ?? {},
      force: values.force,
      signal,
    });
    if (ui.json) ui.resultJson(result);
    ui.note(`Unmounted "${result.name}"`);
    return undefined;
  },
};
