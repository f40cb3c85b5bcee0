import { readFileSync } from 'node:fs';
import { createTransport } from '@cambium/http';
import { directoryTarget, type PushEvent, type PushResult, type PushTarget, push, s3Target, sftpTarget } from '@cambium/ostree';
import type { Values } from '../command.ts';
import { formatBytes, type ProgressStatus } from '../progress.ts';
import { proxyRule } from '../proxies.ts';
import { readS3Settings } from './s3-settings.ts';
import { UsageError, type Verb, type VerbContext } from './verb.ts';

const flags = {
  'dry-run': { kind: 'flag', short: 'n', help: 'Say what would be sent; send nothing' },
  'endpoint-url': { kind: 'text', value: 'URL', help: 'Where an S3-compatible store is (default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile, Amazon)' },
  region: { kind: 'text', value: 'REGION', help: 'Region of the bucket (default: AWS_REGION, AWS_DEFAULT_REGION, the profile, us-east-1)' },
  profile: { kind: 'text', value: 'NAME', help: 'Profile of ~/.aws/credentials and ~/.aws/config (default: AWS_PROFILE, default)' },
  'addressing-style': {
    kind: 'text',
    value: 'STYLE',
    choices: ['auto', 'path', 'virtual'],
    help: "Whether the bucket stands in the path or before the host's name (default: the profile, auto)",
  },
} as const;

/** What a store cannot do now it may do in a minute: with the pauses of the transport, seven more tries take about that. */
const STORE_ATTEMPTS = 8;

export const command: Verb<typeof flags> = {
  summary: 'Publish commits, deltas and the summary to a directory, over SSH or to an S3-compatible store',
  operands: [
    { name: 'DEST', help: '' },
    { name: 'REF', help: '', optional: true, many: true },
  ],
  flags,
  json: '{ dryRun, target, objects, objectBytes, present, deltas: [NAME], refs: [{ ref, from?, to }], summary: sent|same|none|other-refs }',
  beyond: true,
  examples: [
    { command: 'cambium ostree push --repo=./repo /srv/www/repo os/stable', explains: 'Publish a ref to a directory' },
    { command: 'cambium ostree push --repo=./repo sftp://deploy@www.example.org/srv/repo', explains: 'Publish everything over SSH' },
    { command: 'cambium ostree push --repo=./repo --endpoint-url=https://store.example.org s3://trees/stable os/stable', explains: 'Publish into a bucket' },
  ],
  async run(context, { values, operands }) {
    const repo = await context.openRepo();
    const [destination, ...refs] = operands;
    if (destination === undefined) throw new UsageError('DEST must be specified');
    const { target, close } = await openTarget(context, destination, values);
    try {
      const result = await push(repo, target, { refs, dryRun: values['dry-run'] }, context.signal, draw(context));
      context.ui.progress.clear();
      if (context.ui.json) context.ui.resultJson(result);
      else context.ui.write(formatResult(result));
    } finally {
      await close?.();
    }
    return undefined;
  },
};

interface OpenTarget {
  target: PushTarget;
  close?: () => Promise<void>;
}

/** A path, `sftp://[USER@]HOST[:PORT]/PATH`, or `s3://BUCKET[/PREFIX]`. */
async function openTarget(context: VerbContext, destination: string, values: Values<typeof flags>): Promise<OpenTarget> {
  if (destination.startsWith('s3://')) return bucketTarget(context, destination, values);
  for (const flag of ['endpoint-url', 'region', 'profile', 'addressing-style'] as const)
    if (values[flag] !== undefined) throw new UsageError(`--${flag} is for destinations that begin with s3://`);
  return { target: destination.startsWith('sftp://') ? await sshTarget(destination) : directoryTarget(destination) };
}

async function bucketTarget({ environment }: VerbContext, destination: string, values: Values<typeof flags>): Promise<OpenTarget> {
  const [bucket = '', ...rest] = destination.slice('s3://'.length).split('/');
  const { caFile, ...settings } = readS3Settings(
    { endpointUrl: values['endpoint-url'], region: values.region, profile: values.profile, addressingStyle: values['addressing-style'] },
    environment,
  );
  const transport = createTransport({
    retry: { attempts: STORE_ATTEMPTS },
    // Who names a store with http:// has allowed it; what is sent is public, and signed, and its secret is not sent.
    plainHttp: 'any',
    proxy: proxyRule(environment),
    ...(caFile === undefined ? {} : { ca: [readFileSync(caFile, 'utf8')] }),
  });
  return { target: await s3Target({ bucket, prefix: rest.join('/'), transport, ...settings }), close: () => transport.close() };
}

async function sshTarget(destination: string): Promise<PushTarget> {
  const refusal = new UsageError(`Cannot use "${destination.replace(/\/\/[^/]*@/, '//')}" as a destination`);
  if (!URL.canParse(destination)) throw refusal;
  const { username, password, hostname, port, pathname } = new URL(destination);
  const user = unescaped(username, refusal);
  const host = user === '' ? hostname : `${user}@${hostname}`;
  // What begins with a dash would be taken for an option.
  if (hostname === '' || host.startsWith('-') || password !== '') throw refusal;
  return sftpTarget({
    arguments: [...(port === '' ? [] : ['-P', port]), host],
    directory: unescaped(pathname, refusal).replace(/\/+$/, ''),
  });
}

function unescaped(text: string, refusal: Error): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refusal;
  }
}

function draw({ ui }: VerbContext): (event: PushEvent) => void {
  return ui.progress.watch<PushEvent>((event): ProgressStatus | undefined =>
    event.type === 'sent' ? { what: 'sent', done: event.bytes, total: event.total, unit: 'bytes' } : undefined,
  );
}

function formatResult(result: PushResult): string {
  const sent = result.dryRun ? 'would send' : 'sent';
  let text = `${result.target}: ${sent} ${result.objects} objects, ${formatBytes(result.objectBytes)}; ${result.present} are there already\n`;
  if (result.deltas.length > 0) text += `${sent} ${result.deltas.length} static deltas\n`;
  for (const { ref, from, to } of result.refs) text += `${ref}: ${from ?? 'new'} -> ${to}\n`;
  if (result.summary === 'sent') text += `${sent} the summary\n`;
  if (result.summary === 'other-refs') text += 'the summary names other refs than were pushed, and was left out\n';
  return text;
}
