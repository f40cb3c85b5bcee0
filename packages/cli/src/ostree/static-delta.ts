/** `ostree static-delta …`: what leads from one commit to another in one download. */
import { statSync } from 'node:fs';
import { type Checksum, compareUtf8 } from '@cambium/base';
import {
  applyDeltaOffline,
  deleteDelta,
  deltaName,
  describeDelta,
  type Endianness,
  type EngineTrust,
  formatDeltaDescription,
  formatSize,
  type GenerateDeltaEvent,
  type GenerateDeltaOptions,
  generateDelta,
  hasDelta,
  listDeltaIndexes,
  listDeltas,
  type OpenedDelta,
  openDelta,
  openRepoDelta,
  parseDeltaName,
  type Repo,
  readKeys,
  reindexDeltas,
  signBytesRaw,
  systemKeys,
  verifyDelta,
} from '@cambium/ostree';
import type { Values } from '../command.ts';
import { lookUp } from '../environment.ts';
import { DELTA_SHAPE, deltaJson } from './json.ts';
import { allowDummy, engineOf, readSecretKeys } from './signing.ts';
import { OstreeFailure, UsageError, type Verb, type VerbContext } from './verb.ts';

/** Which keys a signature counts by. Named ones are the only ones. */
const trustFlags = {
  'sign-type': { kind: 'text', value: 'NAME', help: "Signature type to use (defaults to 'ed25519')" },
  'keys-file': { kind: 'text', value: 'NAME', completes: 'file', help: 'Read key(s) from file' },
  'keys-dir': { kind: 'text', value: 'NAME', completes: 'directory', help: 'Redefine system-wide directories with public and revoked keys for verification' },
} as const;

const generateFlags = {
  from: { kind: 'text', value: 'REV', help: 'Create delta from revision REV' },
  empty: { kind: 'flag', help: 'Create delta from scratch' },
  inline: { kind: 'flag', help: 'Inline delta parts into main delta' },
  to: { kind: 'text', value: 'REV', help: 'Create delta to revision REV' },
  'disable-bsdiff': { kind: 'flag', help: 'Disable use of bsdiff' },
  'if-not-exists': { kind: 'flag', short: 'n', help: 'Only generate if a delta does not already exist' },
  'set-endianness': { kind: 'text', value: 'ENDIAN', help: "Choose metadata endianness ('l' or 'B')" },
  'swap-endianness': { kind: 'flag', help: 'Swap metadata endianness from host order' },
  'min-fallback-size': { kind: 'int', value: 'SIZE', help: 'Minimum uncompressed size in megabytes for individual HTTP request' },
  'max-bsdiff-size': { kind: 'int', value: 'SIZE', help: 'Maximum size in megabytes to consider bsdiff compression for input files' },
  'max-chunk-size': { kind: 'int', value: 'SIZE', help: 'Maximum size of delta chunks in megabytes' },
  filename: {
    kind: 'text',
    value: 'PATH',
    completes: 'file',
    help: 'Write the delta content to PATH (a directory).  If not specified, the OSTree repository is used',
  },
  sign: { kind: 'texts', value: 'KEY_ID', help: 'Sign the delta with' },
  'sign-type': { kind: 'text', value: 'NAME', help: "Signature type to use (defaults to 'ed25519')" },
  'keys-file': { kind: 'text', value: 'NAME', completes: 'file', help: 'Read key(s) from file' },
} as const;

type GenerateFlags = Values<typeof generateFlags>;
type TrustFlags = Values<typeof trustFlags>;

const MB = 1_000_000;

