/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type HttpErrorCode =
  | 'HTTP_UNREACHABLE'
  | 'HTTP_TIMEOUT'
  | 'HTTP_TOO_SLOW'
  | 'HTTP_ANSWER_INVALID'
  | 'HTTP_REDIRECT'
  | 'HTTP_CERTIFICATE_INVALID'
  | 'HTTP_TLS_UNTRUSTED'
  | 'HTTP_TLS_REQUIRED';

export const httpError: ErrorFactory<HttpErrorCode> = defineErrors<HttpErrorCode>({
  HTTP_UNREACHABLE: { kind: 'network', meaning: 'No connection to the server, or it was lost again and again.' },
  HTTP_TIMEOUT: { kind: 'network', meaning: 'The server did not answer, or stopped sending, for too long.' },
  HTTP_TOO_SLOW: { kind: 'network', meaning: 'The server sends slower than the limit that was set.' },
  HTTP_ANSWER_INVALID: { kind: 'network', meaning: 'The server answered with something that is not HTTP.' },
  HTTP_REDIRECT: { kind: 'network', meaning: 'The server redirects in circles, too often, or to a place that must not be used.' },
  HTTP_CERTIFICATE_INVALID: { kind: 'input', meaning: 'A certificate or key to connect with cannot be used.' },
  HTTP_TLS_UNTRUSTED: { kind: 'network', meaning: 'The certificate of the server is not trusted, or TLS failed.' },
  HTTP_TLS_REQUIRED: { kind: 'denied', meaning: 'Plain HTTP would be needed where only HTTPS is allowed.' },
});
