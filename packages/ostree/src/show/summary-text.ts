/** Summaries as `ostree summary --view` and `--raw` print them. Source: libostree 2022.7 behaviour. */
import { printVariant, type Variant } from '@cambium/gvariant';
import { COMMIT_TIMESTAMP_KEY, COMMIT_VERSION_KEY, SUMMARY_KEYS, type Summary, type SummaryRef, summaryTime } from '../format/summary.ts';
import type { Metadata } from '../format/types.ts';
import { formatMetadataValue, formatSize } from './rev-text.ts';

/** Returns what is for people: refs, then everything else. */
export function formatSummary(summary: Summary): string {
  const own = summary.refs.map((ref) => formatRef(summary.collectionId, ref));
  const others = [...summary.collections].flatMap(([collection, refs]) => refs.map((ref) => formatRef(collection, ref)));
  const lines = summary.metadata.map(([key, value]) => `${formatEntry(summary.metadata, key, value)}\n`);
  return [...own, ...others, ...lines].join('');
}

/** Returns the whole summary in GVariant text, its integers in the other byte order. */
export function formatRawSummary(summary: Summary): string {
  // All of it is swapped, the sizes too, which are stored little-endian.
  const refs = summary.refs.map(({ ref, commitBytes, checksum, metadata }) => [ref, [commitBytes, Buffer.from(checksum, 'hex'), metadata]]);
  const type = '(a(s(taya{sv}))a{sv})';
  return `${formatMetadataValue({ type, value: [refs, summary.metadata] })}\n`;
}

const TITLES: Readonly<Record<string, string>> = {
  [SUMMARY_KEYS.mode]: 'Repository Mode',
  [SUMMARY_KEYS.lastModified]: 'Last-Modified',
  [SUMMARY_KEYS.expires]: 'Expires',
  [SUMMARY_KEYS.tombstones]: 'Has Tombstone Commits',
  [SUMMARY_KEYS.deltas]: 'Static Deltas',
  [SUMMARY_KEYS.collectionId]: 'Collection ID',
  [SUMMARY_KEYS.collectionMap]: 'Collection Map',
  [COMMIT_TIMESTAMP_KEY]: 'Timestamp',
  [COMMIT_VERSION_KEY]: 'Version',
};

const TIMES = new Set<string>([SUMMARY_KEYS.lastModified, SUMMARY_KEYS.expires, COMMIT_TIMESTAMP_KEY]);

function formatRef(collection: string | undefined, { ref, commitBytes, checksum, metadata }: SummaryRef): string {
  const name = collection === undefined ? ref : `(${collection}, ${ref})`;
  const lines = [`* ${name}`, `    Latest Commit (${formatSize(Number(commitBytes))}):`, `      ${checksum}`];
  for (const [key, value] of metadata) lines.push(`    ${formatEntry(metadata, key, value)}`);
  return `${lines.join('\n')}\n\n`;
}

function formatEntry(metadata: Metadata, key: string, value: Variant): string {
  const title = Object.hasOwn(TITLES, key) ? `${TITLES[key]} (${key})` : key;
  return `${title}: ${formatValue(metadata, key, value)}`;
}

function formatValue(metadata: Metadata, key: string, value: Variant): string {
  if (key === SUMMARY_KEYS.collectionMap) return '(printed above)';
  if (key === SUMMARY_KEYS.tombstones && value.type === 'b') return value.value === true ? 'Yes' : 'No';
  if (TIMES.has(key) && value.type === 't') return formatTime(summaryTime(metadata, key) ?? 0n);
  if (Object.hasOwn(TITLES, key) && value.type === 's') return value.value as string;
  return printVariant(value.type, value.value, false);
}

/** GLib's calendar ends with the year 9999. */
const MAX_TIME = 253402300799n;

function formatTime(seconds: bigint): string {
  return seconds > MAX_TIME ? 'invalid' : `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}+00`;
}