export const list: Verb = {
  summary: 'List static delta files',
  operands: [],
  flags: {},
  json: '[{ name, from?, to }]',
  examples: [{ command: 'cambium ostree static-delta list --repo=./repo', explains: 'Say which steps can be downloaded in one piece' }],
  async run(context) {
    const deltas = [...listDeltas((await context.openRepo()).path)].map(({ from, to }) => ({ name: deltaName({ from, to }), from, to }));
    const names = deltas.map(({ name }) => name).sort();
    if (context.ui.json) {
      context.ui.resultJsonList(deltas.sort((a, b) => compareUtf8(a.name, b.name)));
      return undefined;
    }
    for (const name of names.length === 0 ? ['(No static deltas)'] : names) context.ui.result(name);
    return undefined;
  },
};

export const show: Verb = {
  summary: 'Dump information on a delta',
  operands: [{ name: 'DELTA', help: '' }],
  usage: '',
  flags: {},
  json: DELTA_SHAPE,
  examples: [{ command: 'cambium ostree static-delta show --repo=./repo FROM-TO', explains: 'Say what a delta brings, and what it costs' }],
  async run(context, { operands: [name] }) {
    const repo = await context.openRepo();
    if (name === undefined) throw new UsageError('DELTA must be specified');
    const description = await describeDelta(openRepoDelta(repo, parseDeltaName(name)));
    if (context.ui.json) context.ui.resultJson(deltaJson(description));
    else context.ui.write(formatDeltaDescription(description));
    return undefined;
  },
};

export const remove: Verb = {
  summary: 'Remove a delta',
  operands: [{ name: 'DELTA', help: '' }],
  usage: '',
  flags: {},
  examples: [{ command: 'cambium ostree static-delta delete --repo=./repo FROM-TO', explains: 'Remove a step that nobody takes any more' }],
  async run(context, { operands: [name] }) {
    const repo = await context.openRepo();
    if (name === undefined) throw new UsageError('DELTA must be specified');
    deleteDelta(repo, parseDeltaName(name));
    return undefined;
  },
};

export const generate: Verb<typeof generateFlags> = {
  summary: 'Generate static delta files',
  operands: [{ name: 'TO', help: '', optional: true }],
  flags: generateFlags,
  examples: [
    { command: 'cambium ostree static-delta generate --repo=./repo apps/shop', explains: 'Make what changed since the parent commit one download' },
    {
      command: 'cambium ostree static-delta generate --repo=./repo --empty --inline --min-fallback-size=0 --filename=shop.delta apps/shop',
      explains: 'Put a commit into one file, for a device without network',
    },
  ],
  run: async (context, { values, operands: [operand] }) => generateOne(context, await context.openRepo(), values, operand),
};

export const applyOffline: Verb<typeof trustFlags> = {
  summary: 'Apply static delta file',
  operands: [
    { name: 'PATH', help: '', completes: 'file' },
    { name: 'KEY-ID', help: '', optional: true, many: true },
  ],
  usage: '',
  flags: trustFlags,
  examples: [{ command: 'cambium ostree static-delta apply-offline --repo=./device shop.delta', explains: 'Take a commit from a file' }],
  async run(context, { values, operands: [path, ...keys] }) {
    const repo = await context.openRepo();
    if (path === undefined) throw new UsageError('PATH must be specified');
    const delta = openDelta(path);
    requireSignature(context, repo, delta, values, keys);
    const bootId = lookUp(context.environment, ['OSTREE_BOOTID']);
    await applyDeltaOffline(repo, delta, bootId === undefined ? {} : { bootId }, context.signal);
    return undefined;
  },
};

export const verify: Verb<typeof trustFlags> = {
  summary: 'Verify static delta signatures',
  operands: [
    { name: 'DELTA', help: '', completes: 'file' },
    { name: 'KEY-ID', help: '', optional: true, many: true },
  ],
  usage: 'STATIC-DELTA-FILE [KEY-ID...]',
  flags: trustFlags,
  examples: [
    {
      command: 'cambium ostree static-delta verify --repo=./device --keys-file=publisher.pub shop.delta',
      explains: 'Check who made a delta before it is applied',
    },
  ],
  async run(context, { values, operands: [name, ...keys] }) {
    const repo = await context.openRepo();
    if (name === undefined) throw new UsageError('DELTA must be specified');
    const isFile = statSync(name, { throwIfNoEntry: false }) !== undefined;
    const delta = isFile ? openDelta(name) : openRepoDelta(repo, parseDeltaName(name));
    const failure = signatureFailure(delta, trustOf(context, values, keys));
    context.ui.result(failure === undefined ? 'Verification OK' : 'Verification fails');
    if (failure !== undefined) throw failure;
    return undefined;
  },
};

