/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type ServerErrorCode = 'SERVER_REPO_MODE' | 'SERVER_ADDRESS_IN_USE' | 'SERVER_ADDRESS_UNUSABLE' | 'SERVER_CERTIFICATE_INVALID';

export const serverError: ErrorFactory<ServerErrorCode> = defineErrors<ServerErrorCode>({
  SERVER_REPO_MODE: { kind: 'usage', meaning: 'Only repositories in archive mode can be served: the others hold files that cannot be sent as they are.' },
  SERVER_ADDRESS_IN_USE: { kind: 'busy', meaning: 'Another program listens on the address and port that the server should have.' },
  SERVER_ADDRESS_UNUSABLE: { kind: 'environment', meaning: 'The server cannot listen on an address or port.' },
  SERVER_CERTIFICATE_INVALID: { kind: 'input', meaning: 'The certificate or key of the server cannot be used.' },
});
