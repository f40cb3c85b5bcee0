/** What is fuzzed here, and from which real values: see `npm run fuzz`. No tests. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FuzzTarget, mutateBytes, textMutation } from '@cambium/testkit';
import { decode, encode } from './codec.ts';
import { parseVariantText } from './parse-text.ts';
import { printVariant } from './print.ts';
import { parseType } from './type.ts';

/** Values as OSTree and GLib's own tests have them. Text as `gvariant` of GLib 2.74 prints it. */
const TEXTS = [
  "{'ostree.ref-binding': <['main', 'deep/other']>, 'version': <'1.2.3'>, 'n': <(uint32 1, <int16 2>, [byte 0x01])>}",
  "@(a{sv}aya(say)sstayay) ({}, [], [], 'subject', 'body', uint64 1000000000, [byte 0x00, 0xff], b'bytes\\001')",
  "[('main', (uint64 120, [byte 0x01, 0x02], {'ostree.commit.timestamp': <uint64 0>}))]",
  "@m(sn) just ('a', 5), ",
  "(just 'x', @mi nothing, true, -0x7f, 1.5e-3, inf, nan, handle 3, objectpath '/a/b', signature 'a{sv}', @ay [])",
  "<<<'deep'>>>",
  '[[[1, 2], []], [[3]]]',
  '{uint16 1: {byte 2: @as []}}',
  "b'caf\\303\\251\\n\\t\\\\'",
  '"\\u00e9\\U0001f389"',
];
const TYPES = [
  '(a(s(taya{sv}))a{sv})',
  '(a(say)a(sayay))',
  '(uuua(ayay))',
  '(a{sv}tayay(a{sv}aya(say)sstayay)aya(uayttay)a(yaytt))',
  'v',
  'm(ms)',
  '()',
  'a{sv}',
  'aay',
];

export function makeCorpus(directory: string): Promise<void> {
  for (const kind of ['text', 'type', 'bytes']) mkdirSync(join(directory, kind));
  for (const [i, text] of TEXTS.entries()) {
    writeFileSync(join(directory, 'text', String(i)), text);
    if (text.endsWith(', ')) continue;
    const { type, value } = parseVariantText(text);
    writeFileSync(join(directory, 'bytes', String(i)), Buffer.concat([Buffer.from(`${type}\n`), encode(type, value)]));
  }
  for (const [i, type] of TYPES.entries()) writeFileSync(join(directory, 'type', String(i)), type);
  return Promise.resolve();
}

export function fuzzTargets(corpus: string): FuzzTarget[] {
  const seeds = (kind: string): Buffer[] => readdirSync(join(corpus, kind), { withFileTypes: true }).map(({ name }) => readFileSync(join(corpus, kind, name)));
  return [
    {
      name: 'gvariant-bytes',
      seeds: seeds('bytes'),
      mutate: (input, random) => {
        // The type stays, so that the bytes are read.
        const end = input.indexOf(0x0a) + 1;
        return Buffer.concat([input.subarray(0, end), mutateBytes(input.subarray(end), random, { maxBytes: 8192 })]);
      },
      maxBytes: 8192,
      parse: (input) => {
        const end = Math.max(0, input.indexOf(0x0a));
        const type = Buffer.from(input.subarray(0, end)).toString('latin1');
        const bytes = input.subarray(end + 1);
        const value = decode(type, bytes);
        if (Buffer.compare(encode(type, value), bytes) !== 0) throw new Error('what was decoded is encoded otherwise');
        printVariant(type, value, true);
        return value;
      },
    },
    {
      name: 'gvariant-text',
      seeds: seeds('text'),
      mutate: textMutation([
        '@',
        '<',
        '>',
        '{',
        '}',
        '(',
        ')',
        'just ',
        'nothing',
        'true',
        'uint64 ',
        'byte ',
        'objectpath ',
        "b'",
        '\\u',
        '\\x',
        '@a{sv} ',
        'int32 ',
        'nan',
        '-inf',
        '0x',
        '<[',
        ']>',
      ]),
      maxBytes: 4096,
      parse: (input) => {
        const { type, value } = parseVariantText(Buffer.from(input).toString('utf8'));
        const printed = printVariant(type, value, true);
        const again = parseVariantText(printed, type);
        if (printVariant(type, again.value, true) !== printed) throw new Error(`printed otherwise the second time: ${printed}`);
        return value;
      },
    },
    {
      name: 'gvariant-type',
      seeds: seeds('type'),
      dictionary: ['a', 'm', '(', ')', '{', '}', 'v', '{sv}', 'a'.repeat(130), 'm'.repeat(64), '('.repeat(129)],
      maxBytes: 1024,
      parse: (input) => {
        const text = Buffer.from(input).toString('latin1');
        const type = parseType(text);
        if (type.text !== text) throw new Error('the type has another text');
        return type.kind;
      },
    },
  ];
}
