import { parsePlace } from '@cambium/oci';
import type { Command } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { withImages } from './image-places.ts';

const flags = { ...REGISTRY_FLAGS } as const;

export const command: Command = {
  summary: 'Print the digest of an image',
  description: ['The digest of what the place names: that of the index where it names one.'],
  operands: [{ name: 'IMAGE', help: 'Image, as in docker://REFERENCE or oci:DIR:TAG' }],
  flags,
  examples: [{ command: 'cambium image digest docker.io/library/nginx:1.25', explains: 'What a tag stands for now' }],
  json: '{ image, digest }',
  async run(context, { values, operands }) {
    const { ui, signal } = context;
    const [image] = operands as readonly [string];
    const digest = await withImages(context, values, async ({ registry, source }) => {
      const place = parsePlace(image);
      const told = place.transport === 'registry' ? await registry.digest(place.reference, signal) : undefined;
      return told ?? (await (await source(image)).manifest(undefined, signal)).digest;
    });
    if (ui.json) ui.resultJson({ image, digest });
    else ui.result(digest);
    return undefined;
  },
} satisfies Command<typeof flags>;
