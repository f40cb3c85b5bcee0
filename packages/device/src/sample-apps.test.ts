/** Packed apps without real images, and a state to mount them in; holds no test itself. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Checksum, stableJson } from '@cambium/base';
import { type FileHeader, MutableTree, Repo, type RepoMode, Transaction, writeCommitObject } from '@cambium/ostree';
import { type CleanUp, scratch } from '@cambium/testkit';
import type { MountOptions } from './mount.ts';
import { DeviceState } from './state.ts';

const FILE: FileHeader = { uid: 0, gid: 0, mode: 0o100644, target: '', xattrs: [] };
const DIRECTORY = { uid: 0, gid: 0, mode: 0o040755, xattrs: [] };
const EMPTY_STORE = {
  'storage/overlay-images/images.json': '[]',
  'storage/overlay-images/images.lock': '',
  'storage/overlay-layers/layers.json': '[]',
  'storage/overlay-layers/layers.lock': '',
};

export interface AppSpec {
  app?: string;
  /** The commit's body, instead of a right one. */
  body?: string;
  /** More files, or others in place of the usual; undefined leaves one out, an object makes a symlink. */
  files?: Readonly<Record<string, string | undefined | { link: string }>>;
  branch?: string;
}

/** Commits an app with an empty image store. */
export async function writeApp(repo: Repo, spec: AppSpec = {}): Promise<Checksum> {
  const { app = 'shop', branch = 'apps/shop' } = spec;
  const transaction = await Transaction.begin(repo);
  const content = transaction.content();
  const root = MutableTree.empty();
  const meta = transaction.writeDirMeta(DIRECTORY);
  root.meta = meta;
  const files: NonNullable<AppSpec['files']> = {
    ...EMPTY_STORE,
    [`${app.replaceAll('/', '_') || '_'}/docker-compose.yml`]: 'services: {}\n',
    'precompose.json': '{}',
    ...spec.files,
  };
  for (const [path, text] of Object.entries(files)) {
    if (text === undefined) continue;
    const names = path.split('/');
    let directory = root;
    for (const name of names.slice(0, -1)) {
      directory = directory.ensureDirectory(name);
      directory.meta = meta;
    }
    const added =
      typeof text === 'string' ? content.add(FILE, Buffer.from(text)) : content.add({ ...FILE, mode: 0o120777, target: text.link }, new Uint8Array(0));
    await content.flush();
    directory.setFile(names.at(-1) as string, await added);
  }
  const body = spec.body ?? stableJson({ precompose: { app, images: { 'web:1': `docker.io/library/web:1@sha256:${'a'.repeat(64)}` }, version: 0 } });
  const parent = repo.refs.read(branch);
  const commit = writeCommitObject(transaction, {
    root: root.write(transaction),
    subject: `precompose of ${app}`,
    body,
    timestamp: 1n,
    parent,
    bindRefs: [branch],
  });
  transaction.setRef(branch, commit);
  await transaction.commit();
  return commit;
}

export interface Device {
  repo: Repo;
  state: DeviceState;
  directory: string;
  /** What {@link MountOptions} need besides `ref`; no podman is asked. */
  options: Omit<MountOptions, 'ref'>;
}

export async function makeDevice(t: CleanUp, mode: RepoMode = 'archive'): Promise<Device> {
  const directory = scratch(t);
  const repo = await Repo.init(join(directory, 'repo'), { mode });
  const state = new DeviceState(join(directory, 'state'));
  mkdirSync(join(directory, 'etc'));
  const options = { repo, state, storageConf: { path: join(directory, 'etc/storage.conf'), templates: [] }, fullFidelity: process.getuid?.() === 0 };
  return { repo, state, directory, options };
}
