/**
 * Signatures with bare keys, as libostree's `ostree.sign.TYPE` holds them: ed25519, spki (any key that OpenSSL knows), and
 * dummy for tests. Source: libostree `ostree-sign-ed25519.c`, `ostree-sign-spki.c`, `ostree-sign-dummy.c` behaviour; RFC 8032, RFC 5280.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { trustError } from './errors.ts';

export const RAW_SIGNATURE_TYPES = ['ed25519', 'spki', 'dummy'] as const;
export type RawSignatureType = (typeof RAW_SIGNATURE_TYPES)[number];

export interface RawPublicKey {
  /** Names the key: hex of an ed25519 key, sha256 of an SPKI structure, the text of a dummy key. */
  readonly id: string;
  /** Returns false for every kind of wrong signature. */
  verify(data: Uint8Array, signature: Uint8Array): boolean;
}

export interface RawSecretKey {
  /** The `id` of its public half. */
  readonly publicKey: RawPublicKey;
  sign(data: Uint8Array): Uint8Array<ArrayBuffer>;
}

/** How one type's keys are written; every method throws TRUST_KEY_INVALID, which never quotes a key. */
export interface RawSignatureEngine {
  readonly type: RawSignatureType;
  /** Reads a key as it stands on a command line or in a config. */
  publicKey(text: string): RawPublicKey;
  secretKey(text: string): RawSecretKey;
  /** Reads all keys of a file. @param name for messages */
  publicKeys(file: Uint8Array, name: string): RawPublicKey[];
  secretKeys(file: Uint8Array, name: string): RawSecretKey[];
}

export interface RawSignatureOptions {
  /** Dummy signatures prove nothing and are for tests: they need to be allowed. */
  allowDummy?: boolean | undefined;
}

export function isRawSignatureType(text: string): text is RawSignatureType {
  return (RAW_SIGNATURE_TYPES as readonly string[]).includes(text);
}

/** @throws TRUST_TYPE_UNSUPPORTED for unknown types, and for dummy unless it is allowed */
export function rawSignatureEngine(type: string, options: RawSignatureOptions = {}): RawSignatureEngine {
  if (!isRawSignatureType(type)) {
    throw trustError('TRUST_TYPE_UNSUPPORTED', `Cannot use signatures of type "${type.slice(0, 80)}": it is unknown`, {
      hint: `Use one of: ${RAW_SIGNATURE_TYPES.join(', ')}`,
      data: { type, ostreeMessage: 'Requested signature type is not implemented' },
    });
  }
  if (type === 'dummy' && options.allowDummy !== true) {
    throw trustError('TRUST_TYPE_UNSUPPORTED', 'Cannot use signatures of type "dummy": it is for tests only', {
      hint: 'Tests allow it with OSTREE_DUMMY_SIGN_ENABLED=1',
      data: { type, ostreeMessage: 'dummy signature type is only for ostree testing' },
    });
  }
  return ENGINES[type];
}

/** A file of keys: lines of text or PEM blocks, small in any case. */
const MAX_KEY_FILE_BYTES = 1 << 20;

const SEED_BYTES = 32;
const PUBLIC_BYTES = 32;
const SIGNATURE_BYTES = 64;

/** RFC 8410: what stands before the raw key in SubjectPublicKeyInfo and PKCS#8. */
const PUBLIC_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const SECRET_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

const ED25519: RawSignatureEngine = {
  type: 'ed25519',
  publicKey: (text) => ed25519PublicKey(fromBase64(text, PUBLIC_BYTES, 'ed25519 public key')),
  secretKey(text) {
    const bytes = fromBase64(text, SEED_BYTES + PUBLIC_BYTES, 'ed25519 secret key');
    const key = createPrivateKey({ key: Buffer.concat([SECRET_PREFIX, bytes.subarray(0, SEED_BYTES)]), format: 'der', type: 'pkcs8' });
    const publicKey = ed25519PublicKey(bytes.subarray(SEED_BYTES));
    const derived = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(PUBLIC_PREFIX.length).toString('hex');
    // Signing with a public half that does not fit gives away the secret one in some libraries, and is never wanted.
    if (derived !== publicKey.id) throw invalid('ed25519 secret key', 'its public half does not fit');
    return { publicKey, sign: (data) => copied(sign(null, data, key)) };
  },
  publicKeys: (file, name) => linesOf(file, name, (line) => ED25519.publicKey(line)),
  secretKeys: (file, name) => linesOf(file, name, (line) => ED25519.secretKey(line)),
};

function ed25519PublicKey(bytes: Buffer): RawPublicKey {
  const key = createPublicKey({ key: Buffer.concat([PUBLIC_PREFIX, bytes]), format: 'der', type: 'spki' });
  return {
    id: bytes.toString('hex'),
    verify: (data, signature) => signature.byteLength === SIGNATURE_BYTES && verifies(key, data, signature),
  };
}

