import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, request as forward } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { type CleanUp, closeServer, needsPeer, run, scratch } from '@cambium/testkit';
import { parseImageReference } from '../reference.ts';
import { createRegistryClient, type RegistryClientOptions } from './client.ts';

const INDEX = JSON.stringify({ schemaVersion: 2, manifests: [] });

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
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => closeServer(server));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function read(t: CleanUp, reference: string, options: RegistryClientOptions): Promise<unknown> {
  const client = createRegistryClient({ retry: { attempts: 2, backoffMs: 1 }, ...options });
  t.after(() => client.close());
  return await client.image(parseImageReference(reference)).manifest();
}

test('registries behind a proxy: a tunnel for HTTPS, names looked up by the proxy', { skip: needsPeer('openssl') }, async (t) => {
  const directory = scratch(t);
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const subject = ['-subj', '/CN=x', '-addext', 'subjectAltName=DNS:registry.invalid,DNS:denied.invalid'];
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-keyout',
    key,
    '-out',
    cert,
    ...subject,
  ]);
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) => response.end(INDEX));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => closeServer(server as never));
  const seen: string[] = [];
  const proxy = await proxyTo(t, (server.address() as AddressInfo).port, seen);
  const ca = [readFileSync(cert, 'utf8')];

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
  const server = createServer((_request, response) => response.end(INDEX));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => closeServer(server));
  const seen: string[] = [];
  const proxy = await proxyTo(t, (server.address() as AddressInfo).port, seen);
  await read(t, 'localhost:5000/x', { proxy: () => proxy });
  assert.deepEqual(seen, ['GET http://localhost:5000/v2/x/manifests/latest undefined']);
});
