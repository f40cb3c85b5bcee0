/** Publishing into a bucket: the store checks signatures on its own, and the real `ostree` pulls from it. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { createTransport, type Transport } from '@cambium/http';
import {
  type CleanUp,
  closeServer,
  defer,
  firstReason,
  needsPeer,
  needsRoot,
  run,
  type S3Server,
  type S3ServerOptions,
  scratch,
  startS3Server,
} from '@cambium/testkit';
import { makeRepo, ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { push } from './push.ts';
import { type S3Options, s3Target } from './push-s3.ts';

const skip = firstReason(needsPeer('ostree'), needsRoot());
const KEYS = { accessKeyId: 'AKIATEST', secretAccessKey: 'a/secret+of/ours' };
const BUCKET = 'trees';
const DELTA_WITH_PLUS = 'deltas/ab/c+d/superblock';

async function store(t: CleanUp, options: Partial<S3ServerOptions> = {}): Promise<S3Server> {
  const server = await startS3Server({ bucket: BUCKET, ...KEYS, ...options });
  defer(t, () => server.stop());
  return server;
}

function transportOf(t: CleanUp): Transport {
  const transport = createTransport({ retry: { attempts: 5, backoffMs: 1 } });
  defer(t, () => transport.close());
  return transport;
}

function place(t: CleanUp, server: S3Server, more: Partial<S3Options> = {}): S3Options {
  return { bucket: BUCKET, region: 'us-east-1', credentials: KEYS, endpoint: new URL(server.url), transport: transportOf(t), ...more };
}

async function source(directory: string): Promise<{ repo: Repo; second: string; other: string }> {
  const { repo: path, first, second, other } = makeRepo(directory, 'archive');
  ostree(path, 'static-delta', 'generate', `--from=${first}`, `--to=${second}`);
  ostree(path, 'summary', '-u');
  return { repo: await Repo.open(path), second, other };
}

/** The server is in this process: who asks it must not be waited for without the event loop. */
async function pullAll(directory: string, url: string): Promise<string> {
  const client = join(directory, `client-${randomBytes(4).toString('hex')}`);
  ostree(client, 'init', '--mode=archive');
  ostree(client, 'remote', 'add', '--no-gpg-verify', 'there', url);
  await run('ostree', [`--repo=${client}`, 'pull', '--mirror', 'there']);
  ostree(client, 'fsck');
  return client;
}

test('a push into a bucket is what ostree pulls; only what is missing is sent, refs and the summary last', { skip }, async (t) => {
  const directory = scratch(t);
  const server = await store(t, { pageSize: 1 });
  const { repo, second, other } = await source(directory);
  const target = s3Target(place(t, server, { prefix: '/public/repo/' }));
  assert.equal(target.name, 's3://trees/public/repo');
  const trial = await push(repo, target, { refs: ['main'], dryRun: true });
  assert.equal(server.objects.size, 0);
  const sent = await push(repo, target, { refs: ['main'] });
  assert.deepEqual({ ...sent, dryRun: true }, trial);
  assert.deepEqual([sent.refs, sent.present, sent.summary], [[{ ref: 'main', from: undefined, to: second }], 0, 'other-refs']);
  const rest = await push(repo, target);
  assert.deepEqual([rest.refs.map(({ to }) => to), rest.deltas, rest.summary], [[other], [], 'sent']);
  assert.ok(rest.objects > 0 && rest.present > 0);
  const { requests } = server;
  const before = requests().length;
  assert.deepEqual([(await push(repo, target)).objects, (await push(repo, target)).summary], [0, 'same']);
  assert.equal(
    requests()
      .slice(before)
      .every(({ method, path }) => method === 'GET' || path.includes('/delta-indexes/')),
    true,
  );
  // Lists came in pages, and requests in the order that readers need.
  assert.ok(requests().some(({ query }) => query.has('continuation-token')));
  const puts = requests().flatMap(({ method, path }) => (method === 'PUT' ? [path.slice('/trees/public/repo/'.length)] : []));
  assert.equal(puts[0], 'config');
  const lastObject = puts.findLastIndex((path) => path.startsWith('objects/') && !path.endsWith('.commit'));
  assert.ok(puts.indexOf('refs/heads/main') > puts.findIndex((path) => path.endsWith('.commit')));
  assert.ok(puts.indexOf('refs/heads/deep/other') > lastObject);
  // What the later pushes sent again is no news.
  assert.equal(puts.filter((path) => !path.startsWith('delta-indexes/')).at(-1), 'summary');
  for (const [key, { headers }] of server.objects) {
    const isFixed = /^public\/repo\/objects\/.*\.(?:filez|commit|dirtree|dirmeta)$/.test(key);
    assert.deepEqual(headers, {
      'content-type': 'application/octet-stream',
      'cache-control': isFixed ? 'public, max-age=31536000, immutable' : 'no-cache',
    });
  }
  const client = await pullAll(directory, `${server.url}/trees/public/repo`);
  assert.equal(ostree(client, 'rev-parse', 'main', 'deep/other'), `${second}\n${other}\n`);
  for (const { path, status } of requests()) assert.ok(status === 200 || status === 404, `${path}: ${status}`);
});

