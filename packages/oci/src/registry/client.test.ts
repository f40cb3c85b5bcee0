import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { collect, type Digest, digestOf } from '@cambium/base';
import {
  type BuiltLayout,
  buildImageLayout,
  type CleanUp,
  closeServer,
  type FaultRule,
  type FaultyRegistryOptions,
  faultyRegistry,
  type Registry,
  scratch,
} from '@cambium/testkit';
import { parsePlatform } from '../image/platform.ts';
import { parseImageReference } from '../image/reference.ts';
import { resolveImage } from '../image/resolve-image.ts';
import type { Descriptor } from '../image/types.ts';
import { openImage } from '../places/open-image.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from './client.ts';
import type { RegistryEvent } from './events.ts';

const QUICK: RegistryClientOptions = { retry: { attempts: 3, backoffMs: 1 } };
/** For registries that hang: a slow machine may run into these too, so nothing is counted with them. */
const IMPATIENT: RegistryClientOptions = { headersTimeoutMs: 400, stallTimeoutMs: 400, retry: { attempts: 3, backoffMs: 1 } };
const MIB = 1024 * 1024;

function clientOf(t: CleanUp, options: RegistryClientOptions = {}): RegistryClient {
  const client = createRegistryClient({ ...QUICK, ...options });
  t.after(() => client.close());
  return client;
}

async function layoutOf(t: CleanUp): Promise<BuiltLayout> {
  // Incompressible enough to take several chunks.
  const content = Buffer.alloc(3 * MIB, (Math.PI * 1e15).toString(36));
  const layers = [{ entries: [{ path: 'data', content }], compression: 'none' as const }];
  return buildImageLayout(scratch(t), {
    images: [
      { platform: { os: 'linux', architecture: 'amd64' }, layers },
      { platform: { os: 'linux', architecture: 'arm64' }, layers },
    ],
  });
}

interface Scene {
  layout: BuiltLayout;
  registry: Registry;
  layer: Descriptor;
}

async function scene(t: CleanUp, rules: FaultRule[] = [], more: Partial<FaultyRegistryOptions> = {}): Promise<Scene> {
  const layout = await layoutOf(t);
  const registry = await faultyRegistry({ layouts: { 'team/app:1': layout }, rules, ...more });
  t.after(() => registry.stop());
  const layer = layout.images[0]?.layers[0];
  assert.ok(layer !== undefined);
  return { layout, registry, layer: { mediaType: layer.mediaType, digest: layer.digest, size: layer.size } };
}

const app = (registry: Registry): ReturnType<typeof parseImageReference> => parseImageReference(`${registry.host}/team/app:1`);
const counts = (registry: Registry): string[] =>
  registry.requests().map(({ method, path, status }) => `${method} ${path.replace(/sha256:(....)[0-9a-f]*/, '$1')} ${status}`);

async function serve(t: CleanUp, handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => closeServer(server));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('an image costs three requests, one when its documents are known, none when it is pinned too', async (t) => {
  const { layout, registry, layer } = await scene(t);
  const client = clientOf(t);
  const image = await resolveImage(client.image(app(registry)), parsePlatform('arm64'));
  assert.equal(image.index?.digest, layout.digest);
  assert.equal(image.manifest.digest, layout.images[1]?.manifest);
  assert.equal(image.config.value.architecture, 'arm64');
  assert.equal(image.layers.length, 1);
  assert.equal(registry.requests().length, 3);

  const bytes = await collect(image.source.blob(image.layers[0]?.descriptor as Descriptor), 10 * MIB);
  assert.equal(digestOf(bytes), layer.digest);

  registry.forget();
  const known = new Map([image.index, image.manifest, image.config].map((document) => [document?.digest as Digest, document?.bytes as Uint8Array]));
  const again = await resolveImage(client.image(app(registry)), parsePlatform('arm64'), { cache: known });
  assert.deepEqual(again.config, image.config);
  assert.deepEqual(counts(registry), ['GET /v2/team/app/manifests/1 200']);

  registry.forget();
  const pinned = { ...app(registry), digest: layout.digest };
  assert.deepEqual((await resolveImage(client.image(pinned), parsePlatform('arm64'), { cache: known })).manifest, image.manifest);
  assert.equal(registry.requests().length, 0);

  // A damaged cache costs requests, not correctness.
  const damaged = new Map([...known.keys()].map((digest) => [digest, new Uint8Array(3)]));
  assert.deepEqual((await resolveImage(client.image(pinned), parsePlatform('arm64'), { cache: damaged })).manifest, image.manifest);
  assert.equal(registry.requests().length, 3);
});

