/** Publishing: what arrives is what the real `ostree` reads and finds sound, also after a kill at any file. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Checksum } from '@cambium/base';
import { firstReason, needsPeer, needsRoot, scratch } from '@cambium/testkit';
import { makeRepo, ostree, tryOstree } from '../real-ostree.test.ts';
import { findPath } from '../repo/lookup.ts';
import { Repo } from '../repo/repo.ts';
import { type PushResult, push } from './push.ts';
import { sftpTarget } from './push-sftp.ts';
import { directoryTarget, type PushTarget } from './push-target.ts';

const skip = firstReason(needsPeer('ostree'), needsRoot());
const SERVERS = ['/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server'];
const server = SERVERS.find((path) => existsSync(path));
const skipSftp = firstReason(skip, needsPeer('sftp'), server === undefined ? 'sftp-server is not installed' : false);

const isSound = (path: string): boolean => tryOstree(path, ['fsck']).status === 0;

/** A repository with two refs, a delta and a summary, all made by libostree. */
async function source(directory: string): Promise<{ repo: Repo; first: Checksum; second: Checksum; other: Checksum }> {
  const { repo: path, first, second, other } = makeRepo(directory, 'archive');
  ostree(path, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`);
  ostree(path, 'summary', '-u');
  return { repo: await Repo.open(path), first: first as Checksum, second: second as Checksum, other: other as Checksum };
}

/** Pushes to a place that is also a directory here, and looks at it with libostree. */
async function journey(directory: string, target: PushTarget, at: string): Promise<void> {
  const { repo, first, second, other } = await source(directory);
  const trial = await push(repo, target, { refs: ['main'], dryRun: true });
  assert.equal(existsSync(join(at, 'objects')), false);
  const sent = await push(repo, target, { refs: ['main'] });
  assert.deepEqual({ ...sent, dryRun: true }, trial);
  assert.deepEqual(sent.refs, [{ ref: 'main', from: undefined, to: second }]);
  assert.deepEqual([sent.deltas, sent.summary, sent.present], [[`${first}-${second}`], 'other-refs', 0]);
  assert.equal(isSound(at), true);
  assert.equal(ostree(at, 'rev-parse', 'main').trim(), second);
  assert.equal(existsSync(join(at, 'summary')), false);
  assert.equal(readFileSync(join(at, ...deltaFile(repo)), 'latin1'), readFileSync(join(repo.path, ...deltaFile(repo)), 'latin1'));

  const rest = await push(repo, target);
  assert.deepEqual(rest.refs, [{ ref: 'deep/other', from: undefined, to: other }]);
  assert.ok(rest.objects > 0 && rest.present > 0);
  assert.deepEqual([rest.deltas, rest.summary], [[], 'sent']);
  assert.deepEqual(readFileSync(join(at, 'summary')), readFileSync(join(repo.path, 'summary')));
  assert.equal(isSound(at), true);
  const nothing = await push(repo, target);
  assert.deepEqual([nothing.objects, nothing.refs, nothing.summary], [0, [], 'same']);
  assert.deepEqual(
    readdirSync(join(at, 'tmp')).filter((name) => name.startsWith('push')),
    [],
  );

  // A ref that moves, and a client that follows through the delta's repository.
  const client = join(directory, 'client');
  ostree(client, 'init', '--mode=archive');
  ostree(client, 'remote', 'add', '--no-gpg-verify', 'there', `file://${at}`);
  ostree(client, 'pull', 'there', 'main');
  ostree(repo.path, 'commit', '-b', 'main', `--tree=ref=${other}`);
  const moved = await push(repo, target, { refs: ['main'] });
  assert.deepEqual([moved.refs[0]?.from, moved.objects], [second, 1]);
  ostree(client, 'pull', 'there', 'main');
  assert.equal(isSound(client) && isSound(at), true);
}

function deltaFile(repo: Repo): string[] {
  const [top] = readdirSync(join(repo.path, 'deltas'));
  const [rest] = readdirSync(join(repo.path, 'deltas', top as string));
  return ['deltas', top as string, rest as string, 'superblock'];
}

test('a push to a directory', { skip }, async (t) => {
  const directory = scratch(t);
  const at = join(directory, 'public');
  await journey(directory, directoryTarget(at), at);
});

test("a push through the system's sftp", { skip: skipSftp }, async (t) => {
  const directory = scratch(t);
  const at = join(directory, 'public with "quotes" and *');
  await journey(directory, sftpTarget({ arguments: ['-D', server as string], directory: at }), at);
  const nowhere = sftpTarget({ arguments: ['-D', '/nonexistent/server'], directory: at });
  await assert.rejects(push(await Repo.open(join(directory, 'repo-archive')), nowhere), { code: 'OSTREE_PUSH_FAILED' });
});

for (const over of ['directory', 'sftp'] as const) {
  test(`killed at any file, what is there is sound, and the next push sends what is missing: ${over}`, {
    skip: over === 'sftp' ? skipSftp : skip,
  }, async (t) => {
    const directory = scratch(t);
    const { repo, second } = await source(directory);
    const options = { arguments: ['-D', String(server)] };
    const targetOf = (at: string): PushTarget => (over === 'sftp' ? sftpTarget({ ...options, directory: at }) : directoryTarget(at));
    const code = `const { Repo, push, directoryTarget, sftpTarget } = await import(${JSON.stringify(import.meta.resolve('../index.js'))});
      const [path, at, last] = process.argv.slice(1);
      const target = ${over === 'sftp'} ? await sftpTarget({ ...${JSON.stringify(options)}, directory: at }) : directoryTarget(at);
      await push(await Repo.open(path), target, { workers: 0 }, undefined, (event) => {
        if (event.type === 'sent' && event.files === Number(last)) process.kill(process.pid, 'SIGKILL');
      });
      console.log('whole');`;
    const whole = join(directory, 'whole');
    let files = 0;
    await push(repo, targetOf(whole), {}, undefined, (event) => {
      if (event.type === 'sent') files = event.files;
    });
    assert.ok(files > 20);
    const ends = over === 'sftp' ? [files - 3] : [files - 8, files - 5, files - 3, files - 2, files - 1];
    for (const last of [1, 2, Math.floor(files / 2), ...ends]) {
      const at = join(directory, `killed-${last}`);
      const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', code, repo.path, at, String(last)]);
      assert.equal(signal, 'SIGKILL');
      assert.equal(isSound(at), true, `after ${last}`);
      const again: PushResult = await push(repo, targetOf(at));
      assert.ok(again.present >= Math.min(last, again.present + again.objects), `after ${last}: ${again.present}`);
      assert.equal(isSound(at), true);
      assert.equal(ostree(at, 'rev-parse', 'main').trim(), second);
      assert.deepEqual(readFileSync(join(at, 'summary')), readFileSync(join(repo.path, 'summary')));
    }
  });
}

test('what is refused: damage, other modes, partial commits, refs that are not there', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo, second } = await source(directory);
  const at = join(directory, 'public');
  const target = directoryTarget(at);
  await assert.rejects(push(repo, target, { refs: ['nope'] }), { code: 'OSTREE_REF_NOT_FOUND' });
  const { repo: user } = makeRepo(directory, 'bare-user');
  await assert.rejects(push(await Repo.open(user), target), { code: 'OSTREE_REPO_UNSUPPORTED' });
  await assert.rejects(push(repo, directoryTarget(user)), { code: 'OSTREE_REPO_UNSUPPORTED' });
  const sparse = join(directory, 'sparse');
  mkdirSync(sparse);
  ostree(sparse, 'init', '--mode=archive');
  ostree(sparse, 'pull-local', '--commit-metadata-only', repo.path, 'main');
  await assert.rejects(push(await Repo.open(sparse), target), { code: 'OSTREE_OBJECT_MISSING' });
  const large = repo.objectPath('file', (findPath(repo, repo.readCommit(second).root, '/d/large') as { checksum: Checksum }).checksum);
  truncateSync(large, 300);
  await assert.rejects(push(repo, target), { code: 'OSTREE_OBJECT_CORRUPT' });
  rmSync(large);
  await assert.rejects(push(repo, target), { code: 'OSTREE_OBJECT_MISSING' });
  // Nothing has been begun.
  assert.equal(existsSync(at), false);
  await assert.rejects(push(repo, directoryTarget(join(directory, 'elsewhere')), { refs: ['main'] }, AbortSignal.abort()), { name: 'AbortError' });
});

