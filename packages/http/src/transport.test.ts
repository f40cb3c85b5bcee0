import assert from 'node:assert/strict';
import test from 'node:test';
import { createTransport } from './transport.ts';

test('plain HTTP beyond loopback needs to be allowed, before any connection', async () => {
  const signal = undefined;
  const headers = {};
  const transport = createTransport({ insecure: ['allowed.invalid:5000'], retry: { attempts: 1 } });
  const ask = (url: string): Promise<unknown> => transport.exchange({ method: 'GET', url: new URL(url), headers, signal }, async (response) => response.status);
  for (const url of ['http://192.0.2.1/', 'http://allowed.invalid/', 'http://localhost.example/', 'http://127.0.0.1.example/']) {
    await assert.rejects(ask(url), { code: 'HTTP_TLS_REQUIRED' }, url);
  }
  await assert.rejects(ask('http://allowed.invalid:5000/'), { code: 'HTTP_UNREACHABLE' });
  await transport.close();
});
