import { validateImage } from '@cambium/oci';
import type { Command } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { formatBytes, formatCount } from '../progress.ts';
import { withImages } from './image-places.ts';

const flags = { ...REGISTRY_FLAGS } as const;

export const command: Command = {
  summary: 'Read all of an image and say what is wrong with it',
  description: [
    'Every manifest, configuration and layer of all its platforms: digests, sizes, compression, archives, and the content that the configuration claims. ' +
      'The exit status is 6 when something is wrong.',
  ],
  operands: [{ name: 'IMAGE', help: 'Image, as in docker://REFERENCE or oci:DIR:TAG' }],
  flags,
  examples: [{ command: 'cambium image validate oci:./images:nginx', explains: 'Check what was carried on a disk' }],
  json: '{ reference, digest, manifests, blobs, bytes, problems: [{ digest, what, code? }] }',
  async run(context, { values, operands }) {
    const { ui, signal } = context;
    const [place] = operands as readonly [string];
    let done = 0;
    const on = ui.progress.watch<{ type: 'read'; bytes: number }>(({ bytes }) => {
      done += bytes;
      return { what: 'Reading', done, unit: 'bytes' };
    });
    const result = await withImages(context, values, async ({ source }) => await validateImage(await source(place), { signal, on }));
    ui.progress.clear();
    if (ui.json) ui.resultJson(result);
    else {
      for (const { digest, what } of result.problems) ui.result(`${digest}: ${what}`);
      if (result.problems.length === 0)
        ui.note(
          `${result.digest}: ${formatCount(result.manifests, 'manifest')}, ${formatCount(result.blobs, 'blob')}, ${formatBytes(result.bytes)}: all sound`,
        );
    }
    return result.problems.length === 0 ? undefined : 6;
  },
} satisfies Command<typeof flags>;
