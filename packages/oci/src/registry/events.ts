/** What a registry client reports while it works, for `--verbose`: plain data without credentials. */
import type { HttpEvent } from '@cambium/http';

export type RegistryEvent =
  | HttpEvent
  /** A blob transfer broke after `offset` bytes and goes on from there. */
  | { type: 'resume'; digest: string; offset: number; reason: string }
  /** An upload broke and goes on at `offset`. */
  | { type: 'upload-again'; digest: string | undefined; offset: number; reason: string }
  /** A place where credentials may be: a file or `docker-credential-NAME`. */
  | { type: 'auth-source'; source: string; registry: string; outcome: 'absent' | 'unreadable' | 'no-match' | 'found' };

export type OnRegistryEvent = (event: RegistryEvent) => void;
