import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDevice, parsePort, parseVolume, splitWords } from './short-syntax.ts';

test('ports', () => {
  const port = (target: number, published?: string, more: object = {}): object => ({
    mode: 'ingress',
    target,
    protocol: 'tcp',
    ...(published === undefined ? {} : { published }),
    ...more,
  });
  const rows: [string, object[]][] = [
    ['3000', [port(3000)]],
    ['3000-3002', [port(3000), port(3001), port(3002)]],
    ['8000:8000', [port(8000, '8000')]],
    ['9090-9091:8080-8081', [port(8080, '9090'), port(8081, '9091')]],
    ['8000-9000:80', [port(80, '8000-9000')]],
    ['127.0.0.1:8001:8001', [port(8001, '8001', { host_ip: '127.0.0.1' })]],
    ['127.0.0.1::5000', [port(5000, undefined, { host_ip: '127.0.0.1' })]],
    ['[::1]:80:80/udp', [port(80, '80', { host_ip: '::1', protocol: 'udp' })]],
    ['::1:80:80', [port(80, '80', { host_ip: '::1' })]],
    ['6060:6060/UDP', [port(6060, '6060', { protocol: 'udp' })]],
  ];
  for (const [spec, want] of rows) assert.deepEqual(parsePort(spec), want, spec);
  for (const spec of ['', 'x', '80:', '99999', '2-1', '1-2:1-3', '80/xyz', 'host:80:80', '-1', '80:80:']) {
    assert.throws(() => parsePort(spec), { code: 'COMPOSE_VALUE_INVALID' }, spec);
  }
});

test('volumes', () => {
  const bind = { create_host_path: true };
  const rows: [string, object][] = [
    ['/data', { type: 'volume', target: '/data', volume: {} }],
    ['data:/data/', { type: 'volume', source: 'data', target: '/data', volume: {} }],
    ['data:/data:nocopy', { type: 'volume', source: 'data', target: '/data', volume: { nocopy: true } }],
    ['./a:/b:ro', { type: 'bind', source: './a', target: '/b', read_only: true, bind }],
    ['/a:/b:rw', { type: 'bind', source: '/a', target: '/b', bind }],
    ['~/a:/b:Z,rshared', { type: 'bind', source: '~/a', target: '/b', bind: { ...bind, selinux: 'Z', propagation: 'rshared' } }],
    ['C:\\a:/b', { type: 'bind', source: 'C:\\a', target: '/b', bind }],
    ['${X:-a}:/b', { type: 'volume', source: '${X:-a}', target: '/b', volume: {} }],
    ['.:/app', { type: 'bind', source: '.', target: '/app', bind }],
  ];
  for (const [spec, want] of rows) assert.deepEqual(parseVolume(spec), want, spec);
  for (const spec of ['', ':', 'a:', 'ab::/b', 'a:/b:ro:x']) assert.throws(() => parseVolume(spec), { code: 'COMPOSE_VALUE_INVALID' }, spec);
});

test('devices and command lines', () => {
  assert.deepEqual(parseDevice('/dev/a'), { source: '/dev/a', target: '/dev/a', permissions: 'rwm' });
  assert.deepEqual(parseDevice('/dev/a:/dev/b:r'), { source: '/dev/a', target: '/dev/b', permissions: 'r' });
  assert.deepEqual(splitWords(`sh -c "a 'b' \\"c\\" \\d" 'e "f' g\\ h ""`), ['sh', '-c', `a 'b' "c" \\d`, 'e "f', 'g h', '']);
  assert.deepEqual(splitWords('  '), []);
  assert.throws(() => splitWords('a "b'), { code: 'COMPOSE_VALUE_INVALID' });
});
