import { type Checksum, isChecksum } from '@cambium/base';
import {
  type CommitTextOptions,
  showObject as findObject,
  formatDirMeta,
  formatDirTree,
  formatFileObject,
  formatSignatures,
  formatSizes,
  type Metadata,
  type Repo,
  readRev,
  readSignatures,
  signaturesIn,
  writeCommit,
  writeMetadataValue,
} from '@cambium/ostree';
import { commitJson, metadataJson, xattrsJson } from './json.ts';
import { type KeySelection, verificationKeys } from './signing.ts';
import { printVariantFile } from './variant-file.ts';
import { OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'print-related': { kind: 'flag', help: 'Show the "related" commits' },
  'print-variant-type': { kind: 'text', value: 'TYPE', help: 'Memory map OBJECT (in this case a filename) to the GVariant type string' },
  'list-metadata-keys': { kind: 'flag', hidden: true, help: 'List the available metadata keys' },
  'print-metadata-key': { kind: 'text', value: 'KEY', help: 'Print string value of metadata key' },
  'print-hex': { kind: 'flag', help: 'For byte array valued keys, output an unquoted hexadecimal string' },
  'list-detached-metadata-keys': { kind: 'flag', hidden: true, help: 'List the available detached metadata keys' },
  'print-detached-metadata-key': { kind: 'text', value: 'KEY', help: 'Print string value of detached metadata key' },
  'print-sizes': { kind: 'flag', help: 'Show the commit size metadata' },
  raw: { kind: 'flag', help: 'Show raw variant data' },
  'no-byteswap': { kind: 'flag', short: 'B', help: 'Do not automatically convert variant data from big endian' },
  'gpg-homedir': { kind: 'text', value: 'HOMEDIR', help: 'GPG Homedir to use when looking for keyrings' },
  'gpg-verify-remote': { kind: 'text', value: 'REMOTE', help: 'Use REMOTE name for GPG configuration' },
} as const;

export const command: Verb<typeof flags> = {
  summary: 'Output a metadata object',
  operands: [{ name: 'OBJECT', help: '' }],
  flags,
  json: 'of a commit { type: commit, …, detached?: { KEY: GVARIANT|null }, signatures?: [GPG] } with what log tells of it; of other objects { type: dirtree, files, dirs }, { type: dirmeta, uid, gid, mode, xattrs } or { type: file, uid, gid, mode, sizeBytes, target?, xattrs }, each with its checksum',
  examples: [{ command: 'cambium ostree show --repo=./repo apps/shop', explains: 'Show a commit' }],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [rev] = operands;
    if (rev === undefined) throw new UsageError('An object argument is required');
    if (context.ui.json) {
      const other = ONE_BY_ONE.find((name) => values[name] !== undefined && values[name] !== false);
      if (other !== undefined) throw new OstreeFailure(`Cannot specify both --json and --${other}`);
      context.ui.resultJson(await shownJson(context, repo, rev, { homeDirectory: values['gpg-homedir'], remote: values['gpg-verify-remote'] }));
      return undefined;
    }
    const printKey = (value: Metadata[number][1]): void => {
      if (values['print-hex'] && value.type === 'ay') context.ui.write(Buffer.from(value.value as Uint8Array).toString('hex'));
      else writeMetadataValue(value, { noByteswap: values['no-byteswap'] }, (text) => context.ui.write(text));
      context.ui.write('\n');
    };
    const metadataKey = values['print-metadata-key'];
    const detachedKey = values['print-detached-metadata-key'];
    if (detachedKey !== undefined) {
      const commit = repo.refs.resolve(rev);
      const metadata = repo.readDetachedMetadata(commit);
      if (metadata === undefined) throw new OstreeFailure(`No detached metadata for commit ${commit}`);
      printKey(findKey(metadata, detachedKey));
    } else if (metadataKey !== undefined) {
      printKey(findKey(readRev(repo, rev).commit.metadata, metadataKey));
    } else if (values['list-metadata-keys'] || values['list-detached-metadata-keys']) {
      const commit = repo.refs.resolve(rev);
      const metadata = values['list-metadata-keys'] ? repo.readCommit(commit).metadata : (repo.readDetachedMetadata(commit) ?? []);
      for (const key of metadata.map(([name]) => name).sort()) context.ui.result(key);
    } else if (values['print-related']) {
      for (const [name, checksum] of repo.readCommit(repo.refs.resolve(rev)).related) context.ui.result(`${name} ${checksum}`);
    } else if (values['print-variant-type'] !== undefined) {
      context.ui.result(printVariantFile(values['print-variant-type'], rev));
    } else if (values['print-sizes']) {
      const commit = repo.refs.resolve(rev);
      if (!repo.hasObject('commit', commit)) throw new OstreeFailure(`Failed to read commit: No such metadata object ${commit}.commit`);
      context.ui.write(formatSizes(repo, commit, repo.readCommit(commit)));
    } else {
      const verify = { homeDirectory: values['gpg-homedir'], remote: values['gpg-verify-remote'] };
      await showObject(context, repo, rev, { raw: values.raw, noByteswap: values['no-byteswap'] }, verify);
    }
    return undefined;
  },
};

