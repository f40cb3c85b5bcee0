/**
 * Every command that writes is killed before one of its changes to files, at many of them. What is left is valid to the real
 * `ostree`, and the next run comes to the same end as one that was never disturbed. With CAMBIUM_KILL_POINTS=all at each change.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, globSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { parseSummary } from '@cambium/ostree';
import { defer, needsPeer, run, runWithFileEvents, type StaticServer, scratch, spreadOver, startStaticServer } from '@cambium/testkit';
import { LAUNCHER } from './two-worlds.test.ts';

const POINTS = process.env.CAMBIUM_KILL_POINTS === 'all' ? Number.POSITIVE_INFINITY : 3;

interface Kill {
  name: string;
  /** What libostree does first, in the world of {@link makeWorld}. */
  before?: readonly string[];
  /** Words of the command. `URL` is that of a server of `source`. */
  command: string;
  /** The repository that is written to. */
  repo: string;
  /** What must be equal in the end. */
  result: (world: string) => unknown;
  /** Goes on where the command itself refuses to, as libostree's does. */
  again?: string;
  /** Where else it writes. */
  also?: string;
  points?: number;
}

const COMMIT = '--parent=none --owner-uid=0 --owner-gid=0 --no-xattrs --timestamp=@1500000000';
const KILLS: readonly Kill[] = [
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
    result: (world) => readFileSync(join(world, 'source/config'), 'utf8'),
  },
];

const skip = needsPeer('ostree', 'cp');

for (const kill of KILLS) {
  test(`killed at ${POINTS === Number.POSITIVE_INFINITY ? 'every change' : 'some changes'}: ${kill.name}`, { skip }, async (t) => {
    const top = scratch(t);
    const pristine = join(top, 'pristine');
    const ids = await makeWorld(pristine);
    const spelled = (text: string): string => text.replaceAll('FIRST', ids.first).replaceAll('SECOND', ids.second);
    for (const line of kill.before ?? []) await run('ostree', spelled(line).split(' '), { cwd: pristine });
    const served = join(top, 'served');
    await run('cp', ['-a', join(pristine, 'source'), served]);
    const server: StaticServer = await startStaticServer({ directory: served });
    defer(t, () => server.stop());

    const start = async (world: string, command: string, at?: number): ReturnType<typeof runWithFileEvents> => {
      const words = spelled(command).replace('URL', server.url).replace('WORLD', world);
      return runWithFileEvents(LAUNCHER, ['ostree', ...words.split(' ')], {
        cwd: world,
        within: [kill.repo, ...(kill.also === undefined ? [] : [kill.also])].map((name) => join(world, name)),
        env: { ...process.env, LC_ALL: 'C.UTF-8', OSTREE_REPO: '', SOURCE_DATE_EPOCH: '1600000000' },
        ...(at === undefined ? {} : { at }),
      });
    };
    const fresh = async (name: string): Promise<string> => {
      const world = join(top, name);
      await run('cp', ['-a', pristine, world]);
      return world;
    };

    const undisturbed = await fresh('undisturbed');
    const whole = await start(undisturbed, kill.command);
    assert.equal(whole.status, 0, whole.stderr);
    assert.ok(whole.events > 1, `${whole.events} changes`);
    const wanted = kill.result(undisturbed);
    assert.notDeepEqual(wanted, kill.result(pristine), 'the command changes something');
    let killed = 0;
    for (const at of spreadOver(whole.events, Math.max(POINTS, kill.points ?? 0))) {
      const world = await fresh(`at-${at}`);
      const one = await start(world, kill.command, at);
      // Threads may need a change less than the time before.
      if (one.killed) killed++;
      else assert.equal(one.status, 0, one.stderr);
      const what = `killed before change ${at} of ${whole.events}`;
      await isValid(join(world, kill.repo), what);
      server.forget();
      // What was checked out in part is in the way, as it is libostree's.
      if (kill.also !== undefined) rmSync(join(world, kill.also), { recursive: true, force: true });
      let next = await start(world, kill.command);
      if (next.status !== 0 && kill.again !== undefined) next = await start(world, kill.again);
      // What the first run has done to the end cannot be done again: `refs --create` finds the ref.
      assert.ok(next.status === 0 || isDeepStrictEqual(kill.result(world), wanted), `${what}: the next run: ${next.stderr}`);
      assert.deepEqual(kill.result(world), wanted, what);
      await isValid(join(world, kill.repo), `${what}, and run again`);
      assert.deepEqual(leftovers(join(world, kill.repo)), [], what);
      rmSync(world, { recursive: true });
    }
    assert.ok(killed > 1, `${killed} runs were killed`);
  });
}

