/** What is fuzzed here, and from which real archives: see `npm run fuzz`. No tests. */
import { linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { collect, isKnownError } from '@cambium/base';
import { type FuzzTarget, mutateBytes, needsRoot, peer, run, tarMutation } from '@cambium/testkit';
import { CpioParser } from './cpio-parser.ts';
import { decompress } from './decompress.ts';
import type { Compression } from './detect-compression.ts';
import type { TarEntry, TarLimits } from './tar-entry.ts';
import { makeSparse } from './tar-oracle.test.ts';
import { TarParser } from './tar-parser.ts';
import { compressXz, decompressXz } from './xz.ts';

const TAR_FLAGS: readonly (readonly string[])[] = [
  ['--format=v7'],
  ['--format=ustar'],
  ['--format=oldgnu'],
  ['--format=gnu'],
  ['--format=pax'],
  ['-S', '--format=gnu'],
  ['-S', '--format=pax', '--sparse-version=0.0'],
  ['-S', '--format=pax', '--sparse-version=0.1'],
  ['-S', '--format=pax', '--sparse-version=1.0'],
  ['--format=pax', '--xattrs', '--xattrs-include=*'],
];

export async function makeCorpus(directory: string): Promise<void> {
  for (const kind of ['tar', 'cpio', 'xz', 'gzip', 'zstd']) mkdirSync(join(directory, kind));
  const tree = join(directory, 'tree');
  await makeTree(tree);
  const names = (await run('find', ['.', '!', '-name', 'sparse*'], { cwd: tree })).stdout;
  for (const [i, flags] of TAR_FLAGS.entries()) {
    const file = join(directory, 'tar', `gnu${i}`);
    if (peer('tar') !== undefined) await run('tar', ['-C', tree, ...flags, '--sort=name', '--mtime=@0', '-cf', file, '.'], { accept: [0, 1, 2] });
  }
  for (const format of ['pax', 'ustar', 'gnutar']) {
    if (peer('bsdtar') !== undefined)
      await run('bsdtar', ['-C', tree, `--format=${format}`, '-cf', join(directory, 'tar', `bsd-${format}`), '.'], { accept: [0, 1] });
  }
  for (const format of ['newc', 'crc', 'odc', 'bin']) {
    if (peer('cpio') === undefined) continue;
    const { stdoutBytes } = await run('cpio', ['-o', '-H', format, '--quiet'], { cwd: tree, input: names, accept: [0, 1, 2] });
    writeFileSync(join(directory, 'cpio', format), stdoutBytes);
  }
  const sample = Buffer.concat([Buffer.alloc(5000, 'sample text '), deflateRawSync(Buffer.alloc(300, 'noise'))]);
  writeFileSync(join(directory, 'xz', 'preset6'), await compressXz(sample));
  writeFileSync(join(directory, 'xz', 'empty'), await compressXz(new Uint8Array(0)));
  writeFileSync(join(directory, 'gzip', 'one'), gzipSync(sample));
  writeFileSync(join(directory, 'gzip', 'two'), Buffer.concat([gzipSync(sample), gzipSync(sample)]));
  writeFileSync(join(directory, 'zstd', 'one'), zstdCompressSync(sample));
  writeFileSync(join(directory, 'zstd', 'two'), Buffer.concat([zstdCompressSync(sample), zstdCompressSync(Buffer.from('x'))]));
  if (peer('xz') !== undefined) writeFileSync(join(directory, 'xz', 'real'), (await run('xz', ['-c'], { input: sample })).stdoutBytes);
}

/** One of each kind, all small: long inputs are slow, and hit the same places again and again. */
async function makeTree(root: string): Promise<void> {
  mkdirSync(join(root, 'dir/sub'), { recursive: true });
  writeFileSync(join(root, 'file'), 'content of the file');
  writeFileSync(join(root, 'block'), Buffer.alloc(512, 'x'));
  writeFileSync(join(root, 'naïve ☃'), '');
  writeFileSync(join(root, 'l'.repeat(150)), 'long name');
  linkSync(join(root, 'file'), join(root, 'dir/hard'));
  symlinkSync('t'.repeat(120), join(root, 'dir/soft'));
  await run('mkfifo', [join(root, 'fifo')]);
  if (needsRoot() === false) await run('mknod', [join(root, 'device'), 'c', '1', '3']);
  if (peer('setfattr') !== undefined) await run('setfattr', ['-n', 'user.name', '-v', 'value', join(root, 'file')], { accept: 'any' });
  for (const count of [0, 2, 6]) makeSparse(join(root, `sparse${count}`), count);
}

/** Small, so that an input need not be large to reach them. */
const LIMITS: TarLimits = { maxEntries: 1000, maxTotalBytes: 1 << 22, maxHoleBytes: 1 << 22 };
const LIMIT_BYTES = 1 << 20;

type Parser = new (handler: ConstructorParameters<typeof TarParser>[0], limits: TarLimits) => { write(chunk: Uint8Array): void; end(): void };

/** Parses whole and in pieces; both must come to the same end. */
function parseTwice(Parser: Parser, input: Uint8Array): unknown {
  const once = (step: number): { seen: string[]; code: string | undefined; error: unknown } => {
    const seen: string[] = [];
    let sizeBytes = 0;
    const parser = new Parser(
      {
        entry: ({ path, type, size, mode, uid, gid, mtime, xattrs, ...rest }: TarEntry) => {
          sizeBytes = 0;
          seen.push(`${Buffer.from(path).toString('latin1')} ${type} ${size} ${mode} ${uid} ${gid} ${mtime} ${xattrs.length} ${Object.keys(rest).length}`);
        },
        data: (chunk) => {
          sizeBytes += chunk.byteLength;
        },
        hole: (length) => {
          sizeBytes += length;
        },
        entryEnd: () => void seen.push(`= ${sizeBytes}`),
      },
      LIMITS,
    );
    try {
      for (let at = 0; at < input.byteLength; at += step) parser.write(input.subarray(at, at + step));
      parser.end();
      return { seen, code: undefined, error: undefined };
    } catch (error) {
      return { seen, code: isKnownError(error) ? error.code : 'unknown', error };
    }
  };
  const whole = once(Math.max(1, input.byteLength));
  const pieces = once(97);
  if (whole.code !== pieces.code || whole.seen.join('\n') !== pieces.seen.join('\n')) {
    throw new Error(`whole and in pieces differ: ${whole.code} ${whole.seen.at(-1)} / ${pieces.code} ${pieces.seen.at(-1)}`);
  }
  if (whole.error !== undefined) throw whole.error;
  return whole.seen.length;
}

async function* chunks(input: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < input.byteLength; at += 1000) yield input.subarray(at, at + 1000);
}