export const indexes: Verb = {
  summary: 'List static delta indexes',
  operands: [],
  flags: {},
  json: '[{ to }]',
  examples: [{ command: 'cambium ostree static-delta indexes --repo=./repo', explains: 'Say to which commits deltas lead' }],
  async run(context) {
    const names = [...listDeltaIndexes((await context.openRepo()).path)].map(({ to }): string => to).sort();
    if (context.ui.json) context.ui.resultJsonList(names.map((to) => ({ to })));
    else for (const name of names.length === 0 ? ['(No static deltas indexes)'] : names) context.ui.result(name);
    return undefined;
  },
};

const reindexFlags = { to: { kind: 'text', value: 'REV', help: 'Only update delta index to revision REV' } } as const;

export const reindex: Verb<typeof reindexFlags> = {
  summary: 'Regenerate static delta indexes',
  operands: [],
  flags: reindexFlags,
  examples: [{ command: 'cambium ostree static-delta reindex --repo=./repo', explains: 'Make the indexes anew after deltas were put in or taken out by hand' }],
  async run(context, { values: { to } }) {
    await reindexDeltas(await context.openRepo(), to === undefined ? undefined : parseDeltaName(to).to, context.signal);
    return undefined;
  },
};

async function generateOne(context: VerbContext, repo: Repo, values: GenerateFlags, operand: string | undefined): Promise<undefined> {
  const { ui, signal, environment } = context;
  const toRev = operand ?? values.to;
  if (toRev === undefined) throw new UsageError('TO revision must be specified');
  if (values.empty && values.from !== undefined) throw new OstreeFailure('Cannot specify both --empty and --from=REV');
  const to = repo.refs.resolve(toRev);
  const from = values.empty ? undefined : values.from === undefined ? parentOf(repo, to) : repo.refs.resolve(values.from);
  if (values['if-not-exists'] && hasDelta(repo, { from, to })) {
    ui.result(`Delta ${deltaName({ from, to })} already exists.`);
    return undefined;
  }
  const { type, secrets } = readSecretKeys(values.sign, values['keys-file'] === undefined ? [] : [values['keys-file']], values['sign-type'], environment);
  ui.write(`Generating static delta:\n  From: ${from ?? 'empty'}\n  To:   ${to}\n`);
  const options: GenerateDeltaOptions = {
    from,
    to,
    inline: values.inline,
    disableBsdiff: values['disable-bsdiff'],
    endianness: endiannessOf(values),
    ...(values.filename === undefined ? {} : { filename: values.filename }),
    ...bytesOf(values),
    ...(secrets.length === 0 ? {} : { sign: async (superblock: Uint8Array) => signBytesRaw(superblock, undefined, type, secrets) }),
  };
  const result = await generateDelta(repo, options, signal, (event) => ui.note(describe(event)));
  ui.note(`uncompressed=${result.usizeBytes} compressed=${result.sizeBytes} loose=${result.looseBytes}`);
  ui.note(`rollsum=${result.rollsum.objects} objects, ${result.rollsum.bytes} bytes`);
  ui.note(`bsdiff=${result.bsdiff.objects} objects`);
  return undefined;
}

function parentOf(repo: Repo, commit: Checksum): Checksum {
  const { parent } = repo.readCommit(commit);
  if (parent === undefined) throw new OstreeFailure(`Commit ${commit} has no parent`);
  return parent;
}

