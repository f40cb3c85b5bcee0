/**
 * Failures that Cambium knows: one class, a closed set of codes per package.
 *
 * A code is public API: documented in `docs/errors.md`, tested by callers, never reused.
 */

/** What kind of failure a code is; the command line maps kinds to exit codes. */
export type ErrorKind =
  | 'usage' // the caller asked for something that makes no sense
  | 'input' // a file or document is not what it should be
  | 'not-found' // something named does not exist
  | 'exists' // something is in the way
  | 'integrity' // bytes do not match their digest, checksum or signature
  | 'denied' // credentials or permissions are missing
  | 'network' // a peer did not answer, or answered badly
  | 'busy' // someone else holds a lock, or uses what should go
  | 'space' // no room on the volume
  | 'environment'; // a program, kernel feature or setting is missing

/** One row of a package's table of codes. */
export interface ErrorDefinition {
  readonly kind: ErrorKind;
  /** What the code means, for `docs/errors.md`: one sentence. */
  readonly meaning: string;
}

export interface KnownErrorInit {
  code: string;
  kind: ErrorKind;
  message: string;
  hint?: string | undefined;
  /** True when the same call may succeed later. */
  retryable?: boolean | undefined;
  /** Plain values for programs: never credentials. */
  data?: Record<string, unknown> | undefined;
  cause?: unknown;
}

/** A failure with a stable code, a message that states the action, and a hint saying what the user can do. */
export class KnownError extends Error {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly hint: string | undefined;
  readonly retryable: boolean;
  readonly data: Record<string, unknown>;

  constructor(init: KnownErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.name = 'KnownError';
    this.code = init.code;
    this.kind = init.kind;
    this.hint = init.hint;
    this.retryable = init.retryable ?? false;
    this.data = init.data ?? {};
  }
}

export interface ErrorDetails {
  hint?: string;
  retryable?: boolean;
  data?: Record<string, unknown>;
  cause?: unknown;
}

export interface ErrorFactory<Code extends string> {
  (code: Code, message: string, details?: ErrorDetails): KnownError;
  /** The table the factory was made from, for the generated documentation. */
  readonly table: Readonly<Record<Code, ErrorDefinition>>;
}

/**
 * Returns a function that makes errors with one of the codes in `table`.
 *
 * @example
 * const oops = defineErrors({ TEA_COLD: { kind: 'input', meaning: 'The tea has gone cold.' } });
 * throw oops('TEA_COLD', 'Cannot drink "earl grey"', { hint: 'Brew another' });
 */
export function defineErrors<Code extends string>(table: Record<Code, ErrorDefinition>): ErrorFactory<Code> {
  const make = (code: Code, message: string, details: ErrorDetails = {}): KnownError => new KnownError({ code, kind: table[code].kind, message, ...details });
  return Object.assign(make, { table });
}

/** Returns whether `error` is a known failure, and one with `code` when given. Codes hold across package copies. */
export function isKnownError(error: unknown, code?: string): error is KnownError {
  return error instanceof Error && error.name === 'KnownError' && 'code' in error && (code === undefined || error.code === code);
}

/** Returns the `errno` name (`ENOENT`, …) of a system call's failure, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && 'syscall' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Plain form of an error that survives a thread boundary or a JSON line. */
export interface PlainError {
  known: boolean;
  message: string;
  code?: string;
  kind?: ErrorKind;
  hint?: string;
  retryable?: boolean;
  data?: Record<string, unknown>;
  stack?: string;
  /** Of a system call's failure: with the code it makes {@link errnoOf} work on the other side too. */
  syscall?: string;
  path?: string;
}

export function toPlainError(error: unknown): PlainError {
  if (isKnownError(error)) {
    const { message, code, kind, hint, retryable, data } = error;
    return { known: true, message, code, kind, retryable, data, ...(hint === undefined ? {} : { hint }) };
  }
  if (error instanceof Error) {
    return {
      known: false,
      message: error.message,
      ...(error.stack === undefined ? {} : { stack: error.stack }),
      ...('code' in error ? { code: String(error.code) } : {}),
      ...('syscall' in error ? { syscall: String(error.syscall) } : {}),
      ...('path' in error ? { path: String(error.path) } : {}),
    };
  }
  return { known: false, message: String(error) };
}

export function fromPlainError(plain: PlainError): Error {
  if (plain.known && plain.code !== undefined && plain.kind !== undefined) {
    return new KnownError({ code: plain.code, kind: plain.kind, message: plain.message, hint: plain.hint, retryable: plain.retryable, data: plain.data });
  }
  const error = new Error(plain.message);
  const { stack, code, syscall, path } = plain;
  return Object.assign(error, Object.fromEntries(Object.entries({ stack, code, syscall, path }).filter(([, value]) => value !== undefined)));
}