test('a store that is slow, loses answers and breaks connections gets all the same', { skip }, async (t) => {
  const directory = scratch(t);
  let asked = 0;
  let isPushed = false;
  const server = await store(t, {
    faults: ({ method, count }) => {
      asked++;
      if (count > 0 || isPushed) return undefined;
      if (asked % 5 === 0) return { status: 503, code: 'SlowDown', headers: { 'retry-after': '0' } };
      if (asked % 7 === 0) return { status: 400, code: 'RequestTimeout' };
      if (asked % 11 === 0) return { reset: true, late: method === 'PUT' };
      return undefined;
    },
  });
  const { repo } = await source(directory);
  await push(repo, s3Target(place(t, server)));
  isPushed = true;
  assert.ok(server.requests().some(({ status }) => status === 503));
  await pullAll(directory, `${server.url}/trees`);
});

test('killed at any file, the bucket is sound, and the next push sends what is missing', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo, second } = await source(directory);
  const tree = join(directory, 'many');
  mkdirSync(tree);
  for (let i = 0; i < 200; i++) writeFileSync(join(tree, `file-${i}`), `${i}\n`);
  ostree(repo.path, 'commit', '-b', 'many', tree);
  ostree(repo.path, 'summary', '-u');
  const code = `const { Repo, push, s3Target } = await import(${JSON.stringify(import.meta.resolve('../index.js'))});
    const { createTransport } = await import(${JSON.stringify(import.meta.resolve('@cambium/http'))});
    const [path, url, last] = process.argv.slice(1);
    const target = await s3Target({ bucket: 'trees', region: 'us-east-1', credentials: ${JSON.stringify(KEYS)}, endpoint: new URL(url), transport: createTransport() });
    await push(await Repo.open(path), target, { workers: 0 }, undefined, (event) => {
      if (event.type === 'sent' && event.files === Number(last)) process.kill(process.pid, 'SIGKILL');
    });`;
  for (const last of [1, 60]) {
    const server = await store(t);
    const killed = await run(process.execPath, ['--input-type=module', '-e', code, repo.path, server.url, String(last)], { accept: 'any' });
    assert.equal(killed.signal, 'SIGKILL', killed.stderr);
    const there = [...server.objects.keys()].filter((key) => key.startsWith('objects/')).length;
    assert.equal(server.objects.has('refs/heads/main'), false);
    const again = await push(repo, s3Target(place(t, server)));
    assert.ok(there >= last && again.present >= there && again.objects > 50, `after ${last}: ${there} there, ${again.present} found, ${again.objects} sent`);
    const client = await pullAll(directory, `${server.url}/trees`);
    assert.equal(ostree(client, 'rev-parse', 'main').trim(), second);
  }
});

test('a push that is stopped stops: no ref moves', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo } = await source(directory);
  const server = await store(t);
  const stop = new AbortController();
  const stopped = push(repo, s3Target(place(t, server)), {}, stop.signal, (event) => {
    if (event.type === 'sent') stop.abort();
  });
  await assert.rejects(stopped, { name: 'AbortError' });
  assert.deepEqual([server.objects.size > 0, server.objects.has('refs/heads/main'), server.objects.has('summary')], [true, false, false]);
});

