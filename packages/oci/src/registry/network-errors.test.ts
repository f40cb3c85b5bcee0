import assert from 'node:assert/strict';
import test from 'node:test';
import { KnownError } from '@cambium/base';
import { networkProblem } from './network-errors.ts';

const url = new URL('https://user:pw@r.example:5000/v2/x?secret=1');
const failure = (code: string, more: object = {}): Error => Object.assign(new Error('x'), { code }, more);

test('failures of sockets and TLS get codes, and say whether another try may help', () => {
  const table: [error: Error, code: string, transient: boolean][] = [
    [failure('ENOTFOUND'), 'OCI_REGISTRY_UNREACHABLE', false],
    [failure('ECONNREFUSED'), 'OCI_REGISTRY_UNREACHABLE', false],
    [failure('EHOSTUNREACH'), 'OCI_REGISTRY_UNREACHABLE', false],
    [failure('EAI_AGAIN'), 'OCI_REGISTRY_UNREACHABLE', true],
    [failure('ECONNRESET'), 'OCI_REGISTRY_UNREACHABLE', true],
    [failure('UND_ERR_SOCKET'), 'OCI_REGISTRY_UNREACHABLE', true],
    [failure('UND_ERR_CONNECT_TIMEOUT'), 'OCI_REGISTRY_TIMEOUT', true],
    [failure('UND_ERR_HEADERS_TIMEOUT'), 'OCI_REGISTRY_TIMEOUT', true],
    [failure('UND_ERR_BODY_TIMEOUT'), 'OCI_REGISTRY_TIMEOUT', true],
    [failure('CERT_HAS_EXPIRED'), 'OCI_TLS_UNTRUSTED', false],
    [failure('UNABLE_TO_GET_ISSUER_CERT_LOCALLY'), 'OCI_TLS_UNTRUSTED', false],
    [failure('ERR_SSL_WRONG_VERSION_NUMBER'), 'OCI_TLS_UNTRUSTED', false],
    [failure('HPE_INVALID_CONSTANT'), 'OCI_REGISTRY_ERROR', false],
    [failure('UND_ERR_HEADERS_OVERFLOW'), 'OCI_REGISTRY_ERROR', false],
    [failure('UND_ERR_DESTROYED'), 'OPERATION_ABORTED', false],
    [new AggregateError([failure('ECONNREFUSED'), failure('ENETUNREACH')]), 'OCI_REGISTRY_UNREACHABLE', false],
    [new Error('x', { cause: failure('ETIMEDOUT') }), 'OCI_REGISTRY_TIMEOUT', true],
  ];
  for (const [error, code, transient] of table) {
    const problem = networkProblem(error, url);
    assert.equal(problem?.error.code, code, String(code));
    assert.equal(problem?.transient, transient, String(Object(error).code));
    assert.doesNotMatch(`${problem?.error.message}${JSON.stringify(problem?.error.data)}`, /secret|pw/);
  }
});

test('other failures are nobody else’s business', () => {
  assert.equal(networkProblem(new KnownError({ code: 'X', kind: 'input', message: 'x' }), url), undefined);
  assert.equal(networkProblem(new TypeError('x'), url), undefined);
  assert.equal(networkProblem(failure('ENOENT'), url), undefined);
  assert.equal(networkProblem('x', url), undefined);
});