test('a killed pull goes on: nothing that is staged is asked for again', { skip }, async (t) => {
  const top = scratch(t);
  const files = 120;
  mkdirSync(join(top, 'tree'));
  for (let i = 0; i < files; i++) writeFileSync(join(top, `tree/f${i}`), `content ${i}\n`);
  for (const line of [
    'init --repo=source --mode=archive',
    `commit --repo=source -b main ${COMMIT} tree`,
    'init --repo=pristine --mode=bare-user',
    'remote add --repo=pristine --no-gpg-verify origin http://127.0.0.1:9/',
  ])
    await run('ostree', line.split(' '), { cwd: top });
  const server = await startStaticServer({ directory: join(top, 'source') });
  defer(t, () => server.stop());
  const pull = async (at?: number): ReturnType<typeof runWithFileEvents> =>
    runWithFileEvents(LAUNCHER, ['ostree', 'pull', '--repo=ours', `--url=${server.url}`, 'origin', 'main'], {
      cwd: top,
      within: [join(top, 'ours')],
      ...(at === undefined ? {} : { at }),
    });
  const objects = (): string[] => server.requests().flatMap(({ path, status }) => (status === 200 && path.startsWith('/objects/') ? [path] : []));
  const start = async (): Promise<void> => {
    rmSync(join(top, 'ours'), { recursive: true, force: true });
    await run('cp', ['-a', join(top, 'pristine'), join(top, 'ours')]);
    server.forget();
  };
  await start();
  const whole = await pull();
  assert.equal(objects().length, new Set(objects()).size);
  const all = objects().length;
  assert.ok(all > files);
  for (const share of [0.3, 0.6, 0.8]) {
    await start();
    const one = await pull(Math.floor(whole.events * share));
    assert.equal(one.killed, true, one.stderr);
    const staged = globSync('tmp/staging-*/[0-9a-f][0-9a-f]/*', { cwd: join(top, 'ours') }).map((path) => path.split('/').slice(-2).join('/'));
    assert.ok(staged.length > files * (share - 0.25), `${staged.length} staged`);
    server.forget();
    assert.equal((await pull()).status, 0);
    // The rest was on its way, or with a thread that had not written it.
    const asked = new Set(objects().map((path) => path.slice('/objects/'.length).replace(/z$/, '')));
    assert.deepEqual(
      staged.filter((name) => asked.has(name) && !name.endsWith('.commit')),
      [],
    );
    assert.ok(asked.size <= all - staged.length + 1, `${asked.size} were asked for, ${staged.length} of ${all} were there`);
    await isValid(join(top, 'ours'), `killed after ${share}`);
  }
});

async function isValid(repo: string, what: string): Promise<void> {
  if (!existsSync(join(repo, 'config'))) return;
  const { status, stdout, stderr } = await run('ostree', ['fsck', `--repo=${repo}`], { accept: 'any' });
  assert.equal(status, 0, `${what}: ${stdout}${stderr}`);
  const { stdout: refs } = await run('ostree', ['refs', `--repo=${repo}`]);
  // Every ref names a commit that can be read whole.
  for (const ref of refs.split('\n').filter((line) => line !== '')) await run('ostree', ['ls', '-R', `--repo=${repo}`, ref]);
}

