/** What is fuzzed here: see `npm run fuzz`. Lazy parts of values are read too, and what is encoded again must be the same. No tests. */
import { globSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Codec, codec, Variant } from '@cambium/gvariant';
import { displayUrl } from '@cambium/http';
import { type FuzzTarget, insideMutation, type Mutation, mutateBytes, type Random, textMutation } from '@cambium/testkit';
import { parseCheckoutRecords, parseSkipList } from './checkout/checkout-lists.ts';
import { applyDelta } from './delta/apply.ts';
import { applyBspatch } from './delta/bspatch.ts';
import { parseOperations } from './delta/operations.ts';
import { type DeltaPart, encodePart, parsePart, parsePartFile } from './delta/part.ts';
import { type DeltaSuperblock, parseSuperblock, partObjects } from './delta/superblock.ts';
import { encodeCommit, encodeMetadata, parseCommit, parseMetadata } from './format/commit-format.ts';
import { parseDeltaName } from './format/delta-path.ts';
import { asBuffer, encodeXattrList, parseXattrList } from './format/framing.ts';
import { KeyFile } from './format/key-file.ts';
import {
  encodeDirMeta,
  encodeDirTree,
  encodeFileHeader,
  encodeFilezHeader,
  parseDirMeta,
  parseDirTree,
  parseFileHeader,
  parseFilezHeader,
  parseUserMeta,
} from './format/object-format.ts';
import { encodeSummary, parseSummary, SUMMARY_KEYS, summaryDeltas, summaryHasDeltaIndexes, summaryMode, summaryTime } from './format/summary.ts';
import { answerTargets } from './fuzz-answers.test.ts';
import { cookieHeader, readCookies } from './pull/cookies.ts';
import { parseMetalink } from './pull/metalink.ts';
import { parseMirrorList } from './pull/remote-urls.ts';
import { checkCollectionRef } from './repo/collection-refs.ts';
import { isRefName, parseRefspec } from './repo/refs.ts';
import { readRemote } from './repo/remote-config.ts';
import { Repo } from './repo/repo.ts';
import { parseRepoSettings } from './repo/repo-config.ts';
import { formatCommit, formatDirMeta, formatDirTree } from './show/rev-text.ts';
import { parseSizes } from './show/show.ts';
import { formatRawSummary, formatSummary } from './show/summary-text.ts';
import { signaturesIn } from './sign/sign.ts';
import { rawSignaturesIn } from './sign/sign-raw.ts';
import { parseStatOverrides } from './write/commit-modifiers.ts';
import { Transaction } from './write/transaction.ts';

export { makeCorpus } from './fuzz-corpus.test.ts';

const LIMIT_BYTES = 1 << 20;
const NAME = 'a'.repeat(64) as Parameters<typeof formatCommit>[0];

/** Refuses a reader that takes what its writer would not write: two spellings of one object have two checksums. */
function sameBytes(made: Uint8Array, input: Uint8Array): void {
  if (Buffer.compare(made, input) !== 0) throw new Error('what was parsed is encoded otherwise');
}

function text(input: Uint8Array): string {
  return Buffer.from(input).toString('utf8');
}

/** Changes a value and writes it as a faithful encoder would, so that what it means is checked and not only its framing. */
function variantMutation(type: string): Mutation {
  const known: Codec<unknown> = codec(type);
  return (input, random) => {
    try {
      return known.encode(changeValue(known.decode(input), random));
    } catch {
      return mutateBytes(input, random, { maxBytes: 1 << 14 });
    }
  };
}

