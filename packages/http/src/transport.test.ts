import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { collect, isKnownError } from '@cambium/base';
import {
  type CleanUp,
  closeServer,
  defer,
  needsPeer,
  type StaticServer,
  type StaticServerOptions,
  scratch,
  startStaticServer,
  testCertificates,
} from '@cambium/testkit';
import type { HttpEvent } from './events.ts';
import { createTransport, type HttpRequest, type Transport, type TransportOptions } from './transport.ts';

const skip = needsPeer('openssl');
const MIB = 1 << 20;

async function serve(t: CleanUp, options: Omit<StaticServerOptions, 'directory'> = {}, content: string | Uint8Array = 'content'): Promise<StaticServer> {
  const directory = scratch(t);
  writeFileSync(join(directory, 'file'), content);
  const server = await startStaticServer({ directory, ...options });
  defer(t, () => server.stop());
  return server;
}

function transportOf(t: CleanUp, options: TransportOptions = {}): Transport {
  const transport = createTransport({ retry: { attempts: 2, backoffMs: 1 }, ...options });
  defer(t, () => transport.close());
  return transport;
}

async function ask(transport: Transport, url: string, more: Partial<HttpRequest> = {}): Promise<{ status: number; text: string; url: string }> {
  return await transport.exchange({ method: 'GET', url: new URL(url), headers: {}, ...more }, async (response) => ({
    status: response.status,
    text: Buffer.from(await collect(response.body, MIB)).toString(),
    url: response.url.href,
  }));
}

test('HEAD, ranges and conditions are requests like others', async (t) => {
  const { url, requests } = await serve(t);
  const transport = transportOf(t, { userAgent: 'tests/1', headers: { 'x-fleet': 'blue' } });
  assert.deepEqual(await ask(transport, `${url}/file`, { method: 'HEAD' }), { status: 200, text: '', url: `${url}/file` });
  assert.deepEqual(await ask(transport, `${url}/file`, { headers: { range: 'bytes=3-' } }), { status: 206, text: 'tent', url: `${url}/file` });
  const etag = await transport.exchange({ method: 'GET', url: new URL(`${url}/file`), headers: {} }, async ({ headers, discard }) => {
    discard();
    return String(headers.etag);
  });
  assert.equal((await ask(transport, `${url}/file`, { headers: { 'if-none-match': etag } })).status, 304);
  for (const { headers } of requests()) assert.deepEqual([headers['user-agent'], headers['x-fleet']], ['tests/1', 'blue']);
  assert.equal(requests().length, 4);
});

test('plain HTTP beyond loopback needs to be allowed, before any connection', async (t) => {
  const named = transportOf(t, { insecure: ['allowed.invalid:5000'], plainHttp: ['plain.invalid'], retry: { attempts: 1 } });
  for (const url of ['http://192.0.2.1/', 'http://allowed.invalid/', 'http://localhost.example/', 'http://127.0.0.1.example/', 'http://plain.invalid:1/']) {
    await assert.rejects(ask(named, url), { code: 'HTTP_TLS_REQUIRED' }, url);
  }
  await assert.rejects(ask(named, 'http://allowed.invalid:5000/'), { code: 'HTTP_UNREACHABLE' });
  await assert.rejects(ask(named, 'http://plain.invalid/'), { code: 'HTTP_UNREACHABLE' });
  await assert.rejects(ask(transportOf(t, { plainHttp: 'any', retry: { attempts: 1 } }), 'http://anywhere.invalid/'), { code: 'HTTP_UNREACHABLE' });
  await assert.rejects(ask(transportOf(t, { plainHttp: 'loopback' }), 'http://anywhere.invalid/'), { code: 'HTTP_TLS_REQUIRED' });
  await assert.rejects(ask(transportOf(t, { plainHttp: 'any' }), 'ftp://anywhere.invalid/'), { code: 'HTTP_TLS_REQUIRED' });
});

