/** Healing from remotes, with the settings that a pull would use. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { firstReason, needsPeer, needsRoot, run, scratch, startStaticServer, testCertificates } from '@cambium/testkit';
import { repair } from '../check/repair.ts';
import type { RepairSource } from '../check/repair-source.ts';
import { makeRepo, ostree, tryOstree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { appendCookie } from './cookies.ts';
import { openRemoteSources } from './repair-remote.ts';

const skip = firstReason(needsPeer('ostree', 'cp'), needsRoot());

interface Hurt {
  original: string;
  hurt: string;
  repo: Repo;
  /** Paths below a repository of the objects that are gone. */
  gone: string[];
}

/** Makes a repository and a copy that has no trees of the last commit, nor any contents that are new there. */
async function makeHurt(directory: string): Promise<Hurt> {
  const { repo: original, second } = makeRepo(directory, 'archive');
  const hurt = join(directory, 'hurt');
  execFileSync('cp', ['-a', original, hurt]);
  const repo = await Repo.open(hurt);
  const { root } = repo.readCommit(second as Checksum);
  const tree = repo.readDirTree(root.tree);
  const gone = [repo.objectPath('dirtree', root.tree), ...tree.files.slice(0, 3).map(({ checksum }) => repo.objectPath('file', checksum))];
  for (const path of gone) rmSync(path);
  return { original, hurt, repo, gone: gone.map((path) => path.slice(hurt.length + 1)) };
}

/** The objects of a remote alone. */
async function openObjects(...args: Parameters<typeof openRemoteSources>): Promise<RepairSource> {
  const [objects] = await openRemoteSources(...args);
  return objects as RepairSource;
}

const isSound = (path: string): boolean => tryOstree(path, ['fsck', '--all']).status === 0;

test('objects come over HTTP; a server that lacks, fails or swaps them heals nothing', { skip }, async (t) => {
  const directory = scratch(t);
  const { original, hurt, repo, gone } = await makeHurt(directory);
  const empty = join(directory, 'empty');
  mkdirSync(empty);
  const swaps = { do: 'replace', body: 'something else' } as const;
  const servers = [
    await startStaticServer({ directory: empty }),
    await startStaticServer({ directory: original, faults: ({ path }) => (path.startsWith('/objects/') ? swaps : undefined) }),
    await startStaticServer({ directory: original, faults: () => ({ do: 'status', status: 500 }) }),
    await startStaticServer({ directory: original }),
  ];
  t.after(() => Promise.all(servers.map((server) => server.stop())));
  const sources = await Promise.all(servers.map((server) => openObjects(repo, server.url, { networkRetries: 0 })));
  t.after(() => Promise.all(sources.map((source) => source.close?.())));
  const lost = await repair(repo, sources.slice(0, 3));
  assert.ok(lost.bad.every(({ healedFrom }) => healedFrom === undefined));
  // One that lacks an object is no news; those that swap and fail are.
  assert.ok(lost.bad.every(({ refused }) => refused.length === 2));
  const result = await repair(repo, sources);
  assert.deepEqual([...new Set(result.bad.map(({ healedFrom }) => healedFrom))], [sources[3]?.name]);
  assert.equal(result.bad.length, gone.length);
  assert.equal(isSound(hurt), true);
});

test('a remote is asked as its settings say: certificates, cookies, mirrors', { skip: firstReason(skip, needsPeer('openssl')) }, async (t) => {
  const directory = scratch(t);
  const { original, hurt, repo, gone } = await makeHurt(directory);
  const certificates = await testCertificates(directory);
  const served = join(directory, 'served');
  mkdirSync(served);
  for (const name of ['bad', 'good']) execFileSync('cp', ['-a', original, join(served, name)]);
  for (const path of gone) writeFileSync(join(served, 'bad', path), 'damaged there too');
  const { server, authority, client } = certificates;
  const web = await startStaticServer({ directory: served, tls: { cert: server.cert, key: server.key, ca: authority.cert, requestClientCert: true } });
  t.after(() => web.stop());
  writeFileSync(join(served, 'mirrors'), `# mirrors\n${web.url}/bad\n${web.url}/good/\n`);
  const settings = { 'tls-ca-path': authority.certPath, 'tls-client-cert-path': client.certPath, 'tls-client-key-path': client.keyPath };
  const sets = Object.entries(settings).map(([key, value]) => `--set=${key}=${value}`);
  ostree(hurt, 'remote', 'add', ...sets, 'origin', `mirrorlist=${web.url}/mirrors`);
  ostree(hurt, 'remote', 'add', 'bare', `${web.url}/good`);
  const configured = await Repo.open(hurt);
  appendCookie(hurt, 'origin', { domain: '127.0.0.1', path: '/', name: 'let', value: 'me-in' });
  // Without the certificates nothing comes.
  const bare = await openObjects(configured, 'bare', { networkRetries: 0 });
  t.after(() => bare.close?.());
  assert.ok((await repair(repo, [bare])).bad.every(({ healedFrom }) => healedFrom === undefined));
  const source = await openObjects(configured, 'origin', { networkRetries: 0, headers: [['X-Asked-By', 'repair']] });
  t.after(() => source.close?.());
  web.forget();
  const result = await repair(repo, [source]);
  assert.deepEqual([...new Set(result.bad.map(({ healedFrom }) => healedFrom))], [source.name]);
  assert.equal(isSound(hurt), true);
  const asked = web.requests();
  // The first mirror's are damaged: each is taken from the second.
  for (const path of gone)
    assert.deepEqual(
      asked.filter((one) => one.path.endsWith(path)).map((one) => one.path),
      [`/bad/${path}`, `/good/${path}`],
    );
  for (const { headers } of asked) assert.deepEqual([headers.cookie, headers['x-asked-by']], ['let=me-in', 'repair']);
});

