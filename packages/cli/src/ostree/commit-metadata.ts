/** The metadata options of `ostree commit`. */
import { isKnownError } from '@cambium/base';
import { parseVariantText, Variant } from '@cambium/gvariant';
import type { Metadata } from '@cambium/ostree';
import { OstreeFailure } from './verb.ts';

interface MetadataFlags {
  'add-metadata-string': readonly string[];
  'add-metadata': readonly string[];
  'add-detached-metadata-string': readonly string[];
}

/** Returns strings first, then typed values, each in the order given. */
export function commitMetadata(values: MetadataFlags): [string, Variant][] {
  const strings = values['add-metadata-string'].map((text): [string, Variant] => stringEntry(text));
  const typed = values['add-metadata'].map((text): [string, Variant] => {
    const [key, value] = splitPair(text);
    try {
      return [key, parseVariantText(value)];
    } catch (error) {
      if (!isKnownError(error)) throw error;
      throw new OstreeFailure(`Parsing ${text}: ${error.message}`, { cause: error });
    }
  });
  return [...strings, ...typed];
}

/** Returns what `--add-detached-metadata-string` asks for, or undefined when it was not given. */
export function detachedMetadata(values: MetadataFlags): Metadata | undefined {
  const entries = values['add-detached-metadata-string'].map(stringEntry);
  return entries.length === 0 ? undefined : entries;
}

function stringEntry(text: string): [string, Variant] {
  const [key, value] = splitPair(text);
  return [key, new Variant('s', value)];
}

function splitPair(text: string): [key: string, value: string] {
  const equals = text.indexOf('=');
  if (equals < 0) throw new OstreeFailure(`Missing '=' in KEY=VALUE metadata '${text}'`);
  if (equals === 0) throw new OstreeFailure('Empty metadata key');
  return [text.slice(0, equals), text.slice(equals + 1)];
}
