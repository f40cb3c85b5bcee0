/** Metadata of a summary, printed key by key: for the repository's own and for a remote's. */
import { formatMetadataValue, type Summary } from '@cambium/ostree';
import { OstreeFailure, type VerbContext } from './verb.ts';

export interface SummaryMetadataValues {
  'list-metadata-keys': boolean;
  'print-metadata-key': string | undefined;
}

/** Returns false when no metadata is asked for. */
export function printSummaryMetadata({ ui }: VerbContext, { metadata }: Summary, values: SummaryMetadataValues): boolean {
  const key = values['print-metadata-key'];
  if (key !== undefined) {
    const value = metadata.find(([name]) => name === key)?.[1];
    if (value === undefined) throw new OstreeFailure(`No such metadata key '${key}'`);
    ui.result(formatMetadataValue(value));
    return true;
  }
  if (values['list-metadata-keys']) for (const name of metadata.map(([entry]) => entry).sort()) ui.result(name);
  return values['list-metadata-keys'];
}
