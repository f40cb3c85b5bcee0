/** What the tests of tar share: our reading and Python's in one comparable form, a tree with all kinds of entries, raw headers. */
import { createHash } from 'node:crypto';
import { closeSync, linkSync, mkdirSync, openSync, symlinkSync, truncateSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { needsRoot, run } from '@cambium/testkit';
import type { TarEntry, TarLimits } from './tar-entry.ts';
import { TarParser } from './tar-parser.ts';

/** Bytes stand as Latin-1 text, contents as their sha256. */
export interface Seen {
  path: string;
  type: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  linkPath: string;
  device: string;
  xattrs: Record<string, string>;
  userName: string;
  groupName: string;
  content: string;
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/**
 * Reads an archive cut at `cuts`. Every call is checked to come in its order; chunks are Buffers (whose slice() is a view)
 * and change after each write, and entries are looked at when all is read: what the parser kept must be its own.
 */
export function parseTar(archive: Uint8Array, options: { limits?: TarLimits; cuts?: readonly number[]; holes?: boolean } = {}): Seen[] {
  const seen: { entry: TarEntry; content: string }[] = [];
  let current: { entry: TarEntry; hash: ReturnType<typeof createHash>; bytes: number } | undefined;
  const data = (chunk: Uint8Array): void => {
    if (current === undefined || chunk.length === 0) throw new Error('data out of order');
    current.hash.update(chunk);
    current.bytes += chunk.length;
  };
  const parser = new TarParser(
    {
      entry(entry) {
        if (current !== undefined) throw new Error('entry out of order');
        current = { entry, hash: createHash('sha256'), bytes: 0 };
      },
      data,
      ...(options.holes === true
        ? {
            hole(length: number) {
              for (let left = length; left > 0; left -= 4096) data(new Uint8Array(Math.min(left, 4096)));
            },
          }
        : {}),
      entryEnd() {
        if (current === undefined || current.bytes !== current.entry.size) throw new Error('content is not as long as its size');
        seen.push({ entry: current.entry, content: current.bytes === 0 ? '' : current.hash.digest('hex') });
        current = undefined;
      },
    },
    options.limits,
  );
  let at = 0;
  for (const cut of [...(options.cuts ?? []), archive.length].sort((a, b) => a - b)) {
    const chunk = Buffer.from(archive.subarray(at, cut));
    parser.write(chunk);
    chunk.fill(0xee);
    at = Math.max(at, cut);
  }
  parser.end();
  return seen.map(({ entry, content }) => plain(entry, content));
}

function plain(e: TarEntry, content: string): Seen {
  return {
    path: latin1(e.path),
    type: e.type,
    mode: e.mode,
    uid: e.uid,
    gid: e.gid,
    size: e.size,
    mtime: e.mtime,
    linkPath: latin1(e.linkPath),
    device: `${e.deviceMajor}:${e.deviceMinor}`,
    xattrs: Object.fromEntries(e.xattrs.map(([name, value]) => [latin1(name), latin1(value)])),
    userName: e.userName,
    groupName: e.groupName,
    content,
  };
}

const PYTHON = `
import sys, tarfile, json, hashlib
out = []
kinds = {b'0':'file', b'\\0':'file', b'7':'file', b'S':'file', b'1':'hardlink', b'2':'symlink', b'3':'char', b'4':'block', b'5':'directory', b'6':'fifo'}
raw = lambda s: s.encode('utf8', 'surrogateescape').decode('latin1')
with tarfile.open(sys.argv[1], 'r:', encoding='utf8', errors='surrogateescape') as t:
    for m in t:
        kind = kinds[m.type]
        content = ''
        if kind == 'file' and m.size > 0:
            h = hashlib.sha256()
            f = t.extractfile(m)
            while True:
                b = f.read(1 << 20)
                if not b: break
                h.update(b)
            content = h.hexdigest()
        out.append(dict(path=raw(m.name), type=kind, mode=m.mode & 0o7777, uid=m.uid, gid=m.gid, size=m.size if kind == 'file' else 0,
            mtime=m.mtime, linkPath=raw(m.linkname) if kind in ('hardlink', 'symlink') else '',
            device='%d:%d' % ((m.devmajor, m.devminor) if kind in ('char', 'block') else (0, 0)),
            xattrs={raw(k[13:]).replace('%3D', '=').replace('%25', '%'): raw(v) for k, v in m.pax_headers.items() if k.startswith('SCHILY.xattr.')},
            userName=m.uname, groupName=m.gname, content=content))
json.dump(out, sys.stdout)
`;

/** What Python's tarfile reads. It drops trailing slashes of names. */
export async function pythonReads(path: string): Promise<Seen[]> {
  const { stdout } = await run('python3', ['-c', PYTHON, path]);
  return JSON.parse(stdout) as Seen[];
}

export function withoutSlashes(entries: readonly Seen[]): Seen[] {
  return entries.map((entry) => ({ ...entry, path: entry.path === '/' ? '/' : entry.path.replace(/\/+$/, '') }));
}

/** Makes a tree with every kind of entry; devices when the test runs as root. Names over 100 bytes unless `short`. */
export async function makeTree(root: string, options: { short?: boolean } = {}): Promise<void> {
  mkdirSync(join(root, 'dir/sub'), { recursive: true });
  writeFileSync(join(root, 'empty'), '');
  writeFileSync(join(root, 'one-block'), 'x'.repeat(512));
  writeFileSync(join(root, 'dir/large'), Buffer.alloc(200_001, 'large content '));
  writeFileSync(join(root, 'dir/setuid'), 'suid', { mode: 0o755 });
  linkSync(join(root, 'one-block'), join(root, 'dir/zz-hard'));
  symlinkSync('../one-block', join(root, 'dir/soft'));
  await run('chmod', ['4711', join(root, 'dir/setuid')]);
  await run('chmod', ['1777', join(root, 'dir/sub')]);
  await run('mkfifo', [join(root, 'fifo')]);
  if (needsRoot() === false) {
    await run('mknod', [join(root, 'char'), 'c', '1', '3']);
    await run('mknod', [join(root, 'block'), 'b', '259', '70000']);
    await run('chown', ['123:456', join(root, 'dir/large')]);
  }
  utimesSync(join(root, 'empty'), 1_000_000_000, 1_000_000_000.25);
  writeFileSync(join(root, 'naïve ☃'), 'unicode name');
  if (options.short === true) return;
  const part = 'p'.repeat(90);
  mkdirSync(join(root, part));
  writeFileSync(join(root, part, `n${part}`), 'fits a prefix');
  writeFileSync(join(root, 'l'.repeat(250)), 'does not');
  symlinkSync('t'.repeat(240), join(root, 'long-target'));
}

/** Makes a file with data at `extents` places between holes; over 25 need extension blocks in the old GNU form. */
export function makeSparse(path: string, extents: number): void {
  writeFileSync(path, '');
  truncateSync(path, (extents + 1) * 65_536 + 17);
  const handle = openSync(path, 'r+');
  for (let i = 1; i <= extents; i++) writeSync(handle, Buffer.alloc(4096, `extent ${i} `), 0, 4096, i * 65_536);
  closeSync(handle);
}

export interface RawFields {
  name?: string;
  mode?: string;
  uid?: string;
  size?: string | Uint8Array;
  mtime?: string;
  flag?: string;
  link?: string;
  magic?: string;
  /** Bytes to put anywhere, by offset. */
  patch?: Record<number, string | Uint8Array>;
  signedChecksum?: boolean;
}

/** Returns a header block written field by field, without any help of our writer. */
export function rawHeader(fields: RawFields): Buffer {
  const block = Buffer.alloc(512);
  const put = (at: number, value: string | Uint8Array): void => void Buffer.from(value as string, 'latin1').copy(block, at);
  put(0, fields.name ?? 'file');
  put(100, fields.mode ?? '0000644');
  put(108, fields.uid ?? '0000000');
  put(116, '0000000');
  put(124, fields.size ?? '00000000000');
  put(136, fields.mtime ?? '00000000000');
  put(156, fields.flag ?? '0');
  put(157, fields.link ?? '');
  put(257, fields.magic ?? 'ustar\x0000');
  for (const [at, value] of Object.entries(fields.patch ?? {})) put(Number(at), value);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + (fields.signedChecksum === true && byte > 127 ? byte - 256 : byte), 0);
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

export function octalText(value: number): string {
  return value.toString(8).padStart(11, '0');
}

export function padding(content: Uint8Array): Buffer {
  return Buffer.concat([content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

/** Returns an extended header of records given as text. */
export function rawPax(records: string, flag = 'x'): Buffer {
  const content = Buffer.from(records, 'latin1');
  return Buffer.concat([rawHeader({ name: 'pax', flag, size: octalText(content.length) }), padding(content)]);
}

export function record(key: string, value: string): string {
  const rest = key.length + value.length + 3;
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return `${length} ${key}=${value}\n`;
}

export const END: Buffer = Buffer.alloc(1024);
