/** The user's own gpg. Each function loads its module when it is first called: most commands run no gpg. */
import { type Lazy, lazy } from '@cambium/base';

export const importOpenPgpKeys: Lazy<typeof import('./gpg-keys.ts').importOpenPgpKeys> = lazy(async () => (await import('./gpg-keys.ts')).importOpenPgpKeys);
export const listOpenPgpKeys: Lazy<typeof import('./gpg-keys.ts').listOpenPgpKeys> = lazy(async () => (await import('./gpg-keys.ts')).listOpenPgpKeys);
export const requireGpgSecretKey: Lazy<typeof import('./gpg-sign.ts').requireGpgSecretKey> = lazy(
  async () => (await import('./gpg-sign.ts')).requireGpgSecretKey,
);
export const signDetachedWithGpg: Lazy<typeof import('./gpg-sign.ts').signDetachedWithGpg> = lazy(
  async () => (await import('./gpg-sign.ts')).signDetachedWithGpg,
);
export const verifyDetachedWithGpg: Lazy<typeof import('./gpg-verify.ts').verifyDetachedWithGpg> = lazy(
  async () => (await import('./gpg-verify.ts')).verifyDetachedWithGpg,
);
