import assert from 'node:assert/strict';
import { createServer as createPlainServer, type RequestListener } from 'node:http';
import { createServer } from 'node:https';
import test from 'node:test';
import { type CleanUp, needsPeer } from '@cambium/testkit';
import { parseImageReference } from '../image/reference.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from './client.ts';
import { INDEX, selfSigned, serving } from './servers.test.ts';

const skip = needsPeer('openssl');

async function serveTls(t: CleanUp, keys: { key: string; cert: string }, handler: RequestListener): Promise<string> {
  return `127.0.0.1:${await serving(t, createServer(keys, handler))}`;
}

function clientOf(t: CleanUp, options: RegistryClientOptions = {}): RegistryClient {
  const client = createRegistryClient({ retry: { attempts: 2, backoffMs: 1 }, ...options });
  t.after(() => client.close());
  return client;
}

test('a registry with a certificate of its own: refused, named, or allowed', { skip }, async (t) => {
  const keys = await selfSigned(t, 'DNS:localhost', 'IP:127.0.0.1');
  let requests = 0;
  const host = await serveTls(t, keys, (_request, response) => {
    requests++;
    response.end(INDEX);
  });
  const image = parseImageReference(`${host}/x`);
  await assert.rejects(clientOf(t).image(image).manifest(), { code: 'HTTP_TLS_UNTRUSTED' });
  const other = await selfSigned(t, 'DNS:localhost', 'IP:127.0.0.1');
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
  const keys = await selfSigned(t, 'DNS:elsewhere.example', 'IP:127.0.0.1');
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
  const keys = await selfSigned(t, 'DNS:localhost', 'IP:127.0.0.1');
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
  const host = `127.0.0.1:${await serving(t, server)}`;
  const statuses: number[] = [];
  const client = clientOf(t, { on: (event) => event.type === 'request' && statuses.push(event.status) });
  await assert.rejects(client.image(parseImageReference(`${host}/x`)).manifest(), { code: 'OCI_REGISTRY_ERROR' });
  assert.deepEqual(statuses, [400, 400]);
});