/** Returns the value with one of its leaves or lists changed. */
function changeValue(value: unknown, random: Random): unknown {
  if (value instanceof Variant) {
    if (random.oneIn(6))
      return random.pick([
        new Variant('s', 'text'),
        new Variant('t', 2n ** 64n - 1n),
        new Variant('aay', [new Uint8Array(3)]),
        new Variant('v', value),
        new Variant('b', true),
      ]);
    return new Variant(value.type, changeValue(value.value, random));
  }
  if (value instanceof Uint8Array) return mutateBytes(value, random, { maxBytes: 4096 });
  if (Array.isArray(value)) {
    const list = [...(value as unknown[])];
    const at = random.below(list.length);
    const action = random.below(8);
    if (list.length === 0) return list;
    if (action === 0) list.splice(at, 1);
    else if (action === 1) list.splice(at, 0, list[random.below(list.length)]);
    else if (action === 2) list.reverse();
    else list[at] = changeValue(list[at], random);
    return list;
  }
  if (typeof value === 'string')
    return Buffer.from(mutateBytes(Buffer.from(value), random, { maxBytes: 512, dictionary: ['/', '..', '\n', ':', 'é', 'ostree.'] }))
      .toString('utf8')
      .replaceAll('\0', '');
  if (typeof value === 'bigint') return random.pick([0n, 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n, BigInt.asUintN(64, value + 1n)]);
  if (typeof value === 'number') return random.pick([0, 1, 127, 200, 255]);
  return value;
}

/** A repository as far as its config goes. */
function configured(config: KeyFile): Repo {
  return { config, parent: undefined } as unknown as Repo;
}

function readPart(part: DeltaPart): void {
  for (let i = 0; i < Math.min(part.modeCount, 1000); i++) part.modeAt(i);
  for (let i = 0; i < Math.min(part.xattrCount, 1000); i++) part.xattrsAt(i);
}

/** Reads a program that begins with so many metadata objects; its end says how many objects there are in all, and then they fit. */
function readOperations(operations: Uint8Array, metadata: number): string[] {
  let asked = 0;
  const object = (): { type: 'file' | 'dirtree'; checksum: typeof NAME } => ({ type: asked++ < metadata ? 'dirtree' : 'file', checksum: NAME });
  swallowKnown(() => [...parseOperations(operations, { next: () => ({ done: false, value: object() }) })]);
  const count = asked - 1;
  asked = 0;
  const exact = { next: () => (asked < count ? { done: false as const, value: object() } : { done: true as const, value: undefined }) };
  return Array.from(parseOperations(operations, exact), ({ op }) => op);
}

/** Changes a part's program and its payload; the tables stay. */
const partMutation: Mutation = (input, random) => {
  try {
    const part = parsePart(input);
    const modes = Array.from({ length: part.modeCount }, (_, i) => part.modeAt(i));
    const xattrs = Array.from({ length: part.xattrCount }, (_, i) => part.xattrsAt(i));
    const [payload, operations] = [part.payload, part.operations].map((bytes) =>
      random.oneIn(3)
        ? bytes
        : mutateBytes(bytes, random, { maxBytes: 1 << 15, dictionary: ['S', 'o', 'w', 'r', 'R', 'c', 'B', 'c\x00', '\xff\xff\xff\xff\x0f'] }),
    );
    return encodePart({ modes, xattrs, payload: [payload as Uint8Array], operations: operations as Uint8Array });
  } catch {
    return mutateBytes(input, random, { maxBytes: 1 << 15 });
  }
};

