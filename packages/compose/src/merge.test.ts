import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadProject } from './load.ts';
import type { Mapping } from './types.ts';

/** Loads two files over each other and returns the service `a`. */
async function merged(base: string, over: string): Promise<Mapping> {
  const directory = mkdtempSync(join(tmpdir(), 'cambium-merge-'));
  try {
    const indent = (text: string): string => text.replace(/^/gm, '    ');
    writeFileSync(
      join(directory, 'a.yml'),
      `services:\n  a:\n${base.startsWith('image') ? '' : '    image: i\n'}${indent(base)}\nvolumes: {v: , w: }\nnetworks: {n: , m: }\nconfigs: {c: {content: x}}\nsecrets: {s: {environment: x}}\n`,
    );
    writeFileSync(join(directory, 'b.yml'), `services:\n  a:\n${indent(over)}\n`);
    const project = await loadProject({ files: ['a.yml', 'b.yml'], workingDirectory: directory, environment: {}, projectName: 'p' });
    return JSON.parse(JSON.stringify(project.model.services.a).replaceAll(directory, '')) as Mapping;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('the merge rules, path by path', async () => {
  // compose-spec 13-merge.md; compose-go override/merge.go and uncity.go. Each row: base, override, key, result.
  const rows: [string, string, string, unknown][] = [
    // replace
    ['command: [a, b]', 'command: c d', 'command', ['c', 'd']],
    ['entrypoint: [a]', 'entrypoint: []', 'entrypoint', []],
    ['healthcheck: {test: [CMD, a], retries: 2}', 'healthcheck: {test: b}', 'healthcheck', { test: ['CMD-SHELL', 'b'], retries: 2 }],
    ['ulimits: {nofile: {soft: 1, hard: 2}}', 'ulimits: {nofile: 5, nproc: 3}', 'ulimits', { nofile: 5, nproc: 3 }],
    ['image: x', 'image: y', 'image', 'y'],
    // null keeps the base
    ['restart: always', 'restart:', 'restart', 'always'],
    ['environment: {A: 1}', 'environment:', 'environment', { A: '1' }],
    // by key, in every combination of forms
    ['environment: {A: 1, B: 2}', 'environment: ["B=3", C]', 'environment', { A: '1', B: '3', C: null }],
    ['environment: ["A=1"]', 'environment: {A: }', 'environment', { A: null }],
    ['labels: ["a=1", b]', 'labels: {b: x}', 'labels', { a: '1', b: 'x' }],
    ['annotations: {a: 1}', 'annotations: ["b=2"]', 'annotations', { a: '1', b: '2' }],
    ['sysctls: {a: 1}', 'sysctls: ["a=2"]', 'sysctls', { a: '2' }],
    ['deploy: {labels: {a: 1}, replicas: 1}', 'deploy: {labels: ["b=2"]}', 'deploy', { labels: { a: '1', b: '2' }, replicas: 1 }],
    [
      'build: {context: ., args: {A: 1}, labels: ["l=1"]}',
      'build: {args: ["B=2"]}',
      'build',
      { context: '', dockerfile: 'Dockerfile', args: { A: '1', B: '2' }, labels: { l: '1' } },
    ],
    ['build: .', 'build: {dockerfile: D}', 'build', { context: '', dockerfile: 'D' }],
    // append, unique
    ['dns: 1.1.1.1', 'dns: [2.2.2.2, 1.1.1.1]', 'dns', ['1.1.1.1', '2.2.2.2']],
    ['tmpfs: /a', 'tmpfs: /b', 'tmpfs', ['/a', '/b']],
    ['cap_add: [A]', 'cap_add: [B, A]', 'cap_add', ['A', 'B']],
    ['expose: [80, "81"]', 'expose: ["80", 82]', 'expose', ['80', '81', '82']],
    ['profiles: [a]', 'profiles: [b, a]', 'profiles', ['a', 'b']],
    ['extra_hosts: ["a:1"]', 'extra_hosts: {a: 1, b: 2}', 'extra_hosts', ['a=1', 'b=2']],
    [
      'env_file: a.env',
      'env_file: [{path: b.env, required: false}, a.env]',
      'env_file',
      [
        { path: '/a.env', required: true },
        { path: '/b.env', required: false },
      ],
    ],
    [
      'ports: ["80:80", "81:81/udp"]',
      'ports: [{target: 80, published: "80"}, "80:80/udp"]',
      'ports',
      [
        { target: 80, published: '80', protocol: 'tcp', mode: 'ingress' },
        { mode: 'ingress', target: 81, published: '81', protocol: 'udp' },
        { mode: 'ingress', target: 80, published: '80', protocol: 'udp' },
      ],
    ],
    [
      'volumes: ["v:/x", "./a:/y"]',
      'volumes: ["w:/x:ro"]',
      'volumes',
      [
        { type: 'volume', source: 'w', target: '/x', read_only: true, volume: {} },
        { type: 'bind', source: '/a', target: '/y', bind: { create_host_path: true } },
      ],
    ],
    ['devices: ["/dev/a:/dev/x"]', 'devices: ["/dev/b:/dev/x:r"]', 'devices', [{ source: '/dev/b', target: '/dev/x', permissions: 'r' }]],
    [
      'configs: [c]',
      'configs: [{source: c, target: /c}, {source: c, target: /d}]',
      'configs',
      [
        { source: 'c', target: '/c' },
        { source: 'c', target: '/d' },
      ],
    ],
    ['secrets: [s]', 'secrets: [{source: s, target: /run/secrets/s, mode: 0400}]', 'secrets', [{ source: 's', target: '/run/secrets/s', mode: 256 }]],
    // list form to mapping
    ['networks: [n]', 'networks: {n: {aliases: [x]}, m: }', 'networks', { n: { aliases: ['x'] }, m: null }],
    ['networks: {n: {aliases: [x]}}', 'networks: [n]', 'networks', { n: { aliases: ['x'] } }],
    ['networks: {n: {aliases: [x]}}', 'networks: {n: {aliases: [y, x]}}', 'networks', { n: { aliases: ['x', 'y'] } }],
    // logging by driver
    ['logging: {driver: a, options: {x: 1}}', 'logging: {options: {y: 2}}', 'logging', { driver: 'a', options: { x: '1', y: '2' } }],
    ['logging: {driver: a, options: {x: 1}}', 'logging: {driver: b, options: {y: 2}}', 'logging', { driver: 'b', options: { y: '2' } }],
    // unknown keys: the general rule
    ['x-k: {a: [1], b: 1}', 'x-k: {a: [2], b: 2}', 'x-k', { a: [1, 2], b: 2 }],
    // !reset and !override
    ['ports: ["80:80"]', 'ports: !reset []', 'ports', undefined],
    ['ports: ["80:80"]', 'ports: !override ["81:81"]', 'ports', [{ mode: 'ingress', target: 81, published: '81', protocol: 'tcp' }]],
    ['environment: ["A=1", "B=2"]', 'environment: {A: !reset null}', 'environment', { B: '2' }],
    ['networks: [n, m]', 'networks: {n: !reset {}}', 'networks', { m: null }],
    ['command: a', 'command: !reset null', 'command', undefined],
  ];
  for (const [base, over, key, want] of rows) assert.deepEqual((await merged(base, over))[key], want, `${base} + ${over}`);
});

test('depends_on: the list form sets the condition, the mapping form keeps what it does not say', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'cambium-merge-'));
  try {
    writeFileSync(join(directory, 'a.yml'), 'services:\n  a: {image: i, depends_on: {b: {condition: service_healthy}}}\n  b: {image: i}\n');
    for (const [over, condition] of [
      ['[b]', 'service_started'],
      ['{b: {restart: true}}', 'service_healthy'],
    ] as const) {
      writeFileSync(join(directory, 'b.yml'), `services:\n  a: {depends_on: ${over}}\n`);
      const project = await loadProject({ files: ['a.yml', 'b.yml'], workingDirectory: directory, environment: {} });
      assert.equal((project.model.services.a as { depends_on: { b: { condition: string } } }).depends_on.b.condition, condition);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('another kind of value is refused with its path', async () => {
  await assert.rejects(merged('x-k: {a: 1}', 'x-k: text'), { code: 'COMPOSE_MERGE_CONFLICT', message: /services\.a\.x-k: .*b\.yml:3/ });
  await assert.rejects(merged('x-k: [1]', 'x-k: {a: 1}'), { code: 'COMPOSE_MERGE_CONFLICT' });
});
