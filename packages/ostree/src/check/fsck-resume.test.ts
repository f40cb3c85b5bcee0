/** Checks that go on where one stopped, and checks that read through to a parent repository: beside the real `ostree fsck`. */
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Checksum } from '@cambium/base';
import { needsPeer, scratch } from '@cambium/testkit';
import { ostree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { type FsckResult, fsck } from './fsck.ts';

const skip = needsPeer('ostree');
const FILES = 1200;

async function manyFiles(directory: string): Promise<{ repo: Repo; files: Checksum[]; record: string }> {
  const tree = join(directory, 'tree');
  mkdirSync(tree);
  for (let i = 0; i < FILES; i++) writeFileSync(join(tree, `f${i}`), `file ${i}`);
  const path = join(directory, 'repo');
  ostree(path, 'init', '--mode=archive');
  ostree(path, 'commit', '-b', 'm', tree);
  // Files that have just been written are not recorded.
  await sleep(50);
  const repo = await Repo.open(path);
  const files = [...repo.listObjects()].filter(({ type }) => type === 'file').map(({ checksum }) => checksum);
  return { repo, files, record: join(path, 'state/cambium-fsck') };
}

/** Checks with a record until some of the contents are done, and stops. */
async function interrupted(repo: Repo): Promise<void> {
  const stop = new AbortController();
  let first: number | undefined;
  const work = fsck(repo, { resume: true, workers: 0 }, stop.signal, (event) => {
    if (event.type !== 'progress') return;
    first ??= event.done;
    if (event.done > first) stop.abort();
  });
  await assert.rejects(work, { name: 'AbortError' });
}

test('an interrupted check goes on, and looks again at what was touched since', { skip }, async (t) => {
  const { repo, files, record } = await manyFiles(scratch(t));
  const resume = (): Promise<FsckResult> => fsck(repo, { resume: true, all: true, workers: 0 });
  await interrupted(repo);
  // libostree neither minds the record nor removes it.
  assert.equal(tryOstree(repo.path, ['fsck']).status, 0);
  ostree(repo.path, 'prune');
  const bytes = readFileSync(record);
  const recorded = (bytes.byteLength - 15) / 40;
  assert.ok(Number.isInteger(recorded) && recorded >= 256 && recorded < FILES, String(recorded));
  const done = bytes.toString('hex', 15, 47) as Checksum;
  assert.ok(files.includes(done));

  const whole = await resume();
  assert.deepEqual([whole.resumed, whole.bad.length, whole.objects], [recorded, 0, FILES + 3]);
  // One that reached its end leaves nothing to go on from.
  assert.equal(existsSync(record), false);
  assert.equal((await resume()).resumed, 0);

  // Damaged after it was found sound, with its size and its content's time as they were.
  await interrupted(repo);
  const path = repo.objectPath('file', done);
  const content = readFileSync(path);
  content[content.length - 1] = (content.at(-1) as number) ^ 1;
  writeFileSync(path, content);
  const damaged = await resume();
  assert.deepEqual(
    damaged.bad.map(({ checksum, missing }) => [checksum, missing]),
    [[done, false]],
  );
  assert.ok(damaged.resumed > 0);
  assert.equal(tryOstree(repo.path, ['fsck', '--all']).status, 1);
});

test('a record that was cut short, or is not ours, costs time only', { skip }, async (t) => {
  const { repo, record } = await manyFiles(scratch(t));
  await interrupted(repo);
  const recorded = (statSync(record).size - 15) / 40;
  appendFileSync(record, 'part of one');
  assert.equal((await fsck(repo, { resume: true })).resumed, recorded);
  for (const other of ['', 'cambium-fsck 2\nwhatever', 'x'.repeat(1000)]) {
    writeFileSync(record, other);
    const result = await fsck(repo, { resume: true });
    assert.deepEqual([result.resumed, result.bad.length], [0, 0]);
    assert.equal(existsSync(record), false);
  }
  // Without the option nothing is kept.
  await fsck(repo);
  assert.equal(existsSync(record), false);
});

test('commits of a parent repository are checked and counted', { skip }, async (t) => {
  const directory = scratch(t);
  const [parent, child, tree] = ['parent', 'child', 'tree'].map((name) => join(directory, name)) as [string, string, string];
  mkdirSync(tree);
  writeFileSync(join(tree, 'a'), 'a');
  ostree(parent, 'init', '--mode=archive');
  ostree(child, 'init', '--mode=archive');
  const upper = ostree(parent, 'commit', '-b', 'upper', tree).trim() as Checksum;
  ostree(child, 'config', 'set', 'core.parent', parent);
  const compare = async (): Promise<FsckResult> => {
    const theirs = tryOstree(child, ['fsck']).stdout;
    const result = await fsck(await Repo.open(child));
    assert.equal(result.commits, Number(/integrity of (\d+) commit/.exec(theirs)?.[1]), theirs);
    assert.equal(result.partialCommits, Number(/(\d+) partial/.exec(theirs)?.[1] ?? 0), theirs);
    assert.equal(result.objects, Number(/\d+\/(\d+)\) 100%/.exec(theirs)?.[1]), theirs);
    return result;
  };
  assert.equal((await compare()).commits, 1);
  writeFileSync(join(tree, 'b'), 'b');
  ostree(child, 'commit', '-b', 'lower', tree);
  assert.equal((await compare()).commits, 2);
  writeFileSync(join(parent, 'state', `${upper}.commitpartial`), '');
  const result = await compare();
  assert.deepEqual([result.commits, result.partialCommits], [1, 1]);
  rmSync(join(parent, 'state', `${upper}.commitpartial`));
});
