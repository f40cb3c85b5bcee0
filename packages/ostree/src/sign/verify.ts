/**
 * Checks commits and summaries against a remote's policy, and tells who signed what and which key made it valid.
 * Signatures are over the exact bytes. gpg and bare-key signatures are asked for apart: each that is asked for must be there.
 */
import { type Checksum, isKnownError } from '@cambium/base';
import { type GpgSignature, type RawSignatureType, verifyDetachedWithGpg } from '@cambium/trust';
import { ostreeError } from '../errors.ts';
import { parseMetadata } from '../format/commit-format.ts';
import type { Metadata } from '../format/types.ts';
import { type SignatureKeys, signaturesIn } from './sign.ts';
import { rawSignaturesIn } from './sign-raw.ts';
import { formatSignatures } from './signature-text.ts';
import type { EngineTrust, RemoteTrust } from './trust-policy.ts';

export type SignatureProblem =
  | 'changed' // the data or the signature is not what was signed
  | 'expired' // the signature's own time is over
  | 'key-expired'
  | 'key-revoked'
  | 'key-unknown' // by a key that is not trusted here
  | 'unsupported';

/** One signature, and what is to be thought of it. */
export interface SignatureReport {
  engine: 'gpg' | RawSignatureType;
  valid: boolean;
  /** Why it is not valid. */
  problem: SignatureProblem | undefined;
  /** The key that signed, as far as known: a fingerprint or key ID; hex of an ed25519 key, sha256 of an spki key. */
  key: string | undefined;
  /** As in the OpenPGP key: `Name (comment) <address>`. */
  signer: string | undefined;
  /** File or config key where the key was found. */
  source: string | undefined;
  /** Seconds since 1970. */
  created: number | undefined;
  expires: number | undefined;
  gpg: GpgSignature | undefined;
}

/** What is verified, for messages. */
interface Subject {
  name: string;
  /** How libostree begins its message about it. */
  prefix: string;
  option: string;
  what: string;
  signWith: string;
}

/**
 * Verifies the bytes of a commit object, and returns a verdict for each of its signatures that the policy asks for; none when it asks for none.
 *
 * @throws OSTREE_SIGNATURE_MISSING OSTREE_SIGNATURE_UNTRUSTED OSTREE_SIGNATURE_EXPIRED OSTREE_SIGNATURE_REVOKED OSTREE_SIGNATURE_INVALID
 *   TRUST_GPG_MISSING TRUST_SIGNATURE_INVALID TRUST_KEYRING_INVALID, the signal's reason
 */
export async function verifyCommitBytes(
  trust: RemoteTrust,
  checksum: Checksum,
  bytes: Uint8Array,
  detached: Metadata | undefined,
  signal?: AbortSignal,
): Promise<SignatureReport[]> {
  const subject: Subject = {
    name: `commit ${checksum}`,
    prefix: `Commit ${checksum}: `,
    option: 'gpg-verify',
    what: 'signatures',
    signWith: 'cambium ostree gpg-sign COMMIT KEY-ID',
  };
  const reports: SignatureReport[] = [];
  if (trust.gpg.commits) reports.push(...(await requireGpg(trust, subject, bytes, detached, signal)));
  if (trust.sign.commits !== undefined) {
    const lead = `Can't verify commit ${checksum}: signature: `;
    reports.push(...requireRaw(trust.sign.commits, { ...subject, prefix: lead, signWith: 'cambium ostree sign COMMIT KEY' }, bytes, detached));
  }
  return reports;
}

/** As {@link verifyCommitBytes} for a summary and its `summary.sig`, which holds no signature when it cannot be read, as in libostree. */
export async function verifySummaryBytes(
  trust: RemoteTrust,
  summary: Uint8Array,
  signature: Uint8Array | undefined,
  signal?: AbortSignal,
): Promise<SignatureReport[]> {
  const { gpg, sign, remote } = trust;
  if (!gpg.summary && sign.summary === undefined) return [];
  const detached = signature === undefined ? undefined : readableMetadata(signature);
  const subject: Subject = {
    name: `summary of remote "${remote}"`,
    prefix: '',
    option: 'gpg-verify-summary',
    what: signature === undefined ? 'summary.sig' : 'signatures',
    signWith: 'cambium ostree summary --update --gpg-sign=KEY-ID',
  };
  const reports: SignatureReport[] = [];
  if (gpg.summary) reports.push(...(await requireGpg(trust, subject, summary, detached, signal)));
  if (sign.summary !== undefined) {
    reports.push(...requireRaw(sign.summary, { ...subject, prefix: 'signature: ', signWith: 'cambium ostree summary --update --sign=KEY' }, summary, detached));
  }
  return reports;
}