const SPKI: RawSignatureEngine = {
  type: 'spki',
  publicKey: (text) => spkiPublicKey(fromText(text, 'spki public key')),
  secretKey: (text) => spkiSecretKey(fromText(text, 'spki secret key')),
  publicKeys: (file, name) => pemBlocks(file, name, /^PUBLIC KEY$/).map(spkiPublicKey),
  secretKeys: (file, name) => pemBlocks(file, name, /PRIVATE KEY$/).map(spkiSecretKey),
};

function spkiPublicKey(source: Buffer | string): RawPublicKey {
  const what = 'spki public key';
  const key = made(what, () => (typeof source === 'string' ? createPublicKey(source) : createPublicKey({ key: source, format: 'der', type: 'spki' })));
  return publicKeyOf(key);
}

function publicKeyOf(key: KeyObject): RawPublicKey {
  const id = createHash('sha256')
    .update(key.export({ format: 'der', type: 'spki' }))
    .digest('hex');
  return { id, verify: (data, signature) => verifies(key, data, signature) };
}

function spkiSecretKey(source: Buffer | string): RawSecretKey {
  const what = 'spki secret key';
  const key = made(what, () => (typeof source === 'string' ? createPrivateKey(source) : privateKeyOf(source)));
  // Without a digest the key's own default is used, as by EVP_DigestSign.
  return { publicKey: publicKeyOf(createPublicKey(key)), sign: (data) => copied(sign(undefined, data, key)) };
}

/** DER does not say of which kind it is: libostree takes PKCS#8, and the old forms of RSA and elliptic keys (RFC 8017, RFC 5915). */
function privateKeyOf(key: Buffer): KeyObject {
  for (const type of ['pkcs8', 'pkcs1'] as const) {
    try {
      return createPrivateKey({ key, format: 'der', type });
    } catch {
      // The next kind; the last one tells.
    }
  }
  return createPrivateKey({ key, format: 'der', type: 'sec1' });
}

const DUMMY: RawSignatureEngine = {
  type: 'dummy',
  publicKey: dummyKey,
  secretKey: (text) => ({ publicKey: dummyKey(text), sign: () => copied(Buffer.from(text, 'utf8')) }),
  publicKeys: (file, name) => linesOf(file, name, dummyKey),
  secretKeys: (file, name) => linesOf(file, name, (line) => DUMMY.secretKey(line)),
};

function dummyKey(text: string): RawPublicKey {
  const bytes = Buffer.from(text, 'utf8');
  return { id: text, verify: (_data, signature) => bytes.equals(signature) };
}

const ENGINES: Readonly<Record<RawSignatureType, RawSignatureEngine>> = { ed25519: ED25519, spki: SPKI, dummy: DUMMY };

function verifies(key: KeyObject, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(undefined, data, key, signature);
  } catch {
    // OpenSSL's way to say that a signature is not even of the right shape.
    return false;
  }
}

function fromBase64(text: string, size: number, what: string): Buffer {
  const bytes = Buffer.from(text.trim(), 'base64');
  if (!/^[A-Za-z0-9+/]+=*$/.test(text.trim())) throw invalid(what, 'not base64');
  if (bytes.byteLength !== size) throw invalid(what, `${bytes.byteLength} bytes instead of ${size}`);
  return bytes;
}

/** PEM, or the base64 of DER. */
function fromText(text: string, what: string): Buffer | string {
  if (text.includes('-----BEGIN ')) return text;
  if (!/^[A-Za-z0-9+/]+=*$/.test(text.trim())) throw invalid(what, 'neither PEM nor base64');
  return Buffer.from(text.trim(), 'base64');
}

function linesOf<T>(file: Uint8Array, name: string, parse: (line: string) => T): T[] {
  const lines = textOf(file, name).split('\n');
  const keys: T[] = [];
  for (const [index, line] of lines.entries()) {
    const text = line.trim();
    if (text === '') continue;
    try {
      keys.push(parse(text));
    } catch (cause) {
      throw invalid(`line ${index + 1} of "${name}"`, cause instanceof Error ? cause.message : 'not a key', cause);
    }
  }
  return keys;
}

function pemBlocks(file: Uint8Array, name: string, label: RegExp): string[] {
  const blocks = [...textOf(file, name).matchAll(/-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END \1-----/g)];
  const found = blocks.filter(([, kind]) => label.test(kind as string)).map(([block]) => block);
  if (found.length === 0) throw invalid(`"${name}"`, 'no PEM block with such a key');
  return found;
}

function textOf(file: Uint8Array, name: string): string {
  if (file.byteLength > MAX_KEY_FILE_BYTES) throw invalid(`"${name}"`, `over ${MAX_KEY_FILE_BYTES} bytes`);
  return Buffer.from(file.buffer, file.byteOffset, file.byteLength).toString('utf8');
}

function made(what: string, make: () => KeyObject): KeyObject {
  try {
    return make();
  } catch (cause) {
    throw invalid(what, 'OpenSSL cannot read it', cause);
  }
}

function copied(bytes: Buffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

function invalid(what: string, why: string, cause?: unknown): Error {
  return trustError('TRUST_KEY_INVALID', `Cannot read ${what}: ${why}`, { cause });
}