/** What interrupted runs leave where nobody would remove it. Other files in `tmp/` go when they are a day old. */
function leftovers(repo: string): string[] {
  return [
    ...readdirSync(join(repo, 'tmp')).filter((name) => name.startsWith('staging-') && !name.endsWith('-lock')),
    ...globSync(['*', '{objects,refs,deltas,delta-indexes,state,extensions}/**/*'], { cwd: repo }).filter(
      (path) => /(?:^|\/)(?:\.|transaction$)/.test(path) && path !== '.lock',
    ),
  ];
}

function repoState(name: string): (world: string) => unknown {
  return (world) => {
    const repo = join(world, name);
    const summary = join(repo, 'summary');
    return {
      objects: globSync('objects/*/*', { cwd: repo }).sort(),
      refs: globSync('refs/**/*', { cwd: repo })
        .filter((path) => lstatSync(join(repo, path)).isFile())
        .sort()
        .map((path) => [path, readFileSync(join(repo, path), 'utf8')]),
      state: existsSync(join(repo, 'state')) ? readdirSync(join(repo, 'state')) : [],
      summary: existsSync(summary) ? parseSummary(readFileSync(summary)).refs.map(({ ref, checksum }) => [ref, checksum]) : undefined,
    };
  };
}

function deltaState(name: string): (world: string) => unknown {
  return (world) => globSync('{deltas,delta-indexes}/*/**', { cwd: join(world, name) }).sort();
}

function treeState(name: string): (world: string) => unknown {
  return (world) =>
    globSync(`${name}/**`, { cwd: world })
      .sort()
      .map((path) => {
        const stat = lstatSync(join(world, path));
        return [path, stat.mode, stat.isFile() ? readFileSync(join(world, path), 'utf8') : stat.isSymbolicLink() ? readlinkSync(join(world, path)) : ''];
      });
}

/** Makes `source` with two commits of `main`, `user` with the first one, `empty` with none, and `tree`, that is in none. */
async function makeWorld(world: string): Promise<{ first: string; second: string }> {
  mkdirSync(join(world, 'one/sub'), { recursive: true });
  for (let i = 0; i < 8; i++) writeFileSync(join(world, `one/sub/f${i}`), `content ${i}\n`);
  writeFileSync(join(world, 'one/large'), Buffer.alloc(200_000, 'large content '));
  const [two, three] = [join(world, 'two'), join(world, 'tree')];
  cpSync(join(world, 'one'), two, { recursive: true });
  for (let i = 0; i < 4; i++) writeFileSync(join(two, `sub/f${i}`), `changed ${i}\n`);
  writeFileSync(join(two, 'large'), Buffer.alloc(200_000, 'large content ').fill('x', 1000, 1100));
  cpSync(two, three, { recursive: true });
  mkdirSync(join(three, 'new'));
  for (let i = 0; i < 6; i++) writeFileSync(join(three, `new/n${i}`), `new ${i}\n`);
  const ostree = async (line: string): Promise<string> => (await run('ostree', line.split(' '), { cwd: world })).stdout.trim();
  for (const [name, mode] of [
    ['source', 'archive'],
    ['user', 'bare-user'],
    ['empty', 'archive'],
  ] as const) {
    await ostree(`init --repo=${name} --mode=${mode}`);
    if (name !== 'source') await ostree(`remote add --repo=${name} --no-gpg-verify origin http://127.0.0.1:9/`);
  }
  const first = await ostree(`commit --repo=source -b main ${COMMIT} one`);
  const second = await ostree(`commit --repo=source -b main ${COMMIT} two`);
  await ostree(`pull-local --repo=user --remote=origin source ${first}`);
  await ostree(`refs --repo=user --create=origin:main ${first}`);
  return { first, second };
}
