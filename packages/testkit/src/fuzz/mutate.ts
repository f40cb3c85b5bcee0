/** Changes to bytes that break parsers: those that know nothing of the format, and some for formats that many parsers share. */
import { createHash } from 'node:crypto';
import type { Random } from './random.ts';

/** Makes another input out of one; must leave the given bytes alone. */
export type Mutation = (input: Uint8Array, random: Random) => Uint8Array;

export interface MutateOptions {
  /** Other inputs, to take pieces from. */
  others?: readonly Uint8Array[];
  /** Words that mean something to the parser. */
  dictionary?: readonly (string | Uint8Array)[];
  maxBytes: number;
}

/** Ends of ranges, as they stand in fields of 1, 2, 4 and 8 bytes. */
const EDGES: readonly bigint[] = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x1_0000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
].concat([0x1_0000_0000n, (1n << 53n) - 1n, 1n << 53n, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n]);

/** Returns `input` after one to eight changes. */
export function mutateBytes(input: Uint8Array, random: Random, options: MutateOptions): Uint8Array {
  let bytes: Buffer = Buffer.from(input);
  for (let left = 1 + random.below(random.oneIn(3) ? 8 : 3); left > 0; left--) bytes = change(bytes, random, options);
  return bytes.subarray(0, options.maxBytes);
}

function change(bytes: Buffer, random: Random, { others = [], dictionary = [] }: MutateOptions): Buffer {
  const length = bytes.byteLength;
  const at = random.below(length);
  if (length === 0) return random.bytes(1 + random.below(64));
  switch (random.below(14)) {
    case 0:
      bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
      return bytes;
    case 1:
      bytes[at] = random.u32() & 0xff;
      return bytes;
    case 2: // one more or less: of a length, a count, a digit
      bytes[at] = (bytes[at] as number) + (random.oneIn(2) ? 1 : 255);
      return bytes;
    case 3:
    case 4:
      return writeEdge(bytes, random.pick([1, 2, 4, 8]), random);
    case 5:
      return bytes.subarray(0, at);
    case 6:
      return bytes.subarray(at);
    case 7:
      return splice(bytes, at, random.below(Math.min(length - at, 64)) + 1, new Uint8Array(0));
    case 8:
      return splice(bytes, at, 0, random.bytes(1 + random.below(16)));
    case 9: {
      // A piece of its own, elsewhere: entries twice, or in another order.
      const from = random.below(length);
      const piece = bytes.subarray(from, from + 1 + random.below(Math.min(length - from, 256)));
      return splice(bytes, at, random.oneIn(2) ? piece.byteLength : 0, piece);
    }
    case 10: {
      const other = others.length > 0 ? random.pick(others) : bytes;
      const from = random.below(other.byteLength);
      return splice(bytes, at, random.oneIn(2) ? length : random.below(64), other.subarray(from, from + 1 + random.below(other.byteLength - from)));
    }
    case 11: // many of the same
      return splice(bytes, at, random.below(8), Buffer.alloc(1 + random.below(random.oneIn(8) ? 4096 : 64), bytes[at] as number));
    default: {
      if (dictionary.length === 0) return writeEdge(bytes, 1, random);
      const word = random.pick(dictionary);
      return splice(bytes, at, random.oneIn(2) ? word.length : 0, typeof word === 'string' ? Buffer.from(word) : word);
    }
  }
}

function writeEdge(bytes: Buffer, size: number, random: Random): Buffer {
  if (bytes.byteLength < size) return bytes;
  // Fields are aligned in some formats, at the end in others.
  const at = random.oneIn(4) ? bytes.byteLength - size : random.below(bytes.byteLength - size + 1);
  const value = BigInt.asUintN(size * 8, random.oneIn(2) ? random.pick(EDGES) : -random.pick(EDGES));
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(value);
  const little = field.subarray(0, size);
  bytes.set(random.oneIn(2) ? little : little.reverse(), at);
  return bytes;
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(Math.min(bytes.byteLength, at + remove))]);
}

const PUNCTUATION = [
  '',
  ' ',
  '\t',
  '\n',
  '\r\n',
  '\0',
  '=',
  '[',
  ']',
  '"',
  "'",
  '\\',
  ';',
  ',',
  ':',
  '/',
  '..',
  '.',
  '%',
  '%zz',
  '%00',
  '#',
  '@',
  '-',
  '+',
  '<',
  '>',
];
const NUMBERS = ['0', '-1', '-0', '1e400', '0x10', '08', '4294967296', '9007199254740993', '18446744073709551616', 'NaN', 'Infinity', '١'];
const STRANGE = ['é', '🎉', '\ud800', '\u0000', '\u2028', '__proto__', 'constructor', 'toString', 'a'.repeat(300)];

