import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { pinImages } from './pin-source.ts';
import { readYaml } from './yaml-source.ts';

const DIGEST = `@sha256:${'a1'.repeat(32)}`;
const A = `docker.io/library/nginx:1.25${DIGEST}`;
const B = `host:5000/team/app:2${DIGEST}`;
const pin = (source: string, pins: Record<string, string>): string => pinImages({ source, replacements: new Map(Object.entries(pins)) });

test('only the image scalars change', () => {
  // In each text «» marks the scalar that becomes A, ‹› the one that becomes B.
  const texts = [
    'services:\n  a:\n    image: «nginx»\n',
    'services:\n  a:\n    image:   «nginx:${TAG:-1.25}»   # keep  this\n    command:   [ a,b ]\n',
    '# head\r\nservices:\r\n  a:\r\n    image: «nginx»\r\n    # tail\r\n',
    '{"services": {"a": {"image": "«nginx»"}, "b": {"image":"‹app›"}}}',
    "services: {a: {image: '«nginx»'}, b: {image: ‹app›}}",
    'services:\n  a:\n    image:\n      «nginx»\n    restart: "no"\n',
    'services:\n  a:\n    image: &i «nginx»\n  c:\n    image: *i\n',
    'x-image: &i «nginx»\nservices: {a: {image: *i}, c: {image: *i}}',
    'x-i: &i nginx\nservices: {a: {image: «*i»}, b: {image: ‹*i›}}',
    'x-base: &base\n  restart: always\n  image: «nginx»\nservices:\n  a: {<<: *base}\n  c:\n    <<: *base\n    command: x\n',
    'x-a: &x {image: «nginx»}\nx-b: &y {restart: always}\nservices: {a: {<<: [*y, *x]}}',
    'services: {a: {extends: c}, c: {image: «nginx»}}',
    'services: {a: {extends: {service: c}}, c: {image: «nginx»}}',
    'services: {a: {image: old}}\n---\nservices:\n  a: {image: «new»}\n',
    'services:\n  a:\n    image: !!str «nginx»\n',
    'services:\n  a:\n    image: «nginx\n      continued»\n    x-k: 1\n',
    '\ufeffservices: {a: {image: «nginx»}}',
    'services:\n  ? a\n  : image: «nginx»\n  "b": {"image": ‹app›}\n',
    'services:\n  a: {image: «nginx», labels: {image: nginx}, environment: [image=nginx]}\n',
  ];
  for (const marked of texts) {
    const source = marked.replace(/[«»‹›]/g, '');
    const want = marked.replace(/«[^»]*»/g, A).replace(/‹[^›]*›/g, B);
    const pins: Record<string, string> = { a: A };
    if (/\bc: /.test(marked) || /\bc:\n/.test(marked)) pins.c = A;
    if (marked.includes('‹')) pins.b = B;
    assert.equal(pin(source, pins), want, marked);
  }
});

test('a block scalar becomes one line and keeps its comment', () => {
  assert.equal(pin('services:\n  a:\n    image: >-  # why\n      nginx\n    x-k: 1\n', { a: A }), `services:\n  a:\n    image: ${A}  # why\n    x-k: 1\n`);
  assert.equal(pin('services:\r\n  a:\r\n    image: |\r\n      nginx\r\n    x-k: 1\r\n', { a: A }), `services:\r\n  a:\r\n    image: ${A}\r\n    x-k: 1\r\n`);
  assert.equal(pin('services:\n  a:\n    image: |\n      nginx', { a: A }), `services:\n  a:\n    image: ${A}`);
});

test('volumes of type image are pinned by path', () => {
  const source = 'services: {a: {image: nginx, volumes: [{type: image, source: data, target: /d}]}}';
  const others = [{ path: ['services', 'a', 'volumes', 0, 'source'], value: B }];
  assert.equal(pinImages({ source, replacements: new Map([['a', A]]), others }), source.replace('nginx', A).replace('data', B));
});

test('what image scalars cannot express is refused with the reason', () => {
  const rows: [string, Record<string, string>, RegExp][] = [
    ['x-base: &b {image: nginx}\nservices: {a: {<<: *b}, b: {<<: *b}}', { a: A, b: B }, /services\.b\.image shares its value/],
    ['services: {a: {image: &i nginx, environment: {I: *i}}}', { a: A }, /services\.a\.environment\.I would change too/],
    ['services: {a: {image: &i nginx}, b: {image: *i}}', { a: A }, /services\.b\.image would change too/],
    ['services: {a: {extends: {service: b, file: x.yml}}}', { a: A }, /services\.a\.image does not stand in/],
    ['services: {a: {build: .}}', { a: A }, /services\.a\.image does not stand in/],
    ['services: {a: {image: }}', { a: A }, /services\.a\.image does not stand in/],
    ['services: {}', { a: A }, /services\.a\.image does not stand in/],
    ['services: {a: {extends: c, command: x}, c: {extends: a}}', { a: A }, /does not stand in/],
  ];
  for (const [source, pins, message] of rows) assert.throws(() => pin(source, pins), { code: 'COMPOSE_PIN_NOT_IN_PLACE', message }, source);
  assert.throws(() => pin('services: [', { a: A }), { code: 'COMPOSE_YAML_INVALID' });
});

