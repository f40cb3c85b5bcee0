/** `--json` of the verbs that show something, and what failures tell people beyond libostree's words. */
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setXattr } from '@cambium/system';
import { scratch } from '@cambium/testkit';
import { commandsOf, loadCatalogue } from '../catalogue.ts';
import { readEnvironment } from '../environment.ts';
import { execute } from '../main.ts';
import { runOurs } from './our-command.test.ts';

interface World {
  directory: string;
  /** Runs a line that must succeed; words are parted by spaces. */
  run(line: string): Promise<string>;
  json(line: string): Promise<unknown>;
}

/** Two commits of `main`, the second with a file that the first has not; a delta, a summary, and a remote that is the repository itself. */
async function worldOf(t: TestContext): Promise<World> {
  const directory = scratch(t);
  const env = { ...process.env, LC_ALL: 'C.UTF-8', SOURCE_DATE_EPOCH: '1600000000', TZ: 'UTC' };
  const run = async (line: string): Promise<string> => {
    const { status, stdout, stderr } = await runOurs(line.split(' '), { cwd: directory, env });
    assert.equal(status, 0, `${line}: ${stderr}`);
    return stdout;
  };
  mkdirSync(join(directory, 'tree/dir'), { recursive: true });
  writeFileSync(join(directory, 'tree/file'), 'content\n', { mode: 0o644 });
  setXattr(join(directory, 'tree/file'), 'user.a', Buffer.from('b'));
  setXattr(join(directory, 'tree/file'), 'user.z', Buffer.of(255, 0));
  symlinkSync('../file', join(directory, 'tree/dir/link'));
  await run('init --repo=repo --mode=bare-user');
  const commit = 'commit --repo=repo -b main --tree=dir=tree --owner-uid=0 --owner-gid=0 --add-metadata-string=version=1.2';
  await run(`${commit} -s first`);
  writeFileSync(join(directory, 'tree/dir/new'), 'new\n', { mode: 0o755 });
  await run(`${commit} -s second -m body`);
  await run('refs --repo=repo --create=other/ref main');
  await run('refs --repo=repo --alias --create=alias main');
  await run('static-delta generate --repo=repo main');
  await run('summary --repo=repo --update');
  await run(`remote add --repo=repo --no-gpg-verify origin file://${join(directory, 'repo')}`);
  return { directory, run, json: async (line) => JSON.parse(await run(`${line} --json`)) as unknown };
}

