export * from './errors.ts';
export * from './gpg.ts';
export type { ImportedKeys, ImportKeysOptions, ListKeysOptions, OpenPgpKey, OpenPgpSubkey, OpenPgpUserId } from './gpg-keys.ts';
export type { SignOptions } from './gpg-sign.ts';
export type { GpgSignature } from './gpg-status.ts';
export type { VerifyOptions } from './gpg-verify.ts';
export * from './raw-signature.ts';