test('a config that cannot be read is not taken for none, and objects without one not for a new place', {
  skip: firstReason(skipSftp, needsPeer('setpriv')),
}, async (t) => {
  const directory = scratch(t);
  const { repo } = await source(directory);
  chmodSync(directory, 0o755);
  const at = join(directory, 'public');
  const config = join(at, 'config');
  ostree(at, 'init', '--mode=bare-user');
  const before = readFileSync(config, 'utf8');
  // Who may write there, and not read the config.
  const stranger = join(directory, 'server');
  writeFileSync(stranger, `#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups ${server}\n`, { mode: 0o755 });
  for (const name of ['.', ...readdirSync(at, { recursive: true, encoding: 'utf8' })]) chmodSync(join(at, name), 0o777);
  chmodSync(config, 0o600);
  await assert.rejects(push(repo, sftpTarget({ arguments: ['-D', stranger], directory: at })), { code: 'OSTREE_PUSH_FAILED' });
  assert.equal(readFileSync(config, 'utf8'), before);
  // A place that may be passed through and not be listed says nothing of what is in it.
  chmodSync(at, 0o711);
  await assert.rejects(push(repo, sftpTarget({ arguments: ['-D', stranger], directory: at })), { code: 'OSTREE_PUSH_FAILED' });

  rmSync(config);
  const sftp = sftpTarget({ arguments: ['-D', server as string], directory: at });
  for (const target of [sftp, directoryTarget(at)]) {
    await assert.rejects(push(repo, target), { code: target === sftp ? 'OSTREE_PUSH_FAILED' : 'OSTREE_REPO_NOT_FOUND' });
    assert.equal(existsSync(config), false);
    assert.deepEqual([await target.exists('objects'), await target.exists('config'), await target.exists('refs/heads/a/b')], [true, false, false]);
    assert.equal(await target.read('refs/heads/a/b', 100), undefined);
  }
  symlinkSync('nowhere', config);
  for (const target of [sftp, directoryTarget(at)]) await assert.rejects(target.read('config', 1000));
  assert.equal(existsSync(config), false);
});
