export type { ConnectionOptions, LowSpeed } from './connections.ts';
export * from './errors.ts';
export * from './events.ts';
export { networkProblem } from './network-errors.ts';
export { createSecrets, displayUrl, type Secrets } from './redact.ts';
export {
  createTransport,
  type HttpRequest,
  type HttpResponse,
  isLoopback,
  ProtocolFailure,
  type RetryOptions,
  readText,
  type Transport,
  type TransportOptions,
} from './transport.ts';