test('bearer tokens: anonymous, with a login, renewed when they expire', async (t) => {
  const open = await scene(t, [], { bearer: {} });
  const client = clientOf(t);
  await resolveImage(client.image(app(open.registry)), parsePlatform('amd64'));
  assert.deepEqual(
    open.registry.requests().map(({ status }) => status),
    [401, 200, 200, 200, 200],
  );
  // The token is kept for the next image of the repository.
  open.registry.forget();
  await client.image(app(open.registry)).manifest();
  assert.equal(open.registry.requests().length, 1);

  const expiring = await scene(t, [], { bearer: { users: { alice: 'pass word 1' }, expiresAfterRequests: 1 } });
  const credentials = async (): Promise<object> => ({ source: 'test', username: 'alice', password: 'pass word 1' });
  const events: RegistryEvent[] = [];
  const login = clientOf(t, { credentials: credentials as never, on: (event) => events.push(event) });
  await resolveImage(login.image(app(expiring.registry)), parsePlatform('amd64'));
  assert.deepEqual(
    expiring.registry.requests().map(({ path, status }) => `${path.startsWith('/token') ? 'token' : 'data'} ${status}`),
    ['data 401', 'token 200', 'data 200', 'data 401', 'token 200', 'data 200', 'data 401', 'token 200', 'data 200'],
  );
  assert.ok(events.some((event) => event.type === 'request' && event.url.endsWith('/token')));
  assert.doesNotMatch(JSON.stringify(events), /scope|pass|token-1/);
});

test('logins that fail say so, and no secret is in any message', async (t) => {
  const { registry } = await scene(t, [], { bearer: { users: { alice: 'right' } } });
  await assert.rejects(clientOf(t).image(app(registry)).manifest(), { code: 'OCI_AUTH_REQUIRED' });
  const credentials = async (): Promise<object> => ({ source: '/home/alice/auth.json', username: 'alice', password: 'wr0ng-secret' });
  await assert.rejects(
    clientOf(t, { credentials: credentials as never })
      .image(app(registry))
      .manifest(),
    (error: Error & { code: string; data: unknown }) => {
      assert.equal(error.code, 'OCI_AUTH_DENIED');
      assert.ok(error.message.includes('/home/alice/auth.json'));
      assert.doesNotMatch(`${error.message}${JSON.stringify(error.data)}${error.stack}`, /wr0ng-secret/);
      return true;
    },
  );

  // A registry that repeats what it was sent.
  const echo = await serve(t, (request, response) => {
    const said = request.headers.authorization;
    if (said === undefined) response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    else response.writeHead(403, { 'content-type': 'application/json' }).end(JSON.stringify({ errors: [{ message: `no: ${said}\n\u001b[31m` }] }));
  });
  await assert.rejects(
    clientOf(t, { credentials: credentials as never })
      .image(parseImageReference(`${echo}/x`))
      .manifest(),
    (error: Error & { code: string }) => {
      assert.equal(error.code, 'OCI_AUTH_DENIED');
      assert.match(error.message, /no: Basic \*\*\*/);
      assert.doesNotMatch(error.message, /[\n\u001b]/);
      return true;
    },
  );
});

