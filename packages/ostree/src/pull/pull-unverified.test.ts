/** What nobody has verified stays with the pull that asked for it so; what half came of an object goes with its pull. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { deflateRawSync } from 'node:zlib';
import { type Checksum, isKnownError } from '@cambium/base';
import { defer, firstReason, needsPeer, needsRoot, type StaticFault, scratch, startStaticServer } from '@cambium/testkit';
import { fsck } from '../check/fsck.ts';
import { encodeFilezHeader } from '../format/object-format.ts';
import type { RepoMode } from '../format/types.ts';
import { makeRepo, ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { readBootId } from '../write/staging.ts';
import { pull } from './pull.ts';
import { pullLocal } from './pull-local.ts';
import type { PullOptions } from './pull-types.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());
const PLAIN = { uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] } as const;

/** Other content under a good header, as an archive repository stores it. */
function filezOf(content: string): Buffer {
  return Buffer.concat([encodeFilezHeader(PLAIN, content.length), deflateRawSync(content)]);
}

async function withRemote(path: string, mode: RepoMode, url: string): Promise<Repo> {
  const { config } = await Repo.init(path, { mode });
  config.set('remote "origin"', 'url', url);
  config.set('remote "origin"', 'gpg-verify', 'false');
  writeFileSync(join(path, 'config'), config.toString());
  return Repo.open(path);
}

function inTmp(repo: Repo, pattern: RegExp): string[] {
  return readdirSync(join(repo.path, 'tmp'), { recursive: true })
    .map(String)
    .filter((name) => pattern.test(name));
}

for (const mode of ['archive', 'bare-user'] as const) {
  test(`a failed copy that took damaged content leaves none to a later one that verifies: ${mode}`, { skip }, async (t) => {
    const directory = scratch(t);
    const { repo: path, second } = makeRepo(directory, 'archive');
    const source = await Repo.open(path);
    const root = source.readDirTree(source.readCommit(second as Checksum).root.tree);
    const damaged = root.files.filter(({ checksum }) => source.readFileHeader(checksum).header.target === '').map(({ checksum }) => checksum);
    assert.ok(damaged.length > 0 && root.dirs.length > 0);
    const good = new Map(damaged.map((checksum) => [checksum, readFileSync(source.objectPath('file', checksum))]));
    for (const checksum of damaged) writeFileSync(source.objectPath('file', checksum), filezOf('something else'));
    // The files of the root come before the directories in it.
    const missing = source.objectPath('dirtree', root.dirs[0]!.tree);
    renameSync(missing, `${missing}-aside`);
    const target = await Repo.init(join(directory, 'target'), { mode });
    const told: Checksum[] = [];
    const copy = pullLocal(target, source, { refs: ['main'], acceptCorrupt: true }, undefined, (event) => {
      if (event.type === 'corrupt') told.push(event.checksum);
    });
    await assert.rejects(copy, { code: 'OSTREE_OBJECT_MISSING' });
    // Links are not looked at; what is rewritten is told of although the copy failed.
    assert.deepEqual(told.toSorted(), mode === 'archive' ? [] : [...new Set(damaged)].toSorted());
    assert.deepEqual(inTmp(target, /\/unverified/), []);
    renameSync(`${missing}-aside`, missing);
    for (const [checksum, bytes] of good) {
      // A new file: the old one is linked.
      writeFileSync(`${source.objectPath('file', checksum)}-new`, bytes);
      renameSync(`${source.objectPath('file', checksum)}-new`, source.objectPath('file', checksum));
    }
    await pullLocal(target, source, { refs: ['main'], untrusted: true });
    assert.deepEqual((await fsck(target)).bad, []);
  });
}

test('a failed pull that trusts its server leaves nothing to a later one that does not', { skip }, async (t) => {
  const directory = scratch(t);
  const source = makeRepo(directory, 'archive');
  let files: number | undefined = 0;
  const faults = ({ path }: { path: string }): StaticFault | undefined => {
    if (files === undefined || !path.endsWith('.filez')) return undefined;
    return files++ === 0 ? { do: 'replace', body: filezOf('something else') } : { do: 'status', status: 404 };
  };
  const server = await startStaticServer({ directory: source.repo, faults });
  defer(t, () => server.stop());
  const repo = await withRemote(join(directory, 'target'), 'archive', server.url);
  const options: PullOptions = { remote: 'origin', refs: ['main'], requests: 1, backoffMs: 1 };
  await assert.rejects(pull(repo, { ...options, httpTrusted: true }), { code: 'OSTREE_REMOTE_FILE_MISSING' });
  assert.ok(files > 1);
  assert.deepEqual(inTmp(repo, /\/unverified/), []);
  files = undefined;
  await pull(repo, options);
  assert.deepEqual((await fsck(repo)).bad, []);
});

test('a body that is longer than its header allows is refused when that is seen', { skip }, async (t) => {
  const directory = scratch(t);
  const source = makeRepo(directory, 'archive');
  const body = Buffer.concat([encodeFilezHeader(PLAIN, 100), randomBytes(3_000_000)]);
  const server = await startStaticServer({ directory: source.repo, faults: ({ path }) => (path.endsWith('.filez') ? { do: 'replace', body } : undefined) });
  defer(t, () => server.stop());
  for (const mode of ['archive', 'bare-user'] as const) {
    for (const httpTrusted of [false, true]) {
      const repo = await withRemote(join(directory, `${mode}-${httpTrusted}`), mode, server.url);
      await assert.rejects(
        pull(repo, { remote: 'origin', refs: ['main'], requests: 1, httpTrusted }),
        (error) => isKnownError(error, 'OSTREE_OBJECT_CORRUPT') && /longer than its header says/.test(error.message),
      );
      assert.deepEqual(inTmp(repo, /fetch-/), []);
    }
  }
});

test('what a killed pull had of a large object lies in its staging directory, and goes when that is taken over', { skip }, async (t) => {
  const directory = scratch(t);
  const source = join(directory, 'source');
  mkdirSync(join(directory, 'tree'));
  writeFileSync(join(directory, 'tree/large'), randomBytes(3_000_000));
  ostree(source, 'init', '--mode=archive');
  ostree(source, 'commit', '-b', 'main', join(directory, 'tree'));
  let stalls = true;
  const server = await startStaticServer({
    directory: source,
    faults: ({ path }) => (stalls && path.endsWith('.filez') ? { do: 'stall', afterBytes: 2_000_000 } : undefined),
  });
  defer(t, () => server.stop());
  const repo = await withRemote(join(directory, 'target'), 'archive', server.url);
  const stop = new AbortController();
  const options: PullOptions = { remote: 'origin', refs: ['main'] };
  const running = assert.rejects(pull(repo, options, stop.signal), /enough/);
  while (inTmp(repo, /(?:^|\/)fetch-/).length === 0) await sleep(5);
  const [staging, ...others] = readdirSync(join(repo.path, 'tmp')).filter((name) => !name.endsWith('-lock'));
  assert.deepEqual(others, []);
  // What a kill at this moment leaves.
  const left = join(repo.path, 'tmp', `staging-${readBootId()}-killed`);
  cpSync(join(repo.path, 'tmp', String(staging)), left, { recursive: true });
  stop.abort(new Error('enough'));
  await running;
  stalls = false;
  // Both directories are taken over, one by each.
  for (let count = 0; count < 2; count++) await pull(repo, options);
  assert.deepEqual(inTmp(repo, /./), []);
  assert.deepEqual((await fsck(repo)).bad, []);
});
