/** Pulls through what stands between: TLS with certificates of one's own, HTTP/2, proxies, slow lines, and servers that swap what they serve. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { defer, firstReason, needsPeer, needsRoot, type StaticFault, scratch, startStaticServer, testCertificates } from '@cambium/testkit';
import { fsck } from '../check/fsck.ts';
import { loosePath } from '../format/object-path.ts';
import { makeRepo, ostree } from '../real-ostree.test.ts';
import { Repo } from '../repo/repo.ts';
import { pull } from './pull.ts';
import type { PullOptions } from './pull-types.ts';

const skip = firstReason(needsPeer('ostree', 'cp', 'openssl'), needsRoot());
const quick: PullOptions = { remote: 'origin', refs: ['main'], backoffMs: 1, networkRetries: 1 };

/** Makes an empty repository with a remote of these settings. */
async function target(t: TestContext, url: string, settings: Readonly<Record<string, string>> = {}): Promise<string> {
  const path = join(scratch(t), 'ours');
  const { config } = await Repo.init(path, { mode: 'archive' });
  for (const [key, value] of Object.entries({ url, 'gpg-verify': 'false', ...settings })) config.set('remote "origin"', key, value);
  writeFileSync(join(path, 'config'), config.toString());
  return path;
}

async function succeeds(path: string, options: Partial<PullOptions> = {}): Promise<void> {
  await pull(await Repo.open(path), { ...quick, ...options });
  assert.deepEqual((await fsck(await Repo.open(path))).bad, []);
}

/** The pull fails, and nothing of it is to be seen. */
async function fails(path: string, code: RegExp, options: Partial<PullOptions> = {}): Promise<void> {
  await assert.rejects(pull(await Repo.open(path), { ...quick, ...options }), (error: unknown) => {
    assert.ok(isKnownError(error), error instanceof Error ? error.stack : String(error));
    assert.match(error.code, code, error.message);
    return true;
  });
  const repo = await Repo.open(path);
  assert.deepEqual([repo.refs.read('origin:main'), [...repo.listObjects()]], [undefined, []]);
}