test('basic login: nothing is sent before it is asked for', async (t) => {
  const seen: (string | undefined)[] = [];
  const host = await serve(t, (request, response) => {
    seen.push(request.headers.authorization);
    if (request.headers.authorization === undefined) response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    else response.writeHead(404).end();
  });
  const wanted = `Basic ${Buffer.from('u:p').toString('base64')}`;
  const client = clientOf(t, { credentials: async () => ({ source: 'test', username: 'u', password: 'p' }) });
  await assert.rejects(client.image(parseImageReference(`${host}/x`)).manifest(), { code: 'OCI_MANIFEST_UNKNOWN' });
  await assert.rejects(client.image(parseImageReference(`${host}/y`)).manifest(), { code: 'OCI_MANIFEST_UNKNOWN' });
  assert.deepEqual(seen, [undefined, wanted, wanted]);
  await assert.rejects(
    clientOf(t)
      .image(parseImageReference(`${host}/x`))
      .manifest(),
    { code: 'OCI_AUTH_REQUIRED' },
  );
});

test('identity tokens are exchanged by POST', async (t) => {
  let form = '';
  const host = await serve(t, (request, response) => {
    if (request.url === '/token') {
      request.on('data', (chunk: Buffer) => {
        form += chunk.toString();
      });
      request.on('end', () => response.end(JSON.stringify({ access_token: 'short-lived' })));
    } else if (request.headers.authorization === 'Bearer short-lived') response.writeHead(404).end();
    else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token",service="s"` }).end();
  });
  const client = clientOf(t, { credentials: async () => ({ source: 'test', identityToken: 'long/lived' }) });
  await assert.rejects(client.image(parseImageReference(`${host}/a/b`)).manifest(), { code: 'OCI_MANIFEST_UNKNOWN' });
  assert.deepEqual(Object.fromEntries(new URLSearchParams(form)), {
    grant_type: 'refresh_token',
    refresh_token: 'long/lived',
    client_id: 'cambium',
    scope: 'repository:a/b:pull',
    service: 's',
  });
});

test('token servers that must not be used', async (t) => {
  const answer = (header: string): Promise<string> => serve(t, (_request, response) => response.writeHead(401, { 'www-authenticate': header }).end());
  for (const [header, code] of [
    ['Bearer realm="http://elsewhere.example/token"', 'HTTP_TLS_REQUIRED'],
    ['Bearer realm="https://user:pw@elsewhere.example/token"', 'HTTP_TLS_REQUIRED'],
    ['Bearer realm="ftp://elsewhere.example/token"', 'HTTP_TLS_REQUIRED'],
    ['Negotiate', 'OCI_REGISTRY_ERROR'],
    ['', 'OCI_REGISTRY_ERROR'],
  ] as const) {
    await assert.rejects(
      clientOf(t)
        .image(parseImageReference(`${await answer(header)}/x`))
        .manifest(),
      { code },
      header,
    );
  }
  for (const body of ['', '[]', '{}', '{"token":5}', '{"token":"a\\nb"}', '<html>']) {
    const host = await serve(t, (request, response) => {
      if (request.url?.startsWith('/token') === true) response.end(body);
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end();
    });
    await assert.rejects(
      clientOf(t)
        .image(parseImageReference(`${host}/x`))
        .manifest(),
      { code: 'OCI_REGISTRY_ERROR' },
      body,
    );
  }
});

test('what is not there', async (t) => {
  const { registry, layer } = await scene(t);
  const client = clientOf(t);
  await assert.rejects(client.image(parseImageReference(`${registry.host}/team/app:2`)).manifest(), { code: 'OCI_MANIFEST_UNKNOWN' });
  const absent = { ...layer, digest: digestOf('absent') };
  await assert.rejects(collect(client.image(app(registry)).blob(absent), MIB), { code: 'OCI_BLOB_UNKNOWN' });
});

