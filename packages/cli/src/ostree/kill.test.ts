/**
 * Every command that writes is killed before one of its changes to files, at many of them. What is left is valid to the real
 * `ostree`, and the next run comes to the same end as one that was never disturbed. With CAMBIUM_KILL_POINTS=all at each change,
 * with `FROM-TO` at those: `docs/faults.md`. The same with a disk that fails from a change on.
 */
import assert from 'node:assert/strict';
import { globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import {
  type CleanUp,
  defer,
  type FileEventOptions,
  needsPeer,
  run,
  runWithFileEvents,
  type StaticServer,
  scratch,
  spreadOver,
  startStaticServer,
} from '@cambium/testkit';
import { FAILING, KILLS, type Kill } from './kill-rows.test.ts';
import { COMMIT, isValid, leftovers, makeWorld } from './kill-world.test.ts';
import { LAUNCHER } from './two-worlds.test.ts';

const FEW_POINTS = 3;
const POINTS = process.env.CAMBIUM_KILL_POINTS ?? '';

const skip = needsPeer('ostree', 'cp', 'gpg', 'gpgconf');

/** Returns the changes to stop at. */
function placesOf(changes: number, count: number | undefined): number[] {
  const [from = 1, to = changes] = POINTS.split('-').map(Number);
  // Of two, that in the middle and the last: before it a half-written file is whole, and has no name yet.
  if (POINTS === '') return count === 2 ? [Math.ceil(changes / 2), changes] : spreadOver(changes, count ?? FEW_POINTS);
  const all = Array.from({ length: changes }, (_, i) => i + 1);
  return POINTS === 'all' ? all : all.filter((at) => at >= from && at <= to);
}

for (const kill of KILLS) {
  test(`killed at ${POINTS === 'all' ? 'every change' : 'some changes'}: ${kill.name}`, { skip }, async (t) => {
    const { changes, disturb } = await setUp(t, kill);
    const places = placesOf(changes, kill.points);
    let killed = 0;
    for (const at of places) if ((await disturb(at)).killed) killed++;
    if (POINTS !== '') t.diagnostic(`${places.length} of ${changes} changes, ${killed} times killed: ${kill.name}`);
    else assert.ok(killed > 1, `${killed} runs were killed`);
  });
}

const FAILURES = ['EIO', 'ENOSPC', 'EROFS', 'EDQUOT'] as const;

for (const [index, kill] of KILLS.filter(({ name }) => FAILING.has(name)).entries()) {
  const errno = FAILURES[index % FAILURES.length] as (typeof FAILURES)[number];
  test(`a disk that fails from some change on, ${errno}: ${kill.name}`, { skip }, async (t) => {
    const { changes, disturb } = await setUp(t, kill);
    const places = placesOf(changes - 1, 2);
    let failed = 0;
    for (const at of places) {
      const { status, stderr } = await disturb(at, errno);
      if (status === 0) continue;
      failed++;
      assert.equal(status, 1, stderr);
      assert.match(stderr, /^error: /m);
      assert.doesNotMatch(stderr, /^ {4}at |undefined|\[object/m);
    }
    if (POINTS !== '') t.diagnostic(`${places.length} of ${changes} changes, ${failed} times failed: ${kill.name}`);
    else assert.ok(failed > 0);
  });
}

interface Disturbed {
  /** Of a whole run. */
  changes: number;
  /** Kills a run before a change, or lets it and all later ones fail, looks at what is left, and runs again. */
  disturb(at: number, errno?: (typeof FAILURES)[number]): ReturnType<typeof runWithFileEvents>;
}

async function setUp(t: CleanUp, kill: Kill): Promise<Disturbed> {
  const top = scratch(t);
  const pristine = join(top, 'pristine');
  const ids = await makeWorld(pristine);
  const key = kill.command.includes('KEY') || kill.command.includes('key.gpg') ? await makeKey(t, top) : '';
  const spelled = (text: string): string => text.replaceAll('FIRST', ids.first).replaceAll('SECOND', ids.second);
  for (const line of kill.before ?? []) await run('ostree', spelled(line).split(' '), { cwd: pristine });
  kill.prepare?.(pristine, ids);
  const served = join(top, 'served');
  await run('cp', ['-a', join(pristine, 'source'), served]);
  const server: StaticServer = await startStaticServer({ directory: served });
  defer(t, () => server.stop());

  const start = async (world: string, command: string, fault: Pick<FileEventOptions, 'at' | 'errno'> = {}): ReturnType<typeof runWithFileEvents> => {
    const words = spelled(command).replace('URL', server.url).replace('WORLD', world).replace('TOP', top).replace('KEY', key);
    return runWithFileEvents(LAUNCHER, ['ostree', ...words.split(' ')], {
      cwd: world,
      within: [kill.repo, ...(kill.also === undefined ? [] : [kill.also])].map((name) => join(world, name)),
      env: { ...process.env, LC_ALL: 'C.UTF-8', OSTREE_REPO: '', SOURCE_DATE_EPOCH: '1600000000', GNUPGHOME: join(top, 'gnupg') },
      ...fault,
    });
  };
  const fresh = async (name: string): Promise<string> => {
    const world = join(top, name);
    await run('cp', ['-a', pristine, world]);
    return world;
  };

  const undisturbed = await fresh('undisturbed');
  const whole = await start(undisturbed, kill.command);
  assert.equal(whole.status, kill.status ?? 0, whole.stderr);
  assert.ok(whole.events > 1, `${whole.events} changes`);
  const wanted = kill.result(undisturbed);
  if (kill.changesNothing !== true) assert.notDeepEqual(wanted, kill.result(pristine), 'the command changes something');

  const disturb: Disturbed['disturb'] = async (at, errno) => {
    const world = await fresh(`at-${at}`);
    const one = await start(world, kill.command, { at, ...(errno === undefined ? {} : { errno }) });
    // Threads may need a change less than the time before.
    if (!one.killed && errno === undefined) assert.equal(one.status, kill.status ?? 0, one.stderr);
    const what = `${errno ?? 'killed'} before change ${at} of ${whole.events}`;
    if (kill.damaged !== true) await isValid(join(world, kill.repo), what, kill.loses);
    server.forget();
    // What was checked out in part is in the way, as it is libostree's.
    if (kill.also !== undefined && kill.stays !== true) rmSync(join(world, kill.also), { recursive: true, force: true });
    let next = await start(world, kill.command);
    if (next.status !== 0 && kill.again !== undefined) next = await start(world, kill.again);
    // What the first run has done to the end cannot be done again: `refs --create` finds the ref.
    assert.ok(next.status === (kill.status ?? 0) || isDeepStrictEqual(kill.result(world), wanted), `${what}: the next run: ${next.stderr}`);
    assert.deepEqual(kill.result(world), wanted, what);
    // What a check has found damaged stays so to libostree's until it is healed.
    if (kill.damaged !== true || kill.loses !== true) await isValid(join(world, kill.repo), `${what}, and run again`, kill.loses);
    assert.deepEqual(leftovers(join(world, kill.repo)), [], what);
    rmSync(world, { recursive: true });
    return one;
  };
  return { changes: whole.events, disturb };
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

/** Makes a key of gpg that signs, in a home of its own, and exports it; returns its fingerprint. */
async function makeKey(t: CleanUp, top: string): Promise<string> {
  const home = join(top, 'gnupg');
  mkdirSync(home, { mode: 0o700 });
  const gpg = async (...args: string[]): Promise<string> => (await run('gpg', ['--homedir', home, '--batch', '--quiet', '--passphrase', '', ...args])).stdout;
  defer(t, () => run('gpgconf', ['--homedir', home, '--kill', 'all']));
  await gpg('--quick-generate-key', 'Kill <kill@example.com>', 'ed25519', 'sign', 'never');
  await gpg('--output', join(top, 'key.gpg'), '--export', 'kill@example.com');
  return /^fpr:{9}(\w+):/m.exec(await gpg('--with-colons', '--list-secret-keys'))?.[1] ?? '';
}