/** Returns a change of text: whole lines and words moved, doubled, cut, replaced; not only letters. */
export function textMutation(words: readonly string[] = []): Mutation {
  const pieces = [PUNCTUATION, NUMBERS, STRANGE, words].filter((list) => list.length > 0);
  return (input, random) => {
    let text = Buffer.from(input).toString('utf8');
    for (let left = 1 + random.below(4); left > 0; left--) {
      const lines = text.split('\n');
      const line = random.below(lines.length);
      const other = lines[random.below(lines.length)] as string;
      switch (random.below(6)) {
        case 0:
          lines.splice(line, 1);
          break;
        case 1:
          lines.splice(line, 0, other);
          break;
        case 2:
          lines[line] = other;
          break;
        default: {
          const old = lines[line] as string;
          const at = random.below(old.length + 1);
          const piece = random.pick(random.pick(pieces));
          lines[line] = old.slice(0, at) + piece + old.slice(at + random.below(Math.max(2, piece.length + 2)));
        }
      }
      text = lines.join('\n');
    }
    return Buffer.from(text);
  };
}

/** Returns `mutation` of what is inside, when it can be taken out; and puts the result back as a faithful writer would. */
export function insideMutation(
  take: (input: Uint8Array) => Uint8Array | undefined,
  put: (inner: Uint8Array, input: Uint8Array) => Uint8Array,
  mutation: Mutation,
): Mutation {
  return (input, random) => {
    let inner: Uint8Array | undefined;
    try {
      inner = take(input);
    } catch {
      inner = undefined;
    }
    return inner === undefined ? mutation(input, random) : put(mutation(inner, random), input);
  };
}

/** Returns a byte-level change as a {@link Mutation}. */
export function bytesMutation(options: Partial<MutateOptions> = {}): Mutation {
  return (input, random) => mutateBytes(input, random, { maxBytes: 1 << 16, ...options });
}

const FIELDS = [
  [0, 100], // name
  [100, 8],
  [108, 8],
  [116, 8],
  [124, 12], // size
  [136, 12],
  [156, 1], // type
  [157, 100],
  [257, 8],
  [329, 8],
  [337, 8],
  [345, 155],
  [386, 24], // GNU: the first sparse extent
  [482, 2], // GNU: more extents follow, real size
] as const;

/** Changes one field of one tar header, or the order of blocks, and makes the checksums right again: a wrong one ends parsing at once. */
export const tarMutation: Mutation = (input, random) => {
  let bytes: Buffer = Buffer.from(input);
  const blocks = Math.floor(bytes.byteLength / 512);
  if (blocks < 2) return mutateBytes(input, random, { maxBytes: 1 << 16 });
  for (let left = 1 + random.below(3); left > 0; left--) {
    const headers = Array.from({ length: Math.floor(bytes.byteLength / 512) }, (_, i) => i * 512).filter(
      (at) => bytes.toString('latin1', at + 257, at + 262) === 'ustar',
    );
    const block = random.oneIn(3) || headers.length === 0 ? random.below(blocks) * 512 : random.pick(headers);
    switch (random.below(8)) {
      case 0: // a block twice
        bytes = splice(bytes, block, 0, bytes.subarray(block, block + 512));
        break;
      case 1: // a block less
        bytes = splice(bytes, block, 512, new Uint8Array(0));
        break;
      case 2: // a kind of entry that asks for another reading of what follows
        if (block + 512 <= bytes.byteLength) bytes[block + 156] = random.pick([...Buffer.from('\x0001234567gxLKSDVMNAX')]);
        break;
      case 3: {
        const number = random.pick([
          '00000000000',
          '77777777777',
          '-1',
          ' ',
          '1',
          '8',
          '00000001000',
          '\x80\0\0\0\0\0\0\x01\0\0\0\0',
          '\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff',
        ]);
        bytes.write(number, Math.min(block + random.pick([100, 108, 116, 124, 136, 329, 337]), bytes.byteLength), 'latin1');
        break;
      }
      case 4: // inside a body: pax records and maps of sparse files stand there
        bytes = Buffer.concat([
          bytes.subarray(0, block),
          mutateBytes(bytes.subarray(block, block + 512), random, { maxBytes: 512, dictionary: PAX }),
          bytes.subarray(block + 512),
        ]);
        break;
      default: {
        const [offset, size] = random.pick(FIELDS);
        const at = block + offset;
        bytes.set(
          mutateBytes(bytes.subarray(at, at + size), random, { maxBytes: size }).subarray(0, Math.max(0, bytes.byteLength - at)),
          Math.min(at, bytes.byteLength),
        );
      }
    }
  }
  for (let at = 0; at + 512 <= bytes.byteLength; at += 512) if (bytes.toString('latin1', at + 257, at + 262) === 'ustar') sign(bytes, at);
  return bytes;
};

const PAX = [
  'path=',
  'linkpath=',
  'size=',
  'uid=',
  'gid=',
  'mtime=',
  'SCHILY.xattr.',
  'GNU.sparse.',
  'GNU.sparse.major=1',
  'GNU.sparse.map=',
  'GNU.sparse.realsize=',
  '\n',
  ' ',
  '99 ',
  '1 ',
];

/** Writes the checksum of a tar header. */
function sign(bytes: Buffer, at: number): void {
  bytes.fill(0x20, at + 148, at + 156);
  let sum = 0;
  for (let i = at; i < at + 512; i++) sum += bytes[i] as number;
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
}

/** Returns a short name for an input. */
export function inputName(input: Uint8Array): string {
  return createHash('sha256').update(input).digest('hex').slice(0, 16);
}
