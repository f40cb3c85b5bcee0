import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Environment } from './environment.ts';
import { proxyRule } from './proxies.ts';

function rule(variables: Record<string, string>): (origin: string) => string | undefined {
  const environment: Environment = { variables, workingDirectory: '/', home: '/', uid: 0, stdoutIsTerminal: false, stderrIsTerminal: false };
  return proxyRule(environment);
}

test('a proxy for each scheme, none unless told', () => {
  assert.equal(rule({})('https://quay.io'), undefined);
  const both = rule({ HTTPS_PROXY: 'http://secure:1', http_proxy: 'plain:2' });
  assert.equal(both('https://quay.io'), 'http://secure:1');
  assert.equal(both('http://quay.io'), 'http://plain:2');
});

test('NO_PROXY names hosts, domains, ports, addresses and networks', () => {
  const direct = rule({
    https_proxy: 'http://p',
    http_proxy: 'http://p',
    no_proxy: 'example.com, .below.org,*.star.net,port.io:5000,10.0.0.0/8,2001:db8::/32,192.0.2.7,bad/99',
  });
  const CASES: [origin: string, proxied: boolean][] = [
    ['https://example.com', false],
    ['https://sub.example.com', false],
    ['https://notexample.com', true],
    ['https://below.org', true],
    ['https://x.below.org', false],
    ['https://x.star.net', false],
    ['https://port.io', true],
    ['https://port.io:5000', false],
    ['https://10.1.2.3:5000', false],
    ['https://11.1.2.3', true],
    ['https://192.0.2.7', false],
    ['https://[2001:db8::1]', false],
    ['https://[2001:db9::1]', true],
    ['http://localhost:5000', false],
    ['http://127.0.0.5:5000', false],
    ['http://[::1]:5000', false],
  ];
  for (const [origin, proxied] of CASES) assert.equal(direct(origin) !== undefined, proxied, origin);
  assert.equal(rule({ HTTPS_PROXY: 'http://p', NO_PROXY: '*' })('https://quay.io'), undefined);
});
