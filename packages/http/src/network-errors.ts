/** Turns what sockets, TLS and the HTTP parser say into known errors. */
import { baseError, type ErrorDetails, isKnownError, type KnownError } from '@cambium/base';
import { httpError } from './errors.ts';
import { displayUrl } from './redact.ts';

export interface NetworkProblem {
  error: KnownError;
  /** Whether the same request may succeed in a moment. */
  transient: boolean;
  /** Whether the peer may speak another protocol than the one tried. */
  protocol: boolean;
}

/** Certificate failures of OpenSSL, as Node names them. */
const UNTRUSTED =
  /^(?:CERT_|CRL_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|ERR_TLS_CERT_ALTNAME|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_EXCEEDED)/;
/** System calls that Node names when there is no connection yet. */
const CONNECTING: ReadonlySet<string> = new Set(['connect', 'getaddrinfo', 'socket']);
const TLS_FAILED = /^(?:ERR_SSL_|ERR_TLS_|EPROTO)/;

/** The server wants to know who we are (mutual TLS), and is not content with what it got. */
const CLIENT_REFUSED = /_ALERT_(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|ACCESS_DENIED)$/;

/** Returns the problem, or undefined when `error` is no failure of the network, or is a known error of someone else. */
export function networkProblem(error: unknown, url: URL): NetworkProblem | undefined {
  if (isKnownError(error, 'HTTP_TOO_SLOW')) return { error, transient: true, protocol: false };
  if (isKnownError(error)) return undefined;
  if (!(error instanceof Error)) return undefined;
  const { code, syscall } = originOf(error);
  if (code === undefined) return undefined;
  const where = displayUrl(url);
  const host = url.host;
  const data = { url: where, reason: code };
  const lost = (message: string, transient: boolean, hint?: string): NetworkProblem => ({
    error: httpError('HTTP_UNREACHABLE', message, { retryable: true, data, cause: error, ...(hint === undefined ? {} : { hint }) }),
    transient,
    protocol: false,
  });

  if (UNTRUSTED.test(code)) {
    return {
      error: httpError('HTTP_TLS_UNTRUSTED', `Cannot trust ${host}: ${TRUST_REASONS[code] ?? code}`, {
        hint: 'Name the certificate of its authority, or allow the server as insecure if the network is trusted',
        data,
        cause: error,
      }),
      transient: false,
      protocol: false,
    };
  }
  if (CLIENT_REFUSED.test(code)) {
    return {
      error: httpError('HTTP_TLS_UNTRUSTED', `Cannot speak TLS with ${host}: it does not accept who we are (${code})`, {
        hint: 'The server wants a client certificate of an authority that it trusts',
        data,
        cause: error,
      }),
      transient: false,
      protocol: false,
    };
  }
  if (TLS_FAILED.test(code)) {
    return {
      error: httpError('HTTP_TLS_UNTRUSTED', `Cannot speak TLS with ${host}: ${code}`, {
        hint: 'If the server speaks plain HTTP, it must be allowed as insecure',
        data,
        cause: error,
      }),
      transient: false,
      protocol: true,
    };
  }
  switch (code) {
    case 'ENOTFOUND':
      return lost(`Cannot reach ${host}: no such host`, false, 'Check the name of the server and the network');
    case 'ECONNREFUSED':
      return { ...lost(`Cannot reach ${host}: connection refused`, false, 'Check that the server runs and that the port is right'), protocol: true };
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
      return lost(`Cannot reach ${host}: no route`, false, 'Check the network');
    case 'EMFILE':
    case 'ENFILE':
      // Whoever keeps what is received opens files too; those failures are not of the network.
      if (syscall === undefined || !CONNECTING.has(syscall)) return undefined;
      return lost(`Cannot reach ${host}: too many files are open`, true, 'Raise the limit of open files: ulimit -n');
    case 'EAI_AGAIN':
      return lost(`Cannot reach ${host}: its name cannot be looked up now`, true, 'Check the network');
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return timeout('it does not accept a connection');
    case 'UND_ERR_HEADERS_TIMEOUT':
      return timeout('it does not answer');
    case 'UND_ERR_BODY_TIMEOUT':
      return timeout('it stopped sending');
    // The caller's own abort is told from this by its signal, before.
    case 'UND_ERR_ABORTED':
    case 'UND_ERR_PRX_CONN':
    case 'UND_ERR_PRX_TLS': {
      const status = /Proxy response \((\d{3})\)/.exec(error.message)?.[1];
      return lost(
        `Cannot reach ${host} through the HTTP proxy${status === undefined ? '' : `: it answers with status ${status}`}`,
        false,
        'Check the proxy settings',
      );
    }
    case 'UND_ERR_DESTROYED':
      return {
        error: baseError('OPERATION_ABORTED', `Stopped reading from ${host}: the client was closed`, { data }),
        transient: false,
        protocol: false,
      };
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ECONNABORTED':
    case 'UND_ERR_SOCKET':
    case 'UND_ERR_CLOSED':
    // A stream of HTTP/2 that was reset in the middle.
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return { ...lost(`Lost the connection to ${host}`, true), protocol: true };
    default:
      if (code.startsWith('ERR_HTTP2_')) return lost(`Lost the connection to ${host}`, true);
      if (!code.startsWith('HPE_') && !code.startsWith('UND_ERR_RES') && code !== 'UND_ERR_HEADERS_OVERFLOW') return undefined;
      return {
        error: answerInvalid(url, parserWords(error) ?? code, { data, cause: error }),
        transient: false,
        protocol: code.startsWith('HPE_'),
      };
  }

  function timeout(reason: string): NetworkProblem {
    return {
      error: httpError('HTTP_TIMEOUT', `Gave up on ${host}: ${reason}`, { retryable: true, data, cause: error }),
      transient: true,
      protocol: false,
    };
  }
}

/** The failure for an answer that breaks the rules of HTTP; another try would bring the same. */
export function answerInvalid(url: URL, reason: string, details?: ErrorDetails): KnownError {
  const where = displayUrl(url);
  return httpError('HTTP_ANSWER_INVALID', `Cannot understand the answer of ${where}: ${reason}`, {
    data: { url: where, reason },
    hint: 'The server, or a proxy before it, does not keep to HTTP; ask who runs it',
    ...details,
  });
}

/** Returns what undici's parser says in its brackets: "Response does not match the HTTP/1.1 protocol (Invalid character in chunk size)". */
function parserWords(error: unknown): string | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    if (at.name === 'HTTPParserError') return /\(([^()]+)\)$/.exec(at.message)?.[1]?.replace(/^[A-Z](?=[a-z]+ )/, (letter) => letter.toLowerCase());
    if (at.name === 'HeadersOverflowError') return 'its head is too long';
  }
  return undefined;
}

const TRUST_REASONS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is signed by an unknown authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is signed by an unknown authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is signed by an unknown authority',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet; check the clock',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
};

/** Node wraps the attempts on several addresses in one error, undici some failures in another. */
function originOf(error: Error): { code?: string; syscall?: string } {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; depth++) {
    // undici's parser leaves out the code of some failures. That of an end in the middle is a lost connection.
    if (at.name === 'HTTPParserError') return { code: at.message.includes('Invalid EOF state') ? 'UND_ERR_SOCKET' : 'HPE_INVALID' };
    if ('code' in at && typeof at.code === 'string' && at.code !== 'UND_ERR_UNKNOWN')
      return { code: at.code, ...('syscall' in at && typeof at.syscall === 'string' ? { syscall: at.syscall } : {}) };
    at = at instanceof AggregateError ? at.errors[0] : at.cause;
  }
  return {};
}
