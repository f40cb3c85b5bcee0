/** What the image commands share: their client, and images named on the command line. */

import { machine, tmpdir } from 'node:os';
import { createRegistryClient, type ImageSink, openImage, openSink, parsePlatform, type RegistryClient, type WantedPlatform } from '@cambium/oci';
import type { Context } from '../command.ts';
import { type RegistryValues, registrySettings } from '../commands/registry-settings.ts';

export const PLATFORM_FLAGS = {
  platform: { kind: 'text', value: 'OS/ARCH[/VARIANT]', help: 'Image of an index to take; that of this machine unless stated' },
  all: { kind: 'flag', short: 'a', help: 'All images of an index' },
} as const;

/** A registry client and what is opened with it; all is closed at the end, also after a failure. */
export async function withImages<T>(context: Context, values: RegistryValues, use: (images: ImageOpener) => Promise<T>): Promise<T> {
  const registry = createRegistryClient(registrySettings(values, context.environment, context.ui));
  const opened: { close(): Promise<void> }[] = [];
  const keep = <O extends { close(): Promise<void> }>(one: O): O => {
    opened.push(one);
    return one;
  };
  try {
    return await use({
      registry,
      source: async (place) => keep(await openImage(place, { registry, temporaryDirectory: tmpdir(), signal: context.signal })),
      sink: async (place) => keep(await openSink(place, { registry })),
    });
  } finally {
    for (const one of opened.reverse()) await one.close();
    await registry.close();
  }
}

export interface ImageOpener {
  registry: RegistryClient;
  source(place: string): ReturnType<typeof openImage>;
  sink(place: string): Promise<ImageSink>;
}

/** Returns the platform that a flag names: `arm64`, `linux/arm/v7`. @throws OCI_PLATFORM_INVALID */
export function wantedPlatform(text: string | undefined): WantedPlatform {
  if (text === undefined) return { ...parsePlatform(machine()), explicit: false };
  const parts = text.split('/');
  const [architecture = '', variant] = parts[0] === 'linux' || parts.length === 3 ? parts.slice(1) : parts;
  return { ...parsePlatform(architecture, variant), explicit: true };
}
