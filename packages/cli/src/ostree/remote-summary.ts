/** `ostree remote refs` and `ostree remote summary`. */
import { SIGNATURE_SHAPE, SUMMARY_SHAPE } from './json.ts';
import { printRemoteRefs, printRemoteSummary } from './remote-network.ts';
import type { Verb } from './verb.ts';

const refsFlags = {
  revision: { kind: 'flag', short: 'r', help: 'Show revisions in listing' },
  'cache-dir': { kind: 'text', value: 'DIR', help: 'Use custom cache dir', completes: 'directory' },
} as const;

export const refs: Verb<typeof refsFlags> = {
  summary: 'List remote refs',
  operands: [{ name: 'NAME', help: '' }],
  flags: refsFlags,
  json: '[{ ref, commit }]; refs as the remote calls them',
  examples: [{ command: 'cambium ostree remote refs --repo=./repo origin', explains: 'Say what a remote has' }],
  async run(context, { values, operands: [name] }) {
    await printRemoteRefs(context, await context.openRepo(), values, name);
    return undefined;
  },
};

const summaryFlags = {
  'list-metadata-keys': { kind: 'flag', help: 'List the available metadata keys' },
  'print-metadata-key': { kind: 'text', value: 'KEY', help: 'Print string value of metadata key' },
  'cache-dir': { kind: 'text', value: 'DIR', help: 'Use custom cache dir', completes: 'directory' },
  raw: { kind: 'flag', help: 'Show raw variant data' },
} as const;

export const summary: Verb<typeof summaryFlags> = {
  summary: 'Show remote summary',
  operands: [{ name: 'NAME', help: '' }],
  flags: summaryFlags,
  json: `${SUMMARY_SHAPE}, and signatures: [${SIGNATURE_SHAPE}]`,
  examples: [{ command: 'cambium ostree remote summary --repo=./repo origin', explains: 'Say what a remote has, since when, and with which deltas' }],
  async run(context, { values, operands: [name] }) {
    await printRemoteSummary(context, await context.openRepo(), values, name);
    return undefined;
  },
};
