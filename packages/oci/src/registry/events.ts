/** What a registry client reports while it works, for `--verbose`: plain data without credentials. */

export type RegistryEvent =
  /** One HTTP exchange; `url` has no query, because signed URLs carry secrets there. */
  | { type: 'request'; method: string; url: string; status: number }
  | { type: 'retry'; url: string; attempt: number; delayMs: number; reason: string }
  /** A blob transfer broke after `offset` bytes and goes on from there. */
  | { type: 'resume'; digest: string; offset: number; reason: string }
  /** A place where credentials may be: a file or `docker-credential-NAME`. */
  | { type: 'auth-source'; source: string; registry: string; outcome: 'absent' | 'unreadable' | 'no-match' | 'found' };

export type OnRegistryEvent = (event: RegistryEvent) => void;
