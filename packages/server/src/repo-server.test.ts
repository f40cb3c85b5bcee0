import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { get } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { type CleanUp, defer, needsPeer, run, scratch, testCertificates } from '@cambium/testkit';
import type { ServerEvent } from './events.ts';
import { type RepoServer, type RepoServerOptions, startRepoServer } from './repo-server.ts';

const skip = needsPeer('ostree', 'openssl');

function ostree(...args: string[]): string {
  return execFileSync('ostree', args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8' }, stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

/** Two commits with a static delta between them, an alias, and a summary, all made by libostree. */
function makeRepo(t: CleanUp): { repo: string; tree: string } {
  const top = scratch(t);
  const [repo, tree] = [join(top, 'repo'), join(top, 'tree')];
  ostree('init', `--repo=${repo}`, '--mode=archive');
  mkdirSync(join(tree, 'sub'), { recursive: true });
  writeFileSync(join(tree, 'small'), 'small\n');
  // Not compressible, so that the object is sent as a stream.
  writeFileSync(join(tree, 'sub', 'large'), createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(300_000)));
  ostree('commit', `--repo=${repo}`, '--branch=apps/shop', `--tree=dir=${tree}`);
  writeFileSync(join(tree, 'small'), 'changed\n');
  ostree('commit', `--repo=${repo}`, '--branch=apps/shop', `--tree=dir=${tree}`);
  ostree('static-delta', 'generate', `--repo=${repo}`, 'apps/shop');
  ostree('refs', `--repo=${repo}`, '--alias', '--create=apps/latest', 'apps/shop');
  ostree('summary', `--repo=${repo}`, '-u');
  return { repo, tree };
}

async function serve(t: CleanUp, options: RepoServerOptions): Promise<RepoServer & { events: ServerEvent[] }> {
  const events: ServerEvent[] = [];
  const server = await startRepoServer({ graceMs: 2000, ...options, on: (event) => void events.push(event) });
  defer(t, () => server.stop());
  return { ...server, events };
}

/** libostree in its own process: the server needs this one. */
async function ostreeBeside(...args: string[]): Promise<string> {
  return (await run('ostree', args, { timeoutMs: 60_000 })).stdout;
}

async function pullInto(t: CleanUp, server: RepoServer, remote: readonly string[], pull: readonly string[] = []): Promise<string> {
  const destination = join(scratch(t), 'client');
  ostree('init', `--repo=${destination}`, '--mode=bare-user');
  ostree('remote', 'add', `--repo=${destination}`, '--no-gpg-verify', ...remote, 'origin', server.url);
  await ostreeBeside('pull', `--repo=${destination}`, ...pull, 'origin', 'apps/shop');
  await ostreeBeside('fsck', `--repo=${destination}`);
  return destination;
}

test('libostree pulls over HTTP/1.1: objects, static deltas, aliases', { skip }, async (t) => {
  const { repo, tree } = makeRepo(t);
  const server = await serve(t, { repo });
  const [head, parent] = [ostree('rev-parse', `--repo=${repo}`, 'apps/shop'), ostree('rev-parse', `--repo=${repo}`, 'apps/shop^')];
  const client = await pullInto(t, server, [], ['--disable-static-deltas', '--depth=1']);
  assert.equal(ostree('rev-parse', `--repo=${client}`, 'origin:apps/shop'), head);
  assert.equal(ostree('rev-parse', `--repo=${client}`, 'origin:apps/shop^'), parent);
  const checkout = join(scratch(t), 'out');
  ostree('checkout', `--repo=${client}`, '-U', 'origin:apps/shop', checkout);
  assert.deepEqual(readFileSync(join(checkout, 'sub', 'large')), readFileSync(join(tree, 'sub', 'large')));
  // The commit says that it is of the other ref.
  await ostreeBeside('pull', `--repo=${client}`, '--disable-verify-bindings', 'origin', 'apps/latest');
  assert.equal(ostree('rev-parse', `--repo=${client}`, 'origin:apps/latest'), head);
  await server.stop();
  assert.ok(server.events.every(({ httpVersion }) => httpVersion === '1.1'));
  assert.ok(server.events.some(({ path, sentBytes }) => path.endsWith('.filez') && sentBytes > 64 * 1024));
  assert.ok(!server.events.some(({ path }) => path.startsWith('/deltas/')));

  // From the first commit to the second by the delta alone.
  const first = await serve(t, { repo });
  const other = join(scratch(t), 'client');
  ostree('init', `--repo=${other}`, '--mode=bare-user');
  ostree('remote', 'add', `--repo=${other}`, '--no-gpg-verify', 'origin', first.url);
  await ostreeBeside('pull', `--repo=${other}`, '--disable-static-deltas', 'origin', `apps/shop@${parent}`);
  const second = await serve(t, { repo });
  await ostreeBeside('pull', `--repo=${other}`, `--url=${second.url}`, '--require-static-deltas', 'origin', 'apps/shop');
  await second.stop();
  assert.equal(ostree('rev-parse', `--repo=${other}`, 'origin:apps/shop'), head);
  assert.ok(second.events.some(({ path, status }) => path.endsWith('/superblock') && status === 200));
  // Objects too, now and then: libostree scans the commit while it applies the parts.
  assert.ok(second.events.some(({ path, sentBytes }) => /^\/deltas\/.*\/0$/.test(path) && sentBytes > 0));
});

test('libostree pulls over HTTPS with HTTP/2', { skip }, async (t) => {
  const { repo } = makeRepo(t);
  const { authority, server: tls } = await testCertificates(scratch(t));
  const server = await serve(t, { repo, tls });
  const client = await pullInto(t, server, [`--set=tls-ca-path=${authority.certPath}`, '--set=http2=true'], ['--disable-static-deltas']);
  assert.equal(ostree('rev-parse', `--repo=${client}`, 'origin:apps/shop'), ostree('rev-parse', `--repo=${repo}`, 'apps/shop'));
  await server.stop();
  assert.ok(server.events.length > 5);
  assert.deepEqual(new Set(server.events.map(({ httpVersion }) => httpVersion)), new Set(['2.0']));

  const another = await serve(t, { repo, tls });
  const old = await new Promise<string>((resolve, reject) => {
    get(`${another.url}/config`, { ca: authority.cert, agent: false }, (answer) => {
      answer.resume();
      resolve(`${answer.statusCode} ${answer.httpVersion}`);
    }).once('error', reject);
  });
  assert.equal(old, '200 1.1');
});

test('what may be cached, and for how long', { skip }, async (t) => {
  const { repo } = makeRepo(t);
  const { url } = await serve(t, { repo });
  const head = ostree('rev-parse', `--repo=${repo}`, 'apps/shop');
  const object = `objects/${head.slice(0, 2)}/${head.slice(2)}.commit`;
  for (const [path, control] of [
    [object, 'public, max-age=31536000, immutable'],
    ['summary', 'no-cache'],
    ['config', 'no-cache'],
    ['refs/heads/apps/shop', 'no-cache'],
  ] as const) {
    const answer = await fetch(`${url}/${path}`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.deepEqual(bytes, readFileSync(join(repo, path)));
    assert.equal(answer.headers.get('cache-control'), control);
    assert.equal(answer.headers.get('content-length'), String(bytes.byteLength));
    const etag = answer.headers.get('etag') ?? '';
    const again = await fetch(`${url}/${path}`, { headers: { 'if-none-match': etag } });
    assert.deepEqual([again.status, await again.text(), again.headers.get('etag')], [304, '', etag]);
    const part = await fetch(`${url}/${path}`, { headers: { range: 'bytes=2-5', 'if-range': etag } });
    assert.deepEqual([part.status, Buffer.from(await part.arrayBuffer())], [206, bytes.subarray(2, 6)]);
    assert.equal(part.headers.get('content-range'), `bytes 2-5/${bytes.byteLength}`);
    assert.equal((await fetch(`${url}/${path}`, { headers: { range: `bytes=${bytes.byteLength}-` } })).status, 416);
    const asked = await fetch(`${url}/${path}`, { method: 'HEAD' });
    assert.deepEqual([asked.status, asked.headers.get('content-length'), await asked.text()], [200, String(bytes.byteLength), '']);
  }
  const before = (await fetch(`${url}/refs/heads/apps/shop`)).headers.get('etag');
  ostree('refs', `--repo=${repo}`, '--create=apps/shop', '--force', 'apps/shop^');
  assert.notEqual((await fetch(`${url}/refs/heads/apps/shop`)).headers.get('etag'), before);
});

test('of the config only what clients need gets out, under any name', { skip }, async (t) => {
  const { repo } = makeRepo(t);
  const config = readFileSync(join(repo, 'config'), 'utf8').trimEnd();
  const secrets = '# core secret\n[remote "o"]\nurl=https://user:secret@example.org/\n[ex-integrity]\nfsverity=maybe\n[more]\nkey=secret\n';
  writeFileSync(join(repo, 'config'), `# secret\n${config}\n${secrets}`);
  symlinkSync('../../config', join(repo, 'refs/heads/settings'));
  const server = await serve(t, { repo });
  const tags: (string | null)[] = [];
  for (const path of ['config', 'refs/heads/settings']) {
    const answer = await fetch(`${server.url}/${path}`);
    const text = await answer.text();
    assert.equal(text, `${config}\n\n[ex-integrity]\nfsverity=maybe\n`);
    assert.equal(answer.headers.get('content-length'), String(text.length));
    tags.push(answer.headers.get('etag'));
    const part = await fetch(`${server.url}/${path}`, { headers: { range: 'bytes=-1000' } });
    assert.equal(await part.text(), text);
  }
  const head = ostree('rev-parse', `--repo=${repo}`, 'apps/shop');
  assert.equal(ostree('rev-parse', `--repo=${await pullInto(t, server, [])}`, 'origin:apps/shop'), head);
  // What is sent has not changed when only the rest has.
  writeFileSync(join(repo, 'config'), `${config}\n[ex-integrity]\nfsverity=maybe\n`);
  assert.deepEqual(tags, [(await fetch(`${server.url}/config`)).headers.get('etag'), tags[0]]);
  writeFileSync(join(repo, 'config'), `${config}\n[ex-integrity]\nfsverity=yes\n`);
  assert.notEqual((await fetch(`${server.url}/config`)).headers.get('etag'), tags[0]);
  writeFileSync(join(repo, 'config'), 'secret');
  const broken = await fetch(`${server.url}/config`);
  assert.deepEqual([broken.status, await broken.text()], [500, '']);
});

test('nothing else gets out: traversal, directories, links, other methods', { skip }, async (t) => {
  const { repo } = makeRepo(t);
  writeFileSync(join(repo, '..', 'secret'), 'secret');
  writeFileSync(join(repo, 'origin.trustedkeys.gpg'), 'secret');
  mkdirSync(join(repo, 'extensions', 'directory'), { recursive: true });
  symlinkSync('../../../secret', join(repo, 'refs/heads/out'));
  symlinkSync('../../origin.trustedkeys.gpg', join(repo, 'refs/heads/keys'));
  symlinkSync('..', join(repo, 'extensions/loop'));
  writeFileSync(join(repo, 'refs/heads/unlike'), 'as good as any\n');
  execFileSync('mkfifo', [join(repo, 'refs/heads/fifo')]);
  const server = await serve(t, { repo });
  const raw = (line: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let text = '';
      const socket = connect(server.port, '127.0.0.1', () => socket.write(`${line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`));
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      socket.once('end', () => resolve(text));
      socket.once('error', reject);
    });
  const hidden = [
    ...['/', '/objects/', '/refs/heads', '/refs/heads/', '/refs/heads/apps', '/extensions/directory', '/.lock', '/origin.trustedkeys.gpg', '/state/', '/tmp'],
    ...['/../secret', '/%2e%2e/secret', '/refs/heads/../../../secret', '/refs/heads/%2e%2e/%2e%2e/%2e%2e/secret', '/refs/heads/..%2f..%2f..%2fsecret'],
    ...['/refs/heads/out', '/refs/heads/keys', '/extensions/loop/origin.trustedkeys.gpg', '/refs/heads/fifo', '/refs/heads/a%00', '/%', '//config'],
    ...['secret', 'http://127.0.0.1/../secret', `/refs/heads${'/a'.repeat(900)}`],
  ];
  for (const path of hidden) {
    const answer = await raw(`GET ${path}`);
    assert.match(answer, /^HTTP\/1\.1 (?:404|400) /, path);
    assert.doesNotMatch(answer, /secret/, path);
  }
  assert.match(await raw('GET /refs/heads/unlike'), /^HTTP\/1\.1 200 [\s\S]*as good as any/);
  assert.match(await raw('GET /extensions/loop/config'), /^HTTP\/1\.1 200 /);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND']) {
    assert.match(await raw(`${method} /config`), /^HTTP\/1\.1 405 [\s\S]*allow: GET, HEAD\r\n/i, method);
  }
  assert.ok(readdirSync(repo).includes('config'));
});

