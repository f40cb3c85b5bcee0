/** Ours and libostree's processes at work on one repository: at once, one after the other, and one waiting for the other. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Repo } from '@cambium/ostree';
import { needsPeer, run, scratch, tarBytes } from '@cambium/testkit';
import fc from 'fast-check';
import { LAUNCHER, skip } from './two-worlds.test.ts';

type Tool = 'ours' | 'theirs';

interface Done {
  status: number | null;
  stdout: string;
  stderr: string;
}

function ostree(tool: Tool, directory: string, text: string): Promise<Done> {
  const [command, ...first] = tool === 'ours' ? [process.execPath, LAUNCHER, 'ostree'] : ['ostree'];
  return run(command as string, [...first, ...text.split(' ')], {
    cwd: directory,
    env: { ...process.env, LC_ALL: 'C.UTF-8', OSTREE_REPO: 'repo' },
    accept: 'any',
  });
}

async function succeed(tool: Tool, directory: string, text: string): Promise<string> {
  const { status, stdout, stderr } = await ostree(tool, directory, text);
  assert.equal(status, 0, `${tool}: ostree ${text}: ${stderr}`);
  return stdout.trim();
}

function makeTree(directory: string, name: string): void {
  mkdirSync(join(directory, name, 'sub'), { recursive: true });
  // Some content is shared by all trees, some is not.
  for (let number = 0; number < 20; number++) writeFileSync(join(directory, name, `common${number}`), `common ${number}\n`);
  for (let number = 0; number < 20; number++) writeFileSync(join(directory, name, 'sub', `own${number}`), `${name} ${number}\n`);
}

const COMMIT = '--owner-uid=0 --owner-gid=0 --no-xattrs';

test('ten processes of both tools at once: all succeed, and the repository is whole', { skip }, async (t) => {
  const directory = scratch(t);
  await succeed('theirs', directory, 'init --repo=repo --mode=archive');
  makeTree(directory, 'base');
  await succeed('theirs', directory, `commit -b base ${COMMIT} base`);
  const names = Array.from({ length: 6 }, (_, index) => `tree${index}`);
  for (const name of names) makeTree(directory, name);
  const tool = (index: number): Tool => (index % 2 === 0 ? 'ours' : 'theirs');
  for (const round of [1, 2]) {
    await Promise.all([
      ...names.map((name, index) => succeed(tool(index + round), directory, `commit -b ${name} -s round${round} ${COMMIT} ${name}`)),
      succeed('ours', directory, 'prune --refs-only --depth=0'),
      succeed('theirs', directory, 'prune --refs-only --depth=0'),
      succeed(tool(round), directory, `checkout -U base out${round}`),
      succeed(tool(round + 1), directory, `refs --create=copy${round} base`),
    ]);
  }
  for (const checker of ['ours', 'theirs'] as const) await succeed(checker, directory, 'fsck -q');
  for (const name of names) {
    await succeed('theirs', directory, `checkout -U ${name} back-${name}`);
    assert.equal(readFileSync(join(directory, `back-${name}`, 'sub/own3'), 'utf8'), `${name} 3\n`);
  }
  assert.deepEqual((await succeed('theirs', directory, 'refs')).split('\n').sort(), ['base', 'copy1', 'copy2', ...names]);
  assert.deepEqual(
    readdirSync(join(directory, 'repo/tmp')).filter((name) => name.startsWith('staging-')),
    [],
  );
});

test('pulls, checkouts, deltas, summaries, repairs and prunes of ten processes at once: nothing is lost, and all is whole', { skip }, async (t) => {
  const directory = scratch(t);
  for (const [name, mode] of [
    ['source', 'archive'],
    ['repo', 'archive'],
    ['user', 'bare-user'],
  ] as const)
    await succeed('theirs', directory, `init --repo=${name} --mode=${mode}`);
  const ids: string[] = [];
  for (const name of ['one', 'two', 'three']) {
    makeTree(directory, name);
    ids.push(await succeed('theirs', directory, `commit --repo=source -b main ${COMMIT} ${name}`));
  }
  const [first, second, third] = ids as [string, string, string];
  for (const name of ['repo', 'user']) {
    await succeed('theirs', directory, `remote add --repo=${name} --no-gpg-verify origin file://${directory}/source`);
    await succeed('theirs', directory, `pull --repo=${name} origin main@${first}`);
  }
  await succeed('theirs', directory, `refs --repo=repo --create=kept ${first}`);
  const tool = (number: number): Tool => (number % 2 === 0 ? 'ours' : 'theirs');
  for (const round of [0, 1, 2]) {
    const at = (number: number): Tool => tool(number + round);
    await Promise.all([
      succeed(at(0), directory, `pull --repo=repo --depth=-1 origin main`),
      succeed(at(1), directory, `pull --repo=user origin main`),
      succeed(at(1), directory, `pull-local --repo=repo --remote=copy source main`),
      succeed(at(0), directory, `checkout --repo=user -U -H ${first} out${round}`),
      succeed(at(1), directory, `commit --repo=repo -b new${round} ${COMMIT} --tree=dir=two`),
      succeed(at(0), directory, `static-delta generate --repo=source --from=${first} --to=${round === 0 ? second : third}`),
      succeed(at(1), directory, `summary --repo=repo -u`),
      succeed(at(0), directory, `prune --repo=repo --refs-only`),
      succeed(at(1), directory, `refs --repo=user --create=ref${round} ${first}`),
      succeed('ours', directory, `repair --repo=repo --from=source`),
    ]);
  }
  for (const name of ['source', 'repo', 'user']) {
    for (const checker of ['ours', 'theirs'] as const) await succeed(checker, directory, `fsck -q --repo=${name}`);
    assert.deepEqual(
      readdirSync(join(directory, name, 'tmp')).filter((entry) => entry.startsWith('staging-')),
      [],
    );
  }
  assert.deepEqual((await succeed('theirs', directory, 'refs --repo=repo')).split('\n').sort(), ['copy:main', 'kept', 'new0', 'new1', 'new2', 'origin:main']);
  assert.deepEqual((await succeed('theirs', directory, 'refs --repo=user')).split('\n').sort(), ['origin:main', 'ref0', 'ref1', 'ref2']);
  for (const name of ['repo', 'user']) assert.equal(await succeed('ours', directory, `rev-parse --repo=${name} origin:main`), third);
  for (const round of [0, 1, 2]) assert.equal(readFileSync(join(directory, `out${round}`, 'sub/own7'), 'utf8'), 'one 7\n');
  // The summary is one of those that there were between: whole, and of commits that are there.
  for (const line of (await succeed('theirs', directory, 'summary --repo=repo -v')).matchAll(/Latest Commit.*?([0-9a-f]{64})/g))
    await succeed('theirs', directory, `ls --repo=repo ${line[1]}`);
});

test('who holds the lock is waited for as long as the config says, by both tools', { skip: skip || needsPeer('tar') }, async (t) => {
  const directory = scratch(t);
  await succeed('theirs', directory, 'init --repo=repo --mode=archive');
  makeTree(directory, 'base');
  await succeed('theirs', directory, `commit -b base ${COMMIT} base`);
  appendFileSync(join(directory, 'repo/config'), 'lock-timeout-secs=0\n');
  const repo = await Repo.open(join(directory, 'repo'));

  // Ours holds; theirs is refused what excludes it, and given what does not.
  const exclusive = await repo.lock('exclusive');
  for (const tool of ['ours', 'theirs'] as const) {
    const { status, stderr } = await ostree(tool, directory, `commit -b other ${COMMIT} base`);
    assert.equal(status, 1, tool);
    assert.match(stderr, /Locking repo|lock/i, tool);
  }
  exclusive.release();
  const shared = await repo.lock('shared');
  const again = await repo.lock('shared');
  for (const tool of ['ours', 'theirs'] as const) {
    await succeed(tool, directory, `commit -b by-${tool} ${COMMIT} base`);
    assert.equal((await ostree(tool, directory, 'prune')).status, 1, tool);
  }
  shared.release();
  // Counted: the second holder still excludes a prune.
  assert.equal((await ostree('theirs', directory, 'prune')).status, 1);
  again.release();
  for (const tool of ['ours', 'theirs'] as const) await succeed(tool, directory, 'prune');

  // A commit of theirs that waits for its input holds the lock: ours is refused and admitted in the same way.
  const waiting = spawn('ostree', ['--repo=repo', 'commit', '-b', 'slow', '--tree=tar=-'], { cwd: directory, stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise((resolve) => waiting.on('close', resolve));
  t.after(() => waiting.kill('SIGKILL'));
  const whole = tarBytes([
    { path: './', kind: 'directory' },
    { path: 'file', content: 'content' },
  ]);
  waiting.stdin.write(whole.subarray(0, 512));
  const staged = (): boolean => readdirSync(join(directory, 'repo/tmp')).some((name) => name.startsWith('staging-'));
  while (waiting.exitCode === null && !staged()) await new Promise((resolve) => setTimeout(resolve, 5));
  await assert.rejects(repo.lock('exclusive'), { code: 'OSTREE_LOCK_TIMEOUT' });
  await succeed('ours', directory, `commit -b meanwhile ${COMMIT} base`);
  waiting.stdin.end(whole.subarray(512));
  assert.equal(await ended, 0);
  (await repo.lock('exclusive')).release();
  await succeed('theirs', directory, 'fsck -q');
});

type Operation =
  | { kind: 'commit'; branch: string; tree: string }
  | { kind: 'create'; branch: string; from: string }
  | { kind: 'delete'; branch: string }
  | { kind: 'checkout'; branch: string }
  | { kind: 'back'; branch: string }
  | { kind: 'prune'; options: string };

// No hexadecimal digits alone: such a name is the beginning of a commit's checksum, too.
const branch = fc.constantFrom('main', 'next/x', 'test');
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('commit' as const), branch, tree: fc.constantFrom('one', 'two', 'three') }) },
  fc.record({ kind: fc.constant('create' as const), branch, from: branch }),
  fc.record({ kind: fc.constant('delete' as const), branch }),
  fc.record({ kind: fc.constant('checkout' as const), branch }),
  fc.record({ kind: fc.constant('back' as const), branch }),
  fc.record({ kind: fc.constant('prune' as const), options: fc.constantFrom('', ' --refs-only', ' --refs-only --depth=0') }),
);
const steps = fc.array(fc.tuple(fc.constantFrom<Tool>('ours', 'theirs'), operation), { minLength: 8, maxLength: 12 });

test('a random walk of both tools over one repository keeps it valid', { skip }, async (t) => {
  const directory = scratch(t);
  for (const name of ['one', 'two', 'three']) makeTree(directory, name);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('archive', 'bare-user', 'bare-user-only'), steps, async (mode, walk) => {
      rmSync(join(directory, 'repo'), { recursive: true, force: true });
      await succeed('theirs', directory, `init --repo=repo --mode=${mode}`);
      // Where each branch points, the tree there, and whether its parent is known to be kept.
      const model: Model = new Map();
      for (const [tool, step] of walk) await apply(directory, model, tool, step);
      for (const checker of ['ours', 'theirs'] as const) {
        await succeed(checker, directory, 'fsck -q');
        assert.deepEqual((await succeed(checker, directory, 'refs')).split('\n').filter(Boolean).sort(), [...model.keys()].sort());
        for (const [name, { commit }] of model) assert.equal(await succeed(checker, directory, `rev-parse ${name}`), commit);
      }
    }),
    { seed: 20_260_801, numRuns: 3, endOnFailure: true },
  );
});

type Model = Map<string, { commit: string; tree: string; parent: { commit: string; tree: string } | undefined }>;

async function apply(directory: string, model: Model, tool: Tool, step: Operation): Promise<void> {
  if (step.kind === 'prune') {
    await succeed(tool, directory, `prune${step.options}`);
    if (step.options.includes('depth')) for (const [name, at] of model) model.set(name, { ...at, parent: undefined });
    return;
  }
  const { branch: name } = step;
  const at = model.get(name);
  if (step.kind === 'commit') {
    const commit = await succeed(tool, directory, `commit -b ${name} ${COMMIT} ${step.tree}`);
    model.set(name, { commit, tree: step.tree, parent: at });
  } else if (step.kind === 'create') {
    const from = model.get(step.from);
    const { status } = await ostree(tool, directory, `refs --create=${name} ${step.from}`);
    // A ref that exists is not overwritten.
    assert.equal(status === 0, from !== undefined && at === undefined);
    if (status === 0 && from !== undefined) model.set(name, from);
  } else if (step.kind === 'delete') {
    await succeed(tool, directory, `refs --delete ${name}`);
    model.delete(name);
  } else if (step.kind === 'checkout' && at !== undefined) {
    await succeed(tool, directory, `checkout -U ${name} out`);
    assert.equal(readFileSync(join(directory, 'out/sub/own7'), 'utf8'), `${at.tree} 7\n`);
    rmSync(join(directory, 'out'), { recursive: true });
  } else if (step.kind === 'back' && at?.parent !== undefined) {
    await succeed(tool, directory, `reset ${name} ${at.parent.commit}`);
    model.set(name, { ...at.parent, parent: undefined });
  }
}