export function fuzzTargets(corpus: string): FuzzTarget[] {
  const seeds = (kind: string): Buffer[] => readdirSync(join(corpus, kind)).map((name) => readFileSync(join(corpus, kind, name)));
  const parts = seeds('part').map((file) => ({ file, bytes: plainPart(file) }));
  const config = textMutation([
    '[core]',
    '[remote "x"]',
    'mode=',
    'archive',
    'url=',
    'true',
    'false',
    'mirrorlist=',
    'http://u:%zz@h/',
    'sign-verify=',
    'collection-id=',
    'min-free-space-size=',
    'MB',
    '1e9',
    '\\s',
    '\\x',
    '; ;',
  ]);
  const names = ['main', 'origin:deep/other', 'a/b-c_d.e', 'org.example.Fuzz', 'x'.repeat(250)].map((name) => Buffer.from(name));
  const cookies = join(corpus, 'fuzz.cookies.txt');
  return [
    ...objectTargets(seeds),
    ...answerTargets(corpus, seeds('filez')),
    {
      name: 'key-file',
      seeds: seeds('config'),
      mutate: config,
      parse: (input) => {
        const file = KeyFile.parse(text(input));
        const again = KeyFile.parse(file.toString());
        if (again.toString() !== file.toString()) throw new Error('a config that was written is read otherwise');
        for (const group of file.groups()) {
          for (const key of file.keys(group)) {
            for (const read of ['string', 'boolean', 'integer', 'list'] as const) swallowKnown(() => file[read](group, key));
            file.setRaw(group, key, 'x');
          }
          file.removeGroup(group);
        }
        return again.groups();
      },
    },
    { name: 'repo-config', seeds: seeds('config'), mutate: config, parse: (input) => parseRepoSettings(KeyFile.parse(text(input)), 'repo') },
    {
      name: 'remote-config',
      seeds: seeds('config'),
      mutate: config,
      parse: (input) => {
        const file = KeyFile.parse(text(input));
        return file.groups().flatMap((group) => {
          const name = /^remote "(.*)"$/.exec(group)?.[1];
          return name === undefined ? [] : [readRemote(configured(file), name)];
        });
      },
    },
    {
      name: 'summary',
      seeds: seeds('summary'),
      mutate: variantMutation('(a(s(taya{sv}))a{sv})'),
      parse: (input) => {
        const summary = parseSummary(input);
        sameBytes(encodeSummary(summary), input);
        swallowKnown(() => summaryDeltas(summary));
        for (const { metadata, ref } of summary.refs) {
          summaryTime(metadata, 'ostree.commit.timestamp');
          isRefName(ref);
        }
        swallowKnown(() => formatSummary(summary));
        formatRawSummary(summary);
        return [
          summaryMode(summary),
          summaryHasDeltaIndexes(summary),
          summaryTime(summary.metadata, SUMMARY_KEYS.lastModified),
          summary.refs.length,
          summary.collections.size,
        ];
      },
    },
    {
      name: 'detached-metadata',
      seeds: seeds('commitmeta'),
      mutate: variantMutation('a{sv}'),
      parse: (input) => {
        const metadata = parseMetadata(input);
        sameBytes(encodeMetadata(metadata), input);
        return [signaturesIn(metadata).length, ...(['ed25519', 'spki', 'dummy'] as const).map((type) => rawSignaturesIn(metadata, type).length)];
      },
    },
    {
      name: 'delta-index',
      seeds: seeds('delta-index'),
      mutate: variantMutation('a{sv}'),
      parse: (input) => summaryDeltas({ metadata: parseMetadata(input) }).size,
    },
    {
      name: 'delta-superblock',
      seeds: seeds('superblock'),
      mutate: variantMutation('(a{sv}tayay(a{sv}aya(say)sstayay)aya(uayttay)a(yaytt))'),
      parse: (input) => {
        const superblock = parseSuperblock(input);
        return [superblock.parts.map((part) => [...partObjects(part)].length), superblock.fallbacks.length, superblock.endianness, superblock.inlineParts.size];
      },
    },
    {
      name: 'delta-part-file',
      seeds: parts.map(({ file }) => file),
      mutate: (input, random) => Buffer.concat([input.subarray(0, random.oneIn(9) ? 0 : 1), mutateBytes(input.subarray(1), random, { maxBytes: 1 << 14 })]),
      parse: (input) => readPart(parsePartFile(input, LIMIT_BYTES)),
    },
    {
      name: 'delta-part',
      seeds: [...seeds('plain-part'), ...parts.map(({ bytes }) => bytes)],
      mutate: partMutation,
      parse: (input) => {
        const part = parsePart(input);
        readPart(part);
        return readOperations(part.operations, 0);
      },
    },
    {
      name: 'delta-operations',
      // The first byte tells how many of the objects are metadata.
      seeds: seeds('operations'),
      dictionary: ['S', 'o', 'w', 'r', 'R', 'c', 'B'],
      parse: (input) => readOperations(input.subarray(1), input[0] ?? 0),
    },
    {
      name: 'bspatch',
      seeds: [patch(12, 3, -4), Buffer.concat([patch(5, 0, 2), patch(0, 9, 0)]), patch(0, 40, 0)],
      parse: (input) => {
        let made = 0;
        const old = Buffer.alloc(50, 'old content');
        const source = { sizeBytes: 50, close: () => undefined, read: (at: number, length: number) => inside(old, at, length) };
        for (const sizeBytes of [15, 14, 40, 1000]) {
          swallowKnown(() => {
            for (const chunk of applyBspatch(source, input, sizeBytes)) made += chunk.byteLength;
          });
        }
        for (const chunk of applyBspatch(source, input, 15)) made += chunk.byteLength;
        return made;
      },
    },
    deltaApply(corpus, parts[0]?.bytes ?? Buffer.alloc(3), seeds('superblock')[0] as Buffer),
    {
      name: 'ref-names',
      seeds: names,
      dictionary: ['/', ':', '..', '.', '-', '//', '\n', 'é'],
      maxBytes: 1024,
      parse: (input) => {
        const name = text(input);
        const { remote, ref } = parseRefspec(name);
        // What is a name is a path below a directory, and nothing else.
        if (join('/top', ref) !== `/top/${ref}` || (remote !== undefined && join('/top', remote) !== `/top/${remote}`)) throw new Error(`"${name}" is no path`);
        return ref;
      },
    },
    {
      name: 'collection-refs',
      seeds: ['org.example.Fuzz/main', 'a.b_c.D/deep/other'].map((name) => Buffer.from(name)),
      dictionary: ['/', '.', '..', '-', '_', '0'],
      maxBytes: 1024,
      parse: (input) => {
        const [collection = '', ...rest] = text(input).split('/');
        checkCollectionRef({ collection, ref: rest.join('/') });
        if (join('/top', collection, rest.join('/')) !== `/top/${collection}/${rest.join('/')}`) throw new Error('a collection and a ref that are no path');
      },
    },
    { name: 'delta-names', seeds: [Buffer.from(NAME), Buffer.from(`${NAME}-${'b'.repeat(64)}`)], maxBytes: 300, parse: (input) => parseDeltaName(text(input)) },
    {
      name: 'cookies',
      seeds: [
        Buffer.from('# Netscape HTTP Cookie File\nexample.org\tTRUE\t/\tFALSE\t0\tname\tvalue\n#HttpOnly_.example.org\tTRUE\t/a\tTRUE\t9999999999\tx\ty z\n'),
      ],
      mutate: textMutation(['\t', 'TRUE', '#HttpOnly_', '.example.org', '\r', '1e999', '\x7f']),
      parse: (input) => {
        writeFileSync(cookies, input);
        const header = cookieHeader(readCookies(corpus, 'fuzz'), new URL('https://www.example.org/a/b'));
        if (header !== undefined && /[\r\n\0]/.test(header)) throw new Error('a header of two lines');
        return header;
      },
    },
    {
      name: 'mirror-list',
      seeds: ['# mirrors\nhttp://127.0.0.1/repo\nhttps://user:p%40ss@example.org:8080/a/b/?q#f\nftp://no.example/\n'].map((list) => Buffer.from(list)),
      mutate: textMutation(['http://', 'https://', 'user:pass@', '%zz@', '%', '[::1]', ':99999', '\\', '?', '#', '..']),
      parse: (input) =>
        parseMirrorList(text(input)).map((mirror) => {
          if (!mirror.pathname.endsWith('/')) throw new Error(`"${mirror}" is no directory`);
          return [new URL('objects/x', mirror).protocol, displayUrl(mirror).length];
        }),
    },
    {
      name: 'metalink',
      seeds: [METALINK, METALINK.replace('?>', '?><!-- c --><![CDATA[x]]>')].map((document) => Buffer.from(document)),
      mutate: textMutation([
        '<file name="summary">',
        '</file>',
        '<',
        '>',
        '/>',
        '<!--',
        '-->',
        '<![CDATA[',
        ']]>',
        '&amp;',
        '&#x110000;',
        '&#0;',
        '&x;',
        '<?',
        '?>',
        '<!DOCTYPE a [<!ENTITY b "c">]>',
        'type="sha512"',
        '"',
        "'",
        'xmlns=',
      ]),
      parse: (input) => parseMetalink(input, 'summary'),
    },
    {
      name: 'checkout-records',
      seeds: [Buffer.from('main\0/a\0other\0/\0'), Buffer.from('main\0/\0')],
      dictionary: ['\0', '/', '..'],
      parse: (input) => parseCheckoutRecords(input),
    },
    {
      name: 'stat-overrides',
      seeds: [Buffer.from('+2048 /usr/bin/x\n=420 /a b\n')],
      mutate: textMutation(['=', '+', ' /', '99999999999999999999', '-1', '0x7']),
      parse: (input) => [parseStatOverrides(text(input)), parseSkipList(text(input))],
    },
  ];
}

