/** Bodies whose connection is lost on the way. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { collect } from '@cambium/base';
import { defer, type StaticFault, type StaticServer, scratch, startStaticServer } from '@cambium/testkit';
import { createTransport, type HttpEvent } from './index.ts';

const CONTENT = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251));

async function serve(t: TestContext, faults: (count: number) => StaticFault | undefined): Promise<{ server: StaticServer; directory: string }> {
  const directory = scratch(t);
  writeFileSync(join(directory, 'file'), CONTENT);
  const server = await startStaticServer({ directory, faults: ({ count }) => faults(count) });
  defer(t, () => server.stop());
  return { server, directory };
}

async function read(t: TestContext, server: StaticServer, attempts: number): Promise<{ bytes: Uint8Array; retries: number }> {
  let retries = 0;
  const on = (event: HttpEvent): void => {
    if (event.type === 'retry') retries++;
  };
  const transport = createTransport({ retry: { attempts, backoffMs: 1 }, on });
  defer(t, () => transport.close());
  const request = { method: 'GET', url: new URL(`${server.url}/file`), headers: {}, resume: true } as const;
  return { bytes: await transport.exchange(request, ({ body }) => collect(body, 10_000)), retries };
}

const ranges = (server: StaticServer): unknown[] => server.requests().map(({ headers, status }) => [headers.range, status]);

test('a body goes on where it was broken off, without the pause of a new try', async (t) => {
  const { server } = await serve(t, (count) => (count < 3 ? { do: 'reset', afterBytes: 300 } : undefined));
  assert.deepEqual(await read(t, server, 1), { bytes: new Uint8Array(CONTENT), retries: 0 });
  const asked = ranges(server);
  assert.deepEqual(
    asked.map((each) => (each as unknown[])[1]),
    [200, 206, 206, 206],
  );
  assert.deepEqual(asked.at(-1), ['bytes=900-', 206]);
  // Of the same version only.
  assert.match(String(server.requests().at(-1)?.headers['if-range']), /^"/);
});

test('a file that has become another is read anew, as a try of its own', async (t) => {
  const other = Buffer.from('something else');
  let directory = '';
  const made = await serve(t, (count) => {
    if (count === 1) writeFileSync(join(directory, 'file'), other);
    return count === 0 ? { do: 'reset', afterBytes: 300 } : undefined;
  });
  directory = made.directory;
  assert.deepEqual(await read(t, made.server, 2), { bytes: new Uint8Array(other), retries: 1 });
  await assert.rejects(
    (async () => {
      writeFileSync(join(directory, 'file'), CONTENT);
      const again = await serve(t, () => ({ do: 'reset', afterBytes: 0 }));
      // What brings nothing is not gone on with for ever.
      await read(t, again.server, 1).finally(() => assert.equal(again.server.requests().length, 2));
    })(),
    { code: 'HTTP_UNREACHABLE' },
  );
});

test('a server that ignores ranges costs a new try; one that drips a byte at a time is given up', async (t) => {
  const whole = await serve(t, (count) => (count === 0 ? { do: 'reset', afterBytes: 300 } : { do: 'ignore-range' }));
  assert.deepEqual(await read(t, whole.server, 2), { bytes: new Uint8Array(CONTENT), retries: 1 });
  const drip = await serve(t, () => ({ do: 'reset', afterBytes: 1 }));
  await assert.rejects(read(t, drip.server, 1), { code: 'HTTP_UNREACHABLE' });
  assert.equal(drip.server.requests().length, 17);
});