test('a remote with a metalink is pulled from and heals; libostree pulls the same', { skip }, async (t) => {
  const directory = scratch(t);
  const { original, hurt, repo } = await makeHurt(directory);
  ostree(original, 'summary', '--update');
  const web = await startStaticServer({ directory: original });
  t.after(() => web.stop());
  const summary = readFileSync(join(original, 'summary'));
  const url = (path: string): string => `<url protocol="http" type="http" location="US" preference="1">${web.url}${path}</url>`;
  const document = (urls: string): string =>
    `<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="summary"><size>${summary.length}</size>` +
    `<verification><hash type="sha256">${createHash('sha256').update(summary).digest('hex')}</hash></verification>` +
    `<resources>${urls}</resources></file></files></metalink>`;
  writeFileSync(join(original, 'metalink.xml'), document(url('/config') + url('/nowhere/summary') + url('/summary')));
  ostree(hurt, 'remote', 'add', '--no-gpg-verify', 'origin', `metalink=${web.url}/metalink.xml`);
  const configured = await Repo.open(hurt);
  const source = await openObjects(configured, 'origin', { networkRetries: 0 });
  t.after(() => source.close?.());
  const result = await repair(repo, [source]);
  assert.deepEqual([...new Set(result.bad.map(({ healedFrom }) => healedFrom))], [source.name]);
  assert.equal(isSound(hurt), true);
  // Not in this thread: it would keep the server from answering.
  await run('ostree', [`--repo=${hurt}`, 'pull', 'origin', 'main'], { timeoutMs: 60_000 });
  assert.equal(ostree(hurt, 'rev-parse', 'origin:main'), ostree(original, 'rev-parse', 'main'));
  // No place has the summary that is told of.
  writeFileSync(join(original, 'metalink.xml'), document(url('/config') + url('/nowhere/summary')));
  await assert.rejects(
    openObjects(configured, 'origin', { networkRetries: 0 }),
    (error: unknown) => isKnownError(error, 'OSTREE_REMOTE_ERROR') && /Exhausted 2 metalink targets/.test(error.message),
  );
  writeFileSync(join(original, 'metalink.xml'), '<metalink/>');
  await assert.rejects(openObjects(configured, 'origin', { networkRetries: 0 }), (error: unknown) => isKnownError(error, 'OSTREE_METALINK_INVALID'));
  assert.deepEqual(
    readdirSync(join(hurt, 'tmp')).filter((name) => name.startsWith('repair')),
    [],
  );
});

test('a remote on this machine is read in place', { skip }, async (t) => {
  const directory = scratch(t);
  const { original, hurt, repo } = await makeHurt(directory);
  const source = await openObjects(repo, `file://${original}`);
  const result = await repair(repo, [source]);
  assert.deepEqual([...new Set(result.bad.map(({ healedFrom }) => healedFrom))], [original]);
  await source.close?.();
  assert.equal(isSound(hurt), true);
  await assert.rejects(openObjects(repo, `file://${directory}/nowhere`), (error: unknown) => isKnownError(error, 'OSTREE_REPO_NOT_FOUND'));
  await assert.rejects(openObjects(repo, 'nobody'), (error: unknown) => isKnownError(error, 'OSTREE_REMOTE_UNKNOWN'));
});

test('what a remote does not have singly is made of its static deltas; nothing of them is trusted', { skip }, async (t) => {
  for (const indexed of [true, false]) {
    const directory = scratch(t);
    const { original, hurt, repo, gone } = await makeHurt(directory);
    ostree(original, 'static-delta', 'generate', '--from=main^', '--to=main', '--min-fallback-size=0');
    ostree(original, 'static-delta', 'generate', '--empty', '--to=main', '--min-fallback-size=0');
    if (!indexed) ostree(original, 'config', 'set', 'core.no-deltas-in-summary', 'false');
    if (indexed) ostree(original, 'config', 'set', 'core.no-deltas-in-summary', 'true');
    ostree(original, 'summary', '--update');
    for (const path of gone) rmSync(join(original, path));
    const replaced = { do: 'replace', body: 'something else' } as const;
    const liar = await startStaticServer({ directory: original, faults: ({ path }) => (/^\/deltas\/.*\/\d+$/.test(path) ? replaced : undefined) });
    const honest = await startStaticServer({ directory: original });
    t.after(() => Promise.all([liar.stop(), honest.stop()]));
    const sources: RepairSource[][] = [];
    for (const { url } of [liar, honest]) sources.push(await openRemoteSources(repo, url, { networkRetries: 0 }));
    t.after(() => Promise.all(sources.flat().map((source) => source.close?.())));
    const [lies, truth] = sources as [RepairSource[], RepairSource[]];
    const lost = await repair(repo, lies);
    assert.ok(lost.bad.length > 0 && lost.bad.every(({ healedFrom }) => healedFrom === undefined));
    assert.equal(isSound(hurt), false);
    const result = await repair(repo, truth);
    assert.deepEqual([...new Set(result.bad.map(({ healedFrom }) => healedFrom))], [`static deltas of ${honest.url}/`]);
    assert.equal(result.bad.length, gone.length);
    assert.equal(isSound(hurt), true);
    // Each superblock and part is fetched at most a few times, however many objects are made of it.
    const asked = honest.requests().filter(({ path }) => path.endsWith('/superblock'));
    assert.ok(asked.length <= 8, String(asked.length));
    await Promise.all(sources.flat().map((source) => source.close?.()));
    assert.deepEqual(
      readdirSync(join(hurt, 'tmp')).filter((name) => name.startsWith('repair')),
      [],
    );
  }
});
