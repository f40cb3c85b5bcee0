import { cleanRepo, planRepoClean, type RepoCleanPlan } from '@cambium/bridge';
import { cleanCheckouts } from '@cambium/device';
import { Repo } from '@cambium/ostree';
import type { Command, Context } from '../command.ts';
import { formatBytes, formatCount } from '../progress.ts';
import { deviceState, podmanHere, storageConf } from './device-places.ts';
import { repoPlace } from './repo-place.ts';
import { runUnshared, shouldUnshare } from './unshare.ts';

const flags = {
  // No fallback to the environment: cleaning a repository must be asked for.
  repo: { kind: 'text', value: 'PATH', completes: 'directory', help: 'Clean this repository: drop layers that no app needs any more' },
  'dry-run': { kind: 'flag', help: 'Say what would be deleted; delete nothing' },
} as const;

export const command: Command<typeof flags> = {
  summary: 'Delete checkouts and layers that nothing uses any more',
  description: [
    'Without --repo: deletes checkouts that no mounted app points to and no container or image needs, and what interrupted runs left. ' +
      'Image stores that are lost are taken out of storage.conf, since podman does not work with them. ' +
      'With --repo: drops the refs of layers and images that no packed app needs, and prunes what they held; what that frees is said first.',
  ],
  operands: [],
  flags,
  examples: [
    { command: 'cambium clean', explains: 'Delete old checkouts on this machine' },
    { command: 'cambium clean --repo ./repo --dry-run', explains: 'See what cleaning a repository would free' },
  ],
  json: '{ dryRun, removed: [{ name, commit, path }], inUse: [{ name, commit, path, containers, images }], leftovers: [PATH], lostStores: [PATH], lostApps: [NAME] }; with --repo { dryRun, refs: [REF], commits, objects, freedBytes }',
  async run(context, { values }) {
    if (values.repo !== undefined) {
      await clean(context, repoPlace(values.repo, context.environment), values['dry-run']);
      return undefined;
    }
    if (shouldUnshare(context.environment)) return runUnshared(context);
    await cleanMachine(context, values['dry-run']);
    return undefined;
  },
};

async function cleanMachine({ ui, environment, signal }: Context, dryRun: boolean): Promise<void> {
  const result = await cleanCheckouts({
    state: deviceState(environment),
    storageConf: storageConf(environment),
    podman: podmanHere(environment) ?? {},
    dryRun,
    signal,
  });
  for (const store of result.lostStores) ui.warn(`took ${store} off podman's list: it is lost`);
  for (const name of result.lostApps) ui.warn(`the files of "${name}" are lost: mount it again, or unmount it`);
  if (ui.json) {
    const plain = ({ name, commit, path }: (typeof result.removed)[number]): object => ({ name, commit, path });
    ui.resultJson({
      ...result,
      dryRun,
      removed: result.removed.map(plain),
      inUse: result.inUse.map(({ checkout, containers, images }) => ({ ...plain(checkout), containers, images })),
    });
    return;
  }
  for (const { path } of result.removed) ui.result(path);
  for (const path of result.leftovers) ui.result(path);
  for (const { checkout, containers, images } of result.inUse) ui.note(`Kept ${checkout.path}: used by ${[...containers, ...images].join(', ')}`);
  const total = result.removed.length + result.leftovers.length;
  ui.note(total === 0 ? 'Nothing to delete' : `${dryRun ? 'Would delete' : 'Deleted'} ${formatCount(total, 'checkout')}`);
}

async function clean({ ui, signal }: Context, path: string, dryRun: boolean): Promise<void> {
  const repo = await Repo.open(path);
  const tell = (plan: RepoCleanPlan): void => {
    if (!ui.json) for (const ref of plan.refs) ui.result(ref);
    const what = `${formatBytes(plan.freedBytes)} in ${plan.objects} objects; ${plan.refs.length} layers and images are not needed any more`;
    ui.note(`${dryRun ? 'Would free' : 'Frees'} ${what}`);
  };
  const plan = dryRun ? planRepoClean(repo) : await cleanRepo(repo, signal, tell);
  if (dryRun) tell(plan);
  if (ui.json) ui.resultJson({ dryRun, refs: plan.refs, commits: plan.commits.length, objects: plan.objects, freedBytes: plan.freedBytes });
}