test('large files go in parts, and a killed push goes on after the last part', { skip }, async (t) => {
  const directory = scratch(t);
  const tree = join(directory, 'tree');
  mkdirSync(tree);
  const content = randomBytes(400_000);
  writeFileSync(join(tree, 'large'), content);
  const path = join(directory, 'repo');
  ostree(path, 'init', '--mode=archive');
  ostree(path, 'commit', '-b', 'main', tree);
  ostree(path, 'summary', '-u');
  const repo = await Repo.open(path);
  const isPart = (query: URLSearchParams): boolean => query.has('partNumber');
  let fault: (request: { method: string; query: URLSearchParams; count: number }) => ReturnType<NonNullable<S3ServerOptions['faults']>>;
  fault = ({ query }) => (Number(query.get('partNumber')) > 3 ? { status: 403, code: 'AccessDenied' } : undefined);
  const server = await store(t, { pageSize: 2, faults: (request) => fault(request) });
  const target = s3Target(place(t, server, { multipartOver: 100_000, partBytes: 50_000 }));
  await assert.rejects(push(repo, target), { code: 'OSTREE_PUSH_DENIED' });
  assert.equal(
    [...server.objects.keys()].some((key) => key.endsWith('.filez')),
    false,
  );
  const [id] = server.uploads.keys();
  const kept = server.uploads.get(id as string)?.parts.size ?? 0;
  assert.ok(kept > 0 && kept <= 3);
  const before = server.requests().length;
  // Putting together fails for a moment with a good status; then it is done, and the answer is lost.
  let closings = 0;
  fault = ({ method, query }) => {
    if (method !== 'POST' || !query.has('uploadId')) return undefined;
    closings++;
    return closings === 1 ? { status: 200, code: 'InternalError' } : closings === 2 ? { reset: true, late: true } : undefined;
  };
  await push(repo, target);
  const sent = server.requests().slice(before);
  const size = [...server.objects].find(([key]) => key.endsWith('.filez'))?.[1].body.byteLength ?? 0;
  assert.equal(sent.filter(({ query }) => isPart(query)).length, Math.ceil(size / 50_000) - kept);
  assert.deepEqual([closings, server.uploads.size, sent.some(({ method }) => method === 'HEAD')], [3, 0, true]);
  const client = await pullAll(directory, `${server.url}/trees`);
  const out = join(directory, 'out');
  ostree(client, 'checkout', '-U', 'main', out);
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  assert.equal(digest(readFileSync(join(out, 'large'))), digest(content));
});

test('refusals have codes and say what to do; secrets are in none of them', { skip }, async (t) => {
  const directory = scratch(t);
  const { repo } = await source(directory);
  const server = await store(t, { region: 'eu-west-1' });
  const late = await store(t, { now: () => new Date(Date.now() + 3_600_000) });
  const closed = await store(t, { faults: ({ method }) => (method === 'PUT' ? { status: 403, code: 'AccessDenied' } : undefined) });
  const moved = await store(t, { faults: () => ({ status: 307, code: 'TemporaryRedirect', headers: { location: 'http://127.0.0.1:1/' } }) });
  const token = await store(t, { sessionToken: 'a-token' });
  const portal = createServer(({ url }, response) => void response.writeHead(url === '/trees/config' ? 404 : 200).end('<html><p>Welcome</html>'));
  await new Promise<void>((resolve) => portal.listen(0, '127.0.0.1', resolve));
  defer(t, () => closeServer(portal));
  const portalUrl = new URL(`http://127.0.0.1:${(portal.address() as AddressInfo).port}`);
  const inEurope = { region: 'eu-west-1' };
  const table: [options: S3Options, code: string, says: RegExp][] = [
    [place(t, server, { ...inEurope, credentials: { ...KEYS, secretAccessKey: 'another-secret' } }), 'OSTREE_PUSH_DENIED', /SignatureDoesNotMatch/],
    [place(t, server, { ...inEurope, credentials: { ...KEYS, accessKeyId: 'AKIAOTHER' } }), 'OSTREE_PUSH_DENIED', /InvalidAccessKeyId/],
    [place(t, server, { ...inEurope, bucket: 'nowhere' }), 'OSTREE_PUSH_NO_BUCKET', /no such bucket at 127\.0\.0\.1/],
    [place(t, server), 'OSTREE_PUSH_FAILED', /in the region eu-west-1, not us-east-1/],
    [place(t, late), 'OSTREE_PUSH_CLOCK', /the clock here says 20/],
    [place(t, closed), 'OSTREE_PUSH_DENIED', /AccessDenied: As the test wants it & not else/],
    [place(t, moved), 'OSTREE_PUSH_FAILED', /TemporaryRedirect/],
    [place(t, token), 'OSTREE_PUSH_DENIED', /InvalidToken/],
    [place(t, token, { endpoint: portalUrl }), 'OSTREE_PUSH_FAILED', /Cannot understand the list of "objects(?:\/..\/)?"/],
    [place(t, token, { endpoint: new URL('http://127.0.0.1:1') }), 'HTTP_UNREACHABLE', /refused/],
  ];
  for (const [options, code, says] of table) {
    await assert.rejects(push(repo, s3Target(options)), (error: Error & { code?: string; hint?: string; data?: unknown }) => {
      assert.equal(error.code, code, error.message);
      assert.match(error.message, says);
      assert.doesNotMatch(`${error.message}${error.hint}${JSON.stringify(error.data)}`, /secret/);
      return true;
    });
  }
  await push(repo, s3Target(place(t, token, { credentials: { ...KEYS, sessionToken: 'a-token' } })));
  for (const bad of [
    { credentials: { ...KEYS, accessKeyId: 'AKIATEST\n' } },
    { bucket: 'a/b' },
    { region: 'x y' },
    { prefix: 'a/../b' },
    { endpoint: new URL('ftp://x') },
    { endpoint: new URL('http://u:p@x') },
  ])
    assert.throws(() => s3Target(place(t, server, bad)), { code: 'OSTREE_OPTION_INVALID' });
});

