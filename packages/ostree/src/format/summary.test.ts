import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Checksum, isKnownError } from '@cambium/base';
import { Variant } from '@cambium/gvariant';
import fc from 'fast-check';
import {
  COMMIT_TIMESTAMP_KEY,
  encodeCollectionMap,
  encodeSummary,
  parseSummary,
  type SummaryRef,
  summaryDeltas,
  summaryHasDeltaIndexes,
  summaryMode,
  summaryTime,
} from './summary.ts';

/** `ostree summary -u -m 'foo.bar="x"'` of ostree 2022.7: three refs, two static deltas. */
const PLAIN = Buffer.from(
  'YXBwL8OpYQB2AAAAAAAAAIQoNtlKkExNVc62nZ+FHMa2SEsCJgY2RJFe5zKcPULXb3N0cmVlLmNvbW1pdC50aW1lc3RhbXAAAAAAAF9eEAIAdBgjKAgAAG1haW4AAAAAngAAAAAAAAAWEoUSR8KFWuhk1vJDIuRUR6UNntly7/b+oYIItTJJc29zdHJlZS5jb21taXQudGltZXN0YW1wAAAAAABfXhABAHQYIygFAAB6L3kAAAAAAJ4AAAAAAAAAFhKFEkfChVroZNbyQyLkVEelDZ7Zcu/2/qGCCLUySXNvc3RyZWUuY29tbWl0LnRpbWVzdGFtcAAAAAAAX14QAQB0GCMoBFYArgAGAQAAAABvc3RyZWUuc3VtbWFyeS5tb2RlAAAAAABhcmNoaXZlLXoyAABzFAAAb3N0cmVlLnN1bW1hcnkubGFzdC1tb2RpZmllZAAAAAAAAAAAawD9hwB0HQAAAAAAb3N0cmVlLnN1bW1hcnkudG9tYnN0b25lLWNvbW1pdHMAAAAAAAAAAAAAYiEAAAAAb3N0cmVlLnN0YXRpYy1kZWx0YXMAAAAAMThjNWY3MjkyNzg3NzY3MzJlNjcxNmYwMGNmMjFkOGU2MzEyOTkzMmZhOWU2ODhkOWFlNmZiNmRhMDUyZWIwMC0xNjEyODUxMjQ3YzI4NTVhZTg2NGQ2ZjI0MzIyZTQ1NDQ3YTUwZDllZDk3MmVmZjZmZWExODIwOGI1MzI0OTczAAAAAAAAAA51Pha1Y9KasLnvj0dKt7cXHsRfc2grrEEvkWWAjxx+AGF5ggAAAAAxNjEyODUxMjQ3YzI4NTVhZTg2NGQ2ZjI0MzIyZTQ1NDQ3YTUwZDllZDk3MmVmZjZmZWExODIwOGI1MzI0OTczAAAAAAAAAABNc7Se9cpYGDqhE24437ScEoYiDUSpdQSLOeNzfsbGhwBheUGsABwBAGF7c3Z9FQBmb28uYmFyAHgAAHMIAAAAb3N0cmVlLnN1bW1hcnkuaW5kZXhlZC1kZWx0YXMAAAABAGIeJgBTAIQAyAHVAfwBDAE=',
  'base64',
);
/** The same of a repository with a collection ID and the refs of two other collections. */
const COLLECTIONS = Buffer.from(
  'bWFpbgAAAACuAAAAAAAAADMQypbxRofcuFqoHR6BVkUlrG2lxd4ngCnScz0c+Zt6b3N0cmVlLmNvbW1pdC50aW1lc3RhbXAAAAAAAF9eEAAAdBgjKAUAAG9zdHJlZS1tZXRhZGF0YQC+AAAAAAAAAA/B3voStPcBFaNpjxH8HIwVObwOQlBSqGbvqtEfSYHOb3N0cmVlLmNvbW1pdC50aW1lc3RhbXAAAAAAAGsA/YgAdBgjKBBWtm9zdHJlZS5zdW1tYXJ5Lm1vZGUAAAAAAGFyY2hpdmUtejIAAHMUAABvc3RyZWUuc3VtbWFyeS5sYXN0LW1vZGlmaWVkAAAAAAAAAABrAP2IAHQdAAAAAABvc3RyZWUuc3VtbWFyeS50b21ic3RvbmUtY29tbWl0cwAAAAAAAAAAAABiIQAAAABvc3RyZWUuc3VtbWFyeS5jb2xsZWN0aW9uLW1hcAAAAG9yZy5vdGhlci5EAAAAAABvbmUAAAAAAK4AAAAAAAAAMxDKlvFGh9y4WqgdHoFWRSWsbaXF3ieAKdJzPRz5m3pvc3RyZWUuY29tbWl0LnRpbWVzdGFtcAAAAAAAX14QAAB0GCMoBFYMb3JnLm90aGVyLkUAAAAAAHgvb25lAAAArgAAAAAAAAAzEMqW8UaH3LhaqB0egVZFJaxtpcXeJ4Ap0nM9HPmbem9zdHJlZS5jb21taXQudGltZXN0YW1wAAAAAABfXhAAAHQYIygGVgxo0ABhe3NhKHModGF5YXtzdn0pKX0eAABvc3RyZWUuc3VtbWFyeS5pbmRleGVkLWRlbHRhcwAAAAEAYh4AAAAAb3N0cmVlLnN1bW1hcnkuY29sbGVjdGlvbi1pZAAAAABvcmcuZXhhbXBsZS5DAABzHSYAUwCEAI8BtAHpAbgA',
  'base64',
);