test('status codes: retried where that helps, bounded, and told apart', async (t) => {
  const table: [status: number, headers: Record<string, string>, code: string, requests: number][] = [
    [429, {}, 'OCI_RATE_LIMITED', 3],
    [429, { 'retry-after': '0' }, 'OCI_RATE_LIMITED', 3],
    [429, { 'retry-after': '3600' }, 'OCI_RATE_LIMITED', 1],
    [500, {}, 'OCI_REGISTRY_ERROR', 3],
    [503, { 'retry-after': 'Fri, 31 Dec 2100 23:59:59 GMT' }, 'OCI_REGISTRY_ERROR', 1],
    [501, {}, 'OCI_REGISTRY_ERROR', 1],
    [403, {}, 'OCI_AUTH_DENIED', 1],
    [400, {}, 'OCI_REGISTRY_ERROR', 1],
    [204, {}, 'OCI_REGISTRY_ERROR', 1],
  ];
  for (const [status, headers, code, requests] of table) {
    const { registry } = await scene(t, [{ fault: { do: 'status', status, headers } }]);
    await assert.rejects(clientOf(t).image(app(registry)).manifest(), { code }, String(status));
    assert.equal(registry.requests().length, requests, `${status} ${JSON.stringify(headers)}`);
  }
  const { registry, layout } = await scene(t, [
    { times: 1, fault: { do: 'status', status: 429, headers: { 'retry-after': '0' } } },
    { skip: 0, times: 1, fault: { do: 'status', status: 502 } },
  ]);
  const events: RegistryEvent[] = [];
  assert.equal(
    (
      await clientOf(t, { on: (event) => events.push(event) })
        .image(app(registry))
        .manifest()
    ).digest,
    layout.digest,
  );
  assert.equal(events.filter(({ type }) => type === 'retry').length, 2);
});

test('manifests that are not what was asked for', async (t) => {
  const replaced = (body: string, headers: Record<string, string> = {}): FaultRule[] => [{ fault: { do: 'replace', body, headers } }];
  const reply = async (rules: FaultRule[], digest?: Digest): Promise<unknown> => {
    const { registry } = await scene(t, rules);
    return clientOf(t).image(app(registry)).manifest(digest);
  };
  const valid = JSON.stringify({ schemaVersion: 2, manifests: [] });
  await assert.rejects(reply(replaced('<html>')), { code: 'OCI_MANIFEST_INVALID' });
  // The header of the fake names the true digest.
  await assert.rejects(reply(replaced(valid)), { code: 'OCI_MANIFEST_MISMATCH' });
  const { layout } = await scene(t);
  await assert.rejects(reply(replaced(valid), layout.digest), { code: 'OCI_MANIFEST_MISMATCH' });
  await assert.rejects(reply([{ fault: { do: 'endless' } }]), { code: 'OCI_DOCUMENT_TOO_LARGE' });
  await assert.rejects(reply([{ fault: { do: 'replace', body: Buffer.alloc(5 * MIB, 0x20) } }]), { code: 'OCI_DOCUMENT_TOO_LARGE' });
  // A body that breaks is asked for again.
  assert.equal(((await reply([{ times: 2, fault: { do: 'reset', afterBytes: 10 } }])) as { digest: Digest }).digest, layout.digest);
});

