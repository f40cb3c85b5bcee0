import { isKnownError } from '@cambium/base';
import { parseVariantText, type Variant } from '@cambium/gvariant';
import {
  commitRepoMetadata,
  formatRawSummary,
  formatSummary,
  type Metadata,
  parseSummary,
  type Repo,
  readSummaryFile,
  regenerateSummary,
} from '@cambium/ostree';
import type { Values } from '../command.ts';
import { lookUp } from '../environment.ts';
import { SUMMARY_SHAPE, summaryJson } from './json.ts';
import { addRawSignatures, addSignatures, readSecretKeys } from './signing.ts';
import { printSummaryMetadata } from './summary-metadata.ts';
import { OstreeFailure, type Verb, type VerbContext } from './verb.ts';

const flags = {
  update: { kind: 'flag', short: 'u', help: 'Update the summary' },
  view: { kind: 'flag', short: 'v', help: 'View the local summary file' },
  raw: { kind: 'flag', help: 'View the raw bytes of the summary file' },
  'list-metadata-keys': { kind: 'flag', help: 'List the available metadata keys' },
  'print-metadata-key': { kind: 'text', value: 'KEY', help: 'Print string value of metadata key' },
  'gpg-sign': { kind: 'texts', value: 'KEY-ID', help: 'GPG Key ID to sign the summary with' },
  'gpg-homedir': { kind: 'text', value: 'HOMEDIR', help: 'GPG Homedir to use when looking for keyrings' },
  sign: { kind: 'texts', value: 'KEY-ID', help: 'Key ID to sign the summary with' },
  'sign-type': { kind: 'text', value: 'NAME', help: "Signature type to use (defaults to 'ed25519')" },
  'add-metadata': { kind: 'texts', short: 'm', value: 'KEY=VALUE', help: 'Additional metadata field to add to the summary' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Manage summary metadata',
  operands: [],
  flags,
  json: SUMMARY_SHAPE,
  examples: [
    { command: 'cambium ostree summary --repo=./repo --update --gpg-sign=you@example.com', explains: 'Write a signed summary' },
    { command: 'cambium ostree summary --repo=./repo --view', explains: 'Show what the summary says' },
  ],
  async run(context, { values }) {
    const repo = await context.openRepo();
    if (values.update) {
      await update(context, repo, values);
      return undefined;
    }
    const key = values['print-metadata-key'];
    if (!context.ui.json && !values.view && !values.raw && !values['list-metadata-keys'] && key === undefined)
      throw new OstreeFailure('No option specified; use -u to update summary');
    const bytes = readSummaryFile(repo);
    if (bytes === undefined) throw new OstreeFailure('openat(summary): No such file or directory');
    const summary = parseSummary(bytes);
    if (context.ui.json) context.ui.resultJson(summaryJson(summary));
    else if (!printSummaryMetadata(context, summary, values)) context.ui.write(values.raw ? formatRawSummary(summary) : formatSummary(summary));
    return undefined;
  },
};

async function update(context: VerbContext, repo: Repo, values: Values<typeof flags>): Promise<void> {
  const metadata = values['add-metadata'].map(parseEntry);
  const gpg = { keyIds: values['gpg-sign'], homeDirectory: values['gpg-homedir'] };
  const keys = readSecretKeys(values.sign, [], values['sign-type'], context.environment);
  const signs = gpg.keyIds.length > 0 || keys.secrets.length > 0;
  const sign = async (bytes: Uint8Array): Promise<Metadata> => {
    const withGpg = await addSignatures(bytes, undefined, gpg, context.signal);
    return addRawSignatures(bytes, withGpg, keys) ?? [];
  };
  const now = timeOf(context);
  const { signal } = context;
  if (repo.settings.collectionId !== undefined) {
    const bootId = lookUp(context.environment, ['OSTREE_BOOTID']);
    await commitRepoMetadata(repo, { metadata, timestamp: now, signal, bootId, ...(signs ? { sign } : {}) });
  }
  await regenerateSummary(repo, { metadata, lastModified: now, signal, ...(signs ? { sign } : {}) });
}

/** A reproducible build gives its own time. */
function timeOf(context: VerbContext): bigint {
  const epoch = lookUp(context.environment, ['SOURCE_DATE_EPOCH']);
  return epoch !== undefined && /^\d{1,18}$/.test(epoch) ? BigInt(epoch) : BigInt(Math.floor(Date.now() / 1000));
}

function parseEntry(text: string): [key: string, value: Variant] {
  const equals = text.indexOf('=');
  if (equals < 0) throw new OstreeFailure(`Missing '=' in KEY=VALUE metadata '${text}'`);
  if (equals === 0) throw new OstreeFailure('Empty metadata key');
  const value = text.slice(equals + 1);
  try {
    return [text.slice(0, equals), parseVariantText(value)];
  } catch (error) {
    if (!isKnownError(error)) throw error;
    throw new OstreeFailure(`Error parsing variant ‘${value}’: : ${error.message}`, { cause: error });
  }
}
