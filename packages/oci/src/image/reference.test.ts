import assert from 'node:assert/strict';
import test from 'node:test';
import { type Digest, isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { familiarImageReference, parseImageReference, pinImageReference, printImageReference, registryHost } from './reference.ts';

const SHA = `sha256:${'0123456789abcdef'.repeat(4)}`;
const SHA512 = `sha512:${'0123456789abcdef'.repeat(8)}`;

test('valid references and their full and short forms', () => {
  const table: [text: string, full: string, short: string][] = [
    ['nginx', 'docker.io/library/nginx:latest', 'nginx:latest'],
    ['nginx:1.25', 'docker.io/library/nginx:1.25', 'nginx:1.25'],
    [`nginx@${SHA}`, `docker.io/library/nginx@${SHA}`, `nginx@${SHA}`],
    [`nginx:1.25@${SHA}`, `docker.io/library/nginx:1.25@${SHA}`, `nginx:1.25@${SHA}`],
    [`x@${SHA512}`, `docker.io/library/x@${SHA512}`, `x@${SHA512}`],
    ['bitnami/redis', 'docker.io/bitnami/redis:latest', 'bitnami/redis:latest'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest', 'nginx:latest'],
    ['index.docker.io/nginx', 'docker.io/library/nginx:latest', 'nginx:latest'],
    ['docker.io/library/nginx', 'docker.io/library/nginx:latest', 'nginx:latest'],
    ['library/nginx', 'docker.io/library/nginx:latest', 'nginx:latest'],
    ['library/a/b', 'docker.io/library/a/b:latest', 'library/a/b:latest'],
    // The defects of precompose that are not to be inherited.
    ['host:5000/a/b', 'host:5000/a/b:latest', 'host:5000/a/b:latest'],
    ['localhost/x', 'localhost/x:latest', 'localhost/x:latest'],
    ['localhost:5000/x:tag', 'localhost:5000/x:tag', 'localhost:5000/x:tag'],
    ['quay.io/a/b/c-d__e.f:V1_x.y-z', 'quay.io/a/b/c-d__e.f:V1_x.y-z', 'quay.io/a/b/c-d__e.f:V1_x.y-z'],
    ['[::1]:5000/x', '[::1]:5000/x:latest', '[::1]:5000/x:latest'],
    ['Upper/x', 'Upper/x:latest', 'Upper/x:latest'],
    ['a---b', 'docker.io/library/a---b:latest', 'a---b:latest'],
    ['docker.io/library/localhost/x', 'docker.io/library/localhost/x:latest', 'library/localhost/x:latest'],
  ];
  for (const [text, full, short] of table) {
    const reference = parseImageReference(text);
    assert.equal(printImageReference(reference), full, text);
    assert.equal(familiarImageReference(reference), short, text);
    assert.deepEqual(parseImageReference(full), reference);
    assert.deepEqual(parseImageReference(short), reference);
  }
  assert.deepEqual(parseImageReference(`host:5000/a/b:t@${SHA}`), { registry: 'host:5000', repositoryName: 'a/b', tag: 't', digest: SHA });
  assert.equal(printImageReference(pinImageReference(parseImageReference('nginx:1'), SHA as Digest)), `docker.io/library/nginx:1@${SHA}`);
  assert.equal(registryHost('docker.io'), 'registry-1.docker.io');
  assert.equal(registryHost('localhost:5000'), 'localhost:5000');
});

test('what docker refuses', () => {
  const bad = [
    '',
    ':tag',
    '/x',
    'x/',
    'x//y',
    'X',
    'docker.io/',
    'a_/b',
    '_a',
    'a..b',
    'a___b',
    'x:',
    'x:-tag',
    `x:${'t'.repeat(129)}`,
    'x@sha256:abc',
    `x@md5:${'0'.repeat(32)}`,
    `x@${SHA.toUpperCase()}`,
    `x@${SHA}@${SHA}`,
    'user:pass@host/x',
    'https://host/x',
    'host:port/x',
    '-host.example/x',
    'ho_st.example/x',
    'x y',
    'x\n',
    'ä',
    'f'.repeat(64),
    'a'.repeat(256),
    'a'.repeat(100_000),
  ];
  for (const text of bad) assert.throws(() => parseImageReference(text), { code: 'OCI_REFERENCE_INVALID' }, text.slice(0, 80));
});

test('property: any text parses to something that prints and parses back, or is refused', () => {
  const pieces = fc.array(fc.constantFrom('a', 'B', '0', '.', '/', ':', '@', '-', '_', 'localhost', 'docker.io', SHA, '[::1]'), { maxLength: 8 });
  const texts = fc.oneof(
    pieces.map((parts) => parts.join('')),
    fc.string(),
  );
  fc.assert(
    fc.property(texts, (text) => {
      try {
        const reference = parseImageReference(text);
        assert.deepEqual(parseImageReference(printImageReference(reference)), reference);
        assert.deepEqual(parseImageReference(familiarImageReference(reference)), reference);
      } catch (error) {
        assert.ok(isKnownError(error, 'OCI_REFERENCE_INVALID'), String(error));
      }
    }),
    { numRuns: 1000 },
  );
});