function readableMetadata(bytes: Uint8Array): Metadata | undefined {
  try {
    return parseMetadata(bytes);
  } catch (error) {
    if (isKnownError(error, 'OSTREE_OBJECT_CORRUPT')) return undefined;
    throw error;
  }
}

/** Returns a verdict for each gpg signature in detached metadata. @throws TRUST_* OSTREE_OBJECT_CORRUPT, the signal's reason */
export async function checkGpgSignatures(
  keys: SignatureKeys,
  bytes: Uint8Array,
  detached: Metadata | undefined,
  signal?: AbortSignal,
): Promise<SignatureReport[]> {
  const reports: SignatureReport[] = [];
  const source = 'keyrings' in keys && keys.keyrings.length === 1 && typeof keys.keyrings[0] === 'string' ? keys.keyrings[0] : undefined;
  for (const signature of signaturesIn(detached)) {
    for (const gpg of await verifyDetachedWithGpg({ data: bytes, signature, keys, signal })) {
      reports.push({
        engine: 'gpg',
        valid: gpg.valid,
        problem: problemOf(gpg),
        key: gpg.fingerprint ?? gpg.keyId,
        signer: gpg.bad ? undefined : gpg.userId,
        source: gpg.missingKey ? undefined : source,
        created: gpg.bad ? undefined : gpg.created,
        expires: gpg.expires,
        gpg,
      });
    }
  }
  return reports;
}

/** Returns a verdict for each signature of an engine's type in detached metadata. @throws OSTREE_OBJECT_CORRUPT OSTREE_OBJECT_TOO_LARGE */
export function checkRawSignatures(trust: EngineTrust, bytes: Uint8Array, detached: Metadata | undefined): SignatureReport[] {
  return rawSignaturesIn(detached, trust.type).map((signature) => {
    const by = trust.trusted.filter(({ key }) => key.verify(bytes, signature));
    const found = by.find(({ key }) => !trust.revoked.has(key.id));
    const known = found ?? by[0];
    // A bare signature does not say by whom it is: of one that no key fits nothing more is known.
    const problem = found !== undefined ? undefined : known === undefined ? 'key-unknown' : 'key-revoked';
    return {
      engine: trust.type,
      valid: found !== undefined,
      problem,
      key: known?.key.id,
      signer: undefined,
      source: known?.source,
      created: undefined,
      expires: undefined,
      gpg: undefined,
    };
  });
}

/** Returns one line for each signature: who, with what, since when, and why not. */
export function formatSignatureReports(reports: readonly SignatureReport[]): string {
  return reports
    .map((report) => {
      const who = [report.signer, report.key === undefined ? undefined : `key ${report.key}`].filter((part) => part !== undefined).join(', ');
      const when = report.created === undefined ? '' : `, made ${new Date(report.created * 1000).toISOString().slice(0, 19)}Z`;
      const where = report.source === undefined ? '' : `, key from ${report.source}`;
      const verdict = report.problem === undefined ? 'valid' : `not valid (${PROBLEM_TEXTS[report.problem]})`;
      return `${report.engine}: ${verdict}${who === '' ? '' : `: ${who}`}${when}${where}\n`;
    })
    .join('');
}

const PROBLEM_TEXTS: Readonly<Record<SignatureProblem, string>> = {
  changed: 'the signed bytes were changed',
  expired: 'the signature has expired',
  'key-expired': 'the key has expired',
  'key-revoked': 'the key is revoked',
  'key-unknown': 'the key is not trusted here',
  unsupported: 'it cannot be checked here',
};

function problemOf(gpg: GpgSignature): SignatureProblem | undefined {
  if (gpg.valid) return undefined;
  if (gpg.bad) return 'changed';
  if (gpg.revoked) return 'key-revoked';
  if (gpg.missingKey) return 'key-unknown';
  if (gpg.keyExpired) return 'key-expired';
  return gpg.expired ? 'expired' : 'unsupported';
}

