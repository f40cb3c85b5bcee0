import assert from 'node:assert/strict';
import test from 'node:test';
import { parseImageReference } from '../image/reference.ts';
import { parsePlace, printPlace } from './place.ts';

const SHA = `sha256:${'a'.repeat(64)}`;

test('places of every transport', () => {
  const nginx = parseImageReference('nginx');
  const table: [text: string, place: object, printed?: string][] = [
    ['nginx', { transport: 'registry', reference: nginx }, 'docker://docker.io/library/nginx:latest'],
    ['docker://nginx', { transport: 'registry', reference: nginx }, 'docker://docker.io/library/nginx:latest'],
    ['registry:nginx', { transport: 'registry', reference: nginx }, 'docker://docker.io/library/nginx:latest'],
    ['nginx:1', { transport: 'registry', reference: parseImageReference('nginx:1') }, 'docker://docker.io/library/nginx:1'],
    ['localhost:5000/x', { transport: 'registry', reference: parseImageReference('localhost:5000/x') }, 'docker://localhost:5000/x:latest'],
    ['oci:./image', { transport: 'oci', path: './image' }],
    ['oci:/foo/bar:baz:latest', { transport: 'oci', path: '/foo/bar', name: 'baz:latest' }],
    [`oci:dir@${SHA}`, { transport: 'oci', path: 'dir', digest: SHA }],
    ['oci:dir:@2', { transport: 'oci', path: 'dir', index: 2 }],
    ['oci:we@ird', { transport: 'oci', path: 'we@ird' }],
    ['oci-archive:a.tar', { transport: 'oci-archive', path: 'a.tar' }],
    ['oci-archive:a.tar:v1', { transport: 'oci-archive', path: 'a.tar', name: 'v1' }],
    ['docker-archive:a.tar', { transport: 'docker-archive', path: 'a.tar' }],
    ['docker-archive:a.tar:@0', { transport: 'docker-archive', path: 'a.tar', index: 0 }],
    [
      'docker-archive:a.tar:localhost:5000/x:1',
      { transport: 'docker-archive', path: 'a.tar', reference: parseImageReference('localhost:5000/x:1') },
      'docker-archive:a.tar:localhost:5000/x:1',
    ],
    ['dir:/a:b', { transport: 'dir', path: '/a:b' }],
  ];
  for (const [text, place, printed] of table) {
    assert.deepEqual(parsePlace(text), place, text);
    assert.equal(printPlace(parsePlace(text)), printed ?? text);
    assert.deepEqual(parsePlace(printPlace(parsePlace(text))), place);
  }
});

test('places that make no sense', () => {
  for (const text of [
    'registry:',
    'docker://',
    'docker:blah',
    'oci:',
    'oci::tag',
    'oci:dir:',
    'oci-archive:',
    'docker-archive:',
    'docker-archive:a:@x',
    'dir:',
    `oci:@${SHA}`,
  ]) {
    assert.throws(() => parsePlace(text), { code: 'OCI_PLACE_INVALID' }, text);
  }
  for (const text of ['', 'foo://', 'foo:bar:baz', 'docker-archive:a.tar:UPPER'])
    assert.throws(() => parsePlace(text), { code: 'OCI_REFERENCE_INVALID' }, text);
  for (const text of ['containers-storage:x', 'docker-daemon:x:1']) assert.throws(() => parsePlace(text), { code: 'OCI_PLACE_UNSUPPORTED' }, text);
});
