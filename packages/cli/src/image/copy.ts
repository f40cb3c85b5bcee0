import { writeFileSync } from 'node:fs';
import { type CopyEvent, type CopyOptions, type CopyResult, copyImage } from '@cambium/oci';
import { boundNativeMemory } from '@cambium/system';
import type { Command, Values } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { cliError } from '../errors.ts';
import { formatBytes, formatCount, type ProgressStatus } from '../progress.ts';
import type { Ui } from '../ui.ts';
import { PLATFORM_FLAGS, wantedPlatform, withImages } from './image-places.ts';

const flags = {
  ...PLATFORM_FLAGS,
  compression: { kind: 'text', value: 'KIND', choices: ['gzip', 'zstd', 'none'], help: 'Compress all layers so; the digest changes' },
  'compression-level': { kind: 'int', value: 'N', help: 'gzip: 1 to 9; zstd: 1 to 19' },
  format: { kind: 'text', short: 'f', value: 'FORMAT', choices: ['oci', 'docker'], help: 'Write manifests in this format; the digest changes' },
  'preserve-digests': { kind: 'flag', help: 'Fail where the digest would change' },
  digestfile: { kind: 'text', value: 'FILE', completes: 'file', help: 'Write the digest into this file' },
  'dry-run': { kind: 'flag', help: 'Say what would be moved; write nothing' },
  ...REGISTRY_FLAGS,
} as const;

export const command: Command = {
  summary: 'Copy an image from one place to another',
  description: [
    'Places are docker://REFERENCE (or the bare reference), oci:DIR[:TAG], dir:DIR, oci-archive:FILE[:TAG] and docker-archive:FILE[:NAME]. ' +
      'Blobs that are there already are not sent; between repositories of one registry nothing travels. Digests stay as they are unless a flag asks ' +
      'for a change or a layer is not compressed. The digest of what the target names is printed on stdout.',
  ],
  operands: [
    { name: 'SOURCE', help: 'Image to copy' },
    { name: 'TARGET', help: 'Place to copy it to' },
  ],
  flags,
  examples: [
    { command: 'cambium image copy docker://docker.io/library/nginx:1.25 oci:./images:nginx', explains: 'Keep an image in a directory' },
    { command: 'cambium image copy --all oci:./images:nginx registry.example.com/mirror/nginx:1.25', explains: 'Put it into a registry, all platforms' },
  ],
  json: '{ source, target, digest, sourceDigest, mediaType, manifests, blobs: { present, sent, mounted }, bytes: { present, sent, mounted }, seconds }',
  async run(context, { values, operands }) {
    const { ui, signal } = context;
    const [from, to] = operands as readonly [string, string];
    const startMs = performance.now();
    boundNativeMemory();
    const options = copyOptions(values);
    const result = await withImages(context, values, async ({ source, sink }) => {
      const image = await source(from);
      return await copyImage(image, await sink(to), { ...options, signal, on: copyEvents(ui) });
    });
    ui.progress.clear();
    if (values.digestfile !== undefined) {
      writeFileSync(values.digestfile, result.digest);
    }
    report(ui, result, options, (performance.now() - startMs) / 1000);
    return undefined;
  },
} satisfies Command<typeof flags>;

function copyOptions(values: Values<typeof flags>): CopyOptions {
  const level = values['compression-level'];
  if (level !== undefined && values.compression === undefined) {
    throw cliError('CLI_OPTION_VALUE_INVALID', 'Cannot use --compression-level without --compression');
  }
  const highest = values.compression === 'zstd' ? 19 : 9;
  if (level !== undefined && (level < 1 || level > highest)) {
    throw cliError('CLI_OPTION_VALUE_INVALID', `Cannot compress at level ${level}: ${values.compression} has 1 to ${highest}`);
  }
  if (values.all && values.platform !== undefined) throw cliError('CLI_OPTION_VALUE_INVALID', 'Cannot use --all together with --platform');
  return {
    platform: values.all ? 'all' : wantedPlatform(values.platform),
    compression: values.compression as CopyOptions['compression'],
    format: values.format as CopyOptions['format'],
    level,
    preserveDigests: values['preserve-digests'],
    dryRun: values['dry-run'],
  };
}

function copyEvents(ui: Ui): (event: CopyEvent) => void {
  let total: number | undefined;
  let done = 0;
  return ui.progress.watch<CopyEvent>((event): ProgressStatus | undefined => {
    if (event.type === 'plan') total = event.bytes;
    if (event.type === 'sent') done += event.bytes;
    return { what: 'Copying', done, total, unit: 'bytes' };
  });
}

function report(ui: Ui, result: CopyResult, { dryRun }: CopyOptions, seconds: number): void {
  if (ui.json) {
    ui.resultJson({ ...result, seconds: Number(seconds.toFixed(3)) });
    return;
  }
  const { blobs, bytes } = result;
  const moved = `${formatCount(blobs.sent, 'blob')}, ${formatBytes(bytes.sent)}`;
  if (dryRun === true) {
    ui.result(`Would send ${moved}; ${formatCount(blobs.present, 'blob')}, ${formatBytes(bytes.present)} are there`);
    return;
  }
  const mounted = blobs.mounted === 0 ? '' : `, ${formatCount(blobs.mounted, 'blob')} taken from its repository`;
  ui.note(`${result.target}: sent ${moved}${mounted}; ${blobs.present} there already; ${seconds.toFixed(1)} s`);
  if (result.digest !== result.sourceDigest) ui.note(`The digest has changed: it was ${result.sourceDigest}`);
  ui.result(result.digest);
}
