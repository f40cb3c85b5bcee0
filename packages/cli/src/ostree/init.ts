import { Repo, repoModeOf } from '@cambium/ostree';
import { OstreeFailure, type Verb } from './verb.ts';

const flags = {
  mode: { kind: 'text', help: 'Initialize repository in given mode (bare, bare-user, bare-user-only, archive)' },
  'collection-id': {
    kind: 'text',
    value: 'COLLECTION-ID',
    help: 'Globally unique ID for this repository as an collection of refs for redistribution to other repositories',
  },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Initialize a new empty repository',
  operands: [],
  flags,
  examples: [{ command: 'cambium ostree init --repo=./repo --mode=archive', explains: 'Make a repository that can be served over HTTP' }],
  async run(context, { values }) {
    const mode = repoModeOf(values.mode ?? 'bare');
    if (mode === undefined) throw new OstreeFailure(`Invalid mode '${values.mode}' in repository configuration`);
    // As libostree: without --repo only what is a repository already, so that a forgotten option makes none in the system's place.
    if (context.repoPath === undefined) await context.openRepo();
    await Repo.init(context.locateRepo(), { mode, collectionId: values['collection-id'] });
    return undefined;
  },
};
