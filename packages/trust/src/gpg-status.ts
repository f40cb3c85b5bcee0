/** What gpg says about one signature. Source: GnuPG `doc/DETAILS`, "General status codes". */

export interface GpgSignature {
  /** Last 16 hex digits of the key's fingerprint. */
  keyId: string;
  /** Fingerprint of the key or subkey that signed; undefined when the key is missing and the signature does not say it. */
  fingerprint: string | undefined;
  /** Fingerprint of the key that the subkey belongs to. */
  primaryFingerprint: string | undefined;
  /** True only for a good signature that has not expired, by a key that is neither expired nor revoked. */
  valid: boolean;
  /** The data or the signature was changed. */
  bad: boolean;
  /** The signature has expired. */
  expired: boolean;
  keyExpired: boolean;
  /** The key is revoked. */
  revoked: boolean;
  /** The key is not among the given ones, so that nothing could be checked. */
  missingKey: boolean;
  /** gpg could not check it for another reason: malformed, or of an algorithm it does not have or does not trust. */
  unsupported: boolean;
  /** Seconds since 1970, UTC. */
  created: number | undefined;
  /** When the signature expires; undefined for never. */
  expires: number | undefined;
  /** When the key that signed expires; undefined for never or unknown. */
  keyExpires: number | undefined;
  primaryKeyExpires: number | undefined;
  /** As in the key: `Name (comment) <address>`. */
  userId: string | undefined;
  userName: string | undefined;
  userEmail: string | undefined;
  /** `RSA`, `EdDSA`, …; the number when unknown. */
  pubkeyAlgorithm: string | undefined;
  /** `SHA512`, …; the number when unknown. */
  hashAlgorithm: string | undefined;
}

/** RFC 4880 and 9580, section 9.1, with the names that GnuPG gives. */
const PUBKEY_ALGORITHMS: Readonly<Record<string, string>> = {
  '1': 'RSA',
  '2': 'RSA-E',
  '3': 'RSA-S',
  '16': 'ELG-E',
  '17': 'DSA',
  '18': 'ECDH',
  '19': 'ECDSA',
  '20': 'ELG',
  '22': 'EdDSA',
  '27': 'Ed25519',
  '28': 'Ed448',
};
const HASH_ALGORITHMS: Readonly<Record<string, string>> = {
  '1': 'MD5',
  '2': 'SHA1',
  '3': 'RIPEMD160',
  '8': 'SHA256',
  '9': 'SHA384',
  '10': 'SHA512',
  '11': 'SHA224',
  '12': 'SHA3-256',
  '14': 'SHA3-512',
};

/** Words that start the verdict on a signature, and what they say. */
const VERDICTS: Readonly<Record<string, Partial<GpgSignature>>> = {
  GOODSIG: { valid: true },
  EXPSIG: { expired: true },
  EXPKEYSIG: { keyExpired: true },
  REVKEYSIG: { revoked: true },
  BADSIG: { bad: true },
  ERRSIG: {},
};

/** Returns what the status lines of verifying one signature packet say, or undefined when they have no verdict. */
export function parseSignatureStatus(lines: readonly string[]): GpgSignature | undefined {
  let found: GpgSignature | undefined;
  let verdicts = 0;
  for (const line of lines) {
    const words = line.split(' ');
    const [word = '', first = ''] = words;
    const verdict = Object.hasOwn(VERDICTS, word) ? VERDICTS[word] : undefined;
    if (verdict !== undefined) {
      verdicts++;
      found = { ...unknown(), ...verdict, ...keyOf(first) };
      if (word === 'ERRSIG') {
        const [, , pubkey, hash, , created, reason, fingerprint] = words;
        Object.assign(found, algorithms(pubkey, hash), { created: timeOf(created), missingKey: reason === '9', unsupported: reason !== '9' });
        if (fingerprint !== undefined && fingerprint.length >= 40) found.fingerprint = fingerprint;
      } else Object.assign(found, userOf(words.slice(2).join(' ')));
    } else if (word === 'VALIDSIG' && found !== undefined) {
      const [, fingerprint, , created, expires, , , pubkey, hash, , primary] = words;
      Object.assign(found, algorithms(pubkey, hash), {
        fingerprint,
        created: timeOf(created),
        expires: timeOf(expires),
        primaryFingerprint: primary ?? fingerprint,
      });
      if (fingerprint !== undefined) found.keyId = fingerprint.slice(-16);
    } else if (found !== undefined && word === 'KEYREVOKED') found.revoked = true;
  }
  // One packet has one verdict: with two, nobody could say which of them is meant.
  if (found === undefined || verdicts !== 1) return undefined;
  // A verdict of GOODSIG counts with the details of VALIDSIG only, and nothing bad beside it.
  found.valid &&= found.primaryFingerprint !== undefined && !found.revoked && !found.keyExpired && !found.expired && !found.bad;
  return found;
}

function unknown(): GpgSignature {
  return {
    keyId: '',
    fingerprint: undefined,
    primaryFingerprint: undefined,
    valid: false,
    bad: false,
    expired: false,
    keyExpired: false,
    revoked: false,
    missingKey: false,
    unsupported: false,
    created: undefined,
    expires: undefined,
    keyExpires: undefined,
    primaryKeyExpires: undefined,
    userId: undefined,
    userName: undefined,
    userEmail: undefined,
    pubkeyAlgorithm: undefined,
    hashAlgorithm: undefined,
  };
}

/** Key IDs are 16 digits, or a whole fingerprint with newer keys. */
function keyOf(text: string): Partial<GpgSignature> {
  return text.length > 16 ? { keyId: text.slice(-16), fingerprint: text } : { keyId: text };
}

function algorithms(pubkey: string | undefined, hash: string | undefined): Partial<GpgSignature> {
  return { pubkeyAlgorithm: PUBKEY_ALGORITHMS[pubkey ?? ''] ?? pubkey, hashAlgorithm: HASH_ALGORITHMS[hash ?? ''] ?? hash };
}

/** Seconds, or ISO form where the system's time has too few bits; 0 is none. */
export function timeOf(text: string | undefined): number | undefined {
  if (text === undefined || text === '' || text === '0') return undefined;
  const iso = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)$/.exec(text);
  if (iso !== null) return Math.floor(Date.parse(`${iso[1]}-${iso[2]}-${iso[3]}T${iso[4]}:${iso[5]}:${iso[6]}Z`) / 1000);
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Splits `Name (comment) <address>`. */
function userOf(text: string): Partial<GpgSignature> {
  const userId = unescapePercent(text);
  const email = /<([^<>]*)>\s*$/.exec(userId);
  const before = email === null ? userId : userId.slice(0, email.index);
  const userName = before.replace(/\([^()]*\)\s*$/, '').trim();
  return { userId, userName: userName === '' ? undefined : userName, userEmail: email?.[1] };
}

function unescapePercent(text: string): string {
  return Buffer.from(
    Buffer.from(text, 'utf8')
      .toString('latin1')
      .replace(/%([0-9A-Fa-f]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString('utf8');
}

/** Returns when keys expire, by fingerprint, from the lines of `--with-colons --list-keys`. */
export function parseKeyExpiry(listing: string): Map<string, number | undefined> {
  const expiry = new Map<string, number | undefined>();
  let expires: number | undefined;
  for (const line of listing.split('\n')) {
    const fields = line.split(':');
    if (fields[0] === 'pub' || fields[0] === 'sub') expires = timeOf(fields[6]);
    else if (fields[0] === 'fpr' && fields[9] !== undefined) expiry.set(fields[9], expires);
  }
  return expiry;
}