function objectTargets(seeds: (kind: string) => Buffer[]): FuzzTarget[] {
  return [
    {
      name: 'commit',
      seeds: seeds('commit'),
      mutate: variantMutation('(a{sv}aya(say)sstayay)'),
      parse: (input) => {
        const commit = parseCommit(input);
        sameBytes(encodeCommit(commit), input);
        formatCommit(NAME, { ...commit, timestamp: 0n }, { raw: true });
        swallowKnown(() => formatCommit(NAME, commit));
        return [commit.parent, commit.related.length, commit.metadata.length];
      },
    },
    {
      name: 'commit-sizes',
      seeds: seeds('commit'),
      mutate: variantMutation('(a{sv}aya(say)sstayay)'),
      parse: (input) => parseSizes(parseCommit(input)),
    },
    {
      name: 'dirtree',
      seeds: seeds('dirtree'),
      mutate: variantMutation('(a(say)a(sayay))'),
      parse: (input) => {
        const tree = parseDirTree(input);
        sameBytes(encodeDirTree(tree), input);
        for (const { name } of [...tree.files, ...tree.dirs])
          if (join('/top', name) !== `/top/${name}` || name === '') throw new Error(`"${name}" is no name of a file`);
        formatDirTree(NAME, tree, { raw: true });
        return [tree.files.length, tree.dirs.length];
      },
    },
    {
      name: 'dirmeta',
      seeds: seeds('dirmeta'),
      mutate: variantMutation('(uuua(ayay))'),
      parse: (input) => {
        const meta = parseDirMeta(input);
        sameBytes(encodeDirMeta(meta), input);
        formatDirMeta(NAME, meta, { raw: true });
        return meta.xattrs.length;
      },
    },
    { name: 'bare-user-xattr', seeds: seeds('ostreemeta'), mutate: variantMutation('(uuua(ayay))'), parse: (input) => parseUserMeta(input).xattrs.length },
    {
      name: 'file-header',
      seeds: seeds('filez').map((bytes) => encodeFileHeader(parseFilezHeader(bytes).header)),
      mutate: prefixMutation('(uuuusa(ayay))'),
      parse: (input) => {
        const { header, contentAt } = parseFileHeader(input);
        sameBytes(encodeFileHeader(header), input.subarray(0, contentAt));
        return [header.target.length, header.xattrs.length];
      },
    },
    {
      name: 'archived-file',
      seeds: seeds('filez'),
      mutate: prefixMutation('(tuuuusa(ayay))'),
      parse: (input) => {
        const { header, sizeBytes, contentAt } = parseFilezHeader(input);
        sameBytes(encodeFilezHeader(header, sizeBytes), input.subarray(0, contentAt));
        return [header.target.length, header.xattrs.length];
      },
    },
    {
      name: 'xattr-list',
      seeds: seeds('filez').map((bytes) => encodeXattrList(parseFilezHeader(bytes).header.xattrs)),
      mutate: variantMutation('a(ayay)'),
      parse: (input) => parseXattrList(input).length,
    },
  ];
}