async function requireGpg(
  trust: RemoteTrust,
  subject: Subject,
  bytes: Uint8Array,
  detached: Metadata | undefined,
  signal: AbortSignal | undefined,
): Promise<SignatureReport[]> {
  if (signaturesIn(detached).length === 0) {
    const text = `GPG verification enabled, but no ${subject.what} found (use ${subject.option}=false in remote config to disable)`;
    throw missing(subject, trust.remote, `${subject.prefix}${text}`);
  }
  const reports = await checkGpgSignatures(trust.gpg.keys, bytes, detached, signal);
  if (reports.some(({ valid }) => valid)) return reports;
  const signatures = reports.flatMap(({ gpg }) => gpg ?? []);
  // As libostree: what is known of each, without the count.
  const text = formatSignatures(signatures, Date.now() / 1000)
    .replace(/^Found .*:\n\n/, '')
    .replace(/^ +/gm, '')
    .replace(/\n+/g, '\n')
    .trim();
  throw refusal(reports, subject, `${subject.prefix}${text}`, `cambium ostree remote gpg-import ${trust.remote} --keyring=FILE`);
}

function requireRaw(engines: readonly EngineTrust[], subject: Subject, bytes: Uint8Array, detached: Metadata | undefined): SignatureReport[] {
  if (engines.length === 0) {
    throw ostreeError('OSTREE_KEYS_MISSING', `Cannot verify ${subject.name}: sign-verify is on, and no keys are configured`, {
      hint: 'Name a key in the config: verification-ed25519-key=KEY or verification-ed25519-file=PATH',
    });
  }
  const reports = engines.flatMap((engine) => checkRawSignatures(engine, bytes, detached));
  if (reports.some(({ valid }) => valid)) return reports;
  const types = engines.map(({ type }) => type).join(', ');
  if (reports.length === 0) throw missing(subject, types, `${subject.prefix}${types}: no signatures of this type found`, rawTexts(engines, subject, detached));
  const text = `${subject.prefix}${types}: incorrect signatures found: ${reports.length}`;
  throw refusal(reports, subject, text, 'ask the publisher for the key, and name it with verification-TYPE-key or verification-TYPE-file');
}

/** libostree's words where ours differ. */
function rawTexts(engines: readonly EngineTrust[], subject: Subject, detached: Metadata | undefined): string {
  const type = engines.at(-1)?.type ?? '';
  if (detached === undefined && subject.prefix === 'signature: ') return 'No signatures found';
  return detached === undefined ? `${subject.prefix}no signatures found` : `${subject.prefix}${type}: commit have no signatures of my type`;
}

function missing(subject: Subject, who: string, message: string, ostreeMessage?: string): Error {
  return ostreeError('OSTREE_SIGNATURE_MISSING', message, {
    hint: `The publisher can sign it with: ${subject.signWith}`,
    data: { subject: subject.name, who, ...(ostreeMessage === undefined ? {} : { ostreeMessage }) },
  });
}

/** The code tells the best of the signatures: one that would be valid but for its time says more than one by a stranger. */
function refusal(reports: readonly SignatureReport[], subject: Subject, message: string, trustWith: string): Error {
  const data = { subject: subject.name, signatures: reports.map(({ engine, problem, key, signer }) => ({ engine, problem, key, signer })) };
  const has = (...problems: SignatureProblem[]): boolean => reports.some(({ problem }) => problem !== undefined && problems.includes(problem));
  // A changed one first: somebody may have tried something.
  if (has('changed', 'unsupported')) {
    return ostreeError('OSTREE_SIGNATURE_INVALID', message, { data, hint: 'Do not use it: what came is not what was signed' });
  }
  if (has('key-revoked')) {
    return ostreeError('OSTREE_SIGNATURE_REVOKED', message, { data, hint: `The publisher can sign again with another key: ${subject.signWith}` });
  }
  if (has('expired', 'key-expired')) {
    return ostreeError('OSTREE_SIGNATURE_EXPIRED', message, {
      data,
      hint: `If the publisher has made the key last longer, import it again: ${trustWith}; else it must be signed again`,
    });
  }
  return ostreeError('OSTREE_SIGNATURE_UNTRUSTED', message, { data, hint: `If you trust the key, add it: ${trustWith}` });
}
