import { type KeyFile, parseRepoSettings } from '@cambium/ostree';
import { writeConfig } from './repo-config.ts';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

const flags = { group: { kind: 'text', help: 'Group name' } } as const;

export const command: Verb<typeof flags> = {
  summary: 'Change repo configuration settings',
  operands: [
    { name: 'OPERATION', help: '' },
    { name: 'KEY', help: '' },
    { name: 'VALUE', help: '', optional: true },
  ],
  usage: '(get KEY|set KEY VALUE|unset KEY)',
  flags,
  examples: [{ command: 'cambium ostree config --repo=./repo set core.min-free-space-percent 1', explains: 'Change a setting' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [operation, name, value] = operands;
    const { config } = repo;
    if (operation === undefined) throw new UsageError('OPERATION must be specified');
    if (operands.length > (operation === 'set' ? 3 : 2) && OPERATIONS.includes(operation)) throw new UsageError('Too many arguments given');
    switch (operation) {
      case 'set': {
        if (name === undefined || value === undefined) throw new OstreeFailure('KEY and VALUE must be specified');
        const [group, key] = splitKey(values.group, name);
        config.set(group, key, value);
        // As later versions of libostree: with a value that is none the repository could not be opened any more, nor mended by this command.
        parseRepoSettings(config, repo.path);
        writeConfig(repo);
        return undefined;
      }
      case 'get': {
        if (name === undefined) throw new OstreeFailure('KEY must be specified');
        const [group, key] = splitKey(values.group, name);
        context.ui.result(readKey(config, group, key));
        return undefined;
      }
      case 'unset': {
        if (name === undefined) throw new OstreeFailure('KEY must be specified');
        const [group, key] = splitKey(values.group, name);
        if (config.unset(group, key)) writeConfig(repo);
        return undefined;
      }
      default:
        throw new OstreeFailure(`Unknown operation ${operation}`);
    }
  },
};

const OPERATIONS = ['get', 'set', 'unset'];

/** The first dot parts group from key; for groups with dots there is `--group`. */
function splitKey(group: string | undefined, name: string): [group: string, key: string] {
  if (group !== undefined) return [group, name];
  const dot = name.indexOf('.');
  if (dot < 0) throw new OstreeFailure('Key must be of the form "sectionname.keyname"');
  return [name.slice(0, dot), name.slice(dot + 1)];
}

function readKey(config: KeyFile, group: string, key: string): string {
  if (!config.has(group)) throw new OstreeFailure(`Key file does not have group “${group}”`);
  const value = config.string(group, key);
  if (value === undefined) throw new OstreeFailure(`Key file does not have key “${key}” in group “${group}”`);
  return value;
}
