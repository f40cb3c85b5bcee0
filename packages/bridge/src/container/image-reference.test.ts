import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownError } from '@cambium/base';
import fc from 'fast-check';
import { parseContainerReference, parseSignedReference, printContainerReference, printSignedReference } from './image-reference.ts';
import { escapeRef, unescapeRef } from './ref-escape.ts';

test('where an image is: parsed and printed as the table of the reference', () => {
  const table: readonly [string, string, string][] = [
    ['registry:quay.io/x', 'registry', 'docker://quay.io/x'],
    ['docker://quay.io/x', 'registry', 'docker://quay.io/x'],
    ['oci:/path:tag', 'oci', 'oci:/path:tag'],
    ['oci-archive:/path.tar', 'oci-archive', 'oci-archive:/path.tar'],
    ['docker-archive:/path.tar', 'docker-archive', 'docker-archive:/path.tar'],
    ['docker-daemon:x:latest', 'docker-daemon', 'docker-daemon:x:latest'],
    ['containers-storage:[overlay@/a+/b]localhost/a', 'containers-storage', 'containers-storage:[overlay@/a+/b]localhost/a'],
    ['dir:/d', 'dir', 'dir:/d'],
  ];
  for (const [text, transport, printed] of table) {
    const reference = parseContainerReference(text);
    assert.deepEqual([reference.transport, printContainerReference(reference)], [transport, printed], text);
    assert.deepEqual(parseContainerReference(printed), reference);
  }
  for (const text of ['', 'foo://', 'docker:blah', 'registry:', 'docker://', 'foo:bar', 'quay.io/x']) {
    assert.throws(() => parseContainerReference(text), { code: 'BRIDGE_REFERENCE_INVALID' }, text);
  }
});

test('whose word it is taken on: parsed and printed as the table of the reference', () => {
  const table: readonly [string, string][] = [
    ['ostree-remote-image:myremote:registry:quay.io/exampleos/blah', 'ostree-remote-image:myremote:docker://quay.io/exampleos/blah'],
    ['ostree-remote-registry:myremote:quay.io/exampleos/blah', 'ostree-remote-image:myremote:docker://quay.io/exampleos/blah'],
    ['ostree-image-signed:docker://quay.io/exampleos/blah', 'ostree-image-signed:docker://quay.io/exampleos/blah'],
    ['ostree-unverified-image:docker://quay.io/exampleos/blah', 'ostree-unverified-registry:quay.io/exampleos/blah'],
    ['ostree-unverified-registry:quay.io/exampleos/blah', 'ostree-unverified-registry:quay.io/exampleos/blah'],
    ['ostree-unverified-image:oci:/x:tag', 'ostree-unverified-image:oci:/x:tag'],
    ['ostree-unverified-image:containers-storage:localhost/a', 'ostree-unverified-image:containers-storage:localhost/a'],
  ];
  for (const [text, printed] of table) {
    const reference = parseSignedReference(text);
    assert.equal(printSignedReference(reference), printed);
    assert.deepEqual(parseSignedReference(printed), reference);
  }
  for (const text of ['', 'blah', 'ostree-remote-image:x', 'ostree-remote-registry::x', 'ostree-image-signed:', 'ostree-unverified:docker://x', 'docker://x']) {
    assert.throws(() => parseSignedReference(text), { code: 'BRIDGE_REFERENCE_INVALID' }, text);
  }
});

test('names of refs: escaped as the table of the reference, and back', () => {
  const table: readonly [string, string][] = [
    ['sha256:ab', 'sha256_3A_ab'],
    ['localhost:5000/foo:latest', 'localhost_3A_5000/foo_3A_latest'],
    ['docker://quay.io/a:b', 'docker_3A__2F__2F_quay_2E_io/a_3A_b'],
    ['fedora/x86_64/coreos', 'fedora/x86__64/coreos'],
    ['/', '_2F_'],
    ['blah/', 'blah_2F_'],
    ['/foo/', '_2F_foo_2F_'],
    [':/x', '_3A__2F_x'],
  ];
  for (const [text, escaped] of table) {
    assert.equal(escapeRef('p', text), `p/${escaped}`);
    assert.equal(unescapeRef('p', `p/${escaped}`), text);
  }
  for (const bad of ['', '_', '_ZZ_', '_3A', 'a.b', '_0_']) assert.throws(() => unescapeRef('p', `p/${bad}`), { code: 'BRIDGE_REFERENCE_INVALID' }, bad);
  for (const bad of ['', 'a\0b']) assert.throws(() => escapeRef('p', bad), { code: 'BRIDGE_REFERENCE_INVALID' });
});

test('any name comes back from its ref; any text is read or refused', () => {
  const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\0') && text.isWellFormed());
  fc.assert(fc.property(name, (text) => assert.equal(unescapeRef('p', escapeRef('p', text)), text)));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^(?:ostree-|unverified-|image-|remote-|registry|signed|:|docker|oci|\/|x){0,8}$/)), (text) => {
      for (const parse of [parseSignedReference, parseContainerReference]) {
        try {
          parse(text);
        } catch (error) {
          assert.ok(isKnownError(error));
        }
      }
    }),
  );
});
