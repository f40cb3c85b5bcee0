import { loadProject, printModel, resolvedModel } from '@cambium/compose';
import type { Command } from '../command.ts';
import { projectOptions } from './compose-project.ts';

const flags = {
  file: { kind: 'texts', short: 'f', value: 'FILE', completes: 'file', help: 'Compose file; several are merged in order' },
  'env-file': { kind: 'texts', value: 'FILE', completes: 'file', help: 'File of variables, in place of .env' },
  profile: { kind: 'texts', value: 'NAME', help: 'Profile to enable; those of COMPOSE_PROFILES unless stated' },
  'project-directory': { kind: 'text', value: 'DIR', completes: 'directory', help: 'Where relative paths of the compose files start' },
  'project-name': { kind: 'text', short: 'p', value: 'NAME', help: 'Name of the project' },
  'no-interpolate': { kind: 'flag', help: 'Keep variables as written' },
  format: { kind: 'text', value: 'FORMAT', choices: ['yaml', 'json'], help: 'Form of the model' },
  images: { kind: 'flag', help: 'Print the images only, one per line' },
  services: { kind: 'flag', help: 'Print the names of the services only, one per line' },
  profiles: { kind: 'flag', help: 'Print the names of the profiles only, one per line' },
} as const;

export const command: Command<typeof flags> = {
  summary: 'Print the resolved model of a Compose project',
  description: ['Variables are filled in, files merged, extends and includes resolved, and short forms written out.'],
  operands: [{ name: 'COMPOSE', help: 'Compose file or directory; the current directory unless stated', optional: true, completes: 'file' }],
  flags,
  examples: [
    { command: 'cambium compose config ./shop', explains: 'Print the model of an app' },
    { command: 'cambium compose config --images -f docker-compose.yml -f prod.yml', explains: 'List the images of two merged files' },
  ],
  json: 'the model, as `--format=json` prints it; with --images, --services or --profiles [NAME]',
  async run({ ui, environment }, { values, operands }) {
    const project = await loadProject({
      ...projectOptions(values, operands[0], environment),
      ...(values.profile.length === 0 ? { profiles: 'environment' } : {}),
      interpolate: !values['no-interpolate'],
    });
    for (const warning of project.warnings) ui.warn(warning.message);
    const list = (names: readonly string[]): void => {
      if (ui.json || values.format === 'json') ui.resultJson(names);
      else for (const name of names) ui.result(name);
    };
    if (values.services) list(Object.keys(project.model.services).sort());
    else if (values.images) list(project.images.map(({ reference }) => reference));
    else if (values.profiles) list(project.profiles);
    else if (ui.json || values.format === 'json') ui.resultJson(await resolvedModel(project));
    else ui.write(printModel(await resolvedModel(project)));
    return undefined;
  },
};
