import assert from 'node:assert/strict';
import test from 'node:test';
import { KnownError } from '@cambium/base';
import { networkProblem } from './network-errors.ts';

const url = new URL('https://user:pw@r.example:5000/v2/x?secret=1');
const failure = (code: string, more: object = {}): Error => Object.assign(new Error('x'), { code }, more);

test('failures of sockets and TLS get codes, and say whether another try may help', () => {
  const table: [error: Error, code: string, transient: boolean][] = [
    [failure('ENOTFOUND'), 'HTTP_UNREACHABLE', false],
    [failure('ECONNREFUSED'), 'HTTP_UNREACHABLE', false],
    [failure('EHOSTUNREACH'), 'HTTP_UNREACHABLE', false],
    [failure('EAI_AGAIN'), 'HTTP_UNREACHABLE', true],
    [failure('EMFILE', { syscall: 'connect' }), 'HTTP_UNREACHABLE', true],
    [failure('ENFILE', { syscall: 'connect' }), 'HTTP_UNREACHABLE', true],
    [failure('ECONNRESET'), 'HTTP_UNREACHABLE', true],
    [failure('UND_ERR_SOCKET'), 'HTTP_UNREACHABLE', true],
    [failure('UND_ERR_CONNECT_TIMEOUT'), 'HTTP_TIMEOUT', true],
    [failure('UND_ERR_HEADERS_TIMEOUT'), 'HTTP_TIMEOUT', true],
    [failure('UND_ERR_BODY_TIMEOUT'), 'HTTP_TIMEOUT', true],
    [failure('CERT_HAS_EXPIRED'), 'HTTP_TLS_UNTRUSTED', false],
    [failure('UNABLE_TO_GET_ISSUER_CERT_LOCALLY'), 'HTTP_TLS_UNTRUSTED', false],
    [failure('ERR_SSL_WRONG_VERSION_NUMBER'), 'HTTP_TLS_UNTRUSTED', false],
    [failure('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), 'HTTP_TLS_UNTRUSTED', false],
    [failure('ERR_HTTP2_GOAWAY_SESSION'), 'HTTP_UNREACHABLE', true],
    [failure('UND_ERR_RES_CONTENT_LENGTH_MISMATCH'), 'HTTP_UNREACHABLE', true],
    [new KnownError({ code: 'HTTP_TOO_SLOW', kind: 'network', message: 'x' }), 'HTTP_TOO_SLOW', true],
    [failure('HPE_INVALID_CONSTANT'), 'HTTP_ANSWER_INVALID', false],
    [failure('UND_ERR_HEADERS_OVERFLOW'), 'HTTP_ANSWER_INVALID', false],
    [failure('UND_ERR_DESTROYED'), 'OPERATION_ABORTED', false],
    [new AggregateError([failure('ECONNREFUSED'), failure('ENETUNREACH')]), 'HTTP_UNREACHABLE', false],
    [new Error('x', { cause: failure('ETIMEDOUT') }), 'HTTP_TIMEOUT', true],
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
  // A file that could not be opened for what was received.
  assert.equal(networkProblem(failure('EMFILE', { syscall: 'open' }), url), undefined);
  assert.equal(networkProblem('x', url), undefined);
});
