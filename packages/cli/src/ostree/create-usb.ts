import { isChecksum } from '@cambium/base';
import { createUsb } from '@cambium/ostree';
import { collectionRefsOf } from './collection-operands.ts';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

const flags = {
  'disable-fsync': { kind: 'flag', help: 'Do not invoke fsync()' },
  'destination-repo': { kind: 'text', value: 'DEST', help: 'Use custom repository directory within the mount' },
  commit: { kind: 'text', value: 'COMMIT', help: 'Pull a specific commit (only works when a single ref is specified)' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Copy the refs to a USB stick',
  operands: [
    { name: 'MOUNT-PATH', help: '', completes: 'directory' },
    { name: 'COLLECTION-ID', help: '' },
    { name: 'REF', help: '', many: true },
  ],
  usage: 'MOUNT-PATH COLLECTION-ID REF [COLLECTION-ID REF...]',
  flags,
  examples: [{ command: 'cambium ostree create-usb --repo=./repo /media/stick com.example.Shop apps/shop', explains: 'Put an app where finders look for it' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [mount, ...rest] = operands;
    if (mount === undefined) throw new UsageError('A MOUNT-PATH must be specified');
    const refs = collectionRefsOf(rest);
    const { commit } = values;
    if (commit !== undefined && !isChecksum(commit)) throw new OstreeFailure(`Invalid rev ${commit}`);
    const options = { refs, commit, destination: values['destination-repo'], ...(values['disable-fsync'] ? { fsync: false } : {}) };
    const destination = await createUsb(repo, mount, options, context.signal);
    context.ui.result(`Copied ${refs.length}/${refs.length} refs successfully from ‘${repo.path}’ to ‘${destination}’ repository in ‘${mount}’.`);
    return undefined;
  },
};
