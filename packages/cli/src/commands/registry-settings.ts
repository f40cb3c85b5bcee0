/** Flags of every command that talks to registries, and what follows from them. */
import { createAuthFiles, type RegistryClientOptions, type RegistryEvent } from '@cambium/oci';
import type { Environment } from '../environment.ts';
import { proxyRule } from '../proxies.ts';
import type { Ui } from '../ui.ts';

export const REGISTRY_FLAGS = {
  authfile: { kind: 'text', value: 'FILE', completes: 'file', env: ['REGISTRY_AUTH_FILE'], help: 'File of registry logins' },
  insecure: { kind: 'texts', value: 'REGISTRY', help: 'Reach this registry (HOST or HOST:PORT) also over plain HTTP; loopback is always allowed' },
} as const;

export interface RegistryValues {
  readonly authfile: string | undefined;
  readonly insecure: readonly string[];
}

/** Returns the options of a registry client; with `ui` it says with `--verbose` what it asks for and where it looks for logins. */
export function registrySettings(values: RegistryValues, environment: Environment, ui?: Ui): RegistryClientOptions {
  const { variables, home, uid } = environment;
  return {
    insecure: values.insecure,
    proxy: proxyRule(environment),
    credentials: createAuthFiles({ environment: variables, home, uid, ...(values.authfile === undefined ? {} : { authFile: values.authfile }) }),
    ...(ui === undefined ? {} : { on: (event: RegistryEvent): void => ui.detail(describeRequest(event)) }),
  };
}

function describeRequest(event: RegistryEvent): string {
  switch (event.type) {
    case 'request':
      return `${event.method} ${event.url}: ${event.status}`;
    case 'retry':
      return `Trying ${event.url} again in ${event.delayMs} ms: ${event.reason}`;
    case 'resume':
      return `Resuming ${event.digest} at byte ${event.offset}: ${event.reason}`;
    case 'upload-again':
      return `Sending ${event.digest ?? 'a blob'} again from byte ${event.offset}: ${event.reason}`;
    case 'auth-source':
      return `Login for ${event.registry}: ${event.source} ${event.outcome}`;
  }
}
