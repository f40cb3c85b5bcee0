import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseChallenges } from './auth-challenge.ts';

test('challenges of real registries', () => {
  const read = (header: string | string[]): object[] => parseChallenges(header).map(({ scheme, parameters }) => ({ scheme, ...parameters }));
  const table: [header: string | string[], challenges: object[]][] = [
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"',
      [{ scheme: 'bearer', realm: 'https://auth.docker.io/token', service: 'registry.docker.io', scope: 'repository:library/nginx:pull' }],
    ],
    ['Basic realm="Registry Realm"', [{ scheme: 'basic', realm: 'Registry Realm' }]],
    ['BASIC realm=plain , charset="UTF-8"', [{ scheme: 'basic', realm: 'plain', charset: 'UTF-8' }]],
    ['Bearer realm="a\\"b\\\\c", scope="x:y:pull,push"', [{ scheme: 'bearer', realm: 'a"b\\c', scope: 'x:y:pull,push' }]],
    ['Negotiate, Basic realm="x", Bearer realm="y"', [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'x' }, { scheme: 'bearer', realm: 'y' }]],
    [
      ['Basic realm="x"', 'Bearer realm="y",service="z"'],
      [
        { scheme: 'basic', realm: 'x' },
        { scheme: 'bearer', realm: 'y', service: 'z' },
      ],
    ],
    ['', []],
    ['=', []],
    ['Bearer realm="open', [{ scheme: 'bearer' }]],
    // The first of two counts: an appended one must not change where passwords go.
    ['Bearer realm="good",realm="evil"', [{ scheme: 'bearer', realm: 'good' }]],
    [`Bearer realm="${'x'.repeat(20_000)}"`, []],
  ];
  for (const [header, challenges] of table) assert.deepEqual(read(header), challenges, String(header).slice(0, 80));
  assert.deepEqual(parseChallenges(undefined), []);
});

test('property: any header is read to an end', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(fc.constantFrom('Bearer', ' ', '=', '"', ',', '\\', 'realm', 'x')).map((parts) => parts.join('')),
      ),
      (text) => Array.isArray(parseChallenges(text)),
    ),
  );
});