test('what verbs show is there as JSON', async (t) => {
  const { directory, run, json } = await worldOf(t);
  const main = (await run('rev-parse --repo=repo main')).trim();
  const first = (await run('rev-parse --repo=repo main^')).trim();

  assert.deepEqual(await json('refs --repo=repo'), [
    { ref: 'alias', commit: main },
    { ref: 'main', commit: main },
    { ref: 'other/ref', commit: main },
  ]);
  assert.deepEqual(await json('refs --repo=repo other'), [{ ref: 'other/ref', commit: main }]);
  assert.deepEqual(await json('refs --repo=repo --alias'), [{ ref: 'alias', target: 'main' }]);
  assert.deepEqual(await json('refs --repo=repo nothing'), []);

  const log = (await json('log --repo=repo main')) as Record<string, unknown>[];
  assert.deepEqual(
    log.map(({ commit, parent, subject, body, version, date, timestamp }) => ({ commit, parent, subject, body, version, date, timestamp })),
    [
      { commit: main, parent: first, subject: 'second', body: 'body', version: '1.2', date: '2020-09-13T12:26:40.000Z', timestamp: 1600000000 },
      { commit: first, parent: undefined, subject: 'first', body: '', version: '1.2', date: '2020-09-13T12:26:40.000Z', timestamp: 1600000000 },
    ],
  );
  const shown = (await json('show --repo=repo main')) as Record<string, unknown>;
  assert.deepEqual({ ...shown, type: undefined }, { ...log[0], type: undefined });
  assert.equal(shown.type, 'commit');
  assert.deepEqual(shown.metadata, { 'ostree.ref-binding': "['main']", version: "'1.2'" });
  const tree = (await json(`show --repo=repo ${shown.tree}`)) as { type: string; files: { name: string; checksum: string }[]; dirs: unknown[] };
  assert.deepEqual([tree.type, tree.files.map(({ name }) => name), tree.dirs.length], ['dirtree', ['file'], 1]);
  assert.equal(((await json(`show --repo=repo ${shown.meta}`)) as { type: string }).type, 'dirmeta');
  await run(`commit --repo=repo -b large --tree=ref=main --add-metadata-string=large=${'x'.repeat(70_000)} --add-metadata-string=small=x`);
  const large = (await json('show --repo=repo large')) as { metadata: Record<string, string | null> };
  await run('refs --repo=repo --delete large');
  assert.deepEqual(large.metadata, {
    large: null,
    small: "'x'",
    'ostree.ref-binding': "['large']",
  });
  const file = (await json(`show --repo=repo ${tree.files[0]?.checksum}`)) as Record<string, unknown>;
  assert.deepEqual(file, {
    type: 'file',
    checksum: tree.files[0]?.checksum,
    uid: 0,
    gid: 0,
    mode: '100644',
    sizeBytes: 8,
    xattrs: { 'user.a': 'b', 'user.z': 'base64:/wA=' },
  });

  const entries = (await json('ls --repo=repo -R main')) as Record<string, unknown>[];
  assert.deepEqual(
    entries.map(({ path, kind, target, sizeBytes }) => [path, kind, target, sizeBytes]),
    [
      ['/', 'directory', undefined, 0],
      ['/file', 'file', undefined, 8],
      ['/dir', 'directory', undefined, 0],
      ['/dir/link', 'symlink', '../file', 0],
      ['/dir/new', 'file', undefined, 4],
    ],
  );
  assert.equal(entries.find(({ path }) => path === '/file')?.checksum, tree.files[0]?.checksum);

  assert.deepEqual(await json('diff --repo=repo main'), { modified: [], removed: [], added: ['dir/new'] });
  const all = (await json('diff --repo=repo --stats --sizes --fs-diff main')) as Record<string, unknown>;
  assert.deepEqual([all.added, typeof all.objectsA, all.to], [['dir/new'], 'number', main]);

  const url = `file://${join(directory, 'repo')}`;
  assert.deepEqual(await json('remote list --repo=repo'), [{ name: 'origin', url }]);
  assert.deepEqual(await json('remote show-url --repo=repo origin'), { name: 'origin', url });
  const refs = ['alias', 'main', 'other/ref'].map((ref) => ({ ref, commit: main }));
  assert.deepEqual(await json('remote refs --repo=repo origin'), refs);
  const summary = (await json('summary --repo=repo -v')) as { refs: Record<string, unknown>[]; metadata: Record<string, string> };
  assert.deepEqual(
    summary.refs.map(({ ref, commit }) => ({ ref, commit })),
    refs,
  );
  assert.equal(summary.metadata['ostree.summary.mode'], "'bare-user'");
  assert.deepEqual(await json('remote summary --repo=repo origin'), { ...summary, signatures: [] });

  const name = (await run('static-delta list --repo=repo')).trim();
  assert.deepEqual(await json('static-delta list --repo=repo'), [{ name, from: first, to: main }]);
  const delta = (await json(`static-delta show --repo=repo ${name}`)) as { name: string; to: string; parts: { objects: number }[] };
  assert.deepEqual([delta.name, delta.to, delta.parts.length], [name, main, 1]);
  assert.deepEqual(await json('static-delta indexes --repo=repo'), [{ to: main }]);

  const fsck = (await json('fsck --repo=repo')) as { sound: boolean; bad: unknown[]; commits: number };
  assert.deepEqual([fsck.sound, fsck.bad, fsck.commits], [true, [], 3]);
  const prune = (await json('prune --repo=repo --refs-only --depth=0 --no-prune')) as { dryRun: boolean; prunedObjects: number };
  assert.deepEqual([prune.dryRun, prune.prunedObjects], [true, 4]);
});

test('every verb that has --json says its shape, and those that have it are those that show something', async () => {
  const verbs = commandsOf(await loadCatalogue()).filter(({ dialect, flags }) => dialect === 'ostree' && 'json' in flags);
  for (const { command, path } of verbs) assert.ok((command.json ?? '').length > 0, path);
  assert.deepEqual(
    verbs.map(({ path }) => path.replace('cambium ostree ', '')),
    [
      'diff',
      'fsck',
      'log',
      'ls',
      'prune',
      'push',
      'refs',
      'remote show-url',
      'remote list',
      'remote refs',
      'remote summary',
      'repair',
      'show',
      'static-delta list',
      'static-delta show',
      'static-delta indexes',
      'summary',
    ],
  );
});

test('hints are for people: on a terminal, or when asked for details; scripts read the message in the last line', async (t) => {
  const directory = scratch(t);
  const failing = async (args: readonly string[], isTTY: boolean): Promise<string> => {
    let stderr = '';
    const write =
      (take: (text: string) => void) =>
      (data: string | Uint8Array, done?: () => void): boolean => {
        take(data.toString());
        if (done !== undefined) setImmediate(done);
        return true;
      };
    const environment = {
      ...readEnvironment(),
      variables: { ...process.env, NO_COLOR: '1' },
      home: homedir(),
      stdoutIsTerminal: false,
      stderrIsTerminal: isTTY,
    };
    const stderrOutput = {
      write: write((text) => {
        stderr += text;
      }),
      isTTY,
    };
    const status = await execute(['ostree', ...args], {
      stdout: { write: write(() => undefined) },
      stderr: stderrOutput,
      environment,
      signal: new AbortController().signal,
    });
    assert.equal(status, 1);
    return stderr;
  };
  const args = ['init', `--repo=${directory}/repo`, '--mode=bare-user', '--moed'];
  const message = 'error: Unknown option --moed\n';
  assert.ok((await failing(args, false)).endsWith(message));
  assert.ok((await failing(args, true)).endsWith(`${message}hint: Did you mean --mode?\n`));
  assert.ok((await failing([...args, '-v'], false)).includes(`${message}hint: Did you mean --mode?\n`));
});