export function fuzzTargets(corpus: string): FuzzTarget[] {
  const seeds = (kind: string): Buffer[] =>
    readdirSync(join(corpus, kind))
      .map((name) => readFileSync(join(corpus, kind, name)))
      .map((bytes) => bytes.subarray(0, 64 * 1024));
  return [
    {
      name: 'tar',
      seeds: seeds('tar'),
      mutate: tarMutation,
      maxBytes: 64 * 1024,
      parse: (input) => parseTwice(TarParser, input),
    },
    {
      name: 'cpio',
      seeds: seeds('cpio'),
      // Fields of the text formats are digits: a change of the bytes' own kind goes further than a random one.
      mutate: (input, random) => {
        const bytes = Buffer.from(input);
        for (let left = 1 + random.below(3); left > 0 && bytes.byteLength > 0; left--) {
          const start = Math.max(0, bytes.indexOf('0707', random.below(bytes.byteLength)));
          bytes.write(
            random.pick(['0', '7', 'F', 'f', 'z', '8', 'FFFFFFFF', '00000000', '7FFFFFFF', 'TRAILER!!!']),
            Math.min(bytes.byteLength - 1, start + 6 + random.below(104)),
          );
        }
        return random.oneIn(4) ? mutateBytes(bytes, random, { maxBytes: 16384 }) : bytes;
      },
      parse: (input) => parseTwice(CpioParser, input),
    },
    {
      name: 'xz',
      seeds: seeds('xz'),
      parse: (input) => decompressXz(input, LIMIT_BYTES).byteLength,
    },
    ...(['gzip', 'zstd'] satisfies Compression[]).map(
      (kind): FuzzTarget => ({
        name: `decompress-${kind}`,
        seeds: seeds(kind),
        parse: async (input) => (await collect(decompress(chunks(input), kind, { limitBytes: LIMIT_BYTES }), LIMIT_BYTES, kind)).byteLength,
      }),
    ),
  ];
}
