import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { type BuiltLayout, buildImageLayout, type CleanUp, defer, type FaultRule, faultyRegistry, needsPeer, type Registry, run, scratch } from './index.ts';

async function layoutOf(t: CleanUp): Promise<BuiltLayout> {
  return buildImageLayout(scratch(t), { images: [{ layers: [{ entries: [{ path: 'data', content: 'x'.repeat(5000) }], compression: 'none' }] }] });
}

async function serve(t: CleanUp, rules: FaultRule[] = []): Promise<{ registry: Registry; blob: string; bytes: Buffer }> {
  const layout = await layoutOf(t);
  const registry = await faultyRegistry({ layouts: { 'app:1': layout }, rules });
  defer(t, () => registry.stop());
  const digest = layout.images[0]?.layers[0]?.digest ?? '';
  return { registry, blob: `${registry.url}/v2/app/blobs/${digest}`, bytes: readFileSync(layout.blobPath(digest)) };
}

const read = async (answer: Response): Promise<Buffer> => Buffer.from(await answer.arrayBuffer());

test('skopeo copies from it, also with a token', { skip: needsPeer('skopeo') }, async (t) => {
  const layout = await layoutOf(t);
  for (const bearer of [undefined, {}, { users: { alice: 'pw' } }]) {
    const registry = await faultyRegistry({ layouts: { 'team/app:1': layout }, ...(bearer === undefined ? {} : { bearer }) });
    defer(t, () => registry.stop());
    const login = bearer?.users === undefined ? ['--src-no-creds'] : ['--src-creds', 'alice:pw'];
    const args = ['--insecure-policy', 'copy', '--src-tls-verify=false', ...login, `docker://${registry.host}/team/app:1`, `dir:${scratch(t)}/out`];
    await run('skopeo', args);
    if (bearer?.users !== undefined) await assert.rejects(run('skopeo', args.with(4, 'alice:wrong')), { code: 'TESTKIT_COMMAND_FAILED' });
  }
});

test('good answers: ranges, HEAD, 404 and the log', async (t) => {
  const { registry, blob, bytes } = await serve(t);
  const part = await fetch(blob, { headers: { range: 'bytes=100-' } });
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('content-range'), `bytes 100-${bytes.byteLength - 1}/${bytes.byteLength}`);
  assert.deepEqual(await read(part), bytes.subarray(100));
  assert.equal((await fetch(blob, { method: 'HEAD' })).headers.get('content-length'), String(bytes.byteLength));
  assert.equal((await fetch(`${registry.url}/v2/other/manifests/1`)).status, 404);
  assert.deepEqual(
    registry.requests().map(({ method, status, range }) => ({ method, status, range })),
    [
      { method: 'GET', status: 206, range: 'bytes=100-' },
      { method: 'HEAD', status: 200, range: undefined },
      { method: 'GET', status: 404, range: undefined },
    ],
  );
});

test('status faults hit as often as told', async (t) => {
  const { blob } = await serve(t, [{ on: /^GET .*blobs/, skip: 1, times: 2, fault: { do: 'status', status: 429, headers: { 'retry-after': '1' } } }]);
  const seen = [];
  for (let i = 0; i < 4; i++) {
    const answer = await fetch(blob);
    await answer.arrayBuffer();
    seen.push([answer.status, answer.headers.get('retry-after')]);
  }
  assert.deepEqual(seen, [
    [200, null],
    [429, '1'],
    [429, '1'],
    [200, null],
  ]);
});

test('reset, before and inside the body', async (t) => {
  const { blob } = await serve(t, [
    { times: 1, fault: { do: 'reset' } },
    { times: 1, fault: { do: 'reset', afterBytes: 100 } },
  ]);
  await assert.rejects(fetch(blob));
  const answer = await fetch(blob);
  assert.equal(answer.status, 200);
  await assert.rejects(answer.arrayBuffer());
});

test('truncated, corrupt, replaced and without ranges', async (t) => {
  const { blob, bytes } = await serve(t, [
    { times: 1, fault: { do: 'truncate', afterBytes: 100 } },
    { times: 1, fault: { do: 'corrupt', atByte: 7 } },
    { times: 1, fault: { do: 'replace', body: 'other' } },
    { times: 1, fault: { do: 'ignore-range' } },
  ]);
  assert.deepEqual(await read(await fetch(blob)), bytes.subarray(0, 100));
  const corrupt = await read(await fetch(blob));
  assert.equal(corrupt.byteLength, bytes.byteLength);
  assert.equal(corrupt.filter((byte, i) => byte !== bytes[i]).byteLength, 1);
  assert.equal((await read(await fetch(blob))).toString(), 'other');
  const whole = await fetch(blob, { headers: { range: 'bytes=5-' } });
  assert.equal(whole.status, 200);
  assert.deepEqual(await read(whole), bytes);
});

test('endless and hanging bodies go on until the client leaves', async (t) => {
  const { blob, bytes } = await serve(t, [
    { times: 1, fault: { do: 'endless' } },
    { times: 1, fault: { do: 'hang', afterBytes: 10 } },
  ]);
  let seen = 0;
  for await (const chunk of (await fetch(blob)).body ?? []) {
    seen += chunk.byteLength;
    if (seen > bytes.byteLength + 1_000_000) break;
  }
  assert.ok(seen > bytes.byteLength + 1_000_000);
  const leave = new AbortController();
  const hanging = await fetch(blob, { signal: leave.signal });
  const reader = hanging.body?.getReader();
  assert.equal((await reader?.read())?.value?.byteLength, 10);
  leave.abort();
  await assert.rejects(reader?.read() ?? Promise.resolve());
});
