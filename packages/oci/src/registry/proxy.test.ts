import assert from 'node:assert/strict';
import { createServer, request as forward } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect } from 'node:net';
import test from 'node:test';
import { type CleanUp, needsPeer } from '@cambium/testkit';
import { parseImageReference } from '../image/reference.ts';
import { createRegistryClient, type RegistryClientOptions } from './client.ts';
import { INDEX, selfSigned, serving } from './servers.test.ts';

/** A proxy that sends everything to one port, and writes down what it was asked for. */
async function proxyTo(t: CleanUp, port: number, seen: string[]): Promise<string> {
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers['proxy-authorization']}`);
    const onward = forward({ host: '127.0.0.1', port, path: new URL(request.url ?? '').pathname }, (answer) => answer.pipe(response));
    onward.end();
  });
  server.on('connect', (request, socket) => {
    seen.push(`CONNECT ${request.url} ${request.headers['proxy-authorization']}`);
    if (request.url?.startsWith('denied') === true) {
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    const onward = connect(port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    for (const side of [onward, socket]) side.on('error', () => undefined);
    onward.pipe(socket).pipe(onward);
    t.after(() => void socket.destroy());
  });
  return `127.0.0.1:${await serving(t, server)}`;
}

async function read(t: CleanUp, reference: string, options: RegistryClientOptions): Promise<unknown> {
  const client = createRegistryClient({ retry: { attempts: 2, backoffMs: 1 }, ...options });
  t.after(() => client.close());
  return await client.image(parseImageReference(reference)).manifest();
}

test('registries behind a proxy: a tunnel for HTTPS, names looked up by the proxy', { skip: needsPeer('openssl') }, async (t) => {
  const keys = await selfSigned(t, 'DNS:registry.invalid', 'DNS:denied.invalid');
  const port = await serving(
    t,
    createTlsServer(keys, (_request, response) => response.end(INDEX)),
  );
  const seen: string[] = [];
  const proxy = await proxyTo(t, port, seen);
  const ca = [keys.cert];

  await read(t, 'registry.invalid/x', { ca, proxy: (origin) => (origin === 'https://registry.invalid' ? proxy : undefined) });
  await read(t, 'registry.invalid/x', { insecure: ['registry.invalid'], proxy: () => `http://user:secret@${proxy}` });
  assert.deepEqual(seen, ['CONNECT registry.invalid:443 undefined', `CONNECT registry.invalid:443 Basic ${Buffer.from('user:secret').toString('base64')}`]);
  await assert.rejects(read(t, 'registry.invalid/x', { proxy: () => proxy }), { code: 'HTTP_TLS_UNTRUSTED' });
  await assert.rejects(read(t, 'denied.invalid/x', { ca, proxy: () => proxy }), { code: 'HTTP_UNREACHABLE' });
  await assert.rejects(read(t, 'registry.invalid/x', { ca, proxy: () => '127.0.0.1:1' }), { code: 'HTTP_UNREACHABLE' });
  await assert.rejects(read(t, 'registry.invalid/x', { proxy: () => 'ftp://user:secret@x' }), (error: Error & { code: string }) => {
    assert.equal(error.code, 'HTTP_UNREACHABLE');
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test('plain HTTP goes through the proxy where both are allowed', async (t) => {
  const port = await serving(
    t,
    createServer((_request, response) => response.end(INDEX)),
  );
  const seen: string[] = [];
  const proxy = await proxyTo(t, port, seen);
  await read(t, 'localhost:5000/x', { proxy: () => proxy });
  assert.deepEqual(seen, ['GET http://localhost:5000/v2/x/manifests/latest undefined']);
});