test('the server ends in good order: what runs is finished, what is idle goes', { skip }, async (t) => {
  const { repo } = makeRepo(t);
  const { authority, server: tls } = await testCertificates(scratch(t));
  const stop = new AbortController();
  const server = await startRepoServer({ repo, tls, signal: stop.signal, graceMs: 60_000 });
  const session = connectHttp2(server.url, { ca: authority.cert });
  defer(t, () => session.destroy());
  const large = readdirSync(join(repo, 'objects'), { recursive: true, encoding: 'utf8' }).find(
    (name) => name.endsWith('.filez') && readFileSync(join(repo, 'objects', name)).byteLength > 100_000,
  );
  const stream = session.request({ ':path': `/objects/${large}` });
  await new Promise((resolve) => stream.once('response', resolve));
  stop.abort();
  let received = 0;
  for await (const chunk of stream) received += (chunk as Buffer).byteLength;
  assert.equal(received, readFileSync(join(repo, 'objects', large as string)).byteLength);
  await server.stopped;
  await assert.rejects(fetch(server.url));

  const plain = await startRepoServer({ repo, graceMs: 60_000 });
  const idle = connect(plain.port, '127.0.0.1', () => idle.write('GET /config HTTP/1.1\r\nHost: x\r\n\r\n'));
  await new Promise((resolve) => idle.once('data', resolve));
  const closed = new Promise((resolve) => idle.once('close', resolve));
  await plain.stop();
  await closed;
});

test('what cannot be served is refused with a code', { skip }, async (t) => {
  const { repo } = makeRepo(t);
  const first = await serve(t, { repo });
  await assert.rejects(startRepoServer({ repo, port: first.port }), { code: 'SERVER_ADDRESS_IN_USE' });
  await assert.rejects(startRepoServer({ repo, host: '192.0.2.1' }), { code: 'SERVER_ADDRESS_UNUSABLE' });
  await assert.rejects(startRepoServer({ repo, tls: { cert: 'x', key: 'y' } }), { code: 'SERVER_CERTIFICATE_INVALID' });
  await assert.rejects(startRepoServer({ repo: join(repo, 'absent') }), { code: 'OSTREE_REPO_NOT_FOUND' });
  const bare = join(scratch(t), 'bare');
  ostree('init', `--repo=${bare}`, '--mode=bare-user');
  await assert.rejects(startRepoServer({ repo: bare }), { code: 'SERVER_REPO_MODE' });
  await assert.rejects(startRepoServer({ repo, signal: AbortSignal.abort() }));
});
