/** Makes the example's images as OCI layouts from what is on this machine: no registry, no container engine, no root. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** The programs that the services use. */
const PROGRAMS = ['sh', 'cat', 'date', 'ls', 'sleep'];

export interface ExampleImage {
  /** Name in the compose file. */
  reference: string;
  /** Where `cambium pack --image-source` reads it. */
  place: string;
}

interface Layer {
  mediaType: string;
  digest: string;
  size: number;
  bytes: Uint8Array;
  diffId: string;
}

/**
 * Makes both images under `directory`, which is emptied first.
 *
 * @param files the services' own files: a directory with one folder per service
 * @param edits texts that replace files, by `service/name`: how a second version differs
 */
export function makeImages(directory: string, files: string, edits: Readonly<Record<string, string>> = {}): ExampleImage[] {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const base = layerOf(join(directory, 'base'), copyPrograms);
  return ['web', 'worker'].map((service) => {
    const own = layerOf(join(directory, `${service}-files`), (root) => {
      cpSync(join(files, service), join(root, 'srv'), { recursive: true });
      for (const [path, text] of Object.entries(edits)) {
        if (path.startsWith(`${service}/`)) writeFileSync(join(root, 'srv', path.slice(service.length + 1)), text);
      }
    });
    const layout = join(directory, service);
    writeLayout(layout, [base, own]);
    return { reference: `registry.example.com/hello/${service}:1.0`, place: `oci:${layout}:1.0` };
  });
}

/** Packs what `fill` puts into a directory, as root's files and with one date, so that equal files give equal bytes. */
function layerOf(root: string, fill: (root: string) => void): Layer {
  mkdirSync(root);
  fill(root);
  const order = ['--sort=name', '--mtime=@1700000000', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX', '--format=gnu'];
  const tar = execFileSync('tar', [...order, '--create', '--file=-', '--directory', root, '.'], { maxBuffer: 1 << 28 });
  const bytes = gzipSync(tar);
  rmSync(root, { recursive: true });
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digestOf(bytes), size: bytes.byteLength, bytes, diffId: digestOf(tar) };
}

function copyPrograms(root: string): void {
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  symlinkSync('usr/bin', join(root, 'bin'));
  for (const folder of ['etc', 'proc', 'sys', 'dev', 'tmp']) mkdirSync(join(root, folder));
  for (const name of PROGRAMS) {
    const program = [`/usr/bin/${name}`, `/bin/${name}`].find((path) => existsSync(path));
    if (program === undefined) throw new Error(`Cannot find the program "${name}" on this machine`);
    copyFileSync(program, join(root, 'usr/bin', name));
    for (const library of librariesOf(program)) {
      mkdirSync(dirname(join(root, library)), { recursive: true });
      copyFileSync(library, join(root, library));
    }
  }
}

function librariesOf(program: string): string[] {
  const said = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...said.matchAll(/(?:=>\s+|^\s+)(\/\S+) \(0x/gm)].map((match) => match[1] as string);
}

function writeLayout(directory: string, layers: readonly Layer[]): void {
  const blobs = join(directory, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (bytes: Uint8Array | string): { digest: string; size: number } => {
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice(7)), bytes);
    return { digest, size: Buffer.byteLength(bytes) };
  };
  for (const layer of layers) put(layer.bytes);
  const config = put(
    JSON.stringify({
      created: '2023-11-14T22:13:20Z',
      os: 'linux',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      config: { Env: ['PATH=/usr/bin'], Cmd: ['/bin/sh'] },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    }),
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = put(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: layers.map(({ mediaType: type, digest, size }) => ({ mediaType: type, digest, size })),
    }),
  );
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const named = { mediaType, ...manifest, annotations: { 'org.opencontainers.image.ref.name': '1.0' } };
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
}

function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
