export * from './errors.ts';
export {
  type ImportedKeys,
  type ImportKeysOptions,
  importOpenPgpKeys,
  type ListKeysOptions,
  listOpenPgpKeys,
  type OpenPgpKey,
  type OpenPgpSubkey,
  type OpenPgpUserId,
} from './gpg-keys.ts';
export { requireGpgSecretKey, type SignOptions, signDetachedWithGpg } from './gpg-sign.ts';
export type { GpgSignature } from './gpg-status.ts';
export { type VerifyOptions, verifyDetachedWithGpg } from './gpg-verify.ts';
export * from './raw-signature.ts';