test('redirects: followed, bounded, never in circles, with credentials kept at home', async (t) => {
  const elsewhere = await serve(t, {}, 'elsewhere');
  const { url, requests } = await serve(t, {
    faults: ({ path }) => {
      if (path === '/self') return { do: 'redirect', to: '/self' };
      if (path === '/ping') return { do: 'redirect', to: '/pong', status: 307 };
      if (path === '/pong') return { do: 'redirect', to: '/ping' };
      if (path === '/away') return { do: 'redirect', to: `${elsewhere.url}/file` };
      if (path === '/near') return { do: 'redirect', to: 'file#part', status: 301 };
      if (path === '/secret') return { do: 'redirect', to: `http://user:pw@${elsewhere.host}/file` };
      if (path === '/nonsense') return { do: 'redirect', to: 'http://[' };
      const far = /^\/far(\d+)$/.exec(path)?.[1];
      return far === undefined ? undefined : { do: 'redirect', to: `/far${Number(far) + 1}` };
    },
  });
  const transport = transportOf(t, { headers: { 'x-fleet': 'blue' } });
  for (const path of ['self', 'ping', 'far0', 'secret', 'nonsense']) {
    await assert.rejects(ask(transport, `${url}/${path}`), { code: 'HTTP_REDIRECT' }, path);
  }
  assert.deepEqual(
    requests().map(({ path }) => path),
    ['/self', '/ping', '/pong', '/far0', '/far1', '/far2', '/far3', '/far4', '/far5', '/secret', '/nonsense'],
  );
  assert.deepEqual(await ask(transport, `${url}/near`), { status: 200, text: 'content', url: `${url}/file` });
  const headers = { authorization: 'Basic x', cookie: 'a=b' };
  assert.equal((await ask(transport, `${url}/away`, { headers })).text, 'elsewhere');
  const [seen] = elsewhere.requests();
  assert.deepEqual([seen?.headers.authorization, seen?.headers.cookie, seen?.headers['x-fleet']], [undefined, undefined, 'blue']);
  assert.equal(requests().at(-1)?.headers.authorization, 'Basic x');
});

test('a body that is opened is opened again for another try, and a redirect can be an answer', async (t) => {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      bodies.push(`${request.method} ${request.headers['content-length']} ${body}`);
      if (bodies.length === 1) response.writeHead(503).end();
      else if (bodies.length === 2) response.writeHead(307, { location: '/elsewhere' }).end();
      else response.end('done');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  defer(t, () => closeServer(server));
  const transport = transportOf(t);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('two ');
    yield Buffer.from('chunks');
  };
  const request = { method: 'PUT', headers: { 'content-length': '10' }, body: chunks } as const;
  assert.equal((await ask(transport, url, { ...request, redirects: 'answer' })).status, 307);
  assert.equal((await ask(transport, url, { ...request, body: Buffer.from('ten  bytes') })).text, 'done');
  assert.deepEqual(bodies, ['PUT 10 two chunks', 'PUT 10 two chunks', 'PUT 10 ten  bytes']);
});

test('a password in a URL is a Basic login, and stays with its server', async (t) => {
  const elsewhere = await serve(t);
  const { host, requests } = await serve(t, {
    faults: ({ path }) => (path === '/away' ? { do: 'redirect', to: `${elsewhere.url}/file` } : { do: 'basic', user: 'us er', password: 'p:w%' }),
  });
  const events: HttpEvent[] = [];
  const transport = transportOf(t, { on: (event) => void events.push(event) });
  assert.equal((await ask(transport, `http://${host}/file`)).status, 401);
  assert.equal((await ask(transport, `http://us%20er:p:w%25@${host}/file`)).text, 'content');
  assert.equal((await ask(transport, `http://us%20er:p:w%25@${host}/file`, { headers: { authorization: 'Bearer x' } })).status, 401);
  assert.equal((await ask(transport, `http://us%20er:p:w%25@${host}/away`)).text, 'content');
  assert.ok(requests().at(-1)?.headers.authorization?.toString().startsWith('Basic '));
  assert.equal(elsewhere.requests()[0]?.headers.authorization, undefined);
  assert.doesNotMatch(JSON.stringify(events), /us%20er|p:w/);
});