/** What prints a part, or another form, of what `--json` prints whole. */
const ONE_BY_ONE = [
  'print-related',
  'print-variant-type',
  'list-metadata-keys',
  'print-metadata-key',
  'list-detached-metadata-keys',
  'print-detached-metadata-key',
  'print-sizes',
  'raw',
] as const;

async function shownJson(context: VerbContext, repo: Repo, rev: string, verify: KeySelection): Promise<object> {
  const shown = findObject(repo, rev);
  const { type, checksum } = shown;
  switch (shown.type) {
    case 'commit': {
      const detached = repo.readDetachedMetadata(checksum);
      const signatures =
        signaturesIn(detached).length === 0
          ? undefined
          : await readSignatures(repo, checksum, verificationKeys(repo, verify, context.environment), context.signal);
      return { type, ...commitJson(checksum, shown.commit), detached: detached === undefined ? undefined : metadataJson(detached), signatures };
    }
    case 'dirtree':
      return { type, checksum, ...shown.tree };
    case 'dirmeta': {
      const { uid, gid, mode, xattrs } = shown.meta;
      return { type, checksum, uid, gid, mode: mode.toString(8), xattrs: xattrsJson(xattrs) };
    }
    case 'file': {
      const { uid, gid, mode, target, xattrs } = shown.header;
      return {
        type,
        checksum,
        uid,
        gid,
        mode: mode.toString(8),
        sizeBytes: shown.sizeBytes,
        target: target === '' ? undefined : target,
        xattrs: xattrsJson(xattrs),
      };
    }
  }
}

function findKey(metadata: Metadata, key: string): Metadata[number][1] {
  const value = metadata.find(([name]) => name === key)?.[1];
  if (value === undefined) throw new OstreeFailure(`No such metadata key '${key}'`);
  return value;
}

/** A checksum may be that of any kind of object; what is not one names a commit. */
async function showObject(context: VerbContext, repo: Repo, rev: string, options: CommitTextOptions, verify: KeySelection): Promise<void> {
  if (!isChecksum(rev) || repo.hasObject('commit', rev)) {
    const checksum = isChecksum(rev) ? rev : repo.refs.resolve(rev);
    writeCommit(checksum, repo.readCommit(checksum), options, (text) => context.ui.write(text));
    await showSignatures(context, repo, checksum, verify);
    return;
  }
  if (repo.hasObject('dirmeta', rev)) context.ui.write(formatDirMeta(rev, repo.readDirMeta(rev), options));
  else if (repo.hasObject('dirtree', rev)) context.ui.write(formatDirTree(rev, repo.readDirTree(rev), options));
  else {
    if (!repo.hasObject('file', rev)) throw new OstreeFailure(`Couldn't find file object '${rev}'`);
    const { header, sizeBytes } = repo.readFileHeader(rev);
    context.ui.write(formatFileObject(rev, header, sizeBytes));
  }
}

async function showSignatures(context: VerbContext, repo: Repo, commit: Checksum, selection: KeySelection): Promise<void> {
  if (signaturesIn(repo.readDetachedMetadata(commit)).length === 0) return;
  const keys = verificationKeys(repo, selection, context.environment);
  const signatures = await readSignatures(repo, commit, keys, context.signal);
  context.ui.write(formatSignatures(signatures, Date.now() / 1000));
}
