import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:http2';
import { join } from 'node:path';
import test from 'node:test';
import { testCertificates } from './certificates.ts';
import { needsPeer } from './peers.ts';
import { type CleanUp, defer, scratch } from './scratch.ts';
import { type StaticServer, type StaticServerOptions, startStaticServer } from './static-server.ts';

async function serve(t: CleanUp, options: Omit<StaticServerOptions, 'directory'> = {}): Promise<StaticServer> {
  const directory = scratch(t);
  mkdirSync(join(directory, 'sub'));
  writeFileSync(join(directory, 'a'), '0123456789');
  writeFileSync(join(directory, 'sub', 'b c'), 'second');
  const server = await startStaticServer({ directory, ...options });
  defer(t, () => server.stop());
  return server;
}

test('files, ranges, validators and methods', async (t) => {
  const { url, requests } = await serve(t);
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Response> => fetch(`${url}/${path}`, { headers, method });
  const whole = await get('a');
  const etag = whole.headers.get('etag') ?? '';
  assert.equal(await whole.text(), '0123456789');
  assert.equal(await (await get('sub/b%20c')).text(), 'second');
  const statuses = async (...all: Promise<Response>[]): Promise<string[]> =>
    Promise.all(all.map(async (one) => `${(await one).status} ${await (await one).text()}`));
  assert.deepEqual(
    await statuses(
      get('a', { range: 'bytes=4-' }),
      get('a', { range: 'bytes=4-5' }),
      get('a', { range: 'bytes=10-' }),
      get('a', { range: 'bytes=4-', 'if-range': '"other"' }),
      get('a', { 'if-none-match': etag }),
      get('a', { 'if-none-match': '"other"' }),
      get('a', { 'if-modified-since': whole.headers.get('last-modified') ?? '' }),
      get('a', {}, 'HEAD'),
      get('a', {}, 'POST'),
      get('sub'),
      get('absent'),
      get('%2e%2e/%2e%2e/etc/passwd'),
    ),
    ['206 456789', '206 45', '416 ', '200 0123456789', '304 ', '200 0123456789', '304 ', '200 ', '405 ', '404 ', '404 ', '404 '],
  );
  const first = requests()[0];
  assert.deepEqual([first?.path, first?.status, first?.bytes, first?.httpVersion], ['/a', 200, 10, '1.1']);
});

test('faults come when asked for', async (t) => {
  const server = await serve(t, {
    faults: ({ path, count }) => {
      if (path === '/a?status') return count === 0 ? { do: 'status', status: 503, body: 'later' } : undefined;
      if (path === '/a?redirect') return { do: 'redirect', to: '/sub/b%20c' };
      if (path === '/a?replace') return { do: 'replace', body: 'other' };
      if (path === '/a?corrupt') return { do: 'corrupt', atByte: 3 };
      if (path === '/a?truncate') return { do: 'truncate', afterBytes: 3 };
      if (path === '/a?slow') return { do: 'slow', bytes: 4, everyMs: 1 };
      if (path === '/a?basic') return { do: 'basic', user: 'u', password: 'p' };
      return path.includes('reset') ? { do: 'reset', ...(path.includes('later') ? { afterBytes: 2 } : {}) } : undefined;
    },
  });
  const get = async (path: string, headers = {}): Promise<string> => {
    const answer = await fetch(`${server.url}${path}`, { headers });
    return `${answer.status} ${await answer.text()}`;
  };
  assert.equal(await get('/a?status'), '503 later');
  assert.equal(await get('/a?status'), '200 0123456789');
  assert.equal(await get('/a?redirect'), '200 second');
  assert.equal(await get('/a?replace'), '200 other');
  assert.equal(await get('/a?corrupt'), '200 012\ufffd456789');
  assert.equal(await get('/a?truncate'), '200 012');
  assert.equal(await get('/a?slow'), '200 0123456789');
  assert.equal(await get('/a?basic'), '401 ');
  assert.equal(await get('/a?basic', { authorization: `Basic ${btoa('u:p')}` }), '200 0123456789');
  await assert.rejects(get('/a?reset'));
  await assert.rejects(get('/a?reset-later'));
});

test('a stall holds the connection until the server stops', async (t) => {
  const server = await serve(t, { faults: () => ({ do: 'stall', afterBytes: 4 }) });
  const seen = await new Promise<string>((resolve, reject) => {
    const asked = request(`${server.url}/a`, (answer) => {
      answer.on('error', () => undefined);
      answer.once('data', (chunk: Buffer) => resolve(chunk.toString()));
    });
    asked.once('error', reject).end();
  });
  assert.equal(seen, '0123');
  await server.stop();
});

test('TLS with HTTP/2', { skip: needsPeer('openssl') }, async (t) => {
  const { authority, server: keys } = await testCertificates(scratch(t));
  const server = await serve(t, { tls: keys, http2: true });
  const session = connect(server.url, { ca: authority.cert });
  defer(t, () => session.destroy());
  const stream = session.request({ ':path': '/a' });
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) text += chunk;
  assert.equal(text, '0123456789');
  assert.equal(server.requests()[0]?.httpVersion, '2.0');
  await assert.rejects(startStaticServer({ directory: '/', http2: true }), TypeError);
});
