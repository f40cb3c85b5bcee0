import { deleteImage, parsePlace } from '@cambium/oci';
import type { Command } from '../command.ts';
import { REGISTRY_FLAGS } from '../commands/registry-settings.ts';
import { withImages } from './image-places.ts';

const flags = { ...REGISTRY_FLAGS } as const;

export const command: Command = {
  summary: 'Delete an image from a registry or layout',
  description: [
    'By digest the manifest goes, and with it all its tags; by tag the tag, where the registry can do that. In a layout the entry goes, and all ' +
      'blobs that no other entry needs.',
  ],
  operands: [{ name: 'IMAGE', help: 'Image in a registry, or oci:DIR:TAG' }],
  flags,
  examples: [{ command: 'cambium image delete oci:./images:old', explains: 'Remove an image and the blobs that only it has' }],
  json: '{ image, blobs }',
  async run(context, { values, operands }) {
    const { ui, signal } = context;
    const [image] = operands as readonly [string];
    const { blobs } = await withImages(context, values, ({ registry }) => deleteImage(parsePlace(image), { registry, signal }));
    if (ui.json) ui.resultJson({ image, blobs });
    else ui.note(`Deleted ${image}`);
    return undefined;
  },
} satisfies Command<typeof flags>;