test('broken transfers go on where they broke', async (t) => {
  const faults: [fault: FaultRule, ranges: (string | undefined)[]][] = [
    [{ on: /blobs/, times: 1, fault: { do: 'truncate', afterBytes: 1000 } }, [undefined, 'bytes=1000-']],
    [{ on: /blobs/, times: 2, fault: { do: 'truncate', afterBytes: 1000 } }, [undefined, 'bytes=1000-', 'bytes=2000-']],
    [{ on: /blobs/, times: 4, fault: { do: 'truncate', afterBytes: MIB } }, [undefined, `bytes=${MIB}-`, `bytes=${2 * MIB}-`, `bytes=${3 * MIB}-`]],
  ];
  for (const [rule, ranges] of faults) {
    const { registry, layer } = await scene(t, [rule]);
    const client = clientOf(t);
    const bytes = await collect(client.image(app(registry)).blob(layer), 10 * MIB);
    assert.equal(digestOf(bytes), layer.digest);
    await client.close();
    const seen = registry.requests().map(({ range }) => range);
    assert.deepEqual(new Set(seen), new Set(ranges));
    assert.equal(seen.length, ranges.length);
  }
  const stalled = await scene(t, [{ on: /blobs/, times: 1, fault: { do: 'hang', afterBytes: 1000 } }]);
  const patient = clientOf(t, { ...IMPATIENT, retry: { attempts: 30, backoffMs: 1 } });
  assert.equal(digestOf(await collect(patient.image(app(stalled.registry)).blob(stalled.layer), 10 * MIB)), stalled.layer.digest);
  // Where the connection breaks for good, some bytes may be lost with it: only that the blob is whole counts.
  const { registry, layer } = await scene(t, [{ on: /blobs/, times: 2, fault: { do: 'reset', afterBytes: MIB } }]);
  const events: RegistryEvent[] = [];
  const image = clientOf(t, { on: (event) => events.push(event) }).image(app(registry));
  assert.equal(digestOf(await collect(image.blob(layer), 10 * MIB)), layer.digest);
  assert.equal(events.filter(({ type }) => type === 'resume').length, 2);
});

test('a registry that ignores ranges sends all again, and what was there is passed over', async (t) => {
  const { registry, layer } = await scene(t, [
    { on: /blobs/, times: 1, fault: { do: 'truncate', afterBytes: 100_000 } },
    { on: /blobs/, times: 1, fault: { do: 'ignore-range' } },
  ]);
  assert.equal(digestOf(await collect(clientOf(t).image(app(registry)).blob(layer), 10 * MIB)), layer.digest);
  assert.deepEqual(
    registry.requests().map(({ status, range }) => [status, range]),
    [
      [200, undefined],
      [200, 'bytes=100000-'],
    ],
  );
});

