/** The commands that are killed, and how: see `kill.test.ts`. Each that writes has a row. No tests. */
import { appendFileSync, cpSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMMIT, deltaState, fileState, type Ids, namesState, remoteKeys, repoState, signatureState, treeState, writeRawKeys } from './kill-world.test.ts';

export interface Kill {
  name: string;
  /** What libostree does first, in the world of `makeWorld`. */
  before?: readonly string[];
  /** What else is done then. */
  prepare?: (world: string, ids: Ids) => void;
  /** Words of the command. `URL` is that of a server of `source`, `KEY` a gpg key. */
  command: string;
  /** The repository that is written to. */
  repo: string;
  /** What must be equal in the end. */
  result: (world: string) => unknown;
  /** Goes on where the command itself refuses to, as libostree's does. */
  again?: string;
  /** Where else it writes; it goes before the next run, but with `stays`. */
  also?: string;
  /** What was written there in part is no obstacle to the next run. */
  stays?: true;
  /** The repository is not valid before the command is done. */
  damaged?: true;
  /** What it writes is gone when it ends. */
  changesNothing?: true;
  /** What refs name is not whole, neither in the end. */
  loses?: true;
  /** The status of a whole run. */
  status?: number;
  points?: number;
}

export const KILLS: readonly Kill[] = [
  { name: 'commit to archive', command: `commit --repo=source -b main ${COMMIT} tree`, repo: 'source', result: repoState('source') },
  {
    name: 'commit to bare-user, with detached metadata',
    command: `commit --repo=user -b new ${COMMIT} --add-detached-metadata-string=a=b tree`,
    repo: 'user',
    result: repoState('user'),
  },
  {
    name: 'commit that updates the summary',
    before: ['config --repo=source set core.auto-update-summary true'],
    command: `commit --repo=source -b main ${COMMIT} tree`,
    repo: 'source',
    result: repoState('source'),
  },
  { name: 'pull over HTTP', command: 'pull --repo=user --url=URL origin main', repo: 'user', result: repoState('user'), points: 5 },
  {
    name: 'mirror over HTTP',
    before: ['summary --repo=source -u'],
    command: 'pull --repo=empty --mirror --url=URL origin',
    repo: 'empty',
    result: repoState('empty'),
  },
  {
    name: 'pull of a delta',
    before: ['static-delta generate --repo=source --from=FIRST --to=SECOND', 'summary --repo=source -u'],
    command: 'pull --repo=user --require-static-deltas --url=URL origin main',
    repo: 'user',
    result: repoState('user'),
  },
  { name: 'pull-local', command: 'pull-local --repo=user source main', repo: 'user', result: repoState('user') },
  { name: 'prune', before: ['refs --repo=source --delete main'], command: 'prune --repo=source --refs-only', repo: 'source', result: repoState('source') },
  {
    name: 'prune of one commit',
    command: 'prune --repo=source --delete-commit=FIRST',
    repo: 'source',
    result: repoState('source'),
    again: 'prune --repo=source --refs-only',
  },
  { name: 'static-delta generate', command: 'static-delta generate --repo=source --from=FIRST --to=SECOND', repo: 'source', result: deltaState('source') },
  {
    name: 'static-delta apply-offline',
    before: ['static-delta generate --repo=source --from=FIRST --to=SECOND --inline --min-fallback-size=0 --filename=delta'],
    command: 'static-delta apply-offline --repo=user delta',
    repo: 'user',
    result: repoState('user'),
  },
  {
    name: 'static-delta delete',
    before: ['static-delta generate --repo=source --from=FIRST --to=SECOND'],
    command: 'static-delta delete --repo=source FIRST-SECOND',
    repo: 'source',
    result: deltaState('source'),
  },
  {
    name: 'summary',
    before: ['summary --repo=source -u', 'refs --repo=source --create=other main'],
    command: 'summary --repo=source -u',
    repo: 'source',
    result: repoState('source'),
  },
  { name: 'push', command: 'push --repo=source WORLD/empty main', repo: 'empty', result: repoState('empty') },
  {
    name: 'checkout',
    command: 'checkout --repo=source -U main out',
    repo: 'source',
    result: treeState('out'),
    also: 'out',
  },
  {
    name: 'checkout of links',
    command: 'checkout --repo=user -U -H FIRST out',
    repo: 'user',
    result: treeState('out'),
    also: 'out',
  },
  { name: 'refs', command: 'refs --repo=source --create=a/b/c main', repo: 'source', result: repoState('source') },
  { name: 'refs, deleted', command: 'refs --repo=source --delete main', repo: 'source', result: repoState('source') },
  { name: 'reset', command: 'reset --repo=source main FIRST', repo: 'source', result: repoState('source') },
  {
    name: 'remote add',
    command: 'remote add --repo=source --no-gpg-verify r http://127.0.0.1/ main',
    repo: 'source',
    result: fileState('source/config'),
  },
  { name: 'init', command: 'init --repo=fresh --mode=archive', repo: 'fresh', result: namesState('fresh') },
  {
    name: 'commit of a tar',
    before: ['export --repo=source -o in.tar FIRST'],
    command: `commit --repo=user -b tar ${COMMIT} --tree=tar=in.tar`,
    repo: 'user',
    result: repoState('user'),
    points: 2,
  },
  {
    name: 'commit, nothing flushed, sizes recorded',
    command: `commit --repo=source -b main --fsync=false --generate-sizes ${COMMIT} tree`,
    repo: 'source',
    result: repoState('source'),
    points: 2,
  },
  {
    name: 'commit, each object flushed, signed',
    before: ['config --repo=user set core.per-object-fsync true'],
    command: `commit --repo=user -b new --gpg-sign=KEY ${COMMIT} tree`,
    repo: 'user',
    result: repoState('user'),
    points: 2,
  },
  {
    name: 'pull over HTTP, nothing flushed',
    command: 'pull --repo=user --disable-fsync --url=URL origin main',
    repo: 'user',
    result: repoState('user'),
    points: 2,
  },
  {
    name: 'pull over HTTP, each object flushed, its parents too',
    command: 'pull --repo=user --per-object-fsync --depth=-1 --url=URL origin main',
    repo: 'user',
    result: repoState('user'),
    points: 2,
  },
  {
    name: 'pull over HTTP, trusted, into an archive',
    command: 'pull --repo=empty --http-trusted --url=URL origin main',
    repo: 'empty',
    result: repoState('empty'),
    points: 2,
  },
  {
    name: 'pull over HTTP, trusted, nothing flushed',
    command: 'pull --repo=empty --http-trusted --disable-fsync --url=URL origin main',
    repo: 'empty',
    result: repoState('empty'),
    points: 2,
  },
  { name: 'pull over HTTP into bare', command: 'pull --repo=bare --url=URL origin main', repo: 'bare', result: repoState('bare'), points: 2 },
  {
    name: 'pull of commits',
    loses: true,
    command: 'pull --repo=empty --commit-metadata-only --depth=-1 --url=URL origin main',
    repo: 'empty',
    result: repoState('empty'),
    points: 2,
  },
  {
    name: 'pull of a directory',
    loses: true,
    command: 'pull --repo=empty --subpath=/sub --url=URL origin main',
    repo: 'empty',
    result: repoState('empty'),
    points: 2,
  },
  {
    name: 'pull-local, nothing flushed, verified',
    command: 'pull-local --repo=empty --disable-fsync --untrusted source main',
    repo: 'empty',
    result: repoState('empty'),
    points: 2,
  },
  {
    name: 'prune of deltas',
    before: ['static-delta generate --repo=source --from=FIRST --to=SECOND', 'refs --repo=source --delete main'],
    command: 'prune --repo=source --refs-only',
    repo: 'source',
    result: (world) => [repoState('source')(world), deltaState('source')(world)],
    points: 2,
  },
  {
    name: 'prune that leaves tombstones',
    before: ['config --repo=source set core.tombstone-commits true', 'refs --repo=source --delete main', 'refs --repo=source --create=main SECOND'],
    command: 'prune --repo=source --refs-only --depth=0',
    repo: 'source',
    result: repoState('source'),
    points: 2,
  },
  {
    name: 'static-delta generate, over another of the same name',
    before: ['static-delta generate --repo=source --from=FIRST --to=SECOND --min-fallback-size=0'],
    command: 'static-delta generate --repo=source --from=FIRST --to=SECOND --inline',
    repo: 'source',
    result: deltaState('source'),
    points: 2,
  },
  {
    name: 'static-delta reindex',
    before: ['static-delta generate --repo=source --from=FIRST --to=SECOND'],
    command: 'static-delta reindex --repo=source',
    repo: 'source',
    result: deltaState('source'),
    points: 2,
  },
  { name: 'summary, signed', command: 'summary --repo=source -u --gpg-sign=KEY', repo: 'source', result: namesState('source') },
  {
    name: 'checkout that goes on where one was killed',
    command: 'checkout --repo=source -U --union main out',
    repo: 'source',
    // Directories that are there keep their modes, as libostree's checkout has it.
    result: treeState('out', { directoryModes: false }),
    also: 'out',
    stays: true,
    points: 2,
  },
  {
    name: 'export',
    prepare: (world) => mkdirSync(join(world, 'out')),
    command: 'export --repo=source -o out/tar main',
    repo: 'source',
    result: (world) => [fileState('out/tar')(world), namesState('out')(world)],
    also: 'out',
    stays: true,
    points: 2,
  },
  { name: 'refs, an alias', command: 'refs --repo=source --alias --create=alias main', repo: 'source', result: repoState('source'), points: 2 },
  { name: 'refs, moved by force', command: 'refs --repo=source --force --create=main FIRST', repo: 'source', result: repoState('source'), points: 2 },
  {
    name: 'remote delete',
    prepare: (world) => writeFileSync(join(world, 'user/origin.trustedkeys.gpg'), ''),
    command: 'remote delete --repo=user origin',
    repo: 'user',
    result: (world) => [fileState('user/config')(world), fileState('user/origin.trustedkeys.gpg')(world)],
  },
  { name: 'remote gpg-import', command: 'remote gpg-import --repo=user origin -k TOP/key.gpg', repo: 'user', result: remoteKeys('user'), points: 2 },
  {
    name: 'remote add-cookie',
    command: 'remote add-cookie --repo=user origin example.org / name value',
    repo: 'user',
    result: fileState('user/origin.cookies.txt', /\t\d+\t/g),
    points: 2,
  },
  {
    name: 'remote delete-cookie',
    before: ['remote add-cookie --repo=user origin example.org / name value', 'remote add-cookie --repo=user origin example.org / other value'],
    command: 'remote delete-cookie --repo=user origin example.org / name',
    repo: 'user',
    result: fileState('user/origin.cookies.txt', /\t\d+\t/g),
    points: 2,
  },
  { name: 'config set', command: 'config --repo=source set core.min-free-space-size 1MB', repo: 'source', result: fileState('source/config'), points: 2 },
  { name: 'gpg-sign', command: 'gpg-sign --repo=source main KEY', repo: 'source', result: signatureState, points: 2 },
  { name: 'sign', prepare: writeRawKeys, command: 'sign --repo=source --keys-file=secret main', repo: 'source', result: signatureState, points: 2 },
  {
    name: 'create-usb',
    before: ['config --repo=source set core.collection-id org.example.C', `commit --repo=source -b usb ${COMMIT} tree`],
    prepare: (world) => mkdirSync(join(world, 'usb')),
    command: 'create-usb --repo=source usb org.example.C usb',
    repo: 'usb/.ostree/repo',
    result: repoState('usb/.ostree/repo'),
    also: 'usb',
    stays: true,
    points: 3,
  },
  {
    name: 'repair',
    prepare: damage,
    damaged: true,
    command: 'repair --repo=source --from=whole',
    repo: 'source',
    result: repoState('source'),
    points: 3,
  },
  {
    name: 'fsck that removes what is damaged',
    prepare: damage,
    damaged: true,
    command: 'fsck --repo=source --delete -q -a',
    status: 1,
    loses: true,
    repo: 'source',
    result: repoState('source'),
    points: 2,
  },
  {
    name: 'fsck that can go on',
    command: 'fsck --repo=source --resume',
    repo: 'source',
    result: repoState('source'),
    changesNothing: true,
    points: 2,
  },
];

/** Those that meet a disk that fails, too. */
export const FAILING: ReadonlySet<string> = new Set([
  'commit to archive',
  'commit to bare-user, with detached metadata',
  'pull over HTTP',
  'pull of a delta',
  'pull-local',
  'prune',
  'static-delta generate',
  'summary, signed',
  'push',
  'checkout',
  'repair',
  'export',
]);

/** Loses two objects of `source`, spoils one, and leaves them in `whole`. */
function damage(world: string): void {
  cpSync(join(world, 'source'), join(world, 'whole'), { recursive: true });
  const [first, second] = globSync('objects/*/*.filez', { cwd: join(world, 'source') }).sort();
  const [tree] = globSync('objects/*/*.dirtree', { cwd: join(world, 'source') }).sort();
  for (const path of [first, tree]) rmSync(join(world, 'source', String(path)));
  appendFileSync(join(world, 'source', String(second)), 'more than there was');
}
