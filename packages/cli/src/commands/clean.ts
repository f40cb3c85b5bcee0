import { lstatSync } from 'node:fs';
import type { Checksum } from '@cambium/base';
import { findUnusedRefs } from '@cambium/bridge';
import { cleanCheckouts } from '@cambium/device';
import { prune, Repo, traverse } from '@cambium/ostree';
import type { Command, Context } from '../command.ts';
import { formatBytes } from '../progress.ts';
import { deviceState, storageConf } from './device-places.ts';
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
    'Without --repo: deletes checkouts that no mounted app points to and no container was made from, and what interrupted runs left. ' +
      'With --repo: drops the refs of layers and images that no packed app needs, and prunes what they held; what that frees is said first.',
  ],
  operands: [],
  flags,
  examples: [
    { command: 'cambium clean', explains: 'Delete old checkouts on this machine' },
    { command: 'cambium clean --repo ./repo --dry-run', explains: 'See what cleaning a repository would free' },
  ],
  json: '{ dryRun, removed: [{ name, commit, path }], inUse: [{ name, commit, path, containers }], leftovers: [PATH] }; with --repo { dryRun, refs: [REF], objects, freedBytes }',
  async run(context, { values }) {
    if (values.repo !== undefined) {
      await cleanRepo(context, repoPlace(values.repo, context.environment), values['dry-run']);
      return undefined;
    }
    if (shouldUnshare(context.environment)) return runUnshared(context.environment, context.signal);
    await cleanMachine(context, values['dry-run']);
    return undefined;
  },
};

async function cleanMachine({ ui, environment, signal }: Context, dryRun: boolean): Promise<void> {
  const result = await cleanCheckouts({
    state: deviceState(environment),
    storageConf: storageConf(environment),
    podman: { environment: environment.variables },
    dryRun,
    signal,
  });
  if (ui.json) {
    const plain = ({ name, commit, path }: (typeof result.removed)[number]): object => ({ name, commit, path });
    ui.resultJson({
      dryRun,
      removed: result.removed.map(plain),
      inUse: result.inUse.map(({ checkout, containers }) => ({ ...plain(checkout), containers })),
      leftovers: result.leftovers,
    });
    return;
  }
  for (const { path } of result.removed) ui.result(path);
  for (const path of result.leftovers) ui.result(path);
  for (const { checkout, containers } of result.inUse) ui.note(`Kept ${checkout.path}: used by ${containers.join(', ')}`);
  const total = result.removed.length + result.leftovers.length;
  ui.note(total === 0 ? 'Nothing to delete' : `${dryRun ? 'Would delete' : 'Deleted'} ${total} checkouts`);
}

async function cleanRepo({ ui, signal }: Context, path: string, dryRun: boolean): Promise<void> {
  const repo = await Repo.open(path);
  const unused = findUnusedRefs(repo);
  const refs = unused.map(({ ref }) => ref);
  const { objects, bytes } = freedBy(repo, new Set(unused.map(({ commit }) => commit)));
  if (!ui.json) for (const ref of refs) ui.result(ref);
  const what = `${formatBytes(bytes)} in ${objects} objects; ${refs.length} layers and images are not needed any more`;
  ui.note(`${dryRun ? 'Would free' : 'Frees'} ${what}`);
  if (!dryRun) {
    for (const { ref, commit } of unused) {
      signal.throwIfAborted();
      repo.refs.write(ref, undefined);
      // Only the commits of these refs go: a commit that no ref names may still be wanted by someone.
      await prune(repo, { deleteCommit: commit, commitOnly: true }, signal);
    }
    await prune(repo, {}, signal);
  }
  if (ui.json) ui.resultJson({ dryRun, refs, objects, freedBytes: bytes });
}

/** Counts the objects that no commit but `doomed` ones reaches. */
function freedBy(repo: Repo, doomed: ReadonlySet<Checksum>): { objects: number; bytes: number } {
  const all = [...repo.listObjects()];
  const kept = all.flatMap(({ type, checksum }) => (type === 'commit' && !doomed.has(checksum) ? [checksum] : []));
  const reached = traverse(repo, kept, { depth: 0 });
  let objects = 0;
  let bytes = 0;
  for (const { type, checksum } of all) {
    if ((type !== 'commit' && type !== 'dirtree' && type !== 'dirmeta' && type !== 'file') || reached.has(type, checksum)) continue;
    objects++;
    bytes += lstatSync(repo.objectPath(type, checksum)).size;
  }
  return { objects, bytes };
}