/** Changes the header after its length and zeros, and makes the length right. */
function prefixMutation(type: string): Mutation {
  return insideMutation(
    (input) => (input.byteLength < 8 ? undefined : input.subarray(8, 8 + asBuffer(input).readUInt32BE(0))),
    (inner, input) => {
      const prefix = Buffer.alloc(8);
      prefix.writeUInt32BE(inner.byteLength);
      return Buffer.concat([prefix, inner, input.subarray(8 + asBuffer(input).readUInt32BE(0))]);
    },
    variantMutation(type),
  );
}

/** A whole program, run against a repository that has what it copies from; nothing of it is kept. */
function deltaApply(corpus: string, seed: Uint8Array, superblockBytes: Uint8Array): FuzzTarget {
  const real = parseSuperblock(superblockBytes);
  let repo: Repo | undefined;
  return {
    name: 'delta-apply',
    seeds: [seed],
    mutate: partMutation,
    maxBytes: 1 << 15,
    async parse(input) {
      repo ??= await Repo.open(join(corpus, 'user'));
      const superblock: DeltaSuperblock = { ...real, inlineParts: new Map([[0, Buffer.concat([Buffer.alloc(1), input])]]) };
      const transaction = await Transaction.begin(repo);
      try {
        const missing = (): never => {
          throw new Error('only the first part is changed, and it is there');
        };
        return (await applyDelta(transaction, superblock, { part: missing, fallback: missing })).parts;
      } finally {
        await transaction.abort();
        // What is staged would be there the next time.
        for (const name of globSync('tmp/staging-*', { cwd: repo.path })) rmSync(join(repo.path, name), { recursive: true, force: true });
      }
    },
  };
}

