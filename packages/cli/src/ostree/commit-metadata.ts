/** The metadata options of `ostree commit`. */
import type { Checksum } from '@cambium/base';
import { isKnownError } from '@cambium/base';
import { parseVariantText, Variant } from '@cambium/gvariant';
import type { Transaction } from '@cambium/ostree';
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

export function addDetachedMetadata(transaction: Transaction, commit: Checksum, values: MetadataFlags): void {
  const entries = values['add-detached-metadata-string'].map(stringEntry);
  if (entries.length > 0) transaction.setDetachedMetadata(commit, entries);
}

function stringEntry(text: string): [string, Variant] {
  const [key, value] = splitPair(text);
  return [key, new Variant('s', value)];
}

function splitPair(text: string): [key: string, value: string] {
  const equals = text.indexOf('=');
  if (equals < 0) throw new OstreeFailure(`Missing '=' in KEY=VALUE metadata '${text}'`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}