test("where a bucket is: in the host's name at Amazon, in the path elsewhere, as told", async () => {
  const asked: URL[] = [];
  const transport: Transport = {
    ...createTransport(),
    exchange: async (request) => {
      asked.push(request.url);
      throw new Error('enough');
    },
  };
  const table: [options: Partial<S3Options>, url: string][] = [
    [{}, 'https://trees.s3.us-east-1.amazonaws.com/p/config'],
    [{ region: 'cn-north-1' }, 'https://trees.s3.cn-north-1.amazonaws.com.cn/p/config'],
    [{ bucket: 'with.dots' }, 'https://s3.us-east-1.amazonaws.com/with.dots/p/config'],
    [{ addressing: 'path' }, 'https://s3.us-east-1.amazonaws.com/trees/p/config'],
    [{ endpoint: new URL('http://store:9000') }, 'http://store:9000/trees/p/config'],
    [{ endpoint: new URL('https://store/below/') }, 'https://store/below/trees/p/config'],
    [{ endpoint: new URL('https://store'), addressing: 'virtual' }, 'https://trees.store/p/config'],
    [{ prefix: 'a b/ü+' }, 'https://trees.s3.us-east-1.amazonaws.com/a%20b/%C3%BC%2B/config'],
  ];
  for (const [options, url] of table) {
    const target = s3Target({ bucket: BUCKET, region: 'us-east-1', credentials: KEYS, transport, prefix: 'p', ...options });
    await assert.rejects(target.read('config', 10), /enough/);
    assert.equal(asked.pop()?.href, url);
  }
});

test('at Amazon, what has a plus in its name is there under that of a space too', async (t) => {
  const server = await store(t);
  const real = transportOf(t);
  // What is signed for Amazon's host goes to ours.
  const transport: Transport = {
    ...real,
    exchange: (request, consume) => real.exchange({ ...request, url: new URL(`${server.url}${request.url.pathname}${request.url.search}`) }, consume),
  };
  const target = s3Target({ bucket: BUCKET, region: 'us-east-1', credentials: KEYS, transport });
  await target.put([[{ path: DELTA_WITH_PLUS, content: Buffer.from('x') }]], undefined, () => undefined);
  assert.deepEqual([...server.objects.keys()], [DELTA_WITH_PLUS.replace('+', ' '), DELTA_WITH_PLUS]);
  assert.deepEqual([...((await target.list(['deltas/ab/c+d', 'deltas/none'])) ?? [])], [['deltas/ab/c+d', ['superblock']]]);
  await assert.rejects(target.read(DELTA_WITH_PLUS, 0), { code: 'OSTREE_PUSH_FAILED' });
  assert.equal(await target.read('missing', 10), undefined);
});

test('a bucket with objects and no config is no new place', { skip }, async (t) => {
  const directory = scratch(t);
  const server = await store(t);
  const { repo } = await source(directory);
  const target = s3Target(place(t, server, { prefix: 'public' }));
  assert.equal(await target.exists('objects'), false);
  await push(repo, target);
  assert.deepEqual([await target.exists('objects'), await target.exists('object'), await target.exists('config')], [true, false, true]);
  server.objects.delete('public/config');
  await assert.rejects(push(repo, target), { code: 'OSTREE_PUSH_FAILED' });
  assert.equal(server.objects.has('public/config'), false);
});