test('HTTP/2 through a proxy', { skip }, async (t) => {
  const { authority, server: tls } = await testCertificates(scratch(t), ['far.invalid']);
  const far = await serve(t, { tls, http2: true });
  const asked: string[] = [];
  const proxy = createServer().on('connect', (request, socket) => {
    asked.push(String(request.url));
    const onward = connect(far.port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    for (const side of [onward, socket]) side.on('error', () => undefined);
    onward.pipe(socket).pipe(onward);
    defer(t, () => socket.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  defer(t, () => closeServer(proxy));
  const { port } = proxy.address() as AddressInfo;
  for (const allowH2 of [true, false]) {
    const transport = transportOf(t, { ca: [authority.cert], allowH2, proxy: () => `127.0.0.1:${port}` });
    assert.equal((await ask(transport, 'https://far.invalid/file')).text, 'content');
  }
  assert.deepEqual(asked, ['far.invalid:443', 'far.invalid:443']);
  assert.deepEqual(
    far.requests().map(({ httpVersion }) => httpVersion),
    ['2.0', '1.1'],
  );
});

test('no redirect takes TLS away, also where plain HTTP is allowed anywhere', { skip }, async (t) => {
  const { authority, server: tls } = await testCertificates(scratch(t));
  const plain = await serve(t);
  const { url } = await serve(t, { tls, faults: () => ({ do: 'redirect', to: `${plain.url}/file` }) });
  await assert.rejects(ask(transportOf(t, { ca: [authority.cert], plainHttp: 'any' }), `${url}/file`), { code: 'HTTP_REDIRECT' });
  assert.equal(plain.requests().length, 0);
  assert.equal((await ask(transportOf(t, { ca: [authority.cert], plainHttp: [plain.host] }), `${url}/file`)).text, 'content');
});

test('a server that wants to know its clients', { skip }, async (t) => {
  const made = await testCertificates(scratch(t));
  const others = await testCertificates(scratch(t));
  const ca = [made.authority.cert];
  for (const http2 of [false, true]) {
    const { url, requests } = await serve(t, { tls: { ...made.server, ca: made.authority.cert, requestClientCert: true }, http2 });
    const options = { ca, allowH2: http2 };
    assert.equal((await ask(transportOf(t, { ...options, clientCertificate: made.client }), `${url}/file`)).text, 'content');
    assert.equal((await ask(transportOf(t, { insecure: true, allowH2: http2, clientCertificate: made.client }), `${url}/file`)).text, 'content');
    // Which of the two codes depends on whether the alert or the end of the connection is seen first.
    const refused = (error: Error & { code: string }): boolean => ['HTTP_TLS_UNTRUSTED', 'HTTP_UNREACHABLE'].includes(error.code);
    await assert.rejects(ask(transportOf(t, options), `${url}/file`), refused);
    await assert.rejects(ask(transportOf(t, { ...options, clientCertificate: others.client }), `${url}/file`), refused);
    assert.equal(requests().length, 2);
  }
  const mixed = { cert: made.client.cert, key: others.client.key };
  await assert.rejects(ask(transportOf(t, { clientCertificate: mixed }), 'https://127.0.0.1:1/'), { code: 'HTTP_CERTIFICATE_INVALID' });
  await assert.rejects(ask(transportOf(t, { ca: ['-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n'] }), 'https://127.0.0.1:1/'), {
    code: 'HTTP_CERTIFICATE_INVALID',
  });
});

test('whom to trust: an authority beside the usual ones, or alone', { skip }, async (t) => {
  const made = await testCertificates(scratch(t));
  const others = await testCertificates(scratch(t));
  const { url, requests } = await serve(t, { tls: made.server });
  for (const options of [{}, { ca: [others.authority.cert] }, { onlyCa: true }, { ca: [others.authority.cert], onlyCa: true }]) {
    await assert.rejects(ask(transportOf(t, options), `${url}/file`), { code: 'HTTP_TLS_UNTRUSTED' });
  }
  assert.equal(requests().length, 0);
  for (const onlyCa of [false, true]) {
    assert.equal((await ask(transportOf(t, { ca: [others.authority.cert, made.authority.cert], onlyCa }), `${url}/file`)).text, 'content');
  }
});

test('HTTP/2 where both sides offer it: many requests over few connections', { skip }, async (t) => {
  const { authority, server: tls } = await testCertificates(scratch(t));
  const server = await serve(t, { tls, http2: true });
  const ca = [authority.cert];
  const transport = transportOf(t, { ca, allowH2: true, connections: 2 });
  const all = await Promise.all(Array.from({ length: 50 }, (_, index) => ask(transport, `${server.url}/file?${index}`)));
  assert.deepEqual(new Set(all.map(({ status, text }) => `${status} ${text}`)), new Set(['200 content']));
  assert.deepEqual(new Set(server.requests().map(({ httpVersion }) => httpVersion)), new Set(['2.0']));
  assert.ok(server.connections() <= 2, `${server.connections()} connections`);
  const usual = await serve(t, { tls, http2: true });
  const patient = transportOf(t, { ca, allowH2: true });
  await Promise.all(Array.from({ length: 50 }, (_, index) => ask(patient, `${usual.url}/file?${index}`)));
  assert.ok(usual.connections() <= 8, `${usual.connections()} connections`);
  server.forget();
  await ask(transportOf(t, { ca }), `${server.url}/file`);
  const old = await serve(t, { tls });
  await ask(transport, `${old.url}/file`);
  assert.deepEqual([server.requests()[0]?.httpVersion, old.requests()[0]?.httpVersion], ['1.1', '1.1']);
});

test('a stream that is reset is asked for again', { skip }, async (t) => {
  const { authority, server: tls } = await testCertificates(scratch(t));
  for (const http2 of [false, true]) {
    const events: HttpEvent[] = [];
    const server = await serve(t, { tls, http2, faults: ({ count }) => (count < 2 ? { do: 'reset', ...(count === 1 ? { afterBytes: 3 } : {}) } : undefined) });
    const transport = transportOf(t, { ca: [authority.cert], allowH2: http2, retry: { attempts: 3, backoffMs: 1 }, on: (event) => void events.push(event) });
    assert.equal((await ask(transport, `${server.url}/file`)).text, 'content');
    assert.equal(server.requests().length, 3);
    assert.equal(events.filter(({ type }) => type === 'retry').length, 2);
  }
});

test('a body that trickles is given up and asked for again; one that is fast enough is not', async (t) => {
  const server = await serve(
    t,
    { faults: ({ path, count }) => (path === '/file?once' && count > 0 ? undefined : { do: 'slow', bytes: 1, everyMs: 5 }) },
    'x'.repeat(200),
  );
  const lowSpeed = { bytesPerSecond: 100_000, seconds: 0.05 };
  const slow = transportOf(t, { lowSpeed });
  await assert.rejects(ask(slow, `${server.url}/file`), { code: 'HTTP_TOO_SLOW', retryable: true });
  assert.equal(server.requests().length, 2);
  const again = transportOf(t, { lowSpeed, retry: { attempts: 9, backoffMs: 1 } });
  assert.equal((await ask(again, `${server.url}/file?once`)).text.length, 200);
  const patient = transportOf(t, { lowSpeed: { bytesPerSecond: 1, seconds: 60 } });
  assert.equal((await ask(patient, `${server.url}/file`)).text.length, 200);
});

test('a body that stops is given up by the low-speed limit too', async (t) => {
  const server = await serve(t, { faults: () => ({ do: 'stall', afterBytes: 3 }) });
  await assert.rejects(ask(transportOf(t, { lowSpeed: { bytesPerSecond: 1000, seconds: 0.05 } }), `${server.url}/file`), { code: 'HTTP_TOO_SLOW' });
});

test('a reader that takes its time is not a slow server', async (t) => {
  const size = 600_000;
  const server = await serve(t, {}, Buffer.alloc(size));
  const transport = transportOf(t, { lowSpeed: { bytesPerSecond: 1, seconds: 0.5 }, retry: { attempts: 1 } });
  const seen = await transport.exchange({ method: 'GET', url: new URL(`${server.url}/file`), headers: {} }, async ({ body }) => {
    let total = 0;
    for await (const chunk of body) {
      if (total === 0) await new Promise((resolve) => setTimeout(resolve, 600));
      total += chunk.byteLength;
    }
    return total;
  });
  assert.equal(seen, size);
});

test('a reader that leaves early leaves nothing behind', async (t) => {
  const server = await serve(t, {}, Buffer.alloc(600_000));
  const transport = transportOf(t, { lowSpeed: { bytesPerSecond: 1, seconds: 60 } });
  const first = await transport.exchange({ method: 'GET', url: new URL(`${server.url}/file`), headers: {} }, async ({ body }) => {
    for await (const chunk of body) return chunk.byteLength;
    return 0;
  });
  assert.ok(first > 0 && first < 600_000);
  assert.equal((await ask(transport, `${server.url}/file`, { method: 'HEAD' })).status, 200);
});

/** Serves the same bytes to everyone, and closes; counts who asked. */
async function serveRaw(t: CleanUp, answer: string): Promise<{ url: string; asked: () => number }> {
  let asked = 0;
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => {
      asked++;
      socket.end(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  defer(t, () => new Promise<void>((resolve) => server.close(() => resolve())));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked: () => asked };
}

test('an answer that breaks the rules of HTTP is one clear failure; one that was cut off is tried again', async (t) => {
  const body = 'x'.repeat(20);
  const chunks = `14\r\n${body}\r\n0\r\n\r\n`;
  const invalid: Record<string, RegExp> = {
    [`Content-Length: 20\r\nContent-Length: 30\r\n\r\n${body}`]: /contradicts itself/,
    [`Content-Length: 20\r\nContent-Length: 20\r\n\r\n${body}`]: /contradicts itself/,
    [`Content-Length: 20, 30\r\n\r\n${body}`]: /contradicts itself/,
    [`Content-Length: 99999999999999999999\r\n\r\n${body}`]: /contradicts itself/,
    [`Content-Length: 20\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`]: /contradicts itself/,
    [`Transfer-Encoding: chunked\r\nContent-Length: 20\r\n\r\n${chunks}`]: /Transfer-Encoding/,
    [`Content-Length: -5\r\n\r\n${body}`]: /Content-Length/,
    [`Transfer-Encoding: chunked\r\n\r\nzz\r\n${body}\r\n0\r\n\r\n`]: /invalid character in chunk size/,
    [`Transfer-Encoding: chunked\r\n\r\n14\r\n${body}\r\n-1\r\n\r\n`]: /invalid character in chunk size/,
    [`Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n${body}\r\n0\r\n\r\n`]: /chunk size overflow/,
    [`X: ${'a'.repeat(70_000)}\r\n\r\n${body}`]: /head is too long/,
  };
  for (const [rest, words] of Object.entries(invalid)) {
    const { url, asked } = await serveRaw(t, `HTTP/1.1 200 OK\r\n${rest}`);
    await assert.rejects(ask(transportOf(t), url, { resume: true }), (error) => {
      assert.ok(isKnownError(error, 'HTTP_ANSWER_INVALID'), `${rest.slice(0, 80)}: ${String(error)}`);
      assert.match(error.message, words);
      return error.retryable === false;
    });
    assert.equal(asked(), 1, rest.slice(0, 80));
  }
  for (const rest of [
    'Content-Length: 50\r\n\r\nabc',
    'Content-Length: 50\r\nConnection: close\r\n\r\nabc',
    'Content-Length: 50\r\nConn',
    'Transfer-Encoding: chunked\r\n\r\n5\r\nabc',
    'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nabc',
  ]) {
    const { url, asked } = await serveRaw(t, `HTTP/1.1 200 OK\r\n${rest}`);
    await assert.rejects(ask(transportOf(t), url), { code: 'HTTP_UNREACHABLE' }, rest);
    assert.equal(asked(), 2, rest);
  }
});