test('a summary of libostree, decoded and encoded to the same bytes', () => {
  const summary = parseSummary(PLAIN);
  assert.deepEqual(
    summary.refs.map(({ ref, commitBytes, checksum, metadata }) => [ref, commitBytes, checksum.slice(0, 8), summaryTime(metadata, COMMIT_TIMESTAMP_KEY)]),
    [
      ['app/éa', 118n, '842836d9', 1600000002n],
      ['main', 158n, '16128512', 1600000001n],
      ['z/y', 158n, '16128512', 1600000001n],
    ],
  );
  assert.equal(summaryMode(summary), 'archive');
  assert.equal(summaryHasDeltaIndexes(summary), true);
  assert.equal(summaryTime(summary.metadata, 'ostree.summary.last-modified'), 1795227015n);
  const from = '18c5f729278776732e6716f00cf21d8e63129932fa9e688d9ae6fb6da052eb00';
  const to = '1612851247c2855ae864d6f24322e45447a50d9ed972eff6fea18208b5324973';
  assert.deepEqual(
    [...summaryDeltas(summary)],
    [
      [`${from}-${to}`, '0e753e16b563d29ab0b9ef8f474ab7b7171ec45f73682bac412f9165808f1c7e'],
      [to, '4d73b49ef5ca58183aa1136e38dfb49c1286220d44a975048b39e3737ec6c687'],
    ],
  );
  assert.equal(summary.collectionId, undefined);
  assert.ok(PLAIN.equals(encodeSummary(summary)));
});

test('a summary with collections', () => {
  const summary = parseSummary(COLLECTIONS);
  assert.equal(summary.collectionId, 'org.example.C');
  assert.deepEqual(
    [...summary.collections].map(([collection, refs]) => [collection, refs.map(({ ref }) => ref)]),
    [
      ['org.other.D', ['one']],
      ['org.other.E', ['x/one']],
    ],
  );
  assert.equal(summaryDeltas(summary).size, 0);
  assert.ok(COLLECTIONS.equals(encodeSummary(summary)));
  const rebuilt = summary.metadata.map(([key, value]) => [key, key.endsWith('collection-map') ? encodeCollectionMap(summary.collections) : value] as const);
  assert.ok(COLLECTIONS.equals(encodeSummary({ refs: summary.refs, metadata: rebuilt })));
});

test('refs out of order, checksums and delta names that are none, are refused', () => {
  const ref = (name: string): SummaryRef => ({ ref: name, commitBytes: 1n, checksum: 'ab'.repeat(32) as Checksum, metadata: [] });
  for (const names of [
    ['b', 'a'],
    ['a', 'a'],
    ['\u{1f600}', '\ufffd'],
  ]) {
    assert.throws(() => encodeSummary({ refs: names.map(ref), metadata: [] }), { code: 'OSTREE_SUMMARY_INVALID' });
  }
  assert.throws(() => encodeSummary({ refs: [{ ...ref('a'), checksum: 'ab' as Checksum }], metadata: [] }), { code: 'OSTREE_SUMMARY_INVALID' });
  for (const [name, value] of [
    ['../../etc', new Uint8Array(32)],
    ['ab'.repeat(32), new Uint8Array(31)],
  ] as const) {
    const metadata = [['ostree.static-deltas', new Variant('a{sv}', [[name, new Variant('ay', value)]])]] as const;
    assert.throws(() => summaryDeltas({ metadata }), { code: 'OSTREE_SUMMARY_INVALID' });
  }
});

test('damaged summaries: the same bytes again, or a known error', () => {
  const damage = fc.array(fc.record({ at: fc.nat(PLAIN.length - 1), byte: fc.nat(255) }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.constantFrom(PLAIN, COLLECTIONS), damage, fc.nat(60), (golden, changes, cut) => {
      const bytes = Buffer.from(golden.subarray(0, golden.length - (cut > 40 ? cut - 40 : 0)));
      for (const { at, byte } of changes) bytes[at % bytes.length] = byte;
      try {
        const summary = parseSummary(bytes);
        assert.ok(bytes.equals(encodeSummary(summary)));
        summaryDeltas(summary);
      } catch (error) {
        assert.ok(isKnownError(error, 'OSTREE_SUMMARY_INVALID'), String(error));
      }
    }),
    { numRuns: 500 },
  );
});