test('TLS: an authority of its own, certificates of clients, HTTP/2 and a proxy', { skip }, async (t) => {
  const source = makeRepo(scratch(t), 'archive');
  const { authority, server: tls, client } = await testCertificates(scratch(t), ['far.invalid']);
  const serve = async (options: { http2?: boolean; clients?: boolean }): ReturnType<typeof startStaticServer> => {
    const clients = options.clients === true ? { ca: authority.cert, requestClientCert: true } : {};
    const server = await startStaticServer({ directory: source.repo, tls: { ...tls, ...clients }, http2: options.http2 ?? false });
    defer(t, () => server.stop());
    return server;
  };
  const versions = (server: Awaited<ReturnType<typeof serve>>): string[] => [...new Set(server.requests().map(({ httpVersion }) => httpVersion))];
  const own = { 'tls-ca-path': authority.certPath };

  const plain = await serve({ http2: true });
  await fails(await target(t, plain.url), /^HTTP_TLS_UNTRUSTED$/);
  assert.deepEqual(plain.requests(), []);
  await succeeds(await target(t, plain.url, own));
  assert.deepEqual(versions(plain), ['2.0']);
  plain.forget();
  await succeeds(await target(t, plain.url, { ...own, http2: 'false' }));
  assert.deepEqual(versions(plain), ['1.1']);
  await succeeds(await target(t, plain.url, { 'tls-permissive': 'true' }));
  await fails(await target(t, plain.url, { 'tls-ca-path': join(scratch(t), 'absent') }), /^OSTREE_REMOTE_UNUSABLE$/);
  await fails(await target(t, plain.url, { 'tls-ca-path': authority.keyPath }), /^HTTP_(?:CERTIFICATE_INVALID|TLS_UNTRUSTED)$/);
  // The right authority, and another name than the certificate is for.
  await fails(await target(t, plain.url.replace('127.0.0.1', '127.0.0.2'), own), /^HTTP_(?:TLS_UNTRUSTED|UNREACHABLE)$/);

  const picky = await serve({ http2: true, clients: true });
  const known = { ...own, 'tls-client-cert-path': client.certPath, 'tls-client-key-path': client.keyPath };
  await fails(await target(t, picky.url, own), /^HTTP_(?:TLS_UNTRUSTED|UNREACHABLE)$/);
  await fails(await target(t, picky.url, { ...own, 'tls-client-cert-path': client.certPath }), /^OSTREE_REMOTE_UNUSABLE$/);
  await fails(await target(t, picky.url, { ...known, 'tls-client-key-path': authority.keyPath }), /^HTTP_CERTIFICATE_INVALID$/);
  await succeeds(await target(t, picky.url, known));

  const asked: string[] = [];
  const proxy = createServer().on('connect', (request, socket) => {
    asked.push(String(request.url));
    const onward = connect(plain.port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    for (const side of [onward, socket]) side.on('error', () => undefined);
    onward.pipe(socket).pipe(onward);
    defer(t, () => socket.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  defer(t, () => proxy.close());
  const proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  await succeeds(await target(t, 'https://far.invalid/', { ...own, proxy: proxyUrl }));
  assert.ok(asked.length > 0 && asked.every((host) => host === 'far.invalid:443'), asked.join(' '));
  await fails(await target(t, 'https://far.invalid/', { ...own, proxy: 'http://127.0.0.1:1' }), /^HTTP_UNREACHABLE$/);
});

test('over HTTP/2: streams that are reset, stalled, truncated, redirected in circles and changed', { skip }, async (t) => {
  const source = makeRepo(scratch(t), 'archive');
  const { authority, server: tls } = await testCertificates(scratch(t));
  let wrong: { suffix: string; fault: StaticFault } | undefined;
  const server = await startStaticServer({
    directory: source.repo,
    tls,
    http2: true,
    faults: ({ path }) => (wrong !== undefined && path.endsWith(wrong.suffix) ? wrong.fault : undefined),
  });
  defer(t, () => server.stop());
  const { root } = (await Repo.open(source.repo)).readCommit(source.second as Checksum);
  const settings = { 'tls-ca-path': authority.certPath };
  for (const suffix of ['.commit', loosePath('dirtree', root.tree, 'archive'), '.filez']) {
    for (const [fault, code] of [
      [{ do: 'reset', afterBytes: 3 }, /^HTTP_UNREACHABLE$/],
      [{ do: 'reset' }, /^HTTP_UNREACHABLE$/],
      [{ do: 'stall', afterBytes: 3 }, /^HTTP_TIMEOUT$/],
      [{ do: 'truncate', afterBytes: 3 }, /^OSTREE_OBJECT_CORRUPT$/],
      [{ do: 'corrupt', atByte: 9 }, /^OSTREE_OBJECT_(?:CORRUPT|TOO_LARGE)$/],
      [{ do: 'redirect', to: '/other' }, /^OSTREE_REMOTE_FILE_MISSING$/],
      [{ do: 'redirect', to: `${server.url}/a${suffix}` }, /^HTTP_REDIRECT$/],
      [{ do: 'redirect', to: 'ftp://127.0.0.1/' }, /^HTTP_TLS_REQUIRED$/],
    ] as const) {
      const path = await target(t, server.url, settings);
      wrong = { suffix, fault };
      await fails(path, code, fault.do === 'stall' ? { stallTimeoutMs: 200 } : {});
      wrong = undefined;
      await succeeds(path);
    }
  }
});

test('a line that is too slow is given up, whatever the server keeps sending', { skip }, async (t) => {
  const source = makeRepo(scratch(t), 'archive');
  let slow = true;
  const server = await startStaticServer({
    directory: source.repo,
    faults: ({ path }) => (slow && path.endsWith('.commit') ? { do: 'slow', bytes: 1, everyMs: 50 } : undefined),
  });
  defer(t, () => server.stop());
  const path = await target(t, server.url);
  await fails(path, /^HTTP_TOO_SLOW$/, { lowSpeed: { bytesPerSecond: 10_000, seconds: 1 }, networkRetries: 0 });
  slow = false;
  await succeeds(path);
});

test('a repository that is replaced while it is pulled: what belongs together comes, or nothing', { skip }, async (t) => {
  const directory = scratch(t);
  const source = makeRepo(directory, 'archive');
  ostree(source.repo, 'summary', '-u');
  const served = join(directory, 'served');
  cpSync(source.repo, served, { recursive: true, verbatimSymlinks: true });
  let change: (() => void) | undefined;
  const server = await startStaticServer({
    directory: served,
    faults: ({ path }) => {
      if (path.endsWith('.commit')) {
        change?.();
        change = undefined;
      }
      return undefined;
    },
  });
  defer(t, () => server.stop());
  // A percent sign in a name or a password need not begin an escape.
  await succeeds(await target(t, server.url.replace('//', '//%zz:p%@')));
  // A newer commit while objects of the older one are on their way: those asked for are still there.
  let path = await target(t, server.url);
  change = () => void ostree(served, 'commit', '-b', 'main', '--timestamp=@1300000000', `--tree=ref=${source.other}`);
  await pull(await Repo.open(path), quick);
  assert.equal((await Repo.open(path)).refs.read('origin:main'), source.second);
  // The older commit is pruned in the midst of it.
  path = await target(t, server.url);
  const newest = readFileSync(join(served, 'refs/heads/main'), 'utf8').trim();
  ostree(served, 'summary', '-u');
  change = () => rmSync(join(served, 'objects'), { recursive: true });
  await fails(path, /^OSTREE_REMOTE_FILE_MISSING$/);
  cpSync(join(source.repo, 'objects'), join(served, 'objects'), { recursive: true, verbatimSymlinks: true });
  await fails(path, /^OSTREE_REMOTE_FILE_MISSING$/);
  rmSync(join(served, 'summary'));
  writeFileSync(join(served, 'refs/heads/main'), `${source.second}\n`);
  await succeeds(path);
  assert.notEqual(newest, source.second);
});

test('headers that no request can have are refused before one is sent', { skip }, async (t) => {
  const source = makeRepo(scratch(t), 'archive');
  const server = await startStaticServer({ directory: source.repo });
  defer(t, () => server.stop());
  for (const [name, value] of [
    ['X A', 'b'],
    ['', 'b'],
    ['x-a', 'b\r\nx-b: c'],
    ['x-a', '\u20ac'],
    ['Content-Length', '5'],
    ['Transfer-Encoding', 'chunked'],
    ['Connection', 'close'],
    ['Expect', '100-continue'],
  ] as const) {
    await fails(await target(t, server.url), /^OSTREE_OPTION_INVALID$/, { headers: [[name, value]] });
  }
  assert.deepEqual(server.requests(), []);
  await succeeds(await target(t, server.url), { headers: [['X-A', 'caf\u00e9\tb']] });
});
