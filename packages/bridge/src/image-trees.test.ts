/** What the tests of images share: storing one, and reading trees as the real programs leave them. No tests. */
import { createReadStream, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { sha256Hex } from '@cambium/base';
import { Repo, type RepoMode, Transaction } from '@cambium/ostree';
import { type BuiltImage, type BuiltLayout, type CleanUp, output, scratch } from '@cambium/testkit';
import { type ImportedLayer, imageRef, importLayer, type LayerInput, layerRef, type StoredImage, writeImageCommit } from './index.ts';

export async function newRepo(t: CleanUp, mode: RepoMode = 'archive'): Promise<Repo> {
  return await Repo.init(join(scratch(t), 'repo'), { mode });
}

export function layerInput(layout: BuiltLayout, layer: BuiltImage['layers'][number], more: Partial<LayerInput> = {}): LayerInput {
  return { diffId: layer.diffId as unknown as LayerInput['diffId'], open: () => createReadStream(layout.blobPath(layer.digest)), ...more };
}

/** Imports all layers of a layout's image, squashes them, and commits under the usual refs. */
export async function storeImage(repo: Repo, layout: BuiltLayout, which = 0): Promise<StoredImage & { layers: ImportedLayer[] }> {
  const transaction = await Transaction.begin(repo);
  try {
    const image = layout.images[which] as BuiltImage;
    const layers: ImportedLayer[] = [];
    for (const layer of image.layers) layers.push(await storeLayer(transaction, layerInput(layout, layer)));
    const read = (digest: BuiltImage['config']): { digest: BuiltImage['config']; bytes: Uint8Array } => ({
      digest,
      bytes: readFileSync(layout.blobPath(digest)),
    });
    const documents = { manifest: read(image.manifest), config: read(image.config), diffIds: layers.map(({ layer }) => layer.diffId) };
    const stored = writeImageCommit(
      repo,
      transaction,
      documents,
      layers.map(({ layer }) => layer),
    );
    transaction.setRef(imageRef(image.manifest), stored.commit);
    await transaction.commit();
    return { ...stored, layers };
  } finally {
    await transaction.abort();
  }
}

export async function storeLayer(transaction: Transaction, input: LayerInput): Promise<ImportedLayer> {
  const imported = await importLayer(transaction, input);
  transaction.setRef(layerRef(input.diffId), imported.layer.commit);
  return imported;
}

/** Returns the tree of a commit as the real `ostree checkout` lays it out: with owners and attributes when run as root. */
export async function checkedOut(t: CleanUp, repo: Repo, commit: string, path = ''): Promise<Map<string, string>> {
  const directory = join(scratch(t), 'checkout');
  await output('ostree', [
    `--repo=${repo.path}`,
    'checkout',
    ...(process.getuid?.() === 0 ? [] : ['--user-mode']),
    ...(path === '' ? [] : [`--subpath=${path}`]),
    commit,
    directory,
  ]);
  return await readTree(directory);
}

/** Returns the root file system that `umoci unpack` makes of a layout's image. */
export async function unpackedByUmoci(t: CleanUp, layout: BuiltLayout): Promise<Map<string, string>> {
  const bundle = join(scratch(t), 'bundle');
  await output('umoci', ['unpack', '--image', `${layout.directory}:${layout.tag}`, bundle]);
  return await readTree(join(bundle, 'rootfs'));
}

/** Describes every entry of a directory on one line each, by path: kind, mode, owner, attributes, content or target. Times are left out. */
export async function readTree(directory: string): Promise<Map<string, string>> {
  const xattrs = await readAllXattrs(directory);
  const found = new Map<string, string>();
  const visit = (path: string): void => {
    const full = join(directory, path);
    const stat = lstatSync(full);
    const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'symlink' : 'special';
    const content = kind === 'file' ? `${stat.size} ${sha256Hex(readFileSync(full))}` : kind === 'symlink' ? readlinkSync(full) : '';
    found.set(path, `${kind} ${(stat.mode & 0o7777).toString(8)} ${stat.uid}:${stat.gid} ${content} ${xattrs.get(path) ?? ''}`.trimEnd());
    if (kind === 'directory') for (const name of readdirSync(full).sort()) visit(path === '' ? name : `${path}/${name}`);
  };
  visit('');
  return found;
}

async function readAllXattrs(directory: string): Promise<Map<string, string>> {
  // Attributes that only the kernel or the machine's policy sets are no part of an image.
  const said = await output('getfattr', [
    '--dump',
    '--recursive',
    '--physical',
    '--no-dereference',
    '--absolute-names',
    '--match=-',
    '--encoding=hex',
    directory,
  ]);
  const found = new Map<string, string>();
  for (const block of said.split('\n\n')) {
    const [head, ...lines] = block.split('\n').filter((line) => line !== '');
    const path = head?.replace(/^# file: /, '').replace(/\\([0-7]{3})/g, (_match, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    if (path === undefined) continue;
    const kept = lines.filter((line) => !line.startsWith('security.selinux=')).sort();
    found.set(Buffer.from(path, 'latin1').toString().slice(directory.length).replace(/^\//, ''), kept.join(' '));
  }
  return found;
}

/** Makes a directory in a test's scratch space. */
export function folder(t: CleanUp, name: string): string {
  const path = join(scratch(t), name);
  mkdirSync(path);
  return path;
}
