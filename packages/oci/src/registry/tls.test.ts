import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer as createPlainServer, type RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { type CleanUp, closeServer, needsPeer, run, scratch } from '@cambium/testkit';
import { parseImageReference } from '../reference.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from './client.ts';

const skip = needsPeer('openssl');
const INDEX = JSON.stringify({ schemaVersion: 2, manifests: [] });

async function certificate(t: CleanUp, name: string): Promise<{ key: string; cert: string }> {
  const directory = scratch(t);
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name},IP:127.0.0.1`];
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
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

async function serveTls(t: CleanUp, keys: { key: string; cert: string }, handler: RequestListener): Promise<string> {
  const server = createServer(keys, handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => closeServer(server as never));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function clientOf(t: CleanUp, options: RegistryClientOptions = {}): RegistryClient {
  const client = createRegistryClient({ retry: { attempts: 2, backoffMs: 1 }, ...options });
  t.after(() => client.close());
  return client;
}

test('a registry with a certificate of its own: refused, named, or allowed', { skip }, async (t) => {
  const keys = await certificate(t, 'localhost');
  let requests = 0;
  const host = await serveTls(t, keys, (_request, response) => {
    requests++;
    response.end(INDEX);
  });
  const image = parseImageReference(`${host}/x`);
  await assert.rejects(clientOf(t).image(image).manifest(), { code: 'HTTP_TLS_UNTRUSTED' });
  const other = await certificate(t, 'localhost');
  await assert.rejects(
    clientOf(t, { ca: [other.cert] })
      .image(image)
      .manifest(),
    { code: 'HTTP_TLS_UNTRUSTED' },
  );
  // A loopback registry may speak either protocol; the certificate counts where it speaks TLS.
  assert.equal(requests, 0);
  await clientOf(t, { ca: [keys.cert] })
    .image(image)
    .manifest();
  await clientOf(t, { insecure: [host] })
    .image(image)
    .manifest();
  await clientOf(t, { insecure: true }).image(image).manifest();
  assert.equal(requests, 3);
  await assert.rejects(
    clientOf(t, { insecure: ['other:5000'] })
      .image(image)
      .manifest(),
    { code: 'HTTP_TLS_UNTRUSTED' },
  );
});

test('a certificate for another host is refused', { skip }, async (t) => {
  const keys = await certificate(t, 'elsewhere.example');
  const host = await serveTls(t, keys, (_request, response) => response.end(INDEX));
  const reference = parseImageReference(`localhost:${host.split(':')[1]}/x`);
  await assert.rejects(
    clientOf(t, { ca: [keys.cert] })
      .image(reference)
      .manifest(),
    { code: 'HTTP_TLS_UNTRUSTED' },
  );
});

test('which protocol a loopback registry speaks is found once, with the first request', { skip }, async (t) => {
  const keys = await certificate(t, 'localhost');
  const paths: string[] = [];
  const host = await serveTls(t, keys, (request, response) => {
    paths.push(request.url ?? '');
    response.writeHead(request.url?.includes('absent') === true ? 404 : 200).end(INDEX);
  });
  const connections: number[] = [];
  const client = clientOf(t, { ca: [keys.cert], on: (event) => event.type === 'request' && connections.push(event.status) });
  await assert.rejects(client.image(parseImageReference(`${host}/absent`)).manifest(), { code: 'OCI_MANIFEST_UNKNOWN' });
  await Promise.all(['a', 'b', 'c'].map((name) => client.image(parseImageReference(`${host}/${name}`)).manifest()));
  assert.equal(paths.length, 4);
  assert.deepEqual(connections, [404, 200, 200, 200]);
});

test('a server that says it wants HTTPS is spoken to in HTTPS', { skip }, async (t) => {
  // Go's server answers instead of closing; here on another port, so that only the words count.
  const server = createPlainServer((_request, response) => response.writeHead(400).end('Client sent an HTTP request to an HTTPS server.\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => closeServer(server));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const statuses: number[] = [];
  const client = clientOf(t, { on: (event) => event.type === 'request' && statuses.push(event.status) });
  await assert.rejects(client.image(parseImageReference(`${host}/x`)).manifest(), { code: 'OCI_REGISTRY_ERROR' });
  assert.deepEqual(statuses, [400, 400]);
});
