import { lstatSync } from 'node:fs';
import { localChecksum } from '@cambium/ostree';
import { OstreeFailure, type Verb } from './verb.ts';

const flags = { 'ignore-xattrs': { kind: 'flag', help: "Don't include xattrs in checksum" } } as const;

export const command: Verb<typeof flags> = {
  summary: 'Checksum a file or directory',
  operands: [{ name: 'PATH', help: '', completes: 'file' }],
  withoutRepo: true,
  flags,
  examples: [{ command: 'cambium ostree checksum /etc/os-release', explains: 'Print the checksum that a commit would give a file' }],
  async run(context, { values, operands }) {
    const [path] = operands;
    if (path === undefined) throw new OstreeFailure('A filename must be given');
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) throw new OstreeFailure(`Error when getting information for file “${path}”: No such file or directory`);
    context.ui.result(localChecksum(path, { noXattrs: values['ignore-xattrs'] }, stat));
    return undefined;
  },
};
