/** Prints a model: YAML that every YAML 1.1 and 1.2 reader understands alike, or JSON. */
import { createHash } from 'node:crypto';
import { compareUtf8, isRecord, stableJson } from '@cambium/base';
import { stringify } from 'yaml';
import { imagesOf } from './references.ts';
import type { Mapping, Model } from './types.ts';

const TOP_ORDER = ['name', 'services', 'networks', 'volumes', 'configs', 'secrets', 'models'];

export interface PrintOptions {
  format?: 'yaml' | 'json';
  /** Writes `$` as `$$`, so that reading the output gives the same values. On unless told otherwise; off for models that were not interpolated. */
  escapeDollars?: boolean;
}

/** Returns the model as text with sorted keys: equal models give equal bytes. */
export function printModel(model: Mapping, options: PrintOptions = {}): string {
  const shown = sortKeys(options.escapeDollars === false ? model : escapeDollars(model)) as Mapping;
  const ordered: Mapping = {};
  for (const key of [...TOP_ORDER, ...Object.keys(shown)]) if (Object.hasOwn(shown, key)) ordered[key] = shown[key];
  if (options.format === 'json') return `${JSON.stringify(ordered, undefined, 2)}\n`;
  // compat: podman-compose and old docker-compose read YAML 1.1, where `yes` is a boolean and `22:22` a number.
  return stringify(ordered, { compat: 'yaml-1.1', lineWidth: 0, aliasDuplicateObjects: false, singleQuote: false });
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => compareUtf8(a, b))
      .map(([key, item]) => [key, sortKeys(item)]),
  );
}

function escapeDollars(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('$', '$$$$');
  if (Array.isArray(value)) return value.map(escapeDollars);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, escapeDollars(item)]));
}

/** Returns what `config --services`, `--volumes`, `--images` and `--profiles` print: sorted names. */
export function listModel(model: Model, what: 'services' | 'volumes' | 'networks' | 'images' | 'profiles'): string[] {
  switch (what) {
    case 'images':
      return [...new Set(imagesOf(model).map((image) => image.reference))];
    case 'profiles': {
      const names = Object.values(model.services).flatMap((service) => (Array.isArray(service.profiles) ? service.profiles.map(String) : []));
      return [...new Set(names)].sort(compareUtf8);
    }
    default: {
      const section = model[what];
      return isRecord(section) ? Object.keys(section).sort(compareUtf8) : [];
    }
  }
}

/** Returns the sha256 of each service's definition, sorted by name. Stable for equal definitions; not the value Docker Compose computes. */
export function hashServices(model: Model): [service: string, hash: string][] {
  return Object.entries(model.services)
    .sort(([a], [b]) => compareUtf8(a, b))
    .map(([name, service]) => [name, createHash('sha256').update(stableJson(service)).digest('hex')]);
}