test('blobs that must not be believed', async (t) => {
  const read = async (rule: FaultRule, change: Partial<Descriptor> = {}): Promise<{ seen: number; registry: Registry }> => {
    const { registry, layer } = await scene(t, [rule]);
    let seen = 0;
    const digest = { code: '' };
    try {
      for await (const chunk of clientOf(t)
        .image(app(registry))
        .blob({ ...layer, ...change }))
        seen += chunk.byteLength;
    } catch (error) {
      Object.assign(digest, error);
    }
    assert.equal(digest.code, 'OCI_BLOB_MISMATCH', JSON.stringify(rule.fault));
    assert.ok(seen <= layer.size);
    return { seen, registry };
  };
  await read({ on: /blobs/, fault: { do: 'endless' } });
  await read({ on: /blobs/, fault: { do: 'corrupt', atByte: 70_000 } });
  await read({ on: /blobs/, fault: { do: 'replace', body: 'short' } });
  await read({ on: /never/, fault: { do: 'endless' } }, { size: 5 });
  // Cut at the same place again and again, so that ranges are past the end of it.
  const { registry } = await read({ on: /blobs/, fault: { do: 'truncate', afterBytes: 0 } });
  assert.equal(registry.requests().length, 3);
  // The wrong range in an answer.
  const { layer, layout } = await scene(t);
  const bytes = readFileSync(layout.blobPath(layer.digest));
  const host = await serve(t, (request, response) => {
    if (request.headers.range === undefined && request.url?.startsWith('/v2/y/') === true) response.write(bytes.subarray(0, 1000), () => response.end());
    else if (request.headers.range === undefined) response.end(bytes.subarray(0, 1000));
    else response.writeHead(206, { 'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}` }).end(bytes);
  });
  // Content-Length says 1000: not a broken transfer but another blob.
  await assert.rejects(
    collect(
      clientOf(t)
        .image(parseImageReference(`${host}/x`))
        .blob(layer),
      10 * MIB,
    ),
    { code: 'OCI_BLOB_MISMATCH' },
  );
  await assert.rejects(
    collect(
      clientOf(t)
        .image(parseImageReference(`${host}/y`))
        .blob(layer),
      10 * MIB,
    ),
    { code: 'OCI_BLOB_MISMATCH', message: /another range/ },
  );
});

test('registries that cannot be reached, reset or hang', async (t) => {
  const resets = await scene(t, [{ fault: { do: 'reset' } }]);
  await assert.rejects(clientOf(t).image(app(resets.registry)).manifest(), { code: 'HTTP_UNREACHABLE' });
  await assert.rejects(collect(clientOf(t).image(app(resets.registry)).blob(resets.layer), MIB), { code: 'HTTP_UNREACHABLE' });

  const hangs = await scene(t, [{ fault: { do: 'hang' } }]);
  await assert.rejects(clientOf(t, IMPATIENT).image(app(hangs.registry)).manifest(), { code: 'HTTP_TIMEOUT' });
  const stalls = await scene(t, [{ on: /blobs/, fault: { do: 'hang', afterBytes: 10 } }]);
  await assert.rejects(collect(clientOf(t, IMPATIENT).image(app(stalls.registry)).blob(stalls.layer), MIB), { code: 'HTTP_TIMEOUT' });

  await resets.registry.stop();
  await assert.rejects(clientOf(t).image(app(resets.registry)).manifest(), { code: 'HTTP_UNREACHABLE' });

  const nonsense = await serve(t, (request) => request.socket.end('SSH-2.0-OpenSSH_9\r\n'));
  await assert.rejects(
    clientOf(t)
      .image(parseImageReference(`${nonsense}/x`))
      .manifest(),
    { code: 'HTTP_ANSWER_INVALID' },
  );
});

test('redirects go elsewhere without credentials', async (t) => {
  const { registry, layer, layout } = await scene(t);
  const seen: IncomingMessage['headers'][] = [];
  const storage = await serve(t, (request, response) => {
    seen.push(request.headers);
    response.writeHead(302, { location: `${registry.url}/v2/team/app/blobs/${layer.digest}` }).end();
  });
  const authorizations: (string | undefined)[] = [];
  const front = await serve(t, (request, response) => {
    authorizations.push(request.headers.authorization);
    if (request.headers.authorization === undefined) response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    else if (request.url?.includes('/blobs/') === true) response.writeHead(307, { location: `http://${storage}/signed?secret=1` }).end();
    else response.writeHead(302, { location: '/v2/circle' }).end();
  });
  const events: RegistryEvent[] = [];
  const client = clientOf(t, { credentials: async () => ({ source: 'test', username: 'user', password: 'password' }), on: (event) => events.push(event) });
  const image = client.image(parseImageReference(`${front}/x`));
  assert.equal(digestOf(await collect(image.blob(layer), 10 * MIB)), layer.digest);
  assert.deepEqual(
    authorizations.map((value) => value?.slice(0, 5)),
    [undefined, 'Basic'],
  );
  assert.deepEqual(
    seen.map(({ authorization }) => authorization),
    [undefined],
  );
  assert.doesNotMatch(JSON.stringify(events), /secret/);
  await assert.rejects(image.manifest(), { code: 'HTTP_REDIRECT' });
  assert.ok(layout.digest.length > 0);

  let hop = 0;
  for (const location of [() => `/v2/${hop++}`, () => 'http://elsewhere.example/x', () => 'ftp://x', () => 'http://u:p@127.0.0.1/x', () => 'http://[']) {
    const host = await serve(t, (_request, response) => response.writeHead(302, { location: location() }).end());
    await assert.rejects(
      clientOf(t)
        .image(parseImageReference(`${host}/x`))
        .manifest(),
      (error: { code: string }) => ['HTTP_REDIRECT', 'HTTP_TLS_REQUIRED'].includes(error.code),
    );
  }
  assert.ok(hop <= 7, `${hop} redirects were followed`);
});

test('where a redirect ended cannot ask for the password', async (t) => {
  const asked: string[] = [];
  const evil = await serve(t, (request, response) => {
    asked.push(`${request.url} ${request.headers.authorization}`);
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end();
  });
  const front = await serve(t, (request, response) => {
    if (request.headers.authorization === undefined) response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    else response.writeHead(307, { location: `http://${evil}/blob` }).end();
  });
  const client = clientOf(t, { credentials: async () => ({ source: 'test', username: 'user', password: 'password' }) });
  await assert.rejects(client.image(parseImageReference(`${front}/x`)).manifest(), { code: 'OCI_AUTH_DENIED' });
  assert.deepEqual(asked, ['/blob undefined']);
});

test('an abort ends waiting, streaming and retrying with its own reason', async (t) => {
  const reason = new Error('enough');
  const hangs = await scene(t, [{ fault: { do: 'hang' } }]);
  const slow = clientOf(t, { headersTimeoutMs: 60_000, retry: { attempts: 3, backoffMs: 60_000 } });
  const first = new AbortController();
  const waiting = slow.image(app(hangs.registry)).manifest(undefined, first.signal);
  setImmediate(() => first.abort(reason));
  await assert.rejects(waiting, reason);

  const fails = await scene(t, [{ fault: { do: 'status', status: 500 } }]);
  const second = new AbortController();
  const retrying = clientOf(t, { retry: { attempts: 3, backoffMs: 60_000, maxBackoffMs: 60_000 }, on: ({ type }) => type === 'retry' && second.abort(reason) });
  await assert.rejects(retrying.image(app(fails.registry)).manifest(undefined, second.signal), reason);

  const { registry, layer } = await scene(t);
  const third = new AbortController();
  await assert.rejects(async () => {
    for await (const _ of clientOf(t).image(app(registry)).blob(layer, third.signal)) third.abort(reason);
  }, reason);
  await assert.rejects(clientOf(t).image(app(registry)).manifest(undefined, AbortSignal.abort(reason)), reason);
});

test('one token serves all that is fetched at once', async (t) => {
  const { registry, layer } = await scene(t, [], { bearer: {} });
  const image = clientOf(t).image(app(registry));
  await image.manifest();
  await Promise.all(Array.from({ length: 6 }, () => collect(image.blob(layer), 10 * MIB)));
  assert.deepEqual(registry.requests().filter(({ path }) => path.startsWith('/token')).length, 1);
});

test('an image opened alone has a client of its own', async (t) => {
  const { registry, layout } = await scene(t);
  const image = await openImage(`${registry.host}/team/app:1`, { registryOptions: QUICK });
  assert.equal((await image.manifest()).digest, layout.digest);
  await image.close();
  await assert.rejects(image.manifest(), { code: 'OPERATION_ABORTED' });
});

test('closing the client ends what runs', async (t) => {
  const arrived = Promise.withResolvers<void>();
  const server = createServer(() => arrived.resolve());
  t.after(() => closeServer(server));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = clientOf(t, { headersTimeoutMs: 60_000 });
  const { port } = server.address() as AddressInfo;
  const ended = assert.rejects(client.image(parseImageReference(`127.0.0.1:${port}/app:1`)).manifest(), { code: 'OPERATION_ABORTED' });
  await arrived.promise;
  await client.close();
  await ended;
});

test('many images at once ask a registry only what they need', async (t) => {
  const { registry } = await scene(t);
  const client = clientOf(t);
  await Promise.all(Array.from({ length: 8 }, () => client.image(app(registry)).manifest()));
  assert.equal(registry.requests().length, 8);
});