function endiannessOf(values: GenerateFlags): Endianness {
  const chosen = values['set-endianness'];
  if (chosen !== undefined && values['swap-endianness']) throw new OstreeFailure('Cannot specify both --swap-endianness and --set-endianness');
  if (chosen !== undefined && chosen !== 'l' && chosen !== 'B') throw new OstreeFailure(`Invalid endianness '${chosen}'`);
  // Of a big-endian host too: what is written does not depend on who writes it.
  return chosen === 'B' || values['swap-endianness'] ? 'big' : 'little';
}

function bytesOf(values: GenerateFlags): Pick<GenerateDeltaOptions, 'minFallbackBytes' | 'maxBsdiffBytes' | 'maxChunkBytes'> {
  const megabytes = (name: 'min-fallback-size' | 'max-bsdiff-size' | 'max-chunk-size'): number | undefined => {
    const value = values[name];
    if (value !== undefined && value < 0) throw new OstreeFailure(`Invalid value ${value} for --${name}`);
    return value === undefined ? undefined : value * MB;
  };
  const [fallback, bsdiff, chunk] = [megabytes('min-fallback-size'), megabytes('max-bsdiff-size'), megabytes('max-chunk-size')];
  return {
    ...(fallback === undefined ? {} : { minFallbackBytes: fallback }),
    ...(bsdiff === undefined ? {} : { maxBsdiffBytes: bsdiff }),
    ...(chunk === undefined ? {} : { maxChunkBytes: chunk }),
  };
}

function describe(event: GenerateDeltaEvent): string {
  switch (event.type) {
    case 'reachable':
      return `modified: ${event.modified}\nnew reachable: metadata=${event.metadata} content regular=${event.regular} symlink=${event.symlinks}`;
    case 'rollsum':
      return `rollsum for ${event.from} -> ${event.to}; matchsize=${event.copiedBytes}`;
    case 'fallback':
      return `fallback for ${event.checksum} (${formatSize(event.sizeBytes)})`;
    case 'part':
      return `part ${event.index + 1} n:${event.objects} compressed:${event.sizeBytes} uncompressed:${event.usizeBytes}`;
  }
}

/** Keys named here are the only ones that count; without any the system's do. Revoked ones never count. */
function trustOf({ environment }: VerbContext, values: TrustFlags, texts: readonly string[]): EngineTrust {
  const engine = engineOf(values['sign-type'], environment);
  const directory = values['keys-dir'];
  const options = { allowDummy: allowDummy(environment), ...(directory === undefined ? {} : { keyDirectories: [directory] }) };
  const given = texts.map((text) => ({ key: engine.publicKey(text), source: 'the command line' }));
  if (values['keys-file'] !== undefined) given.push(...readKeys(values['keys-file'], engine.type, options));
  const system = systemKeys(engine.type, options);
  return { ...system, trusted: given.length > 0 ? given : system.trusted };
}

/** A signature counts when keys are named for it, or the repository wants one. */
function requireSignature(context: VerbContext, repo: Repo, delta: OpenedDelta, values: TrustFlags, keys: readonly string[]): void {
  const named = keys.length > 0 || values['keys-file'] !== undefined || values['keys-dir'] !== undefined;
  if (!named && repo.config.boolean('core', 'sign-verify-deltas') !== true) return;
  if (!named) throw new OstreeFailure('Key is mandatory to check delta signature');
  const failure = signatureFailure(delta, trustOf(context, values, keys));
  if (failure !== undefined) throw failure;
}

function signatureFailure({ superblock }: OpenedDelta, trust: EngineTrust): Error | undefined {
  const reports = verifyDelta(superblock, trust);
  if (reports.some((report) => report.valid)) return undefined;
  return new OstreeFailure(reports.length === 0 ? 'no signatures in static-delta' : `signature: ${trust.type}: incorrect signatures found: ${reports.length}`);
}