test('property: everything but the image stays, byte for byte', () => {
  const style = fc.constantFrom(
    (v: string) => v,
    (v: string) => `"${v}"`,
    (v: string) => `'${v}'`,
  );
  const filler = fc.constantFrom(
    '',
    '    # note  \n',
    '    command:   [ a ,b]\n',
    '    x-text: >\n      folded\n\n      text\n',
    '    labels: {a: \'b\' ,  c: "d"}\n',
    '\n\n',
  );
  fc.assert(
    fc.property(style, filler, filler, fc.constantFrom('\n', '\r\n'), fc.constantFrom('', '   # why', ' '), (quote, before, after, newline, comment) => {
      // Two equal fillers would be a key written twice.
      fc.pre(before !== after);
      const text = (image: string): string =>
        `services:\n  a:\n${before}    image: ${quote(image)}${comment}\n${after}volumes: {v: }\n`.replaceAll('\n', newline);
      assert.equal(pin(text('nginx:${T:-1}'), { a: A }), text(A));
    }),
  );
});

test('property: on any text the result reads with the pin, or the error is known', () => {
  const unit = fc.constantFrom(
    'services:',
    'a:',
    ' image: ',
    'nginx',
    '\n',
    '  ',
    '{',
    '}',
    '&i ',
    '*i',
    '<<: *b',
    'x-b: &b ',
    '"',
    ', ',
    '|',
    ' # c',
    '- ',
    '---\n',
  );
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 12 }), (parts) => {
      const source = `services:\n  a:\n    image: nginx\n${parts.join('')}`;
      try {
        const documents = readYaml(pin(source, { a: A }), 'f').map((document) => JSON.stringify(document.value));
        assert.ok(documents.some((document) => document.includes(A)));
      } catch (error) {
        assert.ok(isKnownError(error), String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

/*
 * Why the tag may stay in a pinned reference: podman finds `name:tag@digest` by the digest, without a registry,
 * in its own store and in additional stores.
 */
const podman = spawnSync('podman', ['--version']).status === 0;
test('podman finds name:tag@digest without a registry, also in an additional store', { skip: podman ? false : 'podman is not installed' }, (context) => {
  const root = mkdtempSync(join(tmpdir(), 'cambium-podman-'));
  const run = (store: string, ...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync('podman', ['--root', join(root, store), '--runroot', join(root, `${store}-run`), '--runtime', 'runc', ...args], { encoding: 'utf8' });
  try {
    mkdirSync(join(root, 'fs'));
    writeFileSync(join(root, 'fs/file'), 'content');
    spawnSync('tar', ['-C', join(root, 'fs'), '-cf', join(root, 'fs.tar'), '.']);
    const imported = run('one', 'import', join(root, 'fs.tar'), 'docker.io/library/cambium-test:1');
    if (imported.status !== 0) {
      context.skip(`podman cannot make an image here: ${String(imported.stderr).slice(-200)}`);
      return;
    }
    const digest = String(run('one', 'image', 'inspect', '--format', '{{.Digest}}', 'docker.io/library/cambium-test:1').stdout).trim();
    assert.match(digest, /^sha256:[0-9a-f]{64}$/);
    const extra = ['--storage-opt', `overlay.imagestore=${join(root, 'one')}`];
    for (const [reference, status] of [
      [`docker.io/library/cambium-test:1@${digest}`, 0],
      [`docker.io/library/cambium-test@${digest}`, 0],
      [`docker.io/library/cambium-test:1@sha256:${'0'.repeat(64)}`, 1],
    ] as const) {
      assert.equal(run('one', 'image', 'exists', reference).status, status, reference);
      assert.equal(run('two', ...extra, 'image', 'exists', reference).status, status, `${reference} in an additional store`);
    }
    const created = run(
      'two',
      ...extra,
      'create',
      '--pull=never',
      '--network=none',
      '--ulimit=nofile=1024:1024',
      '--ulimit=nproc=1000:1000',
      `docker.io/library/cambium-test:1@${digest}`,
      '/file',
    );
    assert.equal(created.status, 0, String(created.stderr));
    run('two', ...extra, 'rm', '-af');
  } finally {
    // podman leaves its overlay directory mounted on itself.
    for (const store of ['one', 'two']) spawnSync('umount', [join(root, store, 'overlay')]);
    rmSync(root, { recursive: true, force: true });
  }
});
