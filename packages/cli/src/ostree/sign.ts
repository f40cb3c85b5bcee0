import { type Checksum, isKnownError } from '@cambium/base';
import { checkRawSignatures, deleteRawSignatures, type EngineTrust, type Repo, readKeys, signCommitRaw, systemKeys } from '@cambium/ostree';
import type { RawPublicKey, RawSignatureEngine } from '@cambium/trust';
import type { Values } from '../command.ts';
import { allowDummy, engineOf, readSecretKeys } from './signing.ts';
import { OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  delete: { kind: 'flag', short: 'd', help: 'Delete signatures having any of the KEY-IDs' },
  verify: { kind: 'flag', help: 'Verify signatures' },
  'sign-type': { kind: 'text', short: 's', value: 'NAME', help: "Signature type to use (defaults to 'ed25519')" },
  'keys-file': { kind: 'text', value: 'NAME', completes: 'file', help: 'Read key(s) from file' },
  'keys-dir': { kind: 'text', value: 'NAME', completes: 'directory', help: 'Redefine system-wide directories with public and revoked keys for verification' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Sign a commit',
  operands: [
    { name: 'COMMIT', help: '' },
    { name: 'KEY-ID', help: '', optional: true, many: true },
  ],
  usage: 'COMMIT KEY-ID...',
  flags,
  examples: [
    { command: 'cambium ostree sign --repo=./repo --keys-file=secret.ed25519 apps/shop', explains: 'Add a signature by the key in a file' },
    { command: 'cambium ostree sign --repo=./repo --verify --keys-file=public.ed25519 apps/shop', explains: 'Check that the key has signed' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [rev, ...keys] = operands;
    if (rev === undefined) throw new UsageError('Need a COMMIT to sign or verify');
    const file = values['keys-file'];
    if (!values.verify && keys.length === 0 && file === undefined) throw new UsageError('Need at least one KEY-ID to sign with');
    // As libostree: a type that is for tests only verifies nothing elsewhere.
    if (values.verify && values['sign-type'] === 'dummy' && !allowDummy(context.environment)) throw new OstreeFailure('No valid signatures found');
    const engine = engineOf(values['sign-type'], context.environment);
    const commit = repo.refs.resolve(rev);
    if (values.verify) verify(context, repo, commit, engine, values, keys);
    else if (values.delete) {
      const given = [...keys.map((text) => publicHalf(engine, text)), ...(file === undefined ? [] : keysOfFile(context, engine, file))];
      context.ui.result(`Signatures deleted: ${await deleteRawSignatures(repo, commit, engine.type, given, context.signal)}`);
    } else {
      const { secrets } = readSecretKeys(keys, file === undefined ? [] : [file], engine.type, context.environment);
      await signCommitRaw(repo, commit, engine.type, secrets, context.signal);
    }
    return undefined;
  },
};

/** Keys named here are the only ones that count; without any the system's do. Revoked ones never count. */
function verify(context: VerbContext, repo: Repo, commit: Checksum, engine: RawSignatureEngine, values: Values<typeof flags>, texts: readonly string[]): void {
  const options = { allowDummy: allowDummy(context.environment), ...(values['keys-dir'] === undefined ? {} : { keyDirectories: [values['keys-dir']] }) };
  const system = systemKeys(engine.type, options);
  const given = texts.map((text) => ({ key: engine.publicKey(text), source: 'the command line' }));
  if (values['keys-file'] !== undefined) given.push(...readKeys(values['keys-file'], engine.type, options));
  const trust: EngineTrust = { ...system, trusted: given.length > 0 ? given : system.trusted };
  const bytes = repo.readMetadata('commit', commit);
  const reports = checkRawSignatures(trust, bytes, repo.readDetachedMetadata(commit));
  const valid = reports.find((report) => report.valid);
  // libostree tells of keys that it has read somewhere, not of those on the command line.
  const tells = texts.length === 0 || values['keys-file'] !== undefined;
  if (valid === undefined) throw new OstreeFailure(tells ? whyNone(trust, reports.length) : 'No valid signatures found');
  const details = valid.engine === 'dummy' ? 'Signature verified' : `Signature verified successfully with key '${valid.key}'`;
  context.ui.result(`${valid.engine}: ${details}`);
}

/** More are counted only. */
const MAX_NAMED_KEYS = 3;

/** Returns libostree's words, its keys in its order: the last one read comes first. */
function whyNone({ type, trusted, revoked }: EngineTrust, signatures: number): string {
  if (type === 'dummy') return 'No valid signatures found';
  if (trusted.length === 0) return `signature: ${type}: no keys loaded`;
  if (signatures === 0) return `${type}: commit have no signatures of my type`;
  const keys = [...new Set(trusted.map(({ key }) => key.id))].filter((id) => !revoked.has(id)).reverse();
  const tried = signatures * keys.length;
  if (tried === 0) return `${type}: no signatures found`;
  if (tried > MAX_NAMED_KEYS) return `${type}: Signature couldn't be verified; tried ${tried} keys`;
  const named = Array.from({ length: signatures }, () => keys.map((id) => `key '${id}'`)).flat();
  return `${type}: Signature couldn't be verified with: ${named.join('; ')}`;
}

/** A signature is deleted by whichever half of the key is at hand. */
function publicHalf(engine: RawSignatureEngine, text: string): RawPublicKey {
  try {
    return engine.publicKey(text);
  } catch (error) {
    if (!isKnownError(error, 'TRUST_KEY_INVALID')) throw error;
    return engine.secretKey(text).publicKey;
  }
}

function keysOfFile(context: VerbContext, engine: RawSignatureEngine, file: string): RawPublicKey[] {
  try {
    return readKeys(file, engine.type, { allowDummy: allowDummy(context.environment) }).map(({ key }) => key);
  } catch (error) {
    if (!isKnownError(error, 'TRUST_KEY_INVALID')) throw error;
    return readSecretKeys([], [file], engine.type, context.environment).secrets.map(({ publicKey }) => publicKey);
  }
}