function plainPart(file: Uint8Array): Uint8Array {
  const part = parsePartFile(file, LIMIT_BYTES);
  return encodePart({
    modes: Array.from({ length: part.modeCount }, (_, i) => part.modeAt(i)),
    xattrs: Array.from({ length: part.xattrCount }, (_, i) => part.xattrsAt(i)),
    payload: [part.payload],
    operations: part.operations,
  });
}

function patch(add: number, insert: number, move: number): Buffer {
  const head = Buffer.alloc(24);
  for (const [i, value] of [add, insert, move].entries()) {
    head.writeUInt32LE(Math.abs(value), i * 8);
    if (value < 0) head[i * 8 + 7] = 0x80;
  }
  return Buffer.concat([head, Buffer.alloc(add, 1), Buffer.alloc(insert, 'i')]);
}

function inside(bytes: Buffer, at: number, length: number): Buffer {
  if (at < 0 || at + length > bytes.byteLength) throw new Error('asked for what is outside the source');
  return bytes.subarray(at, at + length);
}

/** Known errors of a further step end that step only. */
function swallowKnown(step: () => unknown): void {
  try {
    step();
  } catch (error) {
    if (!(error instanceof Error && error.name === 'KnownError')) throw error;
  }
}

const METALINK = `<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/">
 <files>
  <file name="summary">
   <size>120</size>
   <verification><hash type="md5">00</hash><hash type="sha256">${'0'.repeat(64)}</hash></verification>
   <resources maxconnections="1"><url protocol="http" type="http" location="DE" preference="100">http://example.org/repo/summary</url></resources>
  </file>
 </files>
</metalink>
`;
