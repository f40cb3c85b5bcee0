/** A gpg home for tests of signatures. No tests. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defer, type scratch } from '@cambium/testkit';

export type Gpg = (...args: string[]) => Buffer;

export interface GpgHome {
  home: string;
  gpg: Gpg;
  /** Fingerprint of the key of an address. */
  id(user: string): string;
  revoke(user: string): void;
}

/** Makes a home with keys of good@example.com and other@example.com. */
export function makeHome(t: Parameters<typeof scratch>[0], directory: string): GpgHome {
  const home = join(directory, 'gpg');
  mkdirSync(home, { mode: 0o700 });
  const gpg: Gpg = (...args) =>
    execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', '', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  defer(t, () => execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'], { stdio: 'ignore' }));
  gpg('--quick-generate-key', 'Good <good@example.com>', 'ed25519', 'sign', 'never');
  gpg('--quick-generate-key', 'Other <other@example.com>', 'ed25519', 'sign', '1y');
  const id = (user: string): string => /^fpr:+([0-9A-F]+):/m.exec(gpg('--list-keys', '--with-colons', user).toString())?.[1] as string;
  const revoke = (user: string): void => {
    const certificate = readFileSync(join(home, 'openpgp-revocs.d', `${id(user)}.rev`), 'utf8').replace(/^:---/m, '---');
    execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', '--import'], { input: certificate, stdio: ['pipe', 'ignore', 'ignore'] });
  };
  return { home, gpg, id, revoke };
}
